"""DWNet (section 3.1, Fig. 2): the training graph around a per-frame segmenter. Inference runs the segmenter alone."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.method.fgconv import FlowGuidedConv2d
from dwnet.method.flow_refinement import FlowRefinement
from dwnet.ops.resize import resize_flow
from dwnet.ops.warp import warp
from dwnet.segmentation import Segmenter


@dataclass(frozen=True)
class DWNetOutput:
    """Features, logits and flows of one pair of frames. h x w is the size of the segmenter's feature map.

    Attributes:
        features: F_t, (B, C, h, w).
        warped_features: F^_t, (B, C, h, w), the neighbour's features warped onto frame t.
        logits: P_t before softmax, (B, K, h, w).
        warped_logits: P^_t before softmax, (B, K, h, w).
        valid: (B, 1, h, w) bool, False where the flow leaves the map (with FG-Conv: the flow of the centre tap).
        flow_px: the flow or flows that warped the features, (B, 2 or 2 s^2, h, w), in pixels of the map.
        refined_flow_px: the FRM's output before it was resized to the map, (B, 2 s^2, ceil(H / 8), ceil(W / 8)), in
            pixels of this stride-8 map; None without FRM.
        auxiliary_logits: logits of the segmenter's auxiliary heads for frame t, each (B, K, h', w').
    """

    features: Tensor
    warped_features: Tensor
    logits: Tensor
    warped_logits: Tensor
    valid: Tensor
    flow_px: Tensor
    refined_flow_px: Tensor | None
    auxiliary_logits: tuple[Tensor, ...]


class DWNet(nn.Module):
    """Section 3.1: the training network. It segments both frames and warps the neighbour's features onto frame t.

    Args:
        segmenter: any `Segmenter`, shared by both frames; at inference it is used alone.
        refinement: the FRM; None warps by the coarse flow (Table 1, rows without FRM).
        fg_conv: the flow-guided convolution; None uses the plain warp of Eq. 1 (Table 1, "Warp").

    Raises:
        DWNetError: if the parts do not fit each other.
    """

    def __init__(
        self, segmenter: Segmenter, *, refinement: FlowRefinement | None, fg_conv: FlowGuidedConv2d | None
    ) -> None:
        super().__init__()
        if fg_conv is not None and fg_conv.channels != segmenter.channels:
            raise DWNetError(
                f"FG-Conv has {fg_conv.channels} channels, the segmenter's features have {segmenter.channels}"
            )
        taps = 1 if fg_conv is None else fg_conv.kernel_size
        if refinement is not None and refinement.kernel_size not in (1, taps):
            raise DWNetError(f"FRM is built for s = {refinement.kernel_size}, the warp needs s = {taps}")
        self.segmenter = segmenter
        self.refinement = refinement
        self.fg_conv = fg_conv

    def forward(self, frame: Tensor, neighbour: Tensor, flow_px: Tensor) -> DWNetOutput:
        """Runs the segmenter on both frames and warps the neighbour's features onto frame t.

        Args:
            frame: I_t, (B, 3, H, W) float, RGB, 0..1, H and W multiples of the segmenter's `multiple`.
            neighbour: I_{t+k}, of the same shape.
            flow_px: coarse flow from t to t+k, (B, 2, H, W), in pixels of the image.
        """
        # One pass over both frames, so that they share the batch statistics.
        both, auxiliary = self.segmenter.features_and_auxiliary(torch.cat((frame, neighbour)), labelled=frame.shape[0])
        features, neighbour_features = both.chunk(2)
        size = (features.shape[-2], features.shape[-1])
        refined = None if self.refinement is None else self.refinement(frame, neighbour, flow_px)
        flow = resize_flow(flow_px if refined is None else refined, size)
        if self.fg_conv is None:
            warped, valid = warp(neighbour_features, flow)
        else:
            warped, valid = self.fg_conv(neighbour_features, flow)
        return DWNetOutput(
            features=features,
            warped_features=warped,
            logits=self.segmenter.classify(features),
            warped_logits=self.segmenter.classify(warped),
            valid=valid,
            flow_px=flow,
            refined_flow_px=refined,
            auxiliary_logits=auxiliary,
        )
