"""OpenCV's DIS flow as an estimator on tensors."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from dwnet.core.errors import DWNetError
from dwnet.flow.base import FlowEstimator
from dwnet.flow.dis import DIS_PRESETS, dis_flow
from dwnet.flow.registry import FlowFunction

_TOLERANCE = 0.01
"""Interpolation and rounding may leave the range 0..1 by this much."""


class DISFlow(FlowEstimator):
    """Dense Inverse Search (Kroeger et al., ECCV 2016) by OpenCV, on the CPU, without weights and without gradient.

    Args:
        preset: "ultrafast", "fast" or "medium", from fastest to most accurate.

    Raises:
        DWNetError: for an unknown preset.
    """

    def __init__(self, *, preset: str = "medium") -> None:
        super().__init__()
        if preset not in DIS_PRESETS:
            raise DWNetError(f"unknown DIS preset {preset!r}, allowed are {', '.join(DIS_PRESETS)}")
        self.preset = preset

    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:  # noqa: D102
        return batched(frame, neighbour, partial(dis_flow, preset=self.preset))


def batched(frame: Tensor, neighbour: Tensor, flow: FlowFunction) -> Tensor:
    """Returns the flow of (B, 3, H, W) float tensors of 0..1: (B, 2, H, W) float32 on their device, no gradient."""
    for name, images in (("frame", frame), ("neighbour", neighbour)):
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point() or images.shape != frame.shape:
            raise DWNetError(
                f"{name} is {images.dtype} of shape {tuple(images.shape)}; allowed are two floating point images "
                "of one shape (B, 3, H, W)"
            )
        # A copy to the CPU follows anyway, so reading the range costs no further wait.
        low, high = (float(value) for value in images.detach().aminmax())
        if not -_TOLERANCE <= low <= high <= 1 + _TOLERANCE:
            raise DWNetError(f"{name} has values {low:.4g}..{high:.4g}; allowed are RGB values 0..1")
    with torch.no_grad():
        frames, neighbours = (
            (images.detach().float() * 255).round().clamp(0, 255).to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
            for images in (frame, neighbour)
        )
        flows = [
            flow(np.ascontiguousarray(a), np.ascontiguousarray(b)) for a, b in zip(frames, neighbours, strict=True)
        ]
        return torch.from_numpy(np.stack(flows)).to(frame.device)
