"""Adapter for segmentation_models_pytorch."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from dwnet.adapters.adapter import Adapter
from dwnet.core.errors import DWNetError
from dwnet.ops.normalise import IMAGENET_MEAN, IMAGENET_STD


class SmpAdapter(Adapter):
    """Models of segmentation_models_pytorch: encoder and decoder are `features`, the segmentation head is `classify`.

    The head upsamples as the package does (`align_corners=True`), so the logits equal the model's and have the image's
    size. A classification head (`aux_params`) is not used.

    Raises:
        DWNetError: under the same conditions as `Adapter`, and for a model with an activation, whose outputs are not
            logits.
    """

    wraps = tuple(
        f"segmentation_models_pytorch.{name}"
        for name in (
            "DeepLabV3",
            "DeepLabV3Plus",
            "FPN",
            "Linknet",
            "MAnet",
            "PAN",
            "PSPNet",
            "Segformer",
            "UPerNet",
            "Unet",
            "UnetPlusPlus",
        )
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        multiple: int | None = None,
        size: tuple[int, int] | None = None,
        dropout: bool = False,
    ) -> None:
        *_, activation = model.get_submodule("segmentation_head").modules()
        if not isinstance(activation, nn.Identity):
            raise DWNetError(
                f"{type(model).__name__} ends in the activation {type(activation).__name__}; the losses need logits: "
                "build it with activation=None"
            )
        network: Any = model
        if multiple is None and size is None and network.requires_divisible_input_shape:
            multiple = network.encoder.output_stride  # the package's rule; a trial would find a smaller one
        super().__init__(model, mean=mean, std=std, multiple=multiple, size=size, dropout=dropout)

    def encode(self, image: Tensor) -> list[Tensor]:  # noqa: D102
        return self.model.encoder(image)

    def decode(self, encoded: list[Tensor]) -> Tensor:  # noqa: D102
        return self.model.decoder(encoded)

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.model.segmentation_head(features)

    def prepare_export(self) -> None:  # noqa: D102
        # In an export, PSPNet's blocks take another way to pool, which PyTorch cannot export with open sizes.
        for module in self.model.modules():
            if type(module).__name__ == "PSPBlock":
                module.forward = partial(_pooled, module)


def _pooled(block: Any, features: Tensor) -> Tensor:
    """Returns the output of a block of PSPNet, as it is outside of exports."""
    size = (features.shape[-2], features.shape[-1])
    return nn.functional.interpolate(block.pool(features), size=size, mode="bilinear", align_corners=True)


class SmpDPTAdapter(SmpAdapter):
    """DPT of segmentation_models_pytorch: `features` is the input of the head's last convolution, at stride 2."""

    wraps = ("segmentation_models_pytorch.DPT",)

    def __init__(
        self,
        model: nn.Module,
        *,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        multiple: int | None = None,
        size: tuple[int, int] | None = None,
        dropout: bool = False,
    ) -> None:
        if multiple is None and size is None:
            network: Any = model
            multiple = 2 * network.encoder.output_stride  # the decoder halves the encoder's last map
        super().__init__(model, mean=mean, std=std, multiple=multiple, size=size, dropout=dropout)

    def encode(self, image: Tensor) -> Any:  # noqa: D102
        return self.model.encoder(image)

    def decode(self, encoded: Any) -> Tensor:  # noqa: D102
        return self.model.segmentation_head.head[:-1](self.model.decoder(*encoded))

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        head = self.model.segmentation_head
        return nn.functional.interpolate(
            head.head[-1](features), scale_factor=head.upsampling_factor, mode="bilinear", align_corners=True
        )
