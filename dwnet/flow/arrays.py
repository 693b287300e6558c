"""Every flow as a function of arrays: what comparison and evaluation measure flicker along."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dwnet.flow.dis import dis_flow
from dwnet.processes import Processes, device

if TYPE_CHECKING:
    from dwnet.flow.estimator import FlowEstimator

FlowFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two uint8 (H, W, 3) RGB frames -> float32 (2, H, W): the flow from the first to the second, in pixels."""

FLOW_NAMES = ("dis", "raft_small", "raft_large", "flownet2")
"""Every flow by name: the keys of `dwnet.flow.estimator.FLOWS`, without PyTorch."""


def flow_function(name: str, *, weights: str | Path = "published") -> FlowFunction:
    """The flow called `name`, on arrays. PyTorch is imported only for one that needs it.

    A network runs on this process's GPU where there is one. Threads may share the function; its network serves one at a
    time.

    Args:
        name: one of `FLOW_NAMES`.
        weights: as for `dwnet.flow.estimator.build_flow`.

    Raises:
        ValueError: as `build_flow`.
    """
    if name == "dis" and str(weights) in ("published", "none"):
        return dis_flow
    from dwnet.flow.estimator import build_flow

    return _on_arrays(build_flow(name, weights=weights))


def _on_arrays(estimator: FlowEstimator) -> FlowFunction:
    import torch

    # By its number: threads have no current GPU of their process's.
    where = device(Processes.of_launcher())
    estimator = estimator.to(where).eval()
    one_at_a_time = threading.Lock()  # torchvision's RAFT keeps what it is computing in the module

    def flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        for which, image in (("frame", frame), ("neighbour", neighbour)):
            if image.dtype != np.uint8 or image.shape != frame.shape or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(
                    f"{which} is {image.dtype} of shape {image.shape}; flow needs two uint8 frames of one (H, W, 3)"
                )
        with one_at_a_time, torch.inference_mode():
            images = (
                torch.from_numpy(np.ascontiguousarray(image)).to(where).permute(2, 0, 1)[None].float() / 255
                for image in (frame, neighbour)
            )
            return estimator(*images)[0].cpu().numpy()

    return flow
