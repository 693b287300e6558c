"""Runs a network once on a small frame when it is opened, so that one that cannot run is refused there."""

from typing import Any

import numpy as np

from dwnet.core.errors import DWNetError
from dwnet.deploy.foreign import ForeignSegmenter
from dwnet.deploy.network_info import NetworkFileError
from dwnet.deploy.onnx_networks import OnnxFlowRefinement, OnnxSegmenter

SMALL = (64, 96)
"""(H, W) of the first frame in pixels; its sides are rounded up to the network's multiple."""
LARGER = (256, 320)
"""(H, W) of the second frame, for a network whose deepest map would be too small at `SMALL`."""


def probe(network: OnnxSegmenter | OnnxFlowRefinement) -> None:
    """Runs a network on a small frame; one with a reference frame also runs on the frame after it.

    Raises:
        NetworkFileError: if the network cannot run, returns arrays of a wrong shape, or returns NaN.
    """
    try:
        _run(network, SMALL)
    except DWNetError as first:
        try:
            _run(network, LARGER)
        except DWNetError:
            raise first from None


def trial_frame(size: tuple[int, int]) -> np.ndarray:
    """Returns a uint8 (H, W, 3) frame for trials: coarse blocks of random colours, equal in every call."""
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (-(-size[0] // 8), -(-size[1] // 8), 3), np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]]


def _run(network: OnnxSegmenter | OnnxFlowRefinement, size: tuple[int, int]) -> None:
    multiple = network.info.multiple
    rows, columns = (-(-side // multiple) * multiple for side in size)
    frame = trial_frame((rows, columns))
    still = np.zeros((2, rows, columns), np.float32)
    if isinstance(network, OnnxFlowRefinement):
        _check(network, "refined flow", network.refine(frame, frame, still), still.shape)
        return
    trial = network.fresh()
    trial.reset()
    outputs = (len(trial.info.classes), rows, columns)
    if isinstance(trial, ForeignSegmenter) and not trial.scored:
        _check(trial, "label map", trial.labels(frame), (rows, columns))
        return
    _check(trial, "scores", trial.logits(frame), outputs)
    if trial.reference is not None:
        _check(trial, "scores", trial.logits(frame, still), outputs)


def _check(network: Any, what: str, found: np.ndarray, expected: tuple[int, ...]) -> None:
    if found.shape != expected:
        raise NetworkFileError(
            f"{network.info.path}: {what} of shape {found.shape} for a frame of {expected[-1]}x{expected[-2]} px; "
            f"expected {expected}"
        )
    if np.isnan(found).any():
        raise NetworkFileError(f"{network.info.path}: {what} of a small frame that are not numbers (NaN)")
