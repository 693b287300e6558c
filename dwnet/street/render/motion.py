"""Exact motion between two frames of the rendered street: flow and visibility."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dwnet.street.geometry import Array
from dwnet.street.render.raster import Raster, plane_rows


@dataclass(frozen=True)
class Motion:
    """Exact motion from one frame to another, and the maps from which it is computed."""

    flow_px: NDArray[np.float32]
    """(2, H, W): (dx, dy) in pixels."""
    visible: NDArray[np.bool_]
    """(H, W), True where the point is visible in the other frame."""
    ids: NDArray[np.integer]
    """(H, W) surface at each pixel."""
    carried: Array
    """(R, 3, 3) for each surface: pixel in this frame to homogeneous pixel in the other."""


def _targets(
    ids: NDArray[np.integer], carried: Array, step: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Returns x, y and (depth there / depth here) in the other frame, each (H, W), or for every `step`-th pixel."""
    x, y, ratio = (plane_rows(ids, carried[:, row], step) for row in range(3))
    safe = np.where(ratio > 1e-6, ratio, np.float32(1))
    x /= safe
    y /= safe
    return x, y, ratio


def coarse_motion(raster: Raster, later_to_pixel: Array, step: int) -> NDArray[np.float32]:
    """(2, ceil(H / step), ceil(W / step)) float32 motion in pixels of every `step`-th pixel.

    `later_to_pixel` (R, 3, 3) maps each surface into the later frame. The motion is 0 for points that are behind the
    camera in the later frame.
    """
    height, width = raster.ids.shape
    x, y, ratio = _targets(raster.ids, later_to_pixel @ raster.to_texture, step)
    x -= np.arange(0, width, step, dtype=np.float32)
    y -= np.arange(0, height, step, dtype=np.float32)[:, None]
    flow = np.stack([x, y])
    flow[:, ratio <= 1e-6] = 0
    return flow


def flow_of(ids: NDArray[np.integer], carried: Array) -> NDArray[np.float32]:
    """(2, H, W) float32 flow in pixels of surfaces `ids` (H, W); `carried` (R, 3, 3) maps pixels of each surface."""
    x, y, _ = _targets(ids, carried)
    return _less_grid(x, y)


def _less_grid(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = x.shape
    x -= np.arange(width, dtype=np.float32)
    y -= np.arange(height, dtype=np.float32)[:, None]
    return np.stack([x, y])


def motion_between(raster: Raster, later: Raster, later_to_pixel: Array) -> Motion:
    """Returns the exact motion from the frame of `raster` to the frame of `later`.

    `later_to_pixel` (R, 3, 3) holds the matrix A of every surface of `raster` in the later frame. A pixel is visible if
    its point is in front of the later camera, inside the later frame, and on the surface shown at the nearest pixel.
    """
    height, width = raster.ids.shape
    carried = later_to_pixel @ raster.to_texture
    x, y, ratio = _targets(raster.ids, carried)
    target_x, target_y = np.rint(x), np.rint(y)
    slack = 0.01  # float32 rounding: points on the edge of the picture are inside
    inside = (ratio > 1e-6) & (x >= -slack) & (x <= width - 1 + slack) & (y >= -slack) & (y <= height - 1 + slack)
    target_y *= width
    target_y += target_x
    flat = np.where(inside, target_y, np.float32(0)).astype(np.intp)
    there = np.take(later.ids, flat, mode="wrap")
    visible = np.take(_counterparts(raster.key, later.key), raster.ids, mode="wrap") == there
    visible &= inside
    # Another polygon of the same object (next panel, paint on the road) counts as visible if its depth agrees.
    other = np.flatnonzero(inside & ~visible)
    one, two = raster.ids.ravel()[other], there.ravel()[other]
    rows, cols = np.divmod(other, width)
    expected = _at(raster, one, cols, rows) / ratio.ravel()[other]
    rows, cols = np.divmod(flat.ravel()[other], width)
    near = np.abs(_at(later, two, cols, rows) - expected) <= 0.02 * np.abs(expected)
    near &= (raster.surfaces.layer != 0)[one] & (later.surfaces.layer != 0)[two]
    near &= raster.surfaces.label[one] == later.surfaces.label[two]
    near &= raster.surfaces.instance[one] == later.surfaces.instance[two]
    visible.ravel()[other] = near
    return Motion(_less_grid(x, y), visible, raster.ids, carried)


def _counterparts(keys: NDArray[np.int64], later_keys: NDArray[np.int64]) -> NDArray[np.intp]:
    """(R,) index of each of `keys` (R,) in `later_keys`, -1 if absent; keys are unique."""
    order = np.argsort(later_keys)
    row = order[np.minimum(np.searchsorted(later_keys, keys, sorter=order), len(order) - 1)]
    return np.where(later_keys[row] == keys, row, -1)


def _at(raster: Raster, ids: NDArray[np.intp], x: NDArray[np.intp], y: NDArray[np.intp]) -> Array:
    """(n,) inverse depth of surfaces `ids` at pixels (x, y)."""
    a, b, c = raster.to_texture[:, 2].T
    return a[ids] * x + b[ids] * y + c[ids]
