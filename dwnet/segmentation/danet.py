"""DANet (Fu et al., CVPR 2019): position attention and channel attention on a dilated backbone, side by side."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.segmentation.backbone import Backbone
from dwnet.segmentation.heads import DilatedSegmenter, conv_bn_relu

QUERY_REDUCTION = 8
"""Channels of the map per channel of the position attention's queries and keys (the authors' code)."""


class DANet(DilatedSegmenter):
    """A backbone and two branches, each a 3x3 convolution, an attention and a 3x3 convolution. Their sum is F_t.

    The paper has three outputs: a classifier on the sum and a classifier on each branch. The latter two are auxiliary
    heads here. `features_and_auxiliary` returns the logits of PSPNet's auxiliary head, of the position branch and of
    the channel branch, in this order.

    Deviation: the authors' code gives the branches' cross-entropy the weight 1. Here all auxiliary heads share the
    method's `auxiliary_weight`.

    Args:
        backbone: its last map enters both branches, the map before it the auxiliary head.
        num_classes: K.
        channels: C of both branches and of F_t. None is a quarter of the backbone's channels, as in the authors' code:
            512 on a ResNet.
        dropout: rate in front of the classifiers; see `PSPNet`.
        auxiliary: adds the three auxiliary heads (training only).

    Raises:
        DWNetError: if the channels are not a multiple of 8.
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
        channels = inputs // 4 if channels is None else channels
        if channels % QUERY_REDUCTION:
            raise DWNetError(f"channels is {channels}, allowed are multiples of {QUERY_REDUCTION}")
        super().__init__(backbone, num_classes=num_classes, channels=channels, stride=backbone.strides[-1])
        self.position = _branch(inputs, PositionAttention(channels))
        self.channel = _branch(inputs, ChannelAttention(channels))
        self._add_classifiers(dropout=dropout, auxiliary=auxiliary)
        if self.auxiliary is not None:
            branches = (nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, num_classes, 1)) for _ in range(2))
            self.auxiliary = nn.ModuleList([self.auxiliary, *branches])

    def features_and_auxiliary(  # noqa: D102
        self, image: Tensor, *, labelled: int | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        stages = self.backbone(image)
        position, channel = self.position(stages[-1]), self.channel(stages[-1])
        if self.auxiliary is None:
            return position + channel, ()
        maps = (stages[-2], position, channel)
        heads = zip(self.auxiliary.children(), maps, strict=True)
        return position + channel, tuple(head(x[:labelled]) for head, x in heads)

    def _decode(self, stages: list[Tensor]) -> Tensor:
        return self.position(stages[-1]) + self.channel(stages[-1])


def _branch(in_channels: int, attention: "PositionAttention | ChannelAttention") -> nn.Sequential:
    channels = attention.channels
    return nn.Sequential(conv_bn_relu(in_channels, channels, 3), attention, conv_bn_relu(channels, channels, 3))


class PositionAttention(nn.Module):
    """Adds a weighted sum over all positions to each one: y = gamma V softmax(Q'K)' + x (section 3.2 of DANet's paper).

    Q and K have C / 8 channels, V has C. Q'K is not scaled, and gamma starts at 0.

    On the CPU and in ONNX, memory holds N x N weights for N = H W positions: 4 GiB per image in float32 for 1024x2048
    pixels at stride 8. CUDA's memory-efficient kernel computes them in blocks and needs O(N C) memory. PyTorch chooses
    it if C / 8 is a multiple of 8.

    Args:
        channels: C, a multiple of 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.query = nn.Conv2d(channels, channels // QUERY_REDUCTION, 1)
        self.key = nn.Conv2d(channels, channels // QUERY_REDUCTION, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Returns a map of the same shape (B, C, H, W)."""
        # One head: (B, 1, N, channels), contiguous, as CUDA's kernel requires.
        query, key, value = (
            part(x).flatten(2).transpose(1, 2).contiguous()[:, None] for part in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        # gamma is float32, and so is a product with it. Under autocast the sum returns to half precision.
        return (self.gamma * attended[:, 0].transpose(1, 2).reshape(x.shape) + x).to(x.dtype)


class ChannelAttention(nn.Module):
    """Adds a weighted sum over all channels to each one: y = gamma softmax(-X X') X + x (section 3.3 of DANet's paper).

    Deviation: Eq. 3 of DANet's paper has softmax(X X'). The authors' code, which produced the published figures,
    subtracts X X' from each row's maximum; a softmax is invariant to the maximum. Each channel then attends most to the
    channels that differ most from it. With the paper's sign, each channel attends almost only to itself, because the
    products are sums over N positions.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Returns a map of the same shape (B, C, H, W)."""
        # Sums over all positions overflow or lose their differences in half precision.
        with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):  # autocast has no meta device
            rows = x.flatten(2).to(torch.promote_types(x.dtype, torch.float32))  # (B, C, N)
            weights = (-rows @ rows.transpose(1, 2)).softmax(dim=-1)
            attended = (weights @ rows).reshape(x.shape)
        return (self.gamma * attended + x).to(x.dtype)
