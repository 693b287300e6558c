"""Adapters for Hugging Face `transformers`: SegFormer and UPerNet."""

from collections.abc import Sequence
from typing import Any

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
