"""Texture synthesis for the rendered street: noise, and the textures of ground and sky.

Functions for textures take a `numpy.random.Generator` and return a `Texture`: colour, and optionally an alpha mask (for
holes) and a glow mask (for emitted light). All textures are computed. No picture is read from disk.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Generator = np.random.Generator
Colour = tuple[float, float, float]
FloatImage = NDArray[np.float32]


@dataclass(frozen=True)
class Texture:
    """The picture on a surface of the street."""

    colour: FloatImage
    """(h, w, 3) float32 RGB, 0..1, display-referred."""
    alpha: NDArray[np.uint8] | None = None
    """(h, w) uint8; below 128 the surface has a hole. None: solid."""
    glow: FloatImage | None = None
    """(h, w) float32, 0..1: share of the colour that the surface emits as light. None: 0."""
    tiled: bool = False
    """Whether the texture repeats in both directions."""


def fractal_noise(rng: Generator, height: int, width: int, cell: float, octaves: int = 4) -> FloatImage:
    """Returns tileable multi-octave value noise, (height, width) float32, of zero mean and unit variance.

    `cell` is the size of the coarsest features in pixels. Each further octave has half the
    size and 0.6 of the weight.
    """
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for _ in range(octaves):
        rows, cols = max(2, round(height / cell)), max(2, round(width / cell))
        grid = rng.standard_normal((rows, cols)).astype(np.float32)
        grid = cv2.copyMakeBorder(grid, 2, 2, 2, 2, cv2.BORDER_WRAP)
        step_y, step_x = height / rows, width / cols
        big = cv2.resize(grid, (round(width + 4 * step_x), round(height + 4 * step_y)), interpolation=cv2.INTER_CUBIC)
        top, left = round(2 * step_y), round(2 * step_x)
        total += weight * big[top : top + height, left : left + width]
        weight *= 0.6
        cell = max(1.0, cell / 2)
    return (total - total.mean()) / (total.std() + 1e-6)


def flat(height: int, width: int, colour: Colour) -> FloatImage:
    """(height, width, 3) image of one colour."""
    return np.ones((height, width, 3), np.float32) * np.asarray(colour, np.float32)


def shaded(image: FloatImage, factor: NDArray[np.float32]) -> FloatImage:
    """Returns a picture times a factor (h, w), clipped to 0..1."""
    return np.clip(image * factor[..., None], 0, 1)


def rectangle(image: FloatImage, x0: float, y0: float, x1: float, y1: float, colour: Colour | float) -> None:
    """Fills a rectangle, clipped at the upper and left edges."""
    image[max(0, round(y0)) : max(0, round(y1)), max(0, round(x0)) : max(0, round(x1))] = colour


def write(image: FloatImage, text: str, at: tuple[int, int], scale: float, ink: Colour, thickness: int = 1) -> None:
    """Writes `text` on the picture, with the start of its base line at `at` (x, y)."""
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.putText(mask, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thickness, cv2.LINE_AA)
    weight = mask[..., None].astype(np.float32) / 255
    image += weight * (np.asarray(ink, np.float32) - image)


# -- ground ------------------------------------------------------------------------------------------------------------


def asphalt(rng: Generator, size: int = 1024) -> Texture:
    """Worn asphalt: stones, blotches, cracks, repaired seams."""
    tone = 0.375 + 0.014 * fractal_noise(rng, size, size, 256, 4) + 0.010 * fractal_noise(rng, size, size, 9, 3)
    tone += 0.030 * rng.standard_normal((size, size)).astype(np.float32)
    speckle = rng.random((size, size)) > 0.994
    tone[speckle] += 0.14
    cracks = np.zeros((size, size), np.uint8)
    for _ in range(9):
        point = rng.uniform(0, size, 2)
        angle = rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.integers(20, 60))):
            angle += rng.normal(0, 0.35)
            nxt = point + 9 * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(cracks, point.astype(int).tolist(), nxt.astype(int).tolist(), 255, 1, cv2.LINE_AA)
            point = nxt
    tone -= 0.10 * cracks.astype(np.float32) / 255
    colour = tone[..., None] * np.array([1.0, 1.0, 1.02], np.float32)
    return Texture(np.clip(colour, 0, 1), tiled=True)


def road_paint(rng: Generator, colour: Colour, size: int = 256) -> Texture:
    """Thermoplastic road paint, worn down to the asphalt in places."""
    wear = fractal_noise(rng, size, size, 24, 4)
    keep = np.clip(0.93 - 0.25 * np.clip(wear - 0.7, 0, 2), 0, 1)[..., None]
    grain = 0.025 * rng.standard_normal((size, size, 1)).astype(np.float32)
    return Texture(np.clip(flat(size, size, colour) * keep + 0.38 * (1 - keep) + grain, 0, 1), tiled=True)


def paving(rng: Generator, base: Colour, size: int = 512, rows: int = 8, cols: int = 8) -> Texture:
    """Paving slabs with joints. Each slab has a different tone."""
    tones = 1 + 0.06 * rng.standard_normal((rows, cols)).astype(np.float32)
    slab = cv2.resize(tones, (size, size), interpolation=cv2.INTER_NEAREST)
    slab += 0.03 * fractal_noise(rng, size, size, 128, 4)
    slab += 0.035 * rng.standard_normal((size, size)).astype(np.float32)
    step_y, step_x = size // rows, size // cols
    joint = np.zeros((size, size), np.float32)
    joint[::step_y] = joint[1::step_y] = 1
    joint[:, ::step_x] = joint[:, 1::step_x] = 1
    return Texture(shaded(flat(size, size, base), slab * (1 - 0.25 * joint)), tiled=True)


def kerb_stone(rng: Generator) -> Texture:
    """Granite kerb: light, with a joint between stones."""
    tone = 0.56 + 0.05 * fractal_noise(rng, 32, 256, 16, 3) + 0.03 * rng.standard_normal((32, 256)).astype(np.float32)
    tone[:, ::128] *= 0.6
    tone[24:] *= 0.75
    return Texture(np.clip(tone, 0, 1)[..., None] * np.array([1, 0.99, 0.96], np.float32), tiled=True)


def grass(rng: Generator, size: int = 512) -> Texture:
    """Verge grass."""
    noise = 1 + 0.12 * fractal_noise(rng, size, size, 64, 5) + 0.12 * fractal_noise(rng, size, size, 4, 1)
    return Texture(shaded(flat(size, size, (0.30, 0.37, 0.17)), noise), tiled=True)


def repair_patch(rng: Generator, size: int = 256) -> Texture:
    """A rectangle of newer, darker asphalt."""
    tone = 0.29 + 0.03 * rng.standard_normal((size, size)) + 0.012 * fractal_noise(rng, size, size, 64, 3)
    tone[:3] = tone[-3:] = tone[:, :3] = tone[:, -3:] = 0.22
    return Texture(np.clip(tone, 0, 1).astype(np.float32)[..., None] * np.ones(3, np.float32))


def manhole(rng: Generator, size: int = 96) -> Texture:
    """A cast-iron cover."""
    tone = np.full((size, size), 0.25, np.float32)
    tone[::12] = tone[1::12] = 0.36
    tone[:, ::12] *= 0.8
    tone += 0.04 * rng.standard_normal((size, size)).astype(np.float32)
    return Texture(np.clip(tone, 0, 1)[..., None] * np.array([1, 0.96, 0.92], np.float32))


def clouds(rng: Generator, cover: float, blue: Colour, white: Colour, size: int = 1024) -> Texture:
    """Clouds seen from below; `cover` is from 0 (clear) to 1 (overcast)."""
    noise = fractal_noise(rng, size, size, 300, 7)
    edge = np.quantile(noise, 1 - np.clip(cover, 0.02, 0.98))
    density = np.clip((noise - edge) * 0.9 + 0.15, 0, 1)
    density = density * density * (3 - 2 * density)
    lit = np.clip(
        1.02 - 0.16 * np.clip(noise - edge, 0, 2.2) - 0.05 * fractal_noise(rng, size, size, 40, 4), 0.55, 1.06
    )
    colour = flat(size, size, blue) * (1 - density[..., None])
    colour += density[..., None] * np.asarray(white, np.float32) * lit[..., None]
    return Texture(np.clip(colour, 0, 1), tiled=True)
