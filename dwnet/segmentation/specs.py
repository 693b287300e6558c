"""The segmentation networks by name (`SEGMENTERS`), and the specification of one (`NetworkSpec`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dwnet.core.errors import DWNetError
from dwnet.segmentation.backbone import Backbone
from dwnet.segmentation.danet import DANet
from dwnet.segmentation.deeplabv3plus import DeepLabV3Plus
from dwnet.segmentation.pspnet import PSPNet
from dwnet.segmentation.pspnet_decoder import PSPNetDecoder
from dwnet.segmentation.segmenter import Segmenter

SEGMENTERS: Mapping[str, Callable[..., Segmenter]] = {
    "pspnet": PSPNet,
    "pspnet_decoder": PSPNetDecoder,
    "deeplabv3plus": DeepLabV3Plus,
    "danet": DANet,
}
"""Class of each segmentation network, by name. Each takes (backbone, num_classes, channels, dropout, auxiliary)."""


@dataclass(frozen=True)
class NetworkSpec:
    """A per-frame segmenter's name and options, as recipes, checkpoints and exported files store them."""

    segmenter: str = "pspnet"
    """pspnet: pyramid pooling, features at the output stride. deeplabv3plus: ASPP and a decoder, features at stride 4.
    Its edges are finer, but the map to warp in training is larger. pspnet_decoder: pyramid pooling and the decoder of
    deeplabv3plus, for crops that are too small for ASPP's dilation rates. danet: position and channel attention,
    features at the output stride. Its time and memory grow with the square of the number of feature pixels."""
    backbone: str = "efficientnet_lite0"
    """mobilenetv2, resnet50, resnet101, efficientnet_lite0, or the name of a timm feature network."""
    output_stride: int = 16
    """Image pixels per pixel of the backbone's last map: 8, as in the papers' tables, or 16, which is several times
    faster."""
    channels: int | None = None
    """Channels of the features F_t. None takes the number of the network's paper: 512 for pspnet, 256 for deeplabv3plus
    and pspnet_decoder, a quarter of the backbone's last map for danet (512 on a ResNet)."""
    dropout: float = 0.0
    """Dropout rate in front of the classifiers. PSPNet's paper uses 0.1. Above 0, Eq. 6 also measures the difference of
    two dropout masks."""
    auxiliary: bool = True
    """Adds auxiliary heads for training: one on the stage before the last; danet adds one on each of its two branches.
    """

    def build(self, num_classes: int, *, weights: str | Path = "none") -> Segmenter:
        """Returns the network.

        Args:
            num_classes: K.
            weights: weights of the backbone: "imagenet", "none" or a file.

        Raises:
            DWNetError: for a name or number that is not allowed, or weights that cannot be loaded.
        """
        if self.segmenter not in SEGMENTERS:
            raise DWNetError(f"unknown segmenter {self.segmenter!r}, allowed are {', '.join(SEGMENTERS)}")
        if self.channels is not None and self.channels < 1:
            raise DWNetError(f"channels is {self.channels}, allowed are whole numbers of at least 1")
        return SEGMENTERS[self.segmenter](
            Backbone(self.backbone, output_stride=self.output_stride, weights=weights),
            num_classes=num_classes,
            channels=self.channels,
            dropout=self.dropout,
            auxiliary=self.auxiliary,
        )
