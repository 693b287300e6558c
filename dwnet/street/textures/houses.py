"""Textures of the rendered street's houses: masonry, windows, shops, gables, roofs."""

from __future__ import annotations

import cv2
import numpy as np

from dwnet.street.textures.synthesis import Colour, FloatImage, Generator, Texture, flat, fractal_noise, shaded, write

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
    image = flat(height, width, base)
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
    return shaded(image.astype(np.float32), tone)


def _glass(rng: Generator, height: int, width: int) -> FloatImage:
    """A pane: dark room below, reflected sky above, sometimes curtains or a blind."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    reflect = np.clip(
        rng.uniform(0.10, 0.55) * (1 - down) ** 1.5 + 0.05 * fractal_noise(rng, height, width, 12, 3), 0, 1
    )
    pane = flat(height, width, (0.10, 0.115, 0.13)) * (1 - reflect[..., None])
    pane += reflect[..., None] * np.array([0.62, 0.70, 0.78], np.float32)
    kind = rng.random()
    if kind < 0.30:  # curtains
        edge = max(2, int(width * rng.uniform(0.15, 0.3)))
        cloth = flat(height, edge, (0.55, 0.52, 0.46)) * (0.8 + 0.2 * np.sin(np.arange(edge) * 1.4))[None, :, None]
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
    """Paints a shop into the rows from `top` down: fascia board with its name, glazing, door, stall riser."""
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
    """A house front of `floors` storeys: masonry, rows of windows, cornice, drainpipe, and a shop if `shop` is set."""
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
    return Texture(shaded(flat(height, width, base), tone))
