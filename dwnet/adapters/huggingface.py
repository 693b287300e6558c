"""Adapters for Hugging Face `transformers`: every model of `AutoModelForSemanticSegmentation`."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from dwnet.adapters.adapter import Adapter


class SegformerAdapter(Adapter):
    """`SegformerForSemanticSegmentation`: F_t is the input of the decode head's classifier, at stride 4."""

    wraps = ("transformers.SegformerForSemanticSegmentation",)

    def encode(self, image: Tensor) -> Sequence[Tensor]:  # noqa: D102
        return self.model.segformer(image, output_hidden_states=True, return_dict=True).hidden_states

    def decode(self, encoded: Sequence[Tensor]) -> Tensor:  # noqa: D102
        head = self.model.decode_head
        return _input_of(head.classifier, head, encoded)

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.model.decode_head.classifier(features)


class UperNetAdapter(Adapter):
    """`UperNetForSemanticSegmentation` on any backbone, split as SegFormer. The auxiliary head is trained too."""

    wraps = ("transformers.UperNetForSemanticSegmentation",)

    def encode(self, image: Tensor) -> Sequence[Tensor]:  # noqa: D102
        return self.model.backbone(image).feature_maps

    def decode(self, encoded: Sequence[Tensor]) -> Tensor:  # noqa: D102
        head = self.model.decode_head
        return _input_of(head.classifier, head, encoded)

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.model.decode_head.classifier(features)

    def auxiliary(self, encoded: Sequence[Tensor]) -> tuple[Tensor, ...]:  # noqa: D102
        head = self.model.auxiliary_head
        return () if head is None else (head(encoded),)


class WholeModelAdapter(Adapter):
    """Models that run as a whole: F_t is the input of their last layer, which a hook sees.

    An encoding is F_t and the logits of the auxiliary head, if there is one.
    """

    options: ClassVar[Mapping[str, Any]] = {}
    """Further arguments of the model's `forward`."""

    @property
    @abstractmethod
    def classifier(self) -> nn.Module:
        """The model's last layer with weights."""

    def encode(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:  # noqa: D102
        features: list[Tensor] = []
        auxiliary: list[Tensor] = []
        head = getattr(self.model, "auxiliary_head", None)
        handles = [self.classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))]
        if head is not None:
            handles.append(head.register_forward_hook(lambda _, inputs, output: auxiliary.append(output)))
        try:
            self.model(pixel_values=image, **self.options)
        finally:
            for handle in handles:
                handle.remove()
        return features[0], tuple(auxiliary)

    def decode(self, encoded: tuple[Tensor, tuple[Tensor, ...]]) -> Tensor:  # noqa: D102
        return encoded[0]

    def auxiliary(self, encoded: tuple[Tensor, tuple[Tensor, ...]]) -> tuple[Tensor, ...]:  # noqa: D102
        return encoded[1]

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(features)

    def prepare_export(self) -> None:  # noqa: D102
        # PyTorch's exporter does not follow the views around its fused attention.
        self.model.set_attn_implementation("eager")


class BeitAdapter(WholeModelAdapter):
    """BEiT and Data2Vec: the input of the decode head's classifier. Position encodings follow the size of the image."""

    wraps = ("transformers.BeitForSemanticSegmentation", "transformers.Data2VecVisionForSemanticSegmentation")
    options: ClassVar[Mapping[str, Any]] = {"interpolate_pos_encoding": True}

    @property
    def classifier(self) -> nn.Module:  # noqa: D102
        return self.model.decode_head.classifier


class MobileAdapter(WholeModelAdapter):
    """MobileNetV2, MobileViT and MobileViTV2 with DeepLab heads: the input of the head's classifier."""

    wraps = (
        "transformers.MobileNetV2ForSemanticSegmentation",
        "transformers.MobileViTForSemanticSegmentation",
        "transformers.MobileViTV2ForSemanticSegmentation",
    )

    @property
    def classifier(self) -> nn.Module:  # noqa: D102
        return self.model.segmentation_head.classifier


class Sapiens2Adapter(WholeModelAdapter):
    """Sapiens2: the input of the decode head's predictor."""

    wraps = ("transformers.Sapiens2ForSemanticSegmentation",)

    @property
    def classifier(self) -> nn.Module:  # noqa: D102
        return self.model.decode_head.predictor


class DPTAdapter(WholeModelAdapter):
    """DPT: the input of the head's last convolution. `classify` upsamples as the model does (`align_corners=True`)."""

    wraps = ("transformers.DPTForSemanticSegmentation",)

    @property
    def classifier(self) -> nn.Module:  # noqa: D102
        return self.model.head.head[-2]

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.model.head.head[-2:](features)


class Tipsv2DptAdapter(WholeModelAdapter):
    """TIPSv2 with a DPT decoder: the input of its last, linear layer, which takes the channels last."""

    wraps = ("transformers.Tipsv2DptForSemanticSegmentation",)

    @property
    def classifier(self) -> nn.Module:  # noqa: D102
        return self.model.decoder.head

    def decode(self, encoded: tuple[Tensor, tuple[Tensor, ...]]) -> Tensor:  # noqa: D102
        return encoded[0].permute(0, 3, 1, 2)

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _input_of(classifier: nn.Module, head: nn.Module, encoded: Sequence[Tensor]) -> Tensor:
    """Returns the input of `classifier` when `head` runs. Heads do not expose it, and versions of them differ."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        seen.append(inputs[0])
        return (inputs[0][:0],)  # an empty batch: the logits are not needed

    handle = classifier.register_forward_pre_hook(keep)
    try:
        head(encoded)
    finally:
        handle.remove()
    return seen[0]
