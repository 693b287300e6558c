"""Light on the ground of the rendered street: shadows, and pools of light below street lamps."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.street.geometry import NEAR_M, Array, Camera, clip_near, project

_RINGS = 10
_POOL_M = (1.6, 3.2, 5.0, 7.0, 9.5, 12.0)
_POOL_LIGHT = (230, 170, 115, 70, 35, 14)


def shadow_map(
    polygons: Array, hulls: Array, blobs: list[tuple[Array, NDArray[np.uint8]]], camera: Camera, softness: float
) -> NDArray[np.float32]:
    """Returns the share of the sun's light that reaches the ground at each pixel.

    Args:
        polygons: (N, k, 3) convex polygons on the ground, in the shade.
        hulls: (M, k, 3) points on the ground. Their convex hulls are in the shade.
        blobs: (4, 3) quadrilaterals on the ground, each with the (h, w) uint8 mask of its shadow.
        camera: the camera.
        softness: standard deviation of the edges [pixels].

    Returns:
        (H, W) float32 0..1.
    """
    height, width = camera.size
    lit = np.full((height, width), 255, np.uint8)
    for points in _seen(polygons, camera):
        cv2.fillConvexPoly(lit, _fixed(points), 0, cv2.LINE_8, 4)
    for points in _seen(hulls, camera):
        cv2.fillConvexPoly(lit, cv2.convexHull(_fixed(points)), 0, cv2.LINE_8, 4)
    for quad, mask in blobs:
        pixels, depth = project(quad, camera)
        if (depth < 1.0).any():
            continue
        x0, y0 = np.maximum(np.floor(pixels.min(0)), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(pixels.max(0)) + 1, (width, height)).astype(int)
        if x1 <= x0 or y1 <= y0:
            continue
        rows, cols = mask.shape
        source = np.array([[0, 0], [cols, 0], [cols, rows], [0, rows]], np.float32)
        matrix = cv2.getPerspectiveTransform(source, (pixels - (x0, y0)).astype(np.float32))
        cast = cv2.warpPerspective(mask, matrix, (int(x1 - x0), int(y1 - y0)))
        view = lit[y0:y1, x0:x1]
        np.minimum(view, 255 - cast, out=view)
    if softness > 0:
        lit = cv2.GaussianBlur(lit, (0, 0), softness)
    return lit.astype(np.float32) / np.float32(255)


def light_pools(lamps: Array, camera: Camera) -> NDArray[np.float32]:
    """(H, W) float32 0..1, the light of street lamps at `lamps` (L, 3) on the ground below them."""
    pools = np.zeros(camera.size, np.uint8)
    angles = np.arange(_RINGS * 2) * np.pi / _RINGS
    ring = np.stack([np.cos(angles), np.zeros(len(angles)), np.sin(angles)], 1)
    feet = lamps * np.array([1, 0, 1])
    for radius, brightness in reversed(list(zip(_POOL_M, _POOL_LIGHT, strict=True))):
        for points in _seen(feet[:, None] + radius * ring, camera):
            cv2.fillConvexPoly(pools, _fixed(points), brightness, cv2.LINE_8, 4)
    soft = cv2.GaussianBlur(pools, (0, 0), camera.size[0] / 60)
    return soft.astype(np.float32) / np.float32(255)


def _fixed(points: Array) -> NDArray[np.int32]:
    return np.clip(np.rint(points * 16), -(2**27), 2**27).astype(np.int32)


def _seen(polygons: Array, camera: Camera) -> list[Array]:
    """Returns pixels (k, 2) of those polygons (N, k, 3) that are in the frame, clipped at the near plane."""
    height, width = camera.size
    pixels, depth = project(polygons, camera)
    whole = (depth >= NEAR_M).all(1)
    low, high = pixels.min(1), pixels.max(1)
    inside = (high[:, 0] >= 0) & (low[:, 0] <= width) & (high[:, 1] >= 0) & (low[:, 1] <= height)
    seen = list(pixels[whole & inside])
    for polygon in polygons[~whole & (depth >= NEAR_M).any(1)]:
        cut = clip_near(polygon, camera)
        if len(cut) >= 3:
            seen.append(cut)
    return seen
