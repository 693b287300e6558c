"""Textures of the rendered street's vehicles: paint, glass, lamps, wheels."""

from __future__ import annotations

import cv2
import numpy as np

from dwnet.street.models.vehicles import BUS, Body
from dwnet.street.textures.synthesis import Colour, FloatImage, Generator, Texture, fractal_noise, write

PX_PER_M = 72

PAINTS: tuple[Colour, ...] = (
    (0.60, 0.62, 0.64), (0.11, 0.12, 0.14), (0.42, 0.09, 0.08), (0.11, 0.16, 0.29), (0.70, 0.70, 0.68),
    (0.28, 0.30, 0.32), (0.15, 0.25, 0.21), (0.45, 0.39, 0.29), (0.32, 0.39, 0.47),
)  # fmt: skip


def _paint(rng: Generator, height: int, width: int, paint: Colour, top: float = 1.25, low: float = 0.62) -> FloatImage:
    """Curved, glossy metal: sky above, a bright shoulder line, road below."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    tone = top * (1 - down) + low * down
    image = np.asarray(paint, np.float32) * tone
    image = image + 0.16 * np.exp(-(((down - 0.12) / 0.07) ** 2)) * np.array([0.9, 0.97, 1.05], np.float32)
    image = np.broadcast_to(image, (height, width, 3)).copy()
    dirt = fractal_noise(rng, height, width, 40, 4)[..., None]
    image *= 1 + 0.035 * dirt
    image += 0.10 * np.clip(down - 0.65, 0, 1) * (np.array([0.42, 0.38, 0.33], np.float32) - image) * 3
    return np.clip(image, 0, 1).astype(np.float32)


def _glass(rng: Generator, height: int, width: int, bright: float = 0.5) -> FloatImage:
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = (
        np.array([0.085, 0.095, 0.105], np.float32)
        + bright * np.array([0.50, 0.57, 0.64], np.float32) * (1 - down) ** 2
    )
    image = np.broadcast_to(image, (height, width, 3)).copy()
    return np.clip(image + 0.025 * fractal_noise(rng, height, width, 30, 3)[..., None], 0, 1)


def side_texture(rng: Generator, body: Body, paint: Colour, flip: bool) -> Texture:
    """The lower body from the side: doors, arches, sill, handles, lamps."""
    height, width = int((body.belt - 0.15) * PX_PER_M), int(body.length * PX_PER_M)
    image = _paint(rng, height, width, paint)
    half = body.length / 2

    def column(z: float) -> int:
        return int((z + half) * PX_PER_M)

    door_z = [body.screen_z - 0.25, (body.screen_z + body.tail_z) / 2 - 0.05, body.tail_z + 0.35]
    for z in door_z:
        image[4 : int(height * 0.86), column(z) : column(z) + 2] *= 0.45
    for z in door_z[1:]:
        image[int(height * 0.22) : int(height * 0.22) + 4, column(z) + 6 : column(z) + 20] *= 0.4
    image[int(height * 0.88) :] *= 0.35
    image[int(height * 0.62) : int(height * 0.62) + 4] *= 0.6
    for z in (body.front_axle_z, body.rear_axle_z):
        cv2.circle(
            image,
            (column(z), int((body.belt - body.wheel) * PX_PER_M)),
            int((body.wheel + 0.07) * PX_PER_M),
            (0.02, 0.02, 0.022),
            -1,
        )
    lamp_y = int(height * 0.22)
    image[lamp_y : lamp_y + 14, :12] = (0.55, 0.05, 0.04)
    image[lamp_y + 8 : lamp_y + 20, -14:] = (0.80, 0.80, 0.76)
    return Texture(np.ascontiguousarray(image[:, ::-1] if flip else image))


def window_texture(rng: Generator, body: Body, paint: Colour, flip: bool) -> Texture:
    """The cabin from the side: glass with its pillars."""
    height, width = int((body.roof - body.belt + 0.1) * PX_PER_M), int((body.screen_z - body.tail_z) * PX_PER_M)
    image = _glass(rng, height, width)
    metal = np.clip(np.asarray(paint, np.float32) * 0.9, 0, 1)
    image[:5] = metal * 1.15
    image[-3:] = 0.05
    for at in (0.04, 0.42, 0.70) if body.name != "van" else (0.62,):
        image[:, int(width * at) : int(width * at) + 6] = metal * 0.55
    if body.name == "van":
        image[:, : int(width * 0.62)] = _paint(rng, height, int(width * 0.62), paint, 1.15, 0.95)
    image[:, :10] = metal
    image[:, -12:] = metal
    return Texture(np.ascontiguousarray(np.clip(image[:, ::-1] if flip else image, 0, 1)))


def end_texture(rng: Generator, body: Body, paint: Colour, *, rear: bool) -> Texture:
    """The front or the rear face: lamps, plate, bumper, grille."""
    top = body.belt if rear else body.bonnet
    height, width = int((top - 0.2) * PX_PER_M), int(body.width * PX_PER_M)
    image, glow = _paint(rng, height, width, paint, 1.1, 0.6), np.zeros((height, width), np.float32)
    image[int(height * 0.62) :] *= 0.55 if rng.random() < 0.5 else 0.85
    image[int(height * 0.86) :] = 0.06
    lamp_w, lamp_h = int(width * 0.17), max(8, int(height * (0.30 if rear else 0.34)))
    lamp_y = int(height * (0.14 if rear else 0.06))
    for x0 in (3, width - 3 - lamp_w):
        colour = (0.62, 0.06, 0.05) if rear else (0.82, 0.84, 0.84)
        image[lamp_y : lamp_y + lamp_h, x0 : x0 + lamp_w] = colour
        image[lamp_y + lamp_h - 4 : lamp_y + lamp_h, x0 : x0 + lamp_w] *= 0.6
        middle = (x0 + lamp_w // 2, lamp_y + lamp_h // 2)
        cv2.circle(image, middle, lamp_h // 4, (0.85, 0.2, 0.15) if rear else (0.98, 0.98, 0.95), -1, cv2.LINE_AA)
        cv2.rectangle(glow, (x0, lamp_y), (x0 + lamp_w, lamp_y + lamp_h), 1.0, -1)
    plate_y = int(height * (0.46 if rear else 0.62))
    x0, x1 = width // 2 - 19, width // 2 + 19
    image[plate_y : plate_y + 9, x0:x1] = (0.78, 0.64, 0.12) if rear else (0.82, 0.82, 0.80)
    for x in range(x0 + 3, x1 - 3, 5):
        image[plate_y + 2 : plate_y + 7, x : x + 3] = 0.08
    if not rear:
        grille = slice(int(height * 0.12), int(height * 0.38))
        image[grille, int(width * 0.28) : int(width * 0.72)] = 0.07
        image[grille.start : grille.stop : 4, int(width * 0.28) : int(width * 0.72)] = 0.30
    return Texture(image, glow=glow)


def screen_texture(rng: Generator, paint: Colour, *, rear: bool) -> Texture:
    """Windscreen or rear window: glass in a painted frame, with dark seats behind it."""
    height, width = 56, 110
    image = _glass(rng, height, width, 0.75 if not rear else 0.6)
    for x in (30, 80):
        cv2.ellipse(image, (x, 44), (11, 20), 0, 0, 360, (0.06, 0.06, 0.065), -1, cv2.LINE_AA)
    metal = np.clip(np.asarray(paint, np.float32), 0, 1)
    image[:3] = metal
    image[:, :5] = image[:, -5:] = metal * 0.85
    if rear:
        cv2.line(image, (20, 53), (60, 50), (0.03,) * 3, 2, cv2.LINE_AA)
    return Texture(np.clip(image, 0, 1))


def wheel_texture(rng: Generator) -> Texture:
    """A tyre around a bright rim."""
    size = 64
    image = np.full((size, size, 3), 0.05, np.float32)
    cv2.circle(image, (32, 32), 21, (0.10,) * 3, -1, cv2.LINE_AA)
    tone = float(rng.uniform(0.42, 0.62))
    cv2.circle(image, (32, 32), 19, (tone,) * 3, -1, cv2.LINE_AA)
    for spoke in range(5):
        angle = spoke * 2 * np.pi / 5 + 0.6
        centre = (int(32 + 12 * np.cos(angle)), int(32 + 12 * np.sin(angle)))
        cv2.circle(image, centre, 5, (0.10,) * 3, -1, cv2.LINE_AA)
    cv2.circle(image, (32, 32), 4, (0.3,) * 3, -1, cv2.LINE_AA)
    return Texture(image)


def bus_side(rng: Generator, paint: Colour) -> Texture:
    """Two rows of windows along a painted side."""
    height, width = 4 * 48, 10 * 48
    image = _paint(rng, height, width, paint, 1.1, 0.85)
    for top, bottom in ((14, 62), (96, 142)):
        for x in range(12, width - 40, 52):
            image[top:bottom, x : x + 46] = _glass(rng, bottom - top, 46, 0.6)
    image[68:88, 40:-40] = np.array([0.80, 0.76, 0.55], np.float32) * rng.uniform(0.5, 1.0)
    for x in (110, 370):
        cv2.circle(image, (x, height - 2), 27, (0.02,) * 3, -1)
    return Texture(image)


def bus_end(rng: Generator, paint: Colour, *, rear: bool) -> Texture:
    """The front or rear of a double-decker."""
    height, width = 192, 120
    image, glow = _paint(rng, height, width, paint, 1.1, 0.75), np.zeros((192, 120), np.float32)
    for top, bottom in ((16, 62), (92, 146)):
        image[top:bottom, 8:-8] = _glass(rng, bottom - top, width - 16, 0.7)
    image[68:84, 20:-20] = 0.06
    write(image, f"{int(rng.integers(1, 99))} CENTRE", (26, 80), 0.38, (0.95, 0.75, 0.2))
    glow[68:84, 20:-20] = 0.7
    for x in (6, width - 22):
        image[156:170, x : x + 16] = (0.6, 0.06, 0.05) if rear else (0.85, 0.85, 0.8)
        glow[156:170, x : x + 16] = 1
    return Texture(image, glow=glow)


def vehicle_textures(rng: Generator, body: Body, paint: Colour) -> list[Texture]:
    """Returns the ten textures of one vehicle, in the order of VEHICLE_TEXTURES."""
    panel = Texture(np.ascontiguousarray(_paint(rng, 48, 64, paint, 1.38, 1.18)))
    if body is BUS:
        sides = [bus_side(rng, paint), bus_side(rng, paint)]
        ends = [bus_end(rng, paint, rear=False), bus_end(rng, paint, rear=True)]
        return [*sides, panel, panel, *ends, panel, panel, panel, wheel_texture(rng)]
    return [
        side_texture(rng, body, paint, flip=True), side_texture(rng, body, paint, flip=False),
        window_texture(rng, body, paint, flip=True), window_texture(rng, body, paint, flip=False),
        end_texture(rng, body, paint, rear=False), end_texture(rng, body, paint, rear=True),
        screen_texture(rng, paint, rear=False), screen_texture(rng, paint, rear=True), panel, wheel_texture(rng),
    ]  # fmt: skip
