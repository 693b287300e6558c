"""Texture synthesis for the rendered street: noise, masonry, asphalt, foliage, car bodies, people.

Every function takes a `numpy.random.Generator` and returns a `Texture`: colour, and where it needs them an alpha mask
(what is cut out) and a glow mask (what shines at dusk). Nothing is read from disk, so nobody's pictures are in it.
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
    """A picture that a surface of the street is covered with."""

    colour: FloatImage
    """(h, w, 3) float32 RGB, 0..1, display-referred."""
    alpha: NDArray[np.uint8] | None = None
    """(h, w) uint8; below 128 the surface is not there. None: solid."""
    glow: FloatImage | None = None
    """(h, w) float32, 0..1: how much of the colour is the surface's own light. None: none."""
    tiled: bool = False
    """Repeats without end in both directions."""


def fractal_noise(rng: Generator, height: int, width: int, cell: float, octaves: int = 4) -> FloatImage:
    """Tileable multi-octave value noise, (height, width) float32, zero mean and unit variance; `cell` is the coarsest
    feature's size in pixels, each octave halves it and weighs 0.6 of the one before."""
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


def _flat(height: int, width: int, colour: Colour) -> FloatImage:
    return np.ones((height, width, 3), np.float32) * np.asarray(colour, np.float32)


def _shade(image: FloatImage, factor: NDArray[np.float32]) -> FloatImage:
    return np.clip(image * factor[..., None], 0, 1)


def _rect(image: FloatImage, x0: float, y0: float, x1: float, y1: float, colour: Colour | float) -> None:
    image[max(0, round(y0)) : max(0, round(y1)), max(0, round(x0)) : max(0, round(x1))] = colour


def write(image: FloatImage, text: str, at: tuple[int, int], scale: float, ink: Colour, thickness: int = 1) -> None:
    """Letter `text` onto the picture, its base line starting at `at` (x, y)."""
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
    return Texture(np.clip(_flat(size, size, colour) * keep + 0.38 * (1 - keep) + grain, 0, 1), tiled=True)


def paving(rng: Generator, base: Colour, size: int = 512, rows: int = 8, cols: int = 8) -> Texture:
    """Paving slabs with joints, each slab of its own tone."""
    tones = 1 + 0.06 * rng.standard_normal((rows, cols)).astype(np.float32)
    slab = cv2.resize(tones, (size, size), interpolation=cv2.INTER_NEAREST)
    slab += 0.03 * fractal_noise(rng, size, size, 128, 4)
    slab += 0.035 * rng.standard_normal((size, size)).astype(np.float32)
    step_y, step_x = size // rows, size // cols
    joint = np.zeros((size, size), np.float32)
    joint[::step_y] = joint[1::step_y] = 1
    joint[:, ::step_x] = joint[:, 1::step_x] = 1
    return Texture(_shade(_flat(size, size, base), slab * (1 - 0.25 * joint)), tiled=True)


def kerb_stone(rng: Generator) -> Texture:
    """Granite kerb: light, with a joint every stone."""
    tone = 0.56 + 0.05 * fractal_noise(rng, 32, 256, 16, 3) + 0.03 * rng.standard_normal((32, 256)).astype(np.float32)
    tone[:, ::128] *= 0.6
    tone[24:] *= 0.75
    return Texture(np.clip(tone, 0, 1)[..., None] * np.array([1, 0.99, 0.96], np.float32), tiled=True)


def grass(rng: Generator, size: int = 512) -> Texture:
    """Verge grass."""
    noise = 1 + 0.12 * fractal_noise(rng, size, size, 64, 5) + 0.12 * fractal_noise(rng, size, size, 4, 1)
    return Texture(_shade(_flat(size, size, (0.30, 0.37, 0.17)), noise), tiled=True)


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
    """A cloud deck seen from below: `cover` 0 (clear) .. 1 (closed)."""
    noise = fractal_noise(rng, size, size, 300, 7)
    edge = np.quantile(noise, 1 - np.clip(cover, 0.02, 0.98))
    density = np.clip((noise - edge) * 0.9 + 0.15, 0, 1)
    density = density * density * (3 - 2 * density)
    lit = np.clip(
        1.02 - 0.16 * np.clip(noise - edge, 0, 2.2) - 0.05 * fractal_noise(rng, size, size, 40, 4), 0.55, 1.06
    )
    colour = _flat(size, size, blue) * (1 - density[..., None])
    colour += density[..., None] * np.asarray(white, np.float32) * lit[..., None]
    return Texture(np.clip(colour, 0, 1), tiled=True)


# -- buildings ---------------------------------------------------------------------------------------------------------

PX_PER_M = 40
"""Resolution of facades [texels per metre]."""

WALLS: tuple[tuple[str, Colour], ...] = (
    ("brick", (0.60, 0.51, 0.37)),
    ("brick", (0.47, 0.28, 0.21)),
    ("brick", (0.53, 0.36, 0.27)),
    ("brick", (0.42, 0.33, 0.27)),
    ("render", (0.80, 0.78, 0.73)),
    ("render", (0.74, 0.68, 0.56)),
    ("render", (0.62, 0.66, 0.66)),
    ("stone", (0.60, 0.56, 0.48)),
)


def wall(rng: Generator, height: int, width: int, kind: str, base: Colour) -> FloatImage:
    """Plain masonry (`brick`, `stone` or `render`) with weathering, (height, width, 3)."""
    image = _flat(height, width, base)
    tone = 1 + 0.05 * fractal_noise(rng, height, width, 160, 4)
    if kind in ("brick", "stone"):
        brick_h, brick_w = (4, 10) if kind == "brick" else (14, 32)
        rows, cols = height // brick_h + 2, width // brick_w + 2
        spread = 0.13 if kind == "brick" else 0.07
        hues = 1 + spread * rng.standard_normal((rows, cols, 1)) + 0.03 * rng.standard_normal((rows, cols, 3))
        ys, xs = np.arange(height)[:, None], np.arange(width)[None]
        row = ys // brick_h
        shifted = xs + (row % 2) * (brick_w // 2)
        image = image * hues.astype(np.float32)[np.broadcast_to(row, (height, width)), shifted // brick_w]
        mortar = (ys % brick_h == 0) | (shifted % brick_w == 0)
        image = np.where(mortar[..., None], 0.55 * image + 0.45 * np.float32(0.62), image)
    tone += (0.03 if kind == "render" else 0.05) * rng.standard_normal((height, width)).astype(np.float32)
    streaks = cv2.resize(rng.standard_normal((3, max(4, width // 5))).astype(np.float32), (width, height))
    tone -= 0.05 * np.clip(streaks, 0, 2)
    tone *= np.linspace(1.04, 0.90, height, dtype=np.float32)[:, None]
    return _shade(image.astype(np.float32), tone)


def _glass(rng: Generator, height: int, width: int) -> FloatImage:
    """A pane: dark room below, reflected sky above, perhaps a curtain or a blind."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    reflect = np.clip(
        rng.uniform(0.10, 0.55) * (1 - down) ** 1.5 + 0.05 * fractal_noise(rng, height, width, 12, 3), 0, 1
    )
    pane = _flat(height, width, (0.10, 0.115, 0.13)) * (1 - reflect[..., None])
    pane += reflect[..., None] * np.array([0.62, 0.70, 0.78], np.float32)
    kind = rng.random()
    if kind < 0.30:  # curtains
        edge = max(2, int(width * rng.uniform(0.15, 0.3)))
        cloth = _flat(height, edge, (0.55, 0.52, 0.46)) * (0.8 + 0.2 * np.sin(np.arange(edge) * 1.4))[None, :, None]
        pane[:, :edge], pane[:, -edge:] = cloth, cloth[:, ::-1]
    elif kind < 0.45:  # a blind
        drop = int(height * rng.uniform(0.2, 0.8))
        pane[:drop] = np.array([0.66, 0.64, 0.58], np.float32) * (0.9 + 0.1 * (np.arange(drop) % 3 > 0))[:, None, None]
    return np.clip(pane, 0, 1).astype(np.float32)


def _window(rng: Generator, image: FloatImage, glow: FloatImage, box: tuple[int, int, int, int], style: str) -> None:
    x0, y0, x1, y1 = box
    if x1 - x0 < 8 or y1 - y0 < 8:
        return
    height, width = y1 - y0, x1 - x0
    pane = _glass(rng, height, width)
    frame: Colour = {"sash": (0.85, 0.84, 0.80), "modern": (0.24, 0.25, 0.27), "stone": (0.68, 0.64, 0.56)}[style]
    lit = rng.random() < 0.4
    shine = np.full((height, width), (rng.uniform(0.5, 1.0) if lit else 0.0), np.float32)
    bars = np.zeros((height, width), bool)
    bars[:3] = bars[-3:] = True
    bars[:, :3] = bars[:, -3:] = True
    bars[height // 2 - 1 : height // 2 + 1] = True
    if style != "modern" or width > 60:
        bars[:, width // 2 - 1 : width // 2 + 1] = True
    pane[bars], shine[bars] = frame, 0
    pane[:5] *= 0.55  # the reveal's shadow
    pane[:, :3] *= 0.7
    image[y0:y1, x0:x1] = pane
    glow[y0:y1, x0:x1] = shine
    stone = 0.92 * np.array([0.74, 0.72, 0.67], np.float32)
    if style != "modern":
        image[y1 : y1 + 4, max(0, x0 - 4) : x1 + 4] = stone
        image[y1 + 4 : y1 + 7, max(0, x0 - 4) : x1 + 4] *= 0.62
        image[max(0, y0 - 8) : y0, max(0, x0 - 3) : x1 + 3] = stone * rng.uniform(0.75, 1.0)


_WORDS = (
    "CAFE",
    "BOOKS",
    "BAKERY",
    "PHARMACY",
    "FLOWERS",
    "OPTICIAN",
    "BIKES",
    "TAILOR",
    "NEWS",
    "DELI",
    "BARBER",
    "TEA",
)


def shop_front(rng: Generator, image: FloatImage, glow: FloatImage, top: int) -> None:
    """Paint a shop into the rows from `top` down: fascia board with its name, glazing, door, stall riser."""
    height, width = image.shape[:2]
    colour = np.asarray(
        [
            (0.10, 0.22, 0.17),
            (0.42, 0.09, 0.08),
            (0.10, 0.13, 0.28),
            (0.14, 0.14, 0.14),
            (0.70, 0.67, 0.60),
            (0.52, 0.34, 0.10),
        ][int(rng.integers(6))],
        np.float32,
    )
    ink = (0.88, 0.84, 0.72) if colour.mean() < 0.45 else (0.12, 0.12, 0.12)
    image[top:] = colour * 0.85
    fascia = top + 26
    image[top:fascia] = colour
    image[top : top + 3] = colour * 0.5 + 0.3
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    scale = 0.62
    text_w = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, 1)[0][0]
    write(image, word, (max(4, (width - text_w) // 2), fascia - 7), scale, ink)
    riser = height - int(rng.uniform(14, 26))
    n_panes = max(2, round(width / 90))
    edges = np.linspace(8, width - 8, n_panes + 1).astype(int)
    door = int(rng.integers(n_panes))
    for index, (x0, x1) in enumerate(zip(edges[:-1] + 3, edges[1:] - 3, strict=True)):
        y1 = height - 4 if index == door else riser
        pane = _glass(rng, y1 - fascia - 4, x1 - x0)
        for _ in range(12):  # goods on display
            ox, oy = rng.integers(0, max(1, x1 - x0 - 8)), rng.integers(pane.shape[0] // 3, pane.shape[0])
            ow, oh = rng.integers(4, 18), rng.integers(5, 26)
            goods = rng.uniform(0.10, 0.55) * (1 + 0.18 * rng.standard_normal(3))
            pane[oy : oy + oh, ox : ox + ow] = pane[oy : oy + oh, ox : ox + ow] * 0.55 + 0.45 * np.clip(goods, 0, 1)
        pane[:6] *= 0.5
        image[fascia + 4 : y1, x0:x1] = pane
        glow[fascia + 4 : y1, x0:x1] = rng.uniform(0.6, 1.0)
        if index == door:
            middle = (x0 + x1) // 2
            image[fascia + 4 : y1, middle - 2 : middle + 2] = colour * 0.7
    image[height - 6 :] *= 0.7


def facade(rng: Generator, width_m: float, floors: int, *, shop: bool) -> Texture:
    """A house front of `floors` storeys: masonry, rows of windows, cornice, drainpipe, perhaps a shop below."""
    ground_m, storey_m, parapet_m = (3.7 if shop else 3.2), 2.9, 0.8
    height = int((ground_m + storey_m * (floors - 1) + parapet_m) * PX_PER_M)
    width = int(width_m * PX_PER_M)
    kind, base = WALLS[int(rng.integers(len(WALLS)))]
    base = tuple(np.clip(np.asarray(base) * rng.uniform(0.88, 1.08), 0, 1))
    image = wall(rng, height, width, kind, base)
    glow = np.zeros((height, width), np.float32)
    style = {"brick": "sash", "render": "sash", "stone": "stone"}[kind]
    if kind == "render" and rng.random() < 0.4:
        style = "modern"
    n_windows = max(2, round(width_m / (rng.uniform(2.0, 2.7))))
    win_w = int((1.9 if style == "modern" else 1.1) * PX_PER_M * rng.uniform(0.9, 1.1))
    centres = (np.arange(n_windows) + 0.5) * width / n_windows
    for floor in range(floors):
        if floor == 0 and shop:
            continue
        bottom = height - int((ground_m if floor else 0) * PX_PER_M) - int(max(0, floor - 1) * storey_m * PX_PER_M)
        sill, win_h = bottom - int(0.85 * PX_PER_M), int((1.75 if floor < 2 else 1.45) * PX_PER_M)
        door = int(rng.integers(n_windows)) if floor == 0 else -1
        for index, centre in enumerate(centres):
            x0 = int(centre - win_w / 2)
            if index == door:
                top = bottom - int(2.2 * PX_PER_M)
                image[top:bottom, x0 : x0 + 42] = rng.uniform(0.05, 0.45, 3)
                image[top : top + 4, x0 - 4 : x0 + 46] = 0.7
                image[top + 14 : top + 40, x0 + 8 : x0 + 34] *= 0.7
                continue
            _window(rng, image, glow, (max(2, x0), sill - win_h, min(width - 2, x0 + win_w), sill), style)
        if floor and kind != "render":
            image[bottom - 3 : bottom + 2] = image[bottom - 3 : bottom + 2] * 0.4 + 0.36
    cornice = int(0.35 * PX_PER_M)
    image[:cornice] = image[:cornice] * 0.3 + 0.42
    image[cornice : cornice + 6] *= 0.55
    if shop:
        shop_front(rng, image, glow, height - int(ground_m * PX_PER_M))
    pipe = int(rng.choice([6, width - 10]))
    image[cornice : height - (int(ground_m * PX_PER_M) if shop else 0), pipe : pipe + 4] = (0.16, 0.16, 0.17)
    return Texture(np.clip(image, 0, 1), glow=glow)


def gable(rng: Generator, size: int = 400) -> Texture:
    """A windowless side wall."""
    kind, base = WALLS[int(rng.integers(4))]
    return Texture(wall(rng, size, size, kind, base))


def slates(rng: Generator, base: Colour, height: int = 200, width: int = 400) -> Texture:
    """A tiled or slated roof."""
    tone = 1 + 0.10 * cv2.resize(
        rng.standard_normal((height // 8, width // 8)).astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_NEAREST,
    )
    tone += 0.07 * fractal_noise(rng, height, width, 80, 4)
    tone[::8] *= 0.72
    return Texture(_shade(_flat(height, width, base), tone))


# -- plants ------------------------------------------------------------------------------------------------------------


def foliage(rng: Generator, base: Colour, size: int = 320, leaves: int = 2600) -> Texture:
    """A clump of leaves: thousands of strokes, dark inside and below, light on the sunny top."""
    colour = _flat(size, size, base) * 0.42
    alpha = np.zeros((size, size), np.uint8)
    lobes = rng.uniform(0.26, 0.74, (9, 2)) * size
    radii = rng.uniform(0.12, 0.23, 9) * size
    order = np.sort(rng.random(leaves))
    for depth in order:  # from the back (dark) to the front (light)
        lobe = int(rng.integers(len(lobes)))
        offset = rng.normal(0, 0.55, 2)
        offset *= min(1.0, 1.05 / (np.hypot(*offset) + 1e-6))
        x, y = lobes[lobe] + offset * radii[lobe]
        light = 0.40 + 0.55 * depth - 0.42 * offset[1] * 0.7 - 0.22 * (y / size - 0.5) + rng.normal(0, 0.09)
        tint = np.clip(np.asarray(base) * max(0.25, light + 0.15) * (1 + 0.06 * rng.standard_normal(3)), 0, 1)
        centre, axes = (int(x), int(y)), (int(rng.integers(2, 6)), int(rng.integers(1, 4)))
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(colour, centre, axes, angle, 0, 360, tint.tolist(), -1)
        cv2.ellipse(alpha, centre, axes, angle, 0, 360, 255, -1)
    return Texture(colour, alpha=alpha)


def bare_tree(rng: Generator, size: int = 512) -> Texture:
    """A winter tree, trunk at the bottom middle, branches by recursion."""
    alpha = np.zeros((size, size), np.uint8)
    colour = _flat(size, size, (0.27, 0.235, 0.20))
    stack = [(size / 2, size - 1.0, -np.pi / 2, size * 0.21, size * 0.034)]
    while stack:
        x, y, angle, length, thick = stack.pop()
        end_x, end_y = x + length * np.cos(angle), y + length * np.sin(angle)
        width = max(1, round(thick))
        cv2.line(alpha, (int(x), int(y)), (int(end_x), int(end_y)), 255, width)
        cv2.line(
            colour,
            (int(x - thick / 4), int(y)),
            (int(end_x - thick / 4), int(end_y)),
            (0.36, 0.32, 0.28),
            max(1, width // 3),
        )
        if length < size * 0.022:
            continue
        for _ in range(2 if rng.random() < 0.55 else 3):
            turned, shorter = angle + rng.normal(0, 0.42), length * rng.uniform(0.62, 0.88)
            # Branches rise, and those that would leave the picture end.
            turned = float(np.clip(turned, -np.pi + 0.05, -0.05))
            if 0.04 * size < end_x + shorter * np.cos(turned) < 0.96 * size and end_y > 0.06 * size:
                stack.append((end_x, end_y, turned, shorter, thick * rng.uniform(0.55, 0.75)))
    noise = 1 + 0.15 * fractal_noise(rng, size, size, 10, 3)
    return Texture(_shade(colour, noise), alpha=alpha)


def bark(rng: Generator, base: Colour) -> Texture:
    """A trunk: a round column of bark."""
    return cylinder(rng, base, 48, 192, grain=0.16)


def hedge(rng: Generator, size: int = 256) -> Texture:
    """A clipped hedge face."""
    noise = 0.9 + 0.25 * fractal_noise(rng, size, size, 9, 3) + 0.08 * fractal_noise(rng, size, size, 64, 2)
    return Texture(_shade(_flat(size, size, (0.21, 0.27, 0.12)), noise))


# -- street furniture --------------------------------------------------------------------------------------------------


def cylinder(rng: Generator, base: Colour, width: int = 16, height: int = 128, grain: float = 0.05) -> Texture:
    """A round post: bright along one flank, dark on the other."""
    across = np.linspace(-1, 1, width, dtype=np.float32)
    round_shade = 0.55 + 0.6 * np.clip(1 - (across + 0.35) ** 2, 0, 1)
    tone = round_shade[None] * (1 + grain * fractal_noise(rng, height, width, 12, 3))
    return Texture(_shade(_flat(height, width, base), tone.astype(np.float32)))


def railings(rng: Generator, base: Colour = (0.12, 0.13, 0.13), width: int = 320, height: int = 128) -> Texture:
    """Upright iron bars between two rails (320 texels are 2.5 m)."""
    alpha = np.zeros((height, width), np.uint8)
    alpha[6:14] = alpha[-18:-10] = 255
    for x in range(4, width, 16):
        alpha[:, x : x + 5] = 255
    alpha[:, :9] = alpha[:, -9:] = 255
    tone = 1 + 0.12 * fractal_noise(rng, height, width, 10, 2)
    return Texture(_shade(_flat(height, width, base), tone.astype(np.float32)), alpha=alpha)


def boards(rng: Generator, base: Colour = (0.43, 0.33, 0.23), width: int = 256, height: int = 176) -> Texture:
    """A close-boarded wooden fence."""
    tones = 1 + 0.12 * rng.standard_normal((1, width // 12 + 1)).astype(np.float32)
    tone = tones[:, np.arange(width) // 12] * (
        1 + 0.10 * cv2.resize(fractal_noise(rng, height // 8, width, 8, 3), (width, height))
    )
    tone[:, ::12] *= 0.5
    tone[20:30] *= 1.15
    tone[-36:-26] *= 1.15
    return Texture(_shade(_flat(height, width, base), tone.astype(np.float32)))


def sign_plate(rng: Generator, kind: int, size: int = 96) -> Texture:
    """Traffic signs: 0 prohibition disc, 1 warning triangle, 2 direction board, 3 mandatory disc, 4 the plain back."""
    image = _flat(size, size, (0.55, 0.56, 0.57))
    alpha = np.zeros((size, size), np.uint8)
    centre, half = (size // 2, size // 2), size // 2 - 1
    red, white, blue = (0.72, 0.07, 0.08), (0.92, 0.92, 0.90), (0.05, 0.20, 0.55)
    if kind in (0, 3, 4):
        cv2.circle(alpha, centre, half, 255, -1)
    if kind == 0:
        cv2.circle(image, centre, half, red, -1)
        cv2.circle(image, centre, int(half * 0.74), white, -1)
        write(image, str(rng.choice(["20", "30", "40"])), (size // 4 - 2, size // 2 + 13), 1.25, (0.05,) * 3, 3)
    elif kind == 1:
        outer = np.array([[size // 2, 4], [size - 2, size - 8], [2, size - 8]])
        cv2.fillPoly(alpha, [outer], 255)
        cv2.fillPoly(image, [outer], red)
        inner = (outer - outer.mean(0)) * 0.66 + outer.mean(0)
        cv2.fillPoly(image, [inner.astype(int)], white)
        cv2.line(image, (size // 2, size // 2), (size // 2, size - 26), (0.05,) * 3, 6)
    elif kind == 2:
        alpha[:] = 255
        image[:] = (0.04, 0.26, 0.17) if rng.random() < 0.5 else blue
        image[:4] = image[-4:] = white
        image[:, :4] = image[:, -4:] = white
        for row in (30, 58, 84):
            write(image, "".join(rng.choice(list("ABCDEGHNORST"), 5)), (10, row), 0.62, white, 2)
    elif kind == 3:
        cv2.circle(image, centre, half, blue, -1)
        cv2.circle(image, centre, half - 3, white, 2)
        cv2.arrowedLine(image, (size // 4, size // 4), (size * 3 // 4, size * 3 // 4), white, 7, tipLength=0.4)
    image *= 1 + 0.03 * rng.standard_normal((size, size, 1)).astype(np.float32)
    return Texture(np.clip(image, 0, 1), alpha=alpha)


def traffic_light(lamp: int, width: int = 48, height: int = 128) -> Texture:
    """The head of a traffic light: lamp 0 red, 1 amber, 2 green is lit; -1 the back."""
    image, glow = _flat(height, width, (0.07, 0.07, 0.075)), np.zeros((height, width), np.float32)
    _rect(image, 0, 0, width, 3, 0.5)
    if lamp >= 0:
        colours: tuple[Colour, ...] = ((1.0, 0.16, 0.10), (1.0, 0.68, 0.12), (0.25, 1.0, 0.62))
        for index, colour in enumerate(colours):
            centre = (width // 2, int(height * (0.2 + 0.3 * index)))
            on = index == lamp
            cv2.circle(image, centre, 15, colour if on else tuple(0.16 * c for c in colour), -1, cv2.LINE_AA)
            if on:
                cv2.circle(image, centre, 7, tuple(0.5 + 0.5 * c for c in colour), -1, cv2.LINE_AA)
                cv2.circle(glow, centre, 16, 1.0, -1)
    return Texture(image, glow=glow)
