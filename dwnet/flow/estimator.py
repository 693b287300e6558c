"""Optical flow estimators, all behind one interface: `estimator(frame, neighbour) -> flow_px`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dwnet.flow.dis import DIS_PRESETS, dis_flow


class FlowEstimator(nn.Module, ABC):
    """Estimates the flow between two frames. An estimator with parameters may be trained jointly."""

    @abstractmethod
    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:
        """The flow from `frame` to `neighbour`.

        Args:
            frame: I_t, (B, 3, H, W) float, RGB, 0..1.
            neighbour: I_{t+k}, the same.

        Returns:
            (B, 2, H, W) float32, (dx, dy) in pixels of the image.
        """


class DISFlow(FlowEstimator):
    """Dense Inverse Search (Kroeger et al., ECCV 2016) by OpenCV, on the CPU: no weights, no gradient.

    Args:
        preset: "ultrafast", "fast" or "medium", from quickest to most exact.
    """

    def __init__(self, *, preset: str = "medium") -> None:
        super().__init__()
        if preset not in DIS_PRESETS:
            raise ValueError(f"unknown DIS preset {preset!r}, allowed are {', '.join(DIS_PRESETS)}")
        self.preset = preset

    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:  # noqa: D102
        return _batched_dis_flow(frame, neighbour, preset=self.preset)


def build_flow(name: str, *, weights: str | Path = "published", trainable: bool = False) -> FlowEstimator:
    """The flow estimator called `name`.

    Args:
        name: a key of `FLOWS`.
        weights: "published" (RAFT: torchvision downloads its own), "none" (random: for what a checkpoint is then loaded
            into), or a weight file. DIS has none, and takes both words as the same.
        trainable: True trains it jointly; False freezes it: no gradient, and evaluation mode even under `train()`.

    Raises:
        ValueError: for a name that is not in `FLOWS`; weights that cannot be fetched, read or do not fit; or DIS with a
            weight file or to be trained.
    """
    if name not in FLOWS:
        raise ValueError(f"unknown flow {name!r}, allowed are {', '.join(FLOWS)}")
    return FLOWS[name](weights, trainable)


def _dis(weights: str | Path, trainable: bool) -> FlowEstimator:
    if trainable or str(weights) not in ("published", "none"):
        asked = "to be trained" if trainable else f"with weights {str(weights)!r}"
        raise ValueError(f"flow 'dis' {asked}: it has no parameters; flows that have are {', '.join(NETWORK_FLOWS)}")
    return DISFlow()


# Networks are imported when one is asked for: the default flow needs none of them.


def _raft_small(weights: str | Path, trainable: bool) -> FlowEstimator:
    from dwnet.flow.raft import RAFTFlow

    return RAFTFlow("small", weights=weights, trainable=trainable)


def _raft_large(weights: str | Path, trainable: bool) -> FlowEstimator:
    from dwnet.flow.raft import RAFTFlow

    return RAFTFlow("large", weights=weights, trainable=trainable)


def _flownet2(weights: str | Path, trainable: bool) -> FlowEstimator:
    from dwnet.flow.flownet2 import FlowNet2Flow

    return FlowNet2Flow(weights=weights, trainable=trainable)


FLOWS: Mapping[str, Callable[[str | Path, bool], FlowEstimator]] = {
    "dis": _dis,
    "raft_small": _raft_small,
    "raft_large": _raft_large,
    "flownet2": _flownet2,
}
"""How each flow estimator is built from weights and trainable, by name."""

NETWORK_FLOWS = tuple(name for name in FLOWS if name != "dis")
"""Those that have weights."""


def _batched_dis_flow(frame: Tensor, neighbour: Tensor, *, preset: str) -> Tensor:
    """`dis_flow` for (B, 3, H, W) float tensors of 0..1: (B, 2, H, W) float32 on their device, without gradient."""
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
