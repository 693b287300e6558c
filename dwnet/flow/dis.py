"""OpenCV's DIS flow as a function of arrays."""

import threading

import cv2
import numpy as np

from dwnet.core.errors import DWNetError

DIS_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}

MIN_SIDE_PX = 24
"""Smallest image side of OpenCV's flows. DIS matches 8-pixel patches in a pyramid and fails on smaller images."""

_per_thread = threading.local()  # an OpenCV estimator holds scratch memory, so threads cannot share it


def dis_flow(frame: np.ndarray, neighbour: np.ndarray, *, preset: str = "medium") -> np.ndarray:
    """Returns the DIS flow between two frames.

    Args:
        frame: I_t, (H, W, 3) RGB or (H, W) grey, uint8.
        neighbour: I_{t+k}, of the same shape.
        preset: a key of `DIS_PRESETS`.

    Returns:
        (2, H, W) float32, (dx, dy) in pixels, from `frame` to `neighbour`.

    Raises:
        DWNetError: for an unknown preset, or if the frames differ in shape, are not uint8, or are smaller than 24 px.
    """
    if preset not in DIS_PRESETS:
        raise DWNetError(f"unknown DIS preset {preset!r}, allowed are {', '.join(DIS_PRESETS)}")
    check_frames("DIS", frame, neighbour)
    # A frame too small for its pyramid changes an estimator's settings permanently, so each size gets its own.
    made_for = (preset, frame.shape[:2])
    if getattr(_per_thread, "made_for", None) != made_for:
        _per_thread.estimator = cv2.DISOpticalFlow.create(DIS_PRESETS[preset])
        _per_thread.made_for = made_for
    flow = _per_thread.estimator.calc(grey(frame), grey(neighbour), None)
    return np.ascontiguousarray(flow.transpose(2, 0, 1))


def check_frames(flow: str, frame: np.ndarray, neighbour: np.ndarray) -> None:
    """Raises DWNetError unless OpenCV's flow named `flow` can read both frames."""
    for name, image in (("frame", frame), ("neighbour", neighbour)):
        fits = image.shape == frame.shape and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
        if image.dtype != np.uint8 or not fits or min(image.shape[:2]) < MIN_SIDE_PX:
            raise DWNetError(
                f"{name} is {image.dtype} of shape {image.shape}; {flow} flow needs two uint8 frames of one shape, "
                f"at least {MIN_SIDE_PX} x {MIN_SIDE_PX}"
            )


def grey(image: np.ndarray) -> np.ndarray:
    """Returns the grey image, (H, W) uint8, of an RGB or grey one."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
