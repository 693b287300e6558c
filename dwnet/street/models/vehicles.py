"""Vehicles of the rendered street: body panels as textured polygons, in the vehicle's own axes.

Local axes: x to the right, y up, z forward, metres, the origin on the ground below the middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dwnet.street.geometry import Array, SurfaceList, Surfaces


@dataclass(frozen=True)
class Body:
    """The shape of a vehicle in metres. z increases from the rear to the front."""

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
    """Inset of the roof from the body at each side."""


BODIES = (
    Body("hatchback", 3.9, 1.68, 0.93, 1.43, 0.76, 1.02, 0.28, -1.40, -1.86, 0.30, 1.22, -1.24),
    Body("saloon", 4.5, 1.74, 0.93, 1.42, 0.74, 0.98, 0.20, -1.00, -1.55, 0.31, 1.36, -1.34),
    Body("estate", 4.5, 1.74, 0.94, 1.48, 0.76, 1.02, 0.28, -1.95, -2.16, 0.31, 1.36, -1.36),
    Body("van", 4.9, 1.90, 1.20, 2.10, 1.05, 1.70, 0.95, -2.38, -2.43, 0.34, 1.62, -1.48, 0.10),
)
BUS = Body("bus", 10.5, 2.5, 1.35, 4.2, 1.3, 5.2, 5.15, -5.2, -5.24, 0.48, 3.4, -2.7, 0.02)


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


def vehicle_surfaces(body: Body, textures: list[int], label: int) -> Surfaces:
    """Returns the polygons of a vehicle in its own axes; `textures` are ids in the order of VEHICLE_TEXTURES."""
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
            # The tyre as seen from behind or from the front, within the outline of the body.
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
    # Front and rear windows: the texture starts at the roof's edge and is as wide as the body.
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


def place(template: Surfaces, position: Array, yaw: float, instance: int, *, glow: float = 1.0) -> Surfaces:
    """Returns a template, turned to the right by `yaw` [radians] and moved to `position` (3,); `glow` 0: lamps off."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])  # row vectors: p @ turn
    n = len(template)
    return Surfaces(
        template.corners @ turn + position, template.origin @ turn + position, template.u_axis @ turn,
        template.v_axis @ turn, template.texture, template.label, np.full(n, instance, np.int32), template.layer,
        template.anchor @ turn + position, template.order, template.two_sided, template.brightness,
        template.glow * glow,
    )  # fmt: skip
