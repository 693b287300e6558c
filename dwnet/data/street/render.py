"""Rasterising and shading of the rendered street.

Deferred: polygons are painted from far to near into a map of surface numbers (with 2x2 samples a pixel); one vectorised
pass then looks up every pixel's texture point, mip level, light, shadow and haze by its surface's homography.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.data.street.geometry import (
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
from dwnet.data.street.library import MIP_LEVELS, Atlas

SAMPLES = 2
"""Samples per pixel along each axis."""
_SHIFT = 4
GROUND_LAYERS = 2
"""Layers 0 (sky) .. GROUND_LAYERS - 1 are painted in the order given; shadows fall on layer 1, the ground."""


@dataclass(frozen=True)
class Light:
    """What a scene is lit by; colours are display-referred factors, so they multiply the textures directly."""

    ambient: tuple[float, float, float]
    sun: tuple[float, float, float]
    """Added where the sun shines straight on."""
    sun_direction: Array
    """(3,) unit vector towards the sun."""
    haze: tuple[float, float, float]
    haze_m: float
    """Distance at which 63 % of the contrast is gone [m]."""
    glow: float
    """How bright lamps and lit windows are: 0 off."""
    wet: float
    """0 dry .. 1 mirroring."""


@dataclass(frozen=True)
class Raster:
    """Which surface each sample of a frame shows."""

    samples: NDArray[np.uint16]
    """(2H, 2W) surface numbers into the tables below."""
    ids: NDArray[np.intp]
    """(H, W) the surface that covers at least half of the pixel, the nearer one of two."""
    key: NDArray[np.int64]
    """(R,) the world's own number of each surface."""
    surfaces: Surfaces
    """(R) in painting order."""
    to_pixel: Array
    """(R, 3, 3)."""
    to_texture: Array
    """(R, 3, 3) the inverses: pixel to (u, v, 1) / depth."""
    camera: Camera


def _to_fixed(pixels: Array) -> NDArray[np.int32]:
    scaled = ((pixels + 0.5) * SAMPLES - 0.5) * (1 << _SHIFT)
    return np.clip(np.rint(scaled), -(2**27), 2**27).astype(np.int32)


def rasterise(surfaces: Surfaces, keys: NDArray[np.int64], distance: Array, camera: Camera, atlas: Atlas) -> Raster:
    """Paint all surfaces: layer by layer, in each from the largest `distance` (N,) to the smallest, then by their order
    in the object. The first surface must be the sky: it is painted everywhere."""
    height, width = camera.size
    to_pixel = texture_to_pixel(surfaces, camera)
    pixels, depth = project(surfaces.corners, camera)
    low, high = pixels.min(1), pixels.max(1)
    crossing: NDArray[np.bool_] = np.asarray((depth < NEAR_M).any(1))
    inside = (high[:, 0] > -0.5) & (low[:, 0] < width) & (high[:, 1] > -0.5) & (low[:, 1] < height)
    big = (high - low).max(1) > 0.35
    masked = np.array([a is not None for a in atlas.alpha])[surfaces.texture]
    in_reach = np.where(crossing, (depth >= NEAR_M).any(1) & ~masked, inside & big)
    drawn: NDArray[np.bool_] = np.logical_and(in_reach, surfaces.two_sided | (determinant3(to_pixel) > 0))
    drawn[0] = True
    rank = np.where(surfaces.layer < GROUND_LAYERS, np.arange(len(surfaces)), -distance)
    order = np.lexsort((surfaces.order, rank, surfaces.layer))
    order = order[drawn[order]]

    samples = np.zeros((height * SAMPLES, width * SAMPLES), np.uint16)
    surfaces, to_pixel, crossing, masked = surfaces.take(order), to_pixel[order], crossing[order], masked[order]
    fixed = _to_fixed(pixels[order])
    masks = _place_masks(
        np.flatnonzero(masked), surfaces.texture, to_pixel, low[order], high[order], camera.size, atlas
    )
    crossing_list, masked_list = crossing.tolist(), masked.tolist()
    for number in range(1, len(order)):
        if masked_list[number]:
            mask, matrix, (x0, y0, x1, y1) = masks[number]
            if x1 > x0 and y1 > y0:
                there = cv2.warpPerspective(mask, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
                # Numbers rise while painting, so the larger of two is the later: much faster than writing where masked.
                view = samples[y0:y1, x0:x1]
                np.maximum(view, (there > 127) * np.uint16(number), out=view)
        elif crossing_list[number]:
            cut = clip_near(surfaces.corners[number], camera)
            if len(cut) >= 3:
                cv2.fillConvexPoly(samples, _to_fixed(cut), number, cv2.LINE_8, _SHIFT)
        else:
            cv2.fillConvexPoly(samples, fixed[number], number, cv2.LINE_8, _SHIFT)
    a, b, c, d = samples[::2, ::2], samples[::2, 1::2], samples[1::2, ::2], samples[1::2, 1::2]
    second = np.maximum(np.maximum(np.minimum(a, b), np.minimum(c, d)), np.minimum(np.maximum(a, b), np.maximum(c, d)))
    return Raster(samples, second.astype(np.intp), keys[order], surfaces, to_pixel, inverse3(to_pixel), camera)


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
    """For the surfaces with holes at `index`: mask, the homography that draws it, and its box among the samples."""
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


def shadow_map(
    polygons: list[Array], blobs: list[tuple[Array, NDArray[np.uint8]]], camera: Camera, softness: float
) -> NDArray[np.float32]:
    """(H, W) 0..1, how much of the sun reaches the ground at each pixel. `polygons` lie on the ground, (k, 3) each;
    `blobs` are (4, 3) quadrilaterals on the ground with the mask that casts them."""
    height, width = camera.size
    lit = np.full((height, width), 255, np.uint8)
    for polygon in polygons:
        flat, depth = project(polygon, camera)
        if (depth < NEAR_M).any():
            flat = clip_near(polygon, camera)
        if (
            len(flat) < 3
            or flat[:, 0].max() < 0
            or flat[:, 0].min() > width
            or flat[:, 1].max() < 0
            or flat[:, 1].min() > height
        ):
            continue
        points = np.clip(np.rint(flat * 16), -(2**27), 2**27).astype(np.int32)
        cv2.fillPoly(lit, [points], 0, cv2.LINE_AA, _SHIFT)
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


@dataclass(frozen=True)
class _Tables:
    """Per-surface numbers, as float32 arrays over the surfaces."""

    homography: tuple[NDArray[np.float32], ...]
    """Nine: pixel to texture."""
    texel_area: NDArray[np.float32]
    size: NDArray[np.float32]
    offset: NDArray[np.float32]
    tiled: NDArray[np.float32]
    light: NDArray[np.float32]
    """(R, 3) in the sun's shadow or on a surface that takes no shadow: its full light."""
    ground: NDArray[np.bool_]
    sky: NDArray[np.bool_]


def _tables(raster: Raster, atlas: Atlas, light: Light) -> _Tables:
    surfaces, texture = raster.surfaces, raster.surfaces.texture
    size, offset = atlas.size[texture], atlas.offset[texture]
    inverse = raster.to_texture
    det = np.abs(determinant3(inverse))
    normal = np.cross(surfaces.u_axis, surfaces.v_axis)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    to_camera = raster.camera.position - surfaces.origin
    normal *= np.sign((normal * to_camera).sum(1) + 1e-12)[:, None]
    facing = np.clip(normal @ light.sun_direction, 0, 1)
    facing = np.where(surfaces.two_sided, 0.25 + 0.45 * facing, facing)
    sky_light = 0.82 + 0.18 * normal[:, 1]
    linear = np.asarray(light.ambient) * sky_light[:, None] + np.asarray(light.sun) * facing[:, None]
    colour = (np.clip(linear, 0, None) ** (1 / 2.2)) * surfaces.brightness[:, None]
    sky = surfaces.layer == 0
    colour[sky] = surfaces.brightness[sky, None]
    return _Tables(
        tuple(inverse.reshape(-1, 9).T.astype(np.float32)),
        (det * size[:, 0] * size[:, 1]).astype(np.float32),
        size, offset, atlas.tiled[texture], colour.astype(np.float32), surfaces.layer == 1, sky,
    )  # fmt: skip


def _shade(
    x: NDArray[np.float32], y: NDArray[np.float32], ids: NDArray[np.intp], lit: NDArray[np.float32],
    tables: _Tables, atlas: Atlas, light: Light, dither: NDArray[np.float32],
) -> NDArray[np.float32]:  # fmt: skip
    """(n, 3) colour 0..255 of the points (x, y), which show surfaces `ids`; `lit` (n,) is the shadow map there."""
    h = [np.take(row, ids) for row in tables.homography]
    inverse_depth = h[6] * x + h[7] * y + h[8]
    np.maximum(inverse_depth, 1e-6, out=inverse_depth)
    depth = 1 / inverse_depth
    u = (h[0] * x + h[1] * y + h[2]) * depth
    v = (h[3] * x + h[4] * y + h[5]) * depth
    tiled = np.take(tables.tiled, ids)
    u -= np.floor(u) * tiled
    v -= np.floor(v) * tiled
    np.clip(u, 0, 1, out=u)
    np.clip(v, 0, 1, out=v)
    # Texels per pixel = |det A^-1| w h z^3; its square root's exponent is the mip level. The bits of a float hold its
    # exponent, which is faster than log2.
    area = np.take(tables.texel_area, ids) * depth * depth * depth * dither
    np.clip(area, 1.0, 4.0 ** (MIP_LEVELS - 1), out=area)
    level = ((area.view(np.int32) >> 23) - 127) >> 1
    scale = np.take((0.5 ** np.arange(MIP_LEVELS)).astype(np.float32), level)
    map_x = (np.take(tables.offset[:, 0], ids) + u * np.take(tables.size[:, 0], ids)) * scale - 0.5
    map_y = (np.take(tables.offset[:, 1], ids) + v * np.take(tables.size[:, 1], ids)) * scale - 0.5
    map_y += np.take(atlas.level_top, level)
    n = len(x)
    cols = 1024  # remap wants a picture: fold the list of points into one
    rows = -(-n // cols)
    grid_x, grid_y = np.zeros(rows * cols, np.float32), np.zeros(rows * cols, np.float32)
    grid_x[:n], grid_y[:n] = map_x, map_y
    texel = cv2.remap(atlas.pixels, grid_x.reshape(rows, cols), grid_y.reshape(rows, cols), cv2.INTER_LINEAR)
    texel = texel.reshape(-1, 4)[:n].astype(np.float32)
    colour = np.take(tables.light, ids, axis=0)
    ambient = (np.asarray(light.ambient, np.float32) ** np.float32(1 / 2.2)).astype(np.float32)
    full = np.asarray(tables.light[tables.ground][0] if tables.ground.any() else ambient, np.float32)
    darker = np.minimum(ambient / np.maximum(full, 1e-6), 1)
    shade = np.where(np.take(tables.ground, ids), 1 - lit, 0)
    haze = np.exp(depth * np.take(np.where(tables.sky, -1 / 9000, -1 / light.haze_m).astype(np.float32), ids))
    result = np.empty((n, 3), np.float32)
    for channel in range(3):
        value = texel[:, channel] * colour[:, channel]
        value *= 1 - shade * (1 - darker[channel])
        if light.glow > 0:
            value += texel[:, channel] * texel[:, 3] * (light.glow * (1.0, 0.86, 0.62)[channel] / 255)
        fog = 255 * light.haze[channel]
        result[:, channel] = (value - fog) * haze + fog
    return result


def shade(
    raster: Raster, lit: NDArray[np.float32], atlas: Atlas, light: Light, dither: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(H, W, 3) float32 colour 0..255, edges averaged over their four samples, no lens and no sensor yet."""
    height, width = raster.camera.size
    tables = _tables(raster, atlas, light)
    a, b, c, d = (raster.samples[i::2, j::2] for i in (0, 1) for j in (0, 1))
    edge = np.flatnonzero((a != b) | (a != c) | (a != d))
    grid_y, grid_x = np.divmod(np.arange(height * width, dtype=np.int32), width)
    edge_x, edge_y = grid_x[edge].astype(np.float32), grid_y[edge].astype(np.float32)
    flat_lit, flat_dither = lit.ravel(), dither.ravel()
    x = np.concatenate([grid_x.astype(np.float32), edge_x - 0.25, edge_x + 0.25, edge_x - 0.25, edge_x + 0.25])
    y = np.concatenate([grid_y.astype(np.float32), edge_y - 0.25, edge_y - 0.25, edge_y + 0.25, edge_y + 0.25])
    ids = np.concatenate([raster.ids.ravel(), *(s.ravel()[edge].astype(np.intp) for s in (a, b, c, d))])
    edge_lit, edge_dither = flat_lit[edge], flat_dither[edge]
    colour = _shade(
        x, y, ids, np.concatenate([flat_lit, *[edge_lit] * 4]), tables, atlas, light,
        np.concatenate([flat_dither, *[edge_dither] * 4]),
    )  # fmt: skip
    image = colour[: height * width]
    n = len(edge)
    parts = colour[height * width :].reshape(4, n, 3)
    image[edge] = parts.mean(0)
    image = image.reshape(height, width, 3)
    if light.wet > 0:
        _mirror(image, raster, light.wet)
    return image


def _mirror(image: NDArray[np.float32], raster: Raster, wet: float) -> None:
    """A wet road: the picture above the horizon, mirrored, blurred downwards and stronger at grazing angles."""
    height = image.shape[0]
    horizon = _horizon(raster.camera)
    rows = np.arange(height, dtype=np.float32)
    below = np.clip(rows - horizon, 0, None)
    mirrored = image[np.clip(np.rint(2 * horizon - rows), 0, height - 1).astype(int)]
    mirrored = cv2.blur(mirrored, (3, 1 + 2 * (height // 24)))
    grazing = wet * np.exp(-below / (0.30 * height)) * (below > 0)
    ground = (raster.surfaces.layer == 1)[raster.ids].astype(np.float32)
    weight = ground * grazing[:, None].astype(np.float32)
    image += cv2.blur(weight, (1, 3))[..., None] * (0.92 * mirrored - image)


def _horizon(camera: Camera) -> float:
    forward = camera.rotation[2]
    level = np.array([forward[0], 0.0, forward[2]])
    point = camera.matrix @ level
    return float(point[1] / point[2])


def geometry(raster: Raster) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]:
    """(labels uint8, instances int32, depth float32 [m], the sky's is inf), each (H, W), at the pixels' centres."""
    ids = raster.ids
    inverse_depth = _plane_rows(raster.to_texture[:, 2], ids)
    with np.errstate(divide="ignore"):
        depth = (1 / np.maximum(inverse_depth, 0)).astype(np.float32)
    depth[(raster.surfaces.layer == 0)[ids]] = np.inf
    return raster.surfaces.label[ids], raster.surfaces.instance[ids], depth


def _plane_rows(rows: Array, ids: NDArray[np.intp]) -> NDArray[np.float32]:
    """(H, W) of a x + b y + c with (a, b, c) by surface."""
    height, width = ids.shape
    a, b, c = (np.take(column, ids) for column in np.ascontiguousarray(rows.T).astype(np.float32))
    return a * np.arange(width, dtype=np.float32) + b * np.arange(height, dtype=np.float32)[:, None] + c


def flow_between(raster: Raster, later: Raster, later_to_pixel: Array) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Exact motion from `raster`'s frame to `later`'s: ((2, H, W) float32 flow_px, (H, W) bool visible).

    `later_to_pixel` is (R, 3, 3): for every surface of `raster` its matrix A in the later frame. A pixel is visible if
    its point lies inside the later frame, in front of the camera, and is what that shows at the pixel nearest to it.
    """
    height, width = raster.ids.shape
    motion = later_to_pixel @ raster.to_texture
    ids = raster.ids
    x, y, ratio = (_plane_rows(motion[:, row], ids) for row in range(3))
    safe = np.where(ratio > 1e-6, ratio, 1)
    x /= safe
    y /= safe
    target_x, target_y = np.rint(x), np.rint(y)
    slack = 0.01  # float32: what stays on the picture's very edge is inside
    inside = (ratio > 1e-6) & (x >= -slack) & (x <= width - 1 + slack) & (y >= -slack) & (y <= height - 1 + slack)
    flat = np.where(inside, target_y * width + target_x, 0).astype(np.intp)
    there = later.ids.ravel()[flat]
    same = later.key[there] == raster.key[ids]
    # Another polygon of the same thing (the next panel, the kerb beside the road) counts as seen if its depth agrees.
    here_inverse = _plane_rows(raster.to_texture[:, 2], ids)
    expected = here_inverse / safe
    rows = np.ascontiguousarray(later.to_texture[:, 2].T).astype(np.float32)
    shown = np.take(rows[0], there) * target_x + np.take(rows[1], there) * target_y + np.take(rows[2], there)
    near = np.abs(shown - expected) <= 0.02 * np.abs(expected)
    sky = raster.surfaces.layer == 0
    near &= ~sky[ids] & ~(later.surfaces.layer == 0)[there]
    flow = np.stack([x - np.arange(width, dtype=np.float32), y - np.arange(height, dtype=np.float32)[:, None]])
    return flow.astype(np.float32), inside & (same | near)
