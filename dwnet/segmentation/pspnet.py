"""PSPNet (Zhao et al., CVPR 2017): pyramid pooling on a dilated backbone."""

import torch
from torch import Tensor, nn

from dwnet.segmentation.backbone import Backbone
from dwnet.segmentation.segmenter import Segmenter
from dwnet.warp import resize


class PSPNet(Segmenter):
    """Backbone, pyramid pooling (bins 1, 2, 3, 6), a 3x3 bottleneck to F_t, and a 1x1 classifier.

    Args:
        backbone: its last map enters the pyramid, the map before it the auxiliary head.
        num_classes: K.
        channels: C of F_t; 512 in the PSPNet paper.
        dropout: in front of the classifiers; no part of F_t. PSPNet's own paper has 0.1. Here it is off by default: P_t
            and P^_t would draw different masks, and Eq. 6 would measure those.
        auxiliary: adds the auxiliary head of the PSPNet paper (training only).
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_classes: int,
        channels: int = 512,
        dropout: float = 0.0,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        if channels % 4:
            raise ValueError(f"channels is {channels}, allowed are multiples of 4")
        self.channels, self.num_classes = channels, num_classes
        self.stride = self.multiple = backbone.strides[-1]
        self.backbone = backbone
        self.pyramid = PyramidPooling(backbone.channels[-1], channels // 4)
        self.bottleneck = conv_bn_relu(backbone.channels[-1] + channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.auxiliary: nn.Module | None = None
        if auxiliary:
            inputs = backbone.channels[-2]
            self.auxiliary = nn.Sequential(
                conv_bn_relu(inputs, max(inputs // 4, 64), 3),
                nn.Dropout2d(dropout),
                nn.Conv2d(max(inputs // 4, 64), num_classes, 1),
            )

    def features(self, image: Tensor) -> Tensor:  # noqa: D102
        return self._decode(self.backbone(image))

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.dropout(features))

    def features_and_auxiliary(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:  # noqa: D102
        stages = self.backbone(image)
        auxiliary = () if self.auxiliary is None else (self.auxiliary(stages[-2]),)
        return self._decode(stages), auxiliary

    def _decode(self, stages: list[Tensor]) -> Tensor:
        return self.bottleneck(self.pyramid(stages[-1]))


class PyramidPooling(nn.Module):
    """Means over 1x1, 2x2, 3x3 and 6x6 bins, each through a 1x1 convolution and resized back, beside the input."""

    def __init__(self, in_channels: int, out_channels: int, bins: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.bins = bins
        self.convolutions = nn.ModuleList(conv_bn_relu(in_channels, out_channels, 1) for _ in bins)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + bins * out_channels, H, W)."""
        size = (x.shape[-2], x.shape[-1])
        pooled = [
            resize(convolution(adaptive_average_pool(x, bins)), size)
            for bins, convolution in zip(self.bins, self.convolutions, strict=True)
        ]
        return torch.cat([x, *pooled], dim=1)


def adaptive_average_pool(x: Tensor, bins: int) -> Tensor:
    """`F.adaptive_avg_pool2d(x, bins)` as two small matrix products, which export to ONNX with dynamic sizes.

    Args:
        x: (B, C, H, W) float.
        bins: n; bin i covers rows floor(i H / n) to ceil((i + 1) H / n), and columns alike.

    Returns:
        (B, C, n, n).
    """
    rows = _bin_means(x.shape[-2], bins, x)
    columns = _bin_means(x.shape[-1], bins, x)
    return rows @ x @ columns.transpose(0, 1)


def _bin_means(length: int, bins: int, like: Tensor) -> Tensor:
    """(bins, length): row i averages the positions of bin i."""
    positions = torch.arange(length, device=like.device)
    index = torch.arange(bins, device=like.device)[:, None]
    start = index * length // bins
    stop = ((index + 1) * length + bins - 1) // bins
    member = ((positions >= start) & (positions < stop)).to(like.dtype)
    return member / (stop - start).to(like.dtype)


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """A stride-1 convolution that keeps the size, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
