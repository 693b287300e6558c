"""Per-frame segmenters and their registry."""

from dataclasses import dataclass
from pathlib import Path

from dwnet.segmentation.backbone import BACKBONES, Backbone
from dwnet.segmentation.pspnet import PSPNet
from dwnet.segmentation.segmenter import Segmenter, pad_to_multiple

SEGMENTERS = {"pspnet": PSPNet}
"""Name and class of every segmentation network; each takes (backbone, num_classes, channels, dropout, auxiliary)."""


@dataclass(frozen=True)
class NetworkSpec:
    """Which per-frame segmenter: what a recipe, a checkpoint and an export say of it."""

    segmenter: str = "pspnet"
    """Segmentation network: pspnet."""
    backbone: str = "efficientnet_lite0"
    """mobilenetv2, resnet50, resnet101, efficientnet_lite0, or any timm feature network."""
    output_stride: int = 16
    """Image pixels per feature pixel: 8 or 16."""
    channels: int = 512
    """Channels of the features F_t."""
    dropout: float = 0.0
    """Dropout in front of the classifiers; PSPNet's own paper has 0.1, which Eq. 6 would see as a difference of P."""
    auxiliary: bool = True
    """An auxiliary head on the stage before the last, in training."""

    def build(self, num_classes: int, *, weights: str | Path = "none") -> Segmenter:
        """The network.

        Args:
            num_classes: K.
            weights: of the backbone: "imagenet", "none" or a file.

        Raises:
            ValueError: for a name or number that is not allowed.
        """
        if self.segmenter not in SEGMENTERS:
            raise ValueError(f"unknown segmenter {self.segmenter!r}, allowed are {', '.join(SEGMENTERS)}")
        return SEGMENTERS[self.segmenter](
            Backbone(self.backbone, output_stride=self.output_stride, weights=weights),
            num_classes=num_classes,
            channels=self.channels,
            dropout=self.dropout,
            auxiliary=self.auxiliary,
        )


__all__ = ["BACKBONES", "SEGMENTERS", "Backbone", "NetworkSpec", "PSPNet", "Segmenter", "pad_to_multiple"]
