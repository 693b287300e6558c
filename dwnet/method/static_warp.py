"""Static warp at inference (Table 4): the previous features, warped by the plain flow, fused into F_t.

All three fusions start at half F_t and half F^_t, so that they differ in what they can learn, and in nothing else.
Where the flow leaves the previous frame nothing was warped, and F_t stands in for F^_t, as if nothing had moved.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from dwnet.ops.resize import resize_flow
from dwnet.ops.warp import warp
from dwnet.segmentation import Segmenter

FusionName = Literal["weighted_sum", "concatenation", "per_channel"]


class WeightedSum(nn.Module):
    """Table 4, "sum": (1 - a) F_t + a F^_t, with one learned a = sigmoid(weight).

    Convex, where NetWarp's two weights are free: their common scale is the classifier's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, warped: Tensor) -> Tensor:
        """(B, C, h, w) F_t and F^_t to the fused (B, C, h, w)."""
        return features + torch.sigmoid(self.weight) * (warped - features)


class Concatenation(nn.Module):
    """Table 4, "concatenate": a convolution of the 2C concatenated channels back to C.

    The paper gives no kernel size. 1x1 here: it joins what the warp has brought to the same place, and no more. It has
    no bias, which the classifier's would only repeat.

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
        """(B, C, h, w) F_t and F^_t to the fused (B, C, h, w)."""
        return self.mix(torch.cat((features, warped), dim=1))


class PerChannel(nn.Module):
    """NetWarp's combination (Gadde et al., ICCV 2017): w1 F_t + w2 F^_t, two learned weights for each channel.

    Deviation: w1 = w2 = 1/2 at first. Users of the published network found w1 near 1 and w2 near 0, the warp unused.
    NetWarp's own transformation of the flow is left out: refining the flow is the FRM's part.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.own_weight = nn.Parameter(torch.full((channels,), 0.5))
        self.warped_weight = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, features: Tensor, warped: Tensor) -> Tensor:
        """(B, C, h, w) F_t and F^_t to the fused (B, C, h, w)."""
        own, theirs = (w.to(features.dtype)[:, None, None] for w in (self.own_weight, self.warped_weight))
        return own * features + theirs * warped


FUSIONS: dict[FusionName, Callable[[int], nn.Module]] = {
    "weighted_sum": lambda _: WeightedSum(),
    "concatenation": Concatenation,
    "per_channel": PerChannel,
}
"""Name, and how to build the fusion for C channels."""


class StaticWarpSegmenter(nn.Module):
    """The method DWNet is compared with: it needs the flow and the previous features at inference too.

    Args:
        segmenter: any `Segmenter`.
        fusion: of F_t and F^_t, both (B, C, h, w), into (B, C, h, w): one of `FUSIONS`.
    """

    def __init__(self, segmenter: Segmenter, *, fusion: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.fusion = fusion

    def fuse(self, features: Tensor, previous_features: Tensor, flow_px: Tensor) -> Tensor:
        """Logits of the current frame.

        Args:
            features: F_t, (B, C, h, w).
            previous_features: of the previous frame, unfused, (B, C, h, w). Zeros with a flow that points out of the
                frame everywhere mean "no previous frame".
            flow_px: from the current frame to the previous one, (B, 2, H, W), in pixels of the image.

        Returns:
            (B, K, h, w) float.
        """
        flow = resize_flow(flow_px, (features.shape[-2], features.shape[-1]))
        warped, valid = warp(previous_features, flow)
        return self.segmenter.classify(self.fusion(features, torch.where(valid, warped, features)))

    def classify_first(self, features: Tensor) -> Tensor:
        """Logits (B, K, h, w) of a frame without a previous one: F_t (B, C, h, w) stands in for all of F^_t."""
        return self.segmenter.classify(self.fusion(features, features))

    def forward(self, frame: Tensor, previous: Tensor, flow_px: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Training: both frames (B, 3, H, W) to the logits (B, K, h, w) of the first, and those of auxiliary heads."""
        frames = torch.cat((frame, previous))
        both, auxiliary = self.segmenter.features_and_auxiliary(frames, labelled=frame.shape[0])
        features, previous_features = both.chunk(2)
        return self.fuse(features, previous_features, flow_px), auxiliary
