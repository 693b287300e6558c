"""Adapters for torchvision's segmentation models."""

import torch
from torch import Tensor
from torchvision.models.segmentation.lraspp import LRASPPHead

from dwnet.adapters.adapter import Adapter
from dwnet.ops.resize import resize


class FCNAdapter(Adapter):
    """`fcn_*` and `deeplabv3_*`: F_t is the input of `classifier`'s last layer. `aux_classifier` is trained too."""

    wraps = ("torchvision.FCN", "torchvision.DeepLabV3")

    def encode(self, image: Tensor) -> dict[str, Tensor]:  # noqa: D102
        return self.model.backbone(image)

    def decode(self, encoded: dict[str, Tensor]) -> Tensor:  # noqa: D102
        features = encoded["out"]
        for layer in list(self.model.classifier)[:-1]:
            features = layer(features)
        return features

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.model.classifier[-1](features)

    def auxiliary(self, encoded: dict[str, Tensor]) -> tuple[Tensor, ...]:  # noqa: D102
        head = self.model.aux_classifier
        return () if head is None else (head(encoded["aux"]),)


class LRASPPAdapter(Adapter):
    """`lraspp_*`: the logits are the sum of two convolutions, so F_t is the concatenation of their inputs."""

    wraps = ("torchvision.LRASPP",)

    def encode(self, image: Tensor) -> dict[str, Tensor]:  # noqa: D102
        return self.model.backbone(image)

    def decode(self, encoded: dict[str, Tensor]) -> Tensor:  # noqa: D102
        head: LRASPPHead = self.model.classifier
        low, high = encoded["low"], encoded["high"]
        gated = head.cbr(high) * head.scale(high)
        return torch.cat((low, resize(gated, (low.shape[-2], low.shape[-1]))), dim=1)

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        head: LRASPPHead = self.model.classifier
        low, high = features.split((head.low_classifier.in_channels, head.high_classifier.in_channels), dim=1)
        return head.low_classifier(low) + head.high_classifier(high)
