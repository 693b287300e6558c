"""Optical flow on the Middlebury colour wheel."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_numpy
from dwnet.core.errors import DWNetError
from dwnet.viz.images import Image, as_uint8


def flow_to_rgb(flow_px: Array, *, max_px: float | None = None) -> Image:
    """Returns a flow on the Middlebury colour wheel: hue is direction, saturation is magnitude, white is no motion.

    The wheel is that of Baker et al., A database and evaluation methodology for optical flow, IJCV 2011: red means
    right, yellow down, cyan-blue left. Motion beyond `max_px` is darkened. Motion that is not finite is black.

    Args:
        flow_px: (2, H, W), dx right and dy down, in pixels.
        max_px: magnitude at full saturation. To compare frames, use one value for all of them. None uses the largest
            magnitude of this flow.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DWNetError: for another shape, or a `max_px` that is not above 0.
    """
    flow = as_numpy(flow_px)
    if flow.ndim != 3 or flow.shape[0] != 2 or flow.size == 0 or flow.dtype.kind not in "fiu":
        raise DWNetError(f"flow_px is {flow.dtype} of shape {flow.shape}; allowed are numbers of shape (2, H, W)")
    if max_px is not None and not max_px > 0:
        raise DWNetError(f"max_px is {max_px}; allowed are numbers above 0, or None")
    flow = flow.astype(np.float32)
    unknown = ~np.isfinite(flow).all(axis=0)
    flow[:, unknown] = 0
    magnitude, degrees = cv2.cartToPolar(flow[0], flow[1], angleInDegrees=True)
    largest = float(max_px) if max_px is not None else float(magnitude.max())
    saturation = (magnitude / largest if largest else magnitude)[..., None]
    wheel = _wheel()
    hue = wheel.take((degrees * (len(wheel) / 360)).astype(np.int32) % len(wheel), axis=0)
    picture = np.where(saturation <= 1, 255 - saturation * (255 - hue), 0.75 * hue)
    picture[unknown] = 0
    return as_uint8(picture)


def flow_legend(size: int) -> Image:
    """Returns the colour wheel as a disc. The colour of a point means motion from the centre towards that point.

    Args:
        size: height and width in pixels, at least 3.

    Returns:
        (size, size, 3) uint8 RGB; white outside the disc.
    """
    if size < 3:
        raise DWNetError(f"size is {size}; allowed are whole numbers from 3")
    radius = (size - 1) / 2
    axis = np.arange(size, dtype=np.float32) - np.float32(radius)
    flow = np.stack(np.broadcast_arrays(axis, axis[:, None]))
    picture = flow_to_rgb(flow, max_px=radius)
    picture[np.hypot(flow[0], flow[1]) > radius] = 255
    return picture


@lru_cache(maxsize=1)
def _wheel() -> NDArray[np.float32]:
    """Returns the Middlebury wheel, (n, 3) in 0..255: entry i has the angle 360 i/n degrees, clockwise from right.

    The wheel has 55 anchors on six arcs. One channel changes along each arc: red - yellow in 15 steps,
    yellow - green 6, green - cyan 4, cyan - blue 11, blue - magenta 13, magenta - red 6.
    """
    arcs = (
        # steps, colour at the start, colour at the end
        (15, (255, 0, 0), (255, 255, 0)),
        (6, (255, 255, 0), (0, 255, 0)),
        (4, (0, 255, 0), (0, 255, 255)),
        (11, (0, 255, 255), (0, 0, 255)),
        (13, (0, 0, 255), (255, 0, 255)),
        (6, (255, 0, 255), (255, 0, 0)),
    )
    anchors = np.concatenate(
        [
            # The published wheel rounds its anchors down.
            np.array(start) + np.sign(np.subtract(end, start)) * np.floor(255 * np.arange(steps) / steps)[:, None]
            for steps, start, end in arcs
        ]
    )
    entries = 3600
    # As published, a full turn spans the 54 steps between the 55 anchors. The last step, back to red, is a jump.
    position = np.arange(entries) / entries * (len(anchors) - 1)
    channels = [np.interp(position, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.float32)
