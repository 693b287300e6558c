"""Flow estimators by name, on tensors (`build_flow`) and on arrays (`flow_function`).

An estimator is imported when it is built. DIS, the default, and Farnebäck need no PyTorch on arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from dwnet.core.errors import DWNetError

if TYPE_CHECKING:
    from dwnet.flow.base import FlowEstimator

FlowName = Literal["dis", "farneback", "raft_small", "raft_large", "flownet2"]
"""Name of a flow estimator."""

FLOW_NAMES: tuple[FlowName, ...] = get_args(FlowName)
"""All names."""

IDENTITY = "identity"
"""No motion: a flow of zeros, a control in training (`train/ablation/tables.py`). It cannot judge flicker, so
`FLOW_NAMES` does not have it."""

NETWORK_FLOWS = tuple(name for name in FLOW_NAMES if name not in ("dis", "farneback"))
"""Names of the estimators that have weights."""

FlowFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes two uint8 (H, W, 3) RGB frames. Returns the flow from the first to the second, float32 (2, H, W), in pixels."""


def build_flow(name: str, *, weights: str | Path = "published", trainable: bool = False) -> FlowEstimator:
    """Returns a flow estimator.

    Args:
        name: one of `FLOW_NAMES`, or `IDENTITY`.
        weights: "published" (torchvision downloads RAFT's; FlowNet2's cannot be downloaded), "none" (random weights, if
            a checkpoint is loaded afterwards), or a weight file. DIS and Farnebäck have no weights and accept
            "published" and "none".
        trainable: True trains it jointly; False freezes it: no gradient, and evaluation mode even under `train()`.

    Raises:
        DWNetError: for an unknown name, for weights that cannot be fetched or read or that do not fit, and for DIS or
            Farnebäck with a weight file or `trainable`.
    """
    if name == IDENTITY:
        _check_no_parameters(name, weights, trainable)
        from dwnet.flow.identity import IdentityFlow

        return IdentityFlow()
    if name not in FLOWS:
        raise DWNetError(f"unknown flow {name!r}, allowed are {', '.join(FLOW_NAMES)}")
    return FLOWS[name](weights, trainable)  # type: ignore[index]


def flow_function(name: str, *, weights: str | Path = "published") -> FlowFunction:
    """Returns a flow estimator as a function of arrays. PyTorch is imported only for a network.

    A network runs on this process's GPU if there is one. Threads may share the function; calls of a network run one at
    a time.

    Args:
        name: one of `FLOW_NAMES`.
        weights: as for `build_flow`.

    Raises:
        DWNetError: under the same conditions as `build_flow`.
    """
    if name in ("dis", "farneback") and str(weights) in ("published", "none"):
        from dwnet.flow.dis import dis_flow
        from dwnet.flow.farneback import farneback_flow

        return dis_flow if name == "dis" else farneback_flow
    from dwnet.flow.on_arrays import on_arrays

    return on_arrays(build_flow(name, weights=weights))


def _check_no_parameters(name: str, weights: str | Path, trainable: bool) -> None:
    if trainable or str(weights) not in ("published", "none"):
        asked = "cannot be trained" if trainable else f"cannot load weights {str(weights)!r}"
        raise DWNetError(
            f"flow {name!r} {asked}: it has no parameters; flows with parameters are {', '.join(NETWORK_FLOWS)}"
        )


def _farneback(weights: str | Path, trainable: bool) -> FlowEstimator:
    _check_no_parameters("farneback", weights, trainable)
    from dwnet.flow.farneback_estimator import FarnebackFlow

    return FarnebackFlow()


def _dis(weights: str | Path, trainable: bool) -> FlowEstimator:
    _check_no_parameters("dis", weights, trainable)
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


FLOWS: Mapping[FlowName, Callable[[str | Path, bool], FlowEstimator]] = {
    "dis": _dis,
    "farneback": _farneback,
    "raft_small": _raft_small,
    "raft_large": _raft_large,
    "flownet2": _flownet2,
}
"""Builder of each flow estimator, by name. Its arguments are weights and trainable."""
