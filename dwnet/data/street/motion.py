"""Exact motion between two frames of the rendered street: flow, and what can be seen in both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dwnet.data.street.geometry import Array
from dwnet.data.street.raster import Raster


def _targets(
    raster: Raster, later_to_pixel: Array, step: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Each (H, W), or every `step`-th pixel of it: x and y in the later frame, and the depth there over that here."""
    carried = later_to_pixel @ raster.to_texture
    x, y, ratio = (raster.plane_rows(carried[:, row], step) for row in range(3))
    safe = np.where(ratio > 1e-6, ratio, np.float32(1))
    x /= safe
    y /= safe
    return x, y, ratio


def coarse_motion(raster: Raster, later_to_pixel: Array, step: int) -> NDArray[np.float32]:
    """(2, ceil(H / step), ceil(W / step)) float32, the motion in pixels of every `step`-th pixel to where
    `later_to_pixel` (R, 3, 3) shows its surface; 0 where that leaves the half space before the camera."""
    height, width = raster.ids.shape
    x, y, ratio = _targets(raster, later_to_pixel, step)
    x -= np.arange(0, width, step, dtype=np.float32)
    y -= np.arange(0, height, step, dtype=np.float32)[:, None]
    flow = np.stack([x, y])
    flow[:, ratio <= 1e-6] = 0
    return flow


def flow_between(raster: Raster, later: Raster, later_to_pixel: Array) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Exact motion from `raster`'s frame to `later`'s: ((2, H, W) float32 flow_px, (H, W) bool visible).

    `later_to_pixel` is (R, 3, 3): for every surface of `raster` its matrix A in the later frame. A pixel is visible if
    its point lies inside the later frame, in front of the camera, and is what that shows at the pixel nearest to it.
    """
    height, width = raster.ids.shape
    x, y, ratio = _targets(raster, later_to_pixel)
    target_x, target_y = np.rint(x), np.rint(y)
    slack = 0.01  # float32: what stays on the picture's very edge is inside
    inside = (ratio > 1e-6) & (x >= -slack) & (x <= width - 1 + slack) & (y >= -slack) & (y <= height - 1 + slack)
    flat = (target_y * width + target_x)[inside].astype(np.intp)
    there = np.take(later.ids, flat)
    here = raster.ids[inside]
    seen = np.take(later.key, there) == np.take(raster.key, here)
    # Another polygon of the same thing (the next panel, the paint on the road) counts as seen if its depth agrees.
    other = np.flatnonzero(~seen)
    rows, cols = np.divmod(np.flatnonzero(inside)[other], width)
    expected = _at(raster, here[other], cols, rows) / ratio[rows, cols]
    rows, cols = np.divmod(flat[other], width)
    near = np.abs(_at(later, there[other], cols, rows) - expected) <= 0.02 * np.abs(expected)
    near &= (raster.surfaces.layer != 0)[here[other]] & (later.surfaces.layer != 0)[there[other]]
    near &= raster.surfaces.label[here[other]] == later.surfaces.label[there[other]]
    near &= raster.surfaces.instance[here[other]] == later.surfaces.instance[there[other]]
    seen[other] = near
    visible = np.zeros((height, width), bool)
    visible[inside] = seen
    x -= np.arange(width, dtype=np.float32)
    y -= np.arange(height, dtype=np.float32)[:, None]
    return np.stack([x, y]), visible


def _at(raster: Raster, ids: NDArray[np.intp], x: NDArray[np.intp], y: NDArray[np.intp]) -> Array:
    """(n,) inverse depth of surfaces `ids` at pixels (x, y)."""
    a, b, c = raster.to_texture[:, 2].T
    return a[ids] * x + b[ids] * y + c[ids]
