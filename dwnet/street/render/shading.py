"""Shading of the rendered street: texture, light, shadow and haze of every pixel, vectorised."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.street.geometry import Array, Camera, determinant3
from dwnet.street.library import MIP_LEVELS, Atlas
from dwnet.street.render.raster import Raster

_CHUNK = 1 << 15
"""Number of points shaded at a time. They fit into the processor cache."""
_GLOW = (1.0, 0.86, 0.62)
"""Colour of lamps and lit windows."""
_BEAM = (1.0, 0.95, 0.82)
"""Colour of headlights."""
_SODIUM = (1.0, 0.72, 0.40)
"""Colour of street lamps."""


@dataclass(frozen=True)
class Light:
    """Lights of a scene. Colours are linear factors on the textures, applied with a gamma of 2.2."""

    ambient: tuple[float, float, float]
    sun: tuple[float, float, float]
    """Light of the sun at vertical incidence, in addition to `ambient`."""
    sun_direction: Array
    """(3,) unit vector towards the sun."""
    haze: tuple[float, float, float]
    haze_m: float
    """Distance at which 63 % of the contrast is gone [m]."""
    glow: float
    """Brightness of lamps and lit windows; 0 is off."""
    wet: float
    """Wetness of the road: 0 dry .. 1 mirroring."""
    headlights: float
    """Brightness of the headlights of the camera's car on near surfaces; 0 is off."""
    street_lamps: float
    """Brightness of the ground below the street lamps; 0 is off."""


@dataclass(frozen=True)
class _Tables:
    """Properties of the R surfaces, as float32 arrays."""

    homography: tuple[NDArray[np.float32], ...]
    """Nine (R,): elements of the matrix from pixel to texture, row by row."""
    texel_area: NDArray[np.float32]
    size: tuple[NDArray[np.float32], NDArray[np.float32]]
    offset: tuple[NDArray[np.float32], NDArray[np.float32]]
    tiled: NDArray[np.float32]
    light: tuple[NDArray[np.float32], ...]
    """Three (R,): red, green and blue light of the surface without shadow."""
    shaded: tuple[NDArray[np.float32], ...]
    """Three (R,): share of the light lost in full shadow, 0..1. Shadows fall on the ground only."""
    glow: NDArray[np.float32]
    ground: NDArray[np.float32]
    """1 for the ground, 0 for other surfaces."""
    haze: NDArray[np.float32]
    """-1 / distance at which 63 % of the contrast is gone [1/m]."""


def _tables(raster: Raster, atlas: Atlas, light: Light) -> _Tables:
    surfaces, texture = raster.surfaces, raster.surfaces.texture
    size, offset = atlas.size[texture], atlas.offset[texture]
    inverse = raster.to_texture
    normal = np.cross(surfaces.u_axis, surfaces.v_axis)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    to_camera = raster.camera.position - surfaces.origin
    normal *= np.sign((normal * to_camera).sum(1) + 1e-12)[:, None]
    facing = np.clip(normal @ light.sun_direction, 0, 1)
    facing = np.where(surfaces.two_sided, 0.25 + 0.45 * facing, facing)
    sky_light = 0.82 + 0.18 * normal[:, 1]
    ambient = np.asarray(light.ambient)
    linear = ambient * sky_light[:, None] + np.asarray(light.sun) * facing[:, None]
    colour = (np.clip(linear, 0, None) ** (1 / 2.2)) * surfaces.brightness[:, None]
    sky, ground = surfaces.layer == 0, surfaces.layer == 1
    colour[sky] = surfaces.brightness[sky, None]
    in_shade = np.where(ground[:, None], 1 - np.minimum(ambient ** (1 / 2.2) / np.maximum(colour, 1e-6), 1), 0)
    area = np.abs(determinant3(inverse)) * size[:, 0] * size[:, 1]

    def columns(table: Array) -> tuple[NDArray[np.float32], ...]:
        return tuple(np.ascontiguousarray(table.T).astype(np.float32))

    return _Tables(
        columns(inverse.reshape(-1, 9)), area.astype(np.float32), columns(size), columns(offset),  # type: ignore[arg-type]
        atlas.tiled[texture], columns(colour), columns(in_shade), surfaces.glow.astype(np.float32),
        ground.astype(np.float32),
        np.where(sky, -1 / 9000, -1 / light.haze_m).astype(np.float32),
    )  # fmt: skip


def _pick(table: NDArray[np.float32], ids: NDArray[np.integer]) -> NDArray[np.float32]:
    """Returns `table[ids]` without bounds checks, a third faster. The ids must be valid."""
    return np.take(table, ids, mode="wrap")


_HALVES = (0.5 ** np.arange(MIP_LEVELS)).astype(np.float32)


def _texels(
    x: NDArray[np.float32], y: NDArray[np.float32], ids: NDArray[np.intp], dither: NDArray[np.float32],
    tables: _Tables, atlas: Atlas,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:  # fmt: skip
    """((n, 4) colour and glow of the texture, (n,) depth [m]) at the points."""
    h = [_pick(row, ids) for row in tables.homography]
    for row in (0, 3, 6):
        h[row] *= x
        h[row + 1] *= y
        h[row] += h[row + 1]
        h[row] += h[row + 2]
    depth: NDArray[np.float32] = np.reciprocal(np.maximum(h[6], np.float32(1e-6)))
    # Texels per pixel = |det A^-1| w h z^3. The mip level is half of the exponent of this number. The exponent is read
    # from the bits of the float, which is faster than log2.
    area = _pick(tables.texel_area, ids)
    area *= dither
    area *= depth
    area *= depth
    area *= depth
    np.clip(area, 1.0, 4.0 ** (MIP_LEVELS - 1), out=area)
    level = ((area.view(np.int32) >> 23) - 127) >> 1
    scale = _pick(_HALVES, level)
    tiled = _pick(tables.tiled, ids)
    maps = []
    for axis in (0, 1):
        u = h[3 * axis]
        u *= depth
        u -= np.floor(u) * tiled
        np.clip(u, 0, 1, out=u)
        u *= _pick(tables.size[axis], ids)
        u += _pick(tables.offset[axis], ids)
        u *= scale
        u -= 0.5
        maps.append(u)
    maps[1] += _pick(atlas.level_top, level)
    cols = min(1024, len(x))  # remap needs an image: the list of points is reshaped
    rows = -(-len(x) // cols)
    if rows * cols == len(x):
        grid_x, grid_y = (m.reshape(rows, cols) for m in maps)
    else:
        grid_x, grid_y = (np.resize(m, (rows, cols)) for m in maps)
    texel = cv2.remap(atlas.pixels, grid_x, grid_y, cv2.INTER_LINEAR)
    return texel.reshape(-1, 4)[: len(x)], depth


def _beam(x: NDArray[np.float32], y: NDArray[np.float32], depth: NDArray[np.float32], camera: Camera) -> NDArray:
    """(n,) brightness that the headlights of the camera's car give to the points.

    The light is a wide area on the road and weaker above the horizon. It falls with the square of the distance.
    """
    across = (x - camera.centre_px[0]) / camera.focal_px
    down = (y - _horizon(camera)) / camera.focal_px
    pattern = np.exp(-((across / 0.42) ** 2))
    pattern *= np.where(down > 0, np.exp(-((down / 0.55) ** 2)), np.exp(-((down / 0.10) ** 2)) * 0.75 + 0.25)
    fall = np.float32(1) / (1 + (depth / np.float32(14)) ** 2)
    return (pattern * fall).astype(np.float32)


def _shade(
    x: NDArray[np.float32], y: NDArray[np.float32], ids: NDArray[np.intp], lit: NDArray[np.float32],
    pools: NDArray[np.float32] | None, dither: NDArray[np.float32], tables: _Tables, atlas: Atlas, light: Light,
    camera: Camera,
) -> NDArray[np.float32]:  # fmt: skip
    """(n, 3) colour, 0..255 and above, of surfaces `ids` at the points (x, y).

    `lit` (n,) is the share of the sun's light at the points, and `pools` (n,) the light of the street lamps.
    """
    texel, depth = _texels(x, y, ids, dither, tables, atlas)
    haze = _pick(tables.haze, ids)
    haze *= depth
    np.exp(haze, out=haze)
    shade = 1 - lit if lit.min() < 1 else None
    beam = np.float32(light.headlights) * _beam(x, y, depth, camera) if light.headlights > 0 else None
    pool = pools * _pick(tables.ground, ids) * np.float32(light.street_lamps) if pools is not None else None
    glow = _pick(tables.glow, ids) * texel[:, 3] if light.glow > 0 else None
    result = np.empty((len(x), 3), np.float32)
    for channel in range(3):
        factor = _pick(tables.light[channel], ids)
        if shade is not None:
            lost = _pick(tables.shaded[channel], ids)
            lost *= shade
            factor *= np.subtract(1, lost, out=lost)
        if beam is not None or pool is not None:  # light is added before the gamma; 2 approximates 2.2
            factor *= factor
            if beam is not None:
                factor += beam * np.float32(_BEAM[channel])
            if pool is not None:
                factor += pool * np.float32(_SODIUM[channel])
            np.sqrt(factor, out=factor)
        if glow is not None:
            factor += glow * np.float32(light.glow * _GLOW[channel] / 255)
        factor *= texel[:, channel]
        fog = np.float32(255 * light.haze[channel])
        factor -= fog
        factor *= haze
        factor += fog
        result[:, channel] = factor
    return result


def shade(
    raster: Raster,
    lit: NDArray[np.float32],
    pools: NDArray[np.float32] | None,
    atlas: Atlas,
    light: Light,
    dither: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Returns the colour of a frame before lens and sensor.

    Edges are anti-aliased: where the four samples of a pixel show several surfaces, the pixel is a mean of the nearest
    one and the one behind it, weighted by their numbers of samples.

    Args:
        raster: surface at each pixel.
        lit: (H, W) 0..1, share of the sun's light that reaches the ground.
        pools: (H, W) light of street lamps on the ground, or None.
        atlas: textures.
        light: lights of the scene.
        dither: (H, W) factors on the texels per pixel. They hide the steps between mip levels.

    Returns:
        (H, W, 3) float32, 0..255, and above 255 at overexposed pixels.
    """
    height, width = raster.camera.size
    tables = _tables(raster, atlas, light)
    edge, front, back, share = _edges(raster)
    ids = np.concatenate([raster.ids.ravel(), back])
    ids[edge] = front

    def twice(each: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the values of all pixels, followed by the values of pixels on edges."""
        return np.concatenate([each.ravel(), each.ravel()[edge]])

    x = twice(np.tile(np.arange(width, dtype=np.float32), height))
    y = twice(np.repeat(np.arange(height, dtype=np.float32), width))
    colour = np.empty((len(ids), 3), np.float32)
    maps = [twice(lit), None if pools is None else twice(pools), twice(dither)]
    for start in range(0, len(ids), _CHUNK):
        part = slice(start, start + _CHUNK)
        lit_part, pools_part, dither_part = (None if m is None else m[part] for m in maps)
        assert lit_part is not None
        assert dither_part is not None
        colour[part] = _shade(
            x[part], y[part], ids[part], lit_part, pools_part, dither_part, tables, atlas, light, raster.camera
        )
    image = colour[: height * width]
    behind = colour[height * width :]
    before = np.take(image, edge, axis=0)
    behind -= before
    behind *= share[:, None]
    image[edge] = behind + before
    image = image.reshape(height, width, 3)
    if light.wet > 0:
        _mirror(image, raster, light.wet)
    return image


def _edges(
    raster: Raster,
) -> tuple[NDArray[np.intp], NDArray[np.uint16], NDArray[np.intp], NDArray[np.float32]]:
    """Returns (n,) pixels with several surfaces, nearest surface, surface behind, and the latter's share, 1/4..3/4."""
    a, b, c, d = raster.samples.reshape(4, -1)
    edge = np.flatnonzero((a != b) | (a != c) | (a != d))
    samples: list[NDArray[np.uint16]] = [np.take(each, edge) for each in (a, b, c, d)]
    a, b, c, d = samples
    front = np.maximum(np.maximum(a, b), np.maximum(c, d))
    last = np.minimum(np.minimum(a, b), np.minimum(c, d))
    # Surfaces are numbered in painting order, so the nearest one has the largest number.
    second = raster.ids.ravel()[edge]
    back = np.where(second == front, last, second)
    count = sum(((s != front).view(np.uint8) for s in samples), start=np.zeros(len(edge), np.uint8))
    return edge, front, back, count.astype(np.float32) / np.float32(4)


def bloom(image: NDArray[np.float32], strength: float) -> None:
    """Adds glare around overexposed pixels, in place; `image` is (H, W, 3), 0..255 and above."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (-(-width // 4), -(-height // 4)), interpolation=cv2.INTER_AREA)
    small = np.clip(small - 215, 0, 400)
    halo = 0.5 * cv2.GaussianBlur(small, (0, 0), height / 160) + 0.5 * cv2.GaussianBlur(small, (0, 0), height / 50)
    image += np.float32(min(1.2, 0.6 * strength)) * cv2.resize(halo, (width, height), interpolation=cv2.INTER_LINEAR)


def _mirror(image: NDArray[np.float32], raster: Raster, wet: float) -> None:
    """Adds the reflections of a wet road in place: the picture above the horizon, mirrored and blurred vertically."""
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
