"""Every flow estimator by its name, on tensors (`build_flow`) and on arrays (`flow_function`).

Estimators are imported when one is asked for: DIS on arrays, the default, needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dwnet.core.errors import DWNetError
from dwnet.flow.dis import dis_flow

if TYPE_CHECKING:
    from dwnet.flow.base import FlowEstimator

FlowFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two uint8 (H, W, 3) RGB frames -> float32 (2, H, W): the flow from the first to the second, in pixels."""


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
        raise DWNetError(f"unknown flow {name!r}, allowed are {', '.join(FLOWS)}")
    return FLOWS[name](weights, trainable)


def flow_function(name: str, *, weights: str | Path = "published") -> FlowFunction:
    """The flow called `name`, on arrays. PyTorch is imported only for one that needs it.

    A network runs on this process's GPU where there is one. Threads may share the function; its network serves one at a
    time.

    Args:
        name: one of `FLOW_NAMES`.
        weights: as for `build_flow`.

    Raises:
        ValueError: as `build_flow`.
    """
    if name == "dis" and str(weights) in ("published", "none"):
        return dis_flow
    from dwnet.flow.on_arrays import on_arrays

    return on_arrays(build_flow(name, weights=weights))


def _dis(weights: str | Path, trainable: bool) -> FlowEstimator:
    if trainable or str(weights) not in ("published", "none"):
        asked = "to be trained" if trainable else f"with weights {str(weights)!r}"
        raise DWNetError(f"flow 'dis' {asked}: it has no parameters; flows that have are {', '.join(NETWORK_FLOWS)}")
    from dwnet.flow.dis_estimator import DISFlow

    return DISFlow()


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

FLOW_NAMES = tuple(FLOWS)
"""Every name."""
