"""OpenCV's DIS flow as an estimator on tensors."""

import numpy as np
import torch
from torch import Tensor

from dwnet.core.errors import DWNetError
from dwnet.flow.base import FlowEstimator
from dwnet.flow.dis import DIS_PRESETS, dis_flow


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
        return _batched_dis_flow(frame, neighbour, preset=self.preset)


def _batched_dis_flow(frame: Tensor, neighbour: Tensor, *, preset: str) -> Tensor:
    """Returns `dis_flow` of (B, 3, H, W) float tensors of 0..1: (B, 2, H, W) float32 on their device, no gradient."""
    with torch.no_grad():
        frames, neighbours = (
            (images.detach().float() * 255).round().clamp(0, 255).to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
            for images in (frame, neighbour)
        )
        flows = [
            dis_flow(np.ascontiguousarray(a), np.ascontiguousarray(b), preset=preset)
            for a, b in zip(frames, neighbours, strict=True)
        ]
        return torch.from_numpy(np.stack(flows)).to(frame.device)
