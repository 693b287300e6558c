"""Static warp at inference (Table 4): the previous features are warped by the coarse flow and fused into F_t.

All three fusions start at half F_t and half F^_t, so that they differ only in what they can learn. Where the flow
leaves the previous frame, F_t replaces F^_t.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dwnet.method.specs import FusionName
from dwnet.ops.resize import resize_flow
from dwnet.ops.warp import warp
from dwnet.segmentation import Segmenter


class WeightedSum(nn.Module):
    """Table 4, "sum": (1 - a) F_t + a F^_t, with one learned a = sigmoid(weight).

    The two weights add up to 1. NetWarp has two free weights, but the classifier can learn their common scale.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, warped: Tensor) -> Tensor:
        """Fuses F_t and F^_t, both (B, C, h, w), into (B, C, h, w)."""
        return features + torch.sigmoid(self.weight) * (warped - features)


class Concatenation(nn.Module):
    """Table 4, "concatenate": a convolution of the 2C concatenated channels back to C.

    The paper gives no kernel size. Here it is 1x1: the warp has already aligned the features. It has no bias, because
    the classifier has one.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, channels, 1, bias=False)
        with torch.no_grad():
            half = torch.eye(channels) / 2
            self.mix.weight.copy_(torch.cat((half, half), dim=1)[:, :, None, None])

    def forward(self, features: Tensor, warped: Tensor) -> Tensor:
        """Fuses F_t and F^_t, both (B, C, h, w), into (B, C, h, w)."""
        return self.mix(torch.cat((features, warped), dim=1))


class PerChannel(nn.Module):
    """NetWarp's combination (Gadde et al., ICCV 2017): w1 F_t + w2 F^_t, two learned weights for each channel.

    Deviation: w1 = w2 = 1/2 at the start. Users of the published network found w1 near 1 and w2 near 0, which leaves
    the warp unused. NetWarp's transformation of the flow is left out: in this library the FRM refines flows, in `DWNet`
    only.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.own_weight = nn.Parameter(torch.full((channels,), 0.5))
        self.warped_weight = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, features: Tensor, warped: Tensor) -> Tensor:
        """Fuses F_t and F^_t, both (B, C, h, w), into (B, C, h, w)."""
        own, theirs = (w.to(features.dtype)[:, None, None] for w in (self.own_weight, self.warped_weight))
        return own * features + theirs * warped


FUSIONS: dict[FusionName, Callable[[int], nn.Module]] = {
    "weighted_sum": lambda _: WeightedSum(),
    "concatenation": Concatenation,
    "per_channel": PerChannel,
}
"""Builder of each fusion, by name; its argument is the number of channels C."""


class StaticWarpSegmenter(nn.Module):
    """A segmenter that fuses the warped previous features into F_t. It needs the previous frame at inference too.

    Args:
        segmenter: any `Segmenter`.
        fusion: module that fuses F_t and F^_t, both (B, C, h, w), into (B, C, h, w); see `FUSIONS`.
    """

    def __init__(self, segmenter: Segmenter, *, fusion: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.fusion = fusion

    def fuse(self, features: Tensor, previous_features: Tensor, flow_px: Tensor) -> Tensor:
        """Returns the logits of the current frame.

        Args:
            features: F_t, (B, C, h, w).
            previous_features: features of the previous frame before fusion, (B, C, h, w). They are not used where the
                flow leaves the frame. A flow that leaves it everywhere stands for "no previous frame".
            flow_px: from the current frame to the previous one, (B, 2, H, W), in pixels of the image.

        Returns:
            (B, K, h, w) float.
        """
        flow = resize_flow(flow_px, (features.shape[-2], features.shape[-1]))
        warped, valid = warp(previous_features, flow)
        return self.segmenter.classify(self.fusion(features, torch.where(valid, warped, features)))

    def classify_first(self, features: Tensor) -> Tensor:
        """Returns the logits (B, K, h, w) of a frame without a previous one: F_t (B, C, h, w) replaces F^_t."""
        return self.segmenter.classify(self.fusion(features, features))

    def forward(self, frame: Tensor, previous: Tensor, flow_px: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Returns the logits (B, K, h, w) of `frame` and those of the auxiliary heads, for training.

        Args:
            frame: I_t, (B, 3, H, W) float, RGB, 0..1.
            previous: the frame before, of the same shape.
            flow_px: from `frame` to `previous`, (B, 2, H, W), in pixels of the image.
        """
        frames = torch.cat((frame, previous))
        both, auxiliary = self.segmenter.features_and_auxiliary(frames, labelled=frame.shape[0])
        features, previous_features = both.chunk(2)
        return self.fuse(features, previous_features, flow_px), auxiliary
