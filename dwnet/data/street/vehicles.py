"""Vehicles of the rendered street: body panels as textured polygons, in the vehicle's own axes.

Local axes: x to the right, y up, z forward, metres, the origin on the ground below the middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dwnet.data.street.geometry import Array, SurfaceList, Surfaces
from dwnet.data.street.textures import Colour, FloatImage, Generator, Texture, fractal_noise, write

PX_PER_M = 72

PAINTS: tuple[Colour, ...] = (
    (0.60, 0.62, 0.64), (0.11, 0.12, 0.14), (0.42, 0.09, 0.08), (0.11, 0.16, 0.29), (0.70, 0.70, 0.68),
    (0.28, 0.30, 0.32), (0.15, 0.25, 0.21), (0.45, 0.39, 0.29), (0.32, 0.39, 0.47),
)  # fmt: skip


@dataclass(frozen=True)
class Body:
    """The shape of a vehicle, metres; z values from the rear to the front."""

    name: str
    length: float
    width: float
    belt: float
    """Height of the lower edge of the windows."""
    roof: float
    bonnet: float
    """Height of the bonnet's front edge."""
    screen_z: float
    """Foot of the windscreen."""
    roof_front_z: float
    roof_rear_z: float
    tail_z: float
    """Foot of the rear window."""
    wheel: float
    """Radius."""
    front_axle_z: float
    rear_axle_z: float
    inset: float = 0.14
    """How far the roof is narrower than the body, each side."""


BODIES = (
    Body("hatchback", 3.9, 1.68, 0.93, 1.43, 0.76, 1.02, 0.28, -1.40, -1.86, 0.30, 1.22, -1.24),
    Body("saloon", 4.5, 1.74, 0.93, 1.42, 0.74, 0.98, 0.20, -1.00, -1.55, 0.31, 1.36, -1.34),
    Body("estate", 4.5, 1.74, 0.94, 1.48, 0.76, 1.02, 0.28, -1.95, -2.16, 0.31, 1.36, -1.36),
    Body("van", 4.9, 1.90, 1.20, 2.10, 1.05, 1.70, 0.95, -2.38, -2.43, 0.34, 1.62, -1.48, 0.10),
)
BUS = Body("bus", 10.5, 2.5, 1.35, 4.2, 1.3, 5.2, 5.15, -5.2, -5.24, 0.48, 3.4, -2.7, 0.02)


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
    """Windscreen or rear window: glass in a painted frame, seats and heads behind it."""
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


VEHICLE_TEXTURES = (
    "left",
    "right",
    "glass_left",
    "glass_right",
    "front",
    "rear",
    "windscreen",
    "rear_window",
    "panel",
    "wheel",
)
"""Roles of a vehicle's textures, in the order of `vehicle_textures`."""


def vehicle_textures(rng: Generator, body: Body, paint: Colour) -> list[Texture]:
    """The ten textures of one vehicle, by VEHICLE_TEXTURES."""
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


def vehicle_surfaces(body: Body, textures: list[int], label: int) -> Surfaces:
    """The polygons of a vehicle in its own axes; `textures` are ids in the order of VEHICLE_TEXTURES."""
    ids = dict(zip(VEHICLE_TEXTURES, textures, strict=True))
    out = SurfaceList()
    half, side, low = body.length / 2, body.width / 2, 0.2
    middle = np.zeros(3)

    def add(
        points: list[tuple[float, float, float]],
        role: str,
        order: float,
        *,
        frame: list[tuple[float, float, float]] | None = None,
        two_sided: bool = False,
    ) -> None:
        basis = None
        if frame is not None:
            origin, right, below = (np.asarray(p, float) for p in frame)
            basis = (origin, right - origin, below - origin)
        out.add(
            np.asarray(points, float), ids[role], label, frame=basis, anchor=middle, order=order, two_sided=two_sided
        )

    if body is BUS:
        # Seen from outside, the left flank has its front at the left, the right flank at the right.
        for x, za, zb, role in ((-side, half, -half, "left"), (side, -half, half, "right")):
            add([(x, body.roof, za), (x, body.roof, zb), (x, 0.25, zb), (x, 0.25, za)], role, 1)
        add([(side, body.roof, half), (-side, body.roof, half), (-side, 0.25, half), (side, 0.25, half)], "front", 1)
        add([(-side, body.roof, -half), (side, body.roof, -half), (side, 0.25, -half), (-side, 0.25, -half)], "rear", 1)
    else:
        _lower_body(add, body, half, side, low)
        _cabin(add, body, side)
    for z in (body.front_axle_z, body.rear_axle_z):
        angles = np.arange(10) * 2 * np.pi / 10
        for sign in (-1, 1):
            x, r = sign * (side + 0.012), body.wheel
            points = [(x, r + r * float(np.sin(a)), z + r * float(np.cos(a))) for a in angles]
            # Facing outwards: on the left flank the front is at the left of the picture.
            u0, u1 = (z + r, z - r) if sign < 0 else (z - r, z + r)
            add(points, "wheel", 2, frame=[(x, 2 * r, u0), (x, 2 * r, u1), (x, 0, u0)])
            # The tyre seen from behind or before, inside the body's outline.
            x0, x1 = sorted((sign * (side - 0.2), sign * (side - 0.02)))
            for at in (z - 0.4 * r, z + 0.4 * r):
                tread = [(x0, low + 0.25, at), (x1, low + 0.25, at), (x1, 0.03, at), (x0, 0.03, at)]
                black = [(x0, 2 * r, at), (x0 + 0.05, 2 * r, at), (x0, 2 * r - 0.05, at)]
                add(tread, "wheel", 0, frame=black, two_sided=True)
    return out.freeze()


def _lower_body(add, body: Body, half: float, side: float, low: float) -> None:  # type: ignore[no-untyped-def]
    outline = [
        (low + 0.05, -half), (body.belt - 0.08, -half), (body.belt, body.tail_z), (body.belt, body.screen_z),
        (body.bonnet, half - 0.12), (body.bonnet - 0.15, half), (low + 0.05, half),
    ]  # fmt: skip
    for sign, role in ((-1, "left"), (1, "right")):
        x = sign * side
        za, zb = (half, -half) if sign < 0 else (-half, half)
        add([(x, y, z) for y, z in outline], role, 1, frame=[(x, body.belt, za), (x, body.belt, zb), (x, 0.15, za)])
    front, rear = body.bonnet - 0.02, body.belt - 0.06
    add([(side, front, half), (-side, front, half), (-side, low, half), (side, low, half)], "front", 1)
    add([(-side, rear, -half), (side, rear, -half), (side, low, -half), (-side, low, -half)], "rear", 1)
    bonnet_end = half - 0.02
    add(
        [
            (-side, body.belt, body.screen_z),
            (-side, front, bonnet_end),
            (side, front, bonnet_end),
            (side, body.belt, body.screen_z),
        ],
        "panel",
        1,
    )
    add(
        [(-side, rear, -half), (-side, body.belt, body.tail_z), (side, body.belt, body.tail_z), (side, rear, -half)],
        "panel",
        1,
    )


def _cabin(add, body: Body, side: float) -> None:  # type: ignore[no-untyped-def]
    top = side - body.inset
    foot_front, foot_rear = body.screen_z, body.tail_z
    for sign, role in ((-1, "glass_left"), (1, "glass_right")):
        corners = [
            (sign * side, body.belt, foot_front), (sign * top, body.roof, body.roof_front_z),
            (sign * top, body.roof, body.roof_rear_z), (sign * side, body.belt, foot_rear),
        ]  # fmt: skip
        za, zb = (foot_front, foot_rear) if sign < 0 else (foot_rear, foot_front)
        add(
            corners,
            role,
            3,
            frame=[(sign * top, body.roof, za), (sign * top, body.roof, zb), (sign * side, body.belt, za)],
        )
    # Front and rear windows: the texture hangs from the roof's edge as wide as the body.
    for role, sign, high_z, low_z in (
        ("windscreen", 1, body.roof_front_z, foot_front),
        ("rear_window", -1, body.roof_rear_z, foot_rear),
    ):
        left, right = sign * side, -sign * side
        corners = [
            (sign * top, body.roof, high_z),
            (-sign * top, body.roof, high_z),
            (right, body.belt, low_z),
            (left, body.belt, low_z),
        ]
        add(corners, role, 3, frame=[(left, body.roof, high_z), (right, body.roof, high_z), (left, body.belt, low_z)])
    add(
        [
            (-top, body.roof, body.roof_rear_z),
            (-top, body.roof, body.roof_front_z),
            (top, body.roof, body.roof_front_z),
            (top, body.roof, body.roof_rear_z),
        ],
        "panel",
        3,
    )


def place(template: Surfaces, position: Array, yaw: float, instance: int, brightness: float = 1.0) -> Surfaces:
    """A template turned by `yaw` (to the right, radians) and moved to `position`, (3,)."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])  # row vectors: p @ turn
    n = len(template)
    return Surfaces(
        template.corners @ turn + position, template.origin @ turn + position, template.u_axis @ turn,
        template.v_axis @ turn, template.texture, template.label, np.full(n, instance, np.int32), template.layer,
        template.anchor @ turn + position, template.order, template.two_sided, template.brightness * brightness,
    )  # fmt: skip
