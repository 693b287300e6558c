"""Adapter for segmentation_models_pytorch."""

from collections.abc import Sequence
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
        dropout: bool = False,
    ) -> None:
        *_, activation = model.get_submodule("segmentation_head").modules()
        if not isinstance(activation, nn.Identity):
            raise DWNetError(
                f"{type(model).__name__} ends in the activation {type(activation).__name__}; the losses need logits: "
                "build it with activation=None"
            )
        network: Any = model
        if multiple is None and network.requires_divisible_input_shape:
            multiple = network.encoder.output_stride  # the package's rule; a trial would find a smaller one
        super().__init__(model, mean=mean, std=std, multiple=multiple, dropout=dropout)

    def encode(self, image: Tensor) -> list[Tensor]:  # noqa: D102
        return self.model.encoder(image)

    def decode(self, encoded: list[Tensor]) -> Tensor:  # noqa: D102
        return self.model.decoder(encoded)

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.model.segmentation_head(features)
