"""Rasterisation of the rendered street: the surface at each sample.

Polygons are painted from far to near into a map of surface numbers, with 2x2 samples per pixel. Labels, depth, flow and
colour are computed from this map and the homography of each surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.street.geometry import (
    NEAR_M,
    Array,
    Camera,
    Surfaces,
    clip_near,
    determinant3,
    inverse3,
    project,
    texture_to_pixel,
)
from dwnet.street.library import MIP_LEVELS, Atlas

SAMPLES = 2
"""Samples per pixel along each axis."""
GROUND_LAYERS = 2
"""Layers 0 (sky) .. GROUND_LAYERS - 1 are painted in the given order. Shadows fall on layer 1, the ground."""
_SHIFT = 4


@dataclass(frozen=True)
class Raster:
    """The surface at each sample of a frame."""

    samples: NDArray[np.uint16]
    """(4, H, W) surface numbers into the tables below, of the four samples of each pixel."""
    ids: NDArray[np.intp]
    """(H, W) surface of the second nearest of the pixel's four samples. Where two surfaces share the pixel, it is the
    one that covers more of it, or the nearer one if they cover half each."""
    key: NDArray[np.int64]
    """(R,) number of each surface in the world."""
    surfaces: Surfaces
    """R surfaces in painting order."""
    to_pixel: Array
    """(R, 3, 3) maps from texture point to homogeneous pixel."""
    to_texture: Array
    """(R, 3, 3) inverses of `to_pixel`: pixel to (u, v, 1) / depth."""
    camera: Camera
    near_key: NDArray[np.int64]
    """(N,) numbers of all surfaces passed in, drawn or not, in ascending order."""
    near_to_pixel: Array
    """(N, 3, 3) maps from texture point to homogeneous pixel, of the surfaces in `near_key`."""

    def plane_rows(self, rows: Array, step: int = 1) -> NDArray[np.float32]:
        """(H, W) values a x + b y + c, with (a, b, c) from the surface's `rows` (R, 3), at every `step`-th pixel."""
        return plane_rows(self.ids, rows, step)

    def depth(self) -> NDArray[np.float32]:
        """(H, W) distance along the optical axis at the pixels' centres [m]; inf in the sky."""
        rows = np.where(self.surfaces.layer[:, None] == 0, 0, self.to_texture[:, 2])
        inverse = self.plane_rows(rows)
        np.maximum(inverse, 0, out=inverse)
        with np.errstate(divide="ignore"):
            return np.divide(1, inverse, out=inverse)


def plane_rows(ids: NDArray[np.integer], rows: Array, step: int = 1) -> NDArray[np.float32]:
    """Returns `Raster.plane_rows` for any map of surface numbers `ids`, (H, W)."""
    height, width = ids.shape
    ids = ids if step == 1 else np.ascontiguousarray(ids[::step, ::step])
    a, b, c = (np.take(column, ids, mode="wrap") for column in np.ascontiguousarray(rows.T).astype(np.float32))
    a *= np.arange(0, width, step, dtype=np.float32)
    b *= np.arange(0, height, step, dtype=np.float32)[:, None]
    a += b
    a += c
    return a


def rasterise(surfaces: Surfaces, keys: NDArray[np.int64], distance: Array, camera: Camera, atlas: Atlas) -> Raster:
    """Returns the raster of all surfaces.

    Painting order: by layer, then from the largest `distance` (N,) to the smallest, then by the order in the object.
    The first surface must be the sky. It is painted everywhere.
    """
    height, width = camera.size
    near_to_pixel = to_pixel = texture_to_pixel(surfaces, camera)
    pixels, depth = project(surfaces.corners, camera)
    by_corner = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    low, high = by_corner.min(0).T, by_corner.max(0).T
    crossing: NDArray[np.bool_] = np.asarray((depth < NEAR_M).any(1))
    inside = (high[:, 0] > -0.5) & (low[:, 0] < width) & (high[:, 1] > -0.5) & (low[:, 1] < height)
    big = (high - low).max(1) > 0.5
    masked = atlas.has_holes[surfaces.texture]
    in_reach = np.where(crossing, (depth >= NEAR_M).any(1) & ~masked, inside & big)
    drawn: NDArray[np.bool_] = np.logical_and(in_reach, surfaces.two_sided | (determinant3(to_pixel) > 0))
    drawn[0] = True
    rank = np.where(surfaces.layer < GROUND_LAYERS, np.arange(len(surfaces)), -distance)
    order = np.lexsort((surfaces.order, rank, surfaces.layer))
    order = order[drawn[order]]

    samples = np.zeros((height * SAMPLES, width * SAMPLES), np.uint16)
    surfaces, to_pixel, crossing, masked = surfaces.take(order), to_pixel[order], crossing[order], masked[order]
    fixed = _polygons(pixels[order])
    masks = _place_masks(
        np.flatnonzero(masked), surfaces.texture, to_pixel, low[order], high[order], camera.size, atlas
    )
    crossing_list, masked_list = crossing.tolist(), masked.tolist()
    for number in range(1, len(order)):
        if masked_list[number]:
            mask, matrix, (x0, y0, x1, y1) = masks[number]
            if x1 > x0 and y1 > y0:
                there = cv2.warpPerspective(mask, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
                # Numbers increase in painting order, so the later surface has the larger number. This is faster than
                # masked writing.
                view = samples[y0:y1, x0:x1]
                np.maximum(view, (there > 127) * np.uint16(number), out=view)
        elif crossing_list[number]:
            cut = clip_near(surfaces.corners[number], camera)
            if len(cut) >= 3:
                cv2.fillConvexPoly(samples, _to_fixed(cut), number, cv2.LINE_8, _SHIFT)
        else:
            cv2.fillConvexPoly(samples, fixed[number], number, cv2.LINE_8, _SHIFT)
    a, b, c, d = planes = np.stack([samples[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    second = np.maximum(np.maximum(np.minimum(a, b), np.minimum(c, d)), np.minimum(np.maximum(a, b), np.maximum(c, d)))
    by_key = np.argsort(keys)
    return Raster(
        planes, second.astype(np.intp), keys[order], surfaces, to_pixel, inverse3(to_pixel), camera,
        keys[by_key], near_to_pixel[by_key],
    )  # fmt: skip


def _polygons(pixels: Array) -> list[NDArray[np.int32]]:
    """Returns the polygons (N, MAX_CORNERS, 2) without repeated last corners, which would slow down painting."""
    fixed = _to_fixed(pixels)
    count = 2 + ((fixed[:, 1:] != fixed[:, -1:]).any(2) * np.arange(fixed.shape[1] - 1)).max(1)
    return [polygon[: n + 1] for polygon, n in zip(fixed, count.tolist(), strict=True)]


def _to_fixed(pixels: Array) -> NDArray[np.int32]:
    scaled = ((pixels + 0.5) * SAMPLES - 0.5) * (1 << _SHIFT)
    return np.clip(np.rint(scaled), -(2**27), 2**27).astype(np.int32)


_Mask = tuple[NDArray[np.uint8], Array, tuple[int, int, int, int]]


def _place_masks(
    index: NDArray[np.intp],
    texture: NDArray[np.int32],
    to_pixel: Array,
    low: Array,
    high: Array,
    size: tuple[int, int],
    atlas: Atlas,
) -> dict[int, _Mask]:
    """Returns mask, homography and bounding box [samples] by number, for the surfaces with holes at `index`."""
    rows, cols = size[0] * SAMPLES, size[1] * SAMPLES
    box_low = np.maximum(np.floor((low[index] + 0.5) * SAMPLES), 0).astype(int)
    box_high = np.minimum(np.ceil((high[index] + 0.5) * SAMPLES) + 1, (cols, rows)).astype(int)
    span = np.maximum(1.0, (high[index, 1] - low[index, 1]) * SAMPLES)
    texels = np.maximum(1.0, atlas.size[texture[index], 1] / span)
    level = np.clip(np.floor(np.log2(texels)), 0, MIP_LEVELS - 1).astype(int).tolist()
    chosen = [atlas.alpha[t][n] for t, n in zip(texture[index].tolist(), level, strict=True)]
    shape = np.array([mask.shape for mask in chosen], float).reshape(-1, 2)
    # texel -> texture point (texel centres lie at half steps) -> pixel -> sample inside the box
    a = to_pixel[index]
    across, down = a[:, :, 0] / shape[:, 1:], a[:, :, 1] / shape[:, :1]
    matrix = np.stack([across, down, a[:, :, 2] + 0.5 * (across + down)], 2)
    shift = (SAMPLES - 1) / 2 - box_low
    matrix[:, :2] = matrix[:, :2] * SAMPLES + shift[:, :, None] * matrix[:, 2:]
    boxes = np.concatenate([box_low, box_high], 1).tolist()
    return {n: (m, h, tuple(b)) for n, m, h, b in zip(index.tolist(), chosen, matrix, boxes, strict=True)}
