"""PSPNet (Zhao et al., CVPR 2017): pyramid pooling on a dilated backbone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.ops.resize import resize
from dwnet.segmentation.backbone import Backbone
from dwnet.segmentation.heads import DilatedSegmenter, conv_bn_relu


class PSPNet(DilatedSegmenter):
    """A backbone, pyramid pooling (bins 1, 2, 3, 6), a 3x3 bottleneck that computes F_t, and a 1x1 classifier.

    Args:
        backbone: its last map enters the pyramid, the map before it the auxiliary head.
        num_classes: K.
        channels: C of F_t, and the channels of the pyramid's four pooled maps together. None is the paper's choice: 512
            for F_t, and a quarter of the backbone's channels for each pooled map.
        dropout: rate in front of the classifiers, after F_t. PSPNet's paper uses 0.1. The default is 0: otherwise P_t
            and P^_t would draw different masks, and Eq. 6 would measure their difference.
        auxiliary: adds the auxiliary head of the PSPNet paper (training only).

    Raises:
        DWNetError: if the channels are not a multiple of 4.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        num_classes: int,
        channels: int | None = None,
        dropout: float = 0.0,
        auxiliary: bool = True,
    ) -> None:
        inputs = backbone.channels[-1]
        pooled, channels = (inputs // 4, 512) if channels is None else (channels // 4, channels)
        if channels % 4:
            raise DWNetError(f"channels is {channels}, allowed are multiples of 4")
        super().__init__(backbone, num_classes=num_classes, channels=channels, stride=backbone.strides[-1])
        self.pyramid = PyramidPooling(inputs, pooled)
        self.bottleneck = conv_bn_relu(inputs + 4 * pooled, channels, 3)
        self._add_classifiers(dropout=dropout, auxiliary=auxiliary)

    def _decode(self, stages: list[Tensor]) -> Tensor:
        return self.bottleneck(self.pyramid(stages[-1]))


class PyramidPooling(nn.Module):
    """Pyramid pooling: means over 1x1, 2x2, 3x3 and 6x6 bins.

    Each map of means passes a 1x1 convolution and is resized. All are concatenated to the input.
    """

    def __init__(self, in_channels: int, out_channels: int, bins: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.bins = bins
        self.convolutions = nn.ModuleList(conv_bn_relu(in_channels, out_channels, 1) for _ in bins)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, C + len(bins) * out_channels, H, W) for (B, C, H, W)."""
        size = (x.shape[-2], x.shape[-1])
        means = adaptive_average_pools(x, self.bins)
        # Autocast resizes in float32. Concatenation would then convert all of `x` to float32 too.
        pooled = [resize(layer(mean), size).to(x.dtype) for layer, mean in zip(self.convolutions, means, strict=True)]
        return torch.cat([x, *pooled], dim=1)


def adaptive_average_pool(x: Tensor, bins: int) -> Tensor:
    """Returns `F.adaptive_avg_pool2d(x, bins)`; see `adaptive_average_pools`."""
    return adaptive_average_pools(x, (bins,))[0]


def adaptive_average_pools(x: Tensor, bins: Sequence[int]) -> list[Tensor]:
    """Returns `F.adaptive_avg_pool2d(x, n)` for several n, as matrix products that export to ONNX with dynamic sizes.

    One product averages the rows for all n, so that `x` is read once.

    Args:
        x: (B, C, H, W) float.
        bins: values of n; bin i covers rows floor(i H / n) to ceil((i + 1) H / n) - 1, and columns accordingly.

    Returns:
        A map (B, C, n, n) for each n.
    """
    # Half precision would round all weights of a bin to the same side.
    with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):  # autocast has no meta device
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        rows = torch.cat([_bin_means(x.shape[-2], n, precise) for n in bins])
        parts = _weighted_rows(rows, precise).split(list(bins), dim=2)
        means = (
            part @ _bin_means(x.shape[-1], n, precise).transpose(0, 1) for n, part in zip(bins, parts, strict=True)
        )
        return [mean.to(x.dtype) for mean in means]


def _weighted_rows(weights: Tensor, x: Tensor) -> Tensor:
    """Returns weighted sums of the rows of each map, (n, H) and (B, C, H, W) to (B, C, n, W)."""
    if torch.compiler.is_exporting() or not x.is_contiguous(memory_format=torch.channels_last):
        return weights @ x
    # The same product in channels-last order, which the one above would copy.
    summed = weights @ x.permute(0, 2, 3, 1).flatten(2)
    return summed.unflatten(2, (x.shape[3], x.shape[1])).permute(0, 3, 1, 2)


def _bin_means(length: int, bins: int, like: Tensor) -> Tensor:
    """Returns weights (bins, length): row i averages the positions of bin i."""
    positions = torch.arange(length, device=like.device)
    index = torch.arange(bins, device=like.device)[:, None]
    start = index * length // bins
    stop = ((index + 1) * length + bins - 1) // bins
    member = ((positions >= start) & (positions < stop)).to(like.dtype)
    return member / (stop - start).to(like.dtype)
