"""Shared parts of the networks: convolution blocks, the auxiliary head, and the base class around a decoder."""

from abc import abstractmethod

from torch import Tensor, nn

from dwnet.segmentation.backbone import Backbone
from dwnet.segmentation.segmenter import Segmenter


class DilatedSegmenter(Segmenter):
    """A dilated backbone, a decoder that computes F_t, a 1x1 classifier, and an auxiliary head for training.

    Subclasses build their decoder, then call `_add_classifiers`. The order matters: a saved optimiser state numbers the
    parameters in the order of their creation.

    Args:
        backbone: its last map enters the decoder, the map before it the auxiliary head.
        num_classes: K.
        channels: C of F_t.
        stride: image pixels per pixel of F_t.
    """

    def __init__(self, backbone: Backbone, *, num_classes: int, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.num_classes = channels, num_classes
        self.stride, self.multiple = stride, backbone.strides[-1]
        self.backbone = backbone

    def _add_classifiers(self, *, dropout: float, auxiliary: bool) -> None:
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(self.channels, self.num_classes, 1)
        self.auxiliary: nn.Module | None = None
        if auxiliary:
            self.auxiliary = auxiliary_head(self.backbone.channels[-2], self.num_classes, dropout)

    @abstractmethod
    def _decode(self, stages: list[Tensor]) -> Tensor:
        """Returns F_t (B, C, H / stride, W / stride) for the backbone's maps."""

    def features(self, image: Tensor) -> Tensor:  # noqa: D102
        return self._decode(self.backbone(image))

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.dropout(features))

    def features_and_auxiliary(  # noqa: D102
        self, image: Tensor, *, labelled: int | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        stages = self.backbone(image)
        auxiliary = () if self.auxiliary is None else (self.auxiliary(stages[-2][:labelled]),)
        return self._decode(stages), auxiliary


def auxiliary_head(in_channels: int, num_classes: int, dropout: float) -> nn.Sequential:
    """Returns PSPNet's auxiliary head: a 3x3 convolution and a 1x1 classifier.

    The convolution has a quarter of the input's channels, as in the PSPNet paper, but at least 64.
    """
    channels = max(in_channels // 4, 64)  # a quarter is 256 for a ResNet, but only 24 for MobileNetV2
    return nn.Sequential(
        conv_bn_relu(in_channels, channels, 3), nn.Dropout2d(dropout), nn.Conv2d(channels, num_classes, 1)
    )


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, *, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Returns a stride-1 convolution that keeps the size, followed by batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            padding=kernel_size // 2 * dilation,
            dilation=dilation,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def separable_conv_bn_relu(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """Returns an atrous separable convolution: 3x3 per channel, then 1x1, each with batch norm and ReLU."""
    return nn.Sequential(
        conv_bn_relu(in_channels, in_channels, 3, dilation=dilation, groups=in_channels),
        conv_bn_relu(in_channels, out_channels, 1),
    )
