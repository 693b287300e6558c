"""Static warp at inference (Table 4, "sum"): the previous features, warped by the plain flow, fused into F_t."""

import torch
from torch import Tensor, nn

from dwnet.segmentation import Segmenter
from dwnet.warp import resize_flow, warp


class WeightedSum(nn.Module):
    """F_t and the warped features in a learned weighted sum: (1 - a) F_t + a F^_t, a = sigmoid(weight), at first 1/2.

    Convex, where NetWarp's two weights are free: their common scale is the classifier's. Where the flow leaves the
    previous frame nothing was warped, and F_t stands alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, warped: Tensor, valid: Tensor) -> Tensor:
        """(B, C, h, w), (B, C, h, w) and (B, 1, h, w) bool to the fused (B, C, h, w)."""
        share = torch.sigmoid(self.weight) * valid.to(features.dtype)
        return features + share * (warped - features)


class StaticWarpSegmenter(nn.Module):
    """The method DWNet is compared with: it needs the flow and the previous features at inference too.

    Args:
        segmenter: any `Segmenter`.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.fusion = WeightedSum()

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
        return self.segmenter.classify(self.fusion(features, warped, valid))

    def forward(self, frame: Tensor, previous: Tensor, flow_px: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Training: both frames (B, 3, H, W) to the logits (B, K, h, w) of the first, and those of auxiliary heads."""
        both, auxiliary = self.segmenter.features_and_auxiliary(torch.cat((frame, previous)))
        features, previous_features = both.chunk(2)
        return self.fuse(features, previous_features, flow_px), tuple(logits.chunk(2)[0] for logits in auxiliary)
