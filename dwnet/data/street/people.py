"""Pedestrians and cyclists of the rendered street: limbs that swing, each a strip around its bone.

All functions are closed forms of time, so any frame can be asked for, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dwnet.data.street.geometry import BOX, DISC, LIMB, TORSO, Array, Billboards
from dwnet.data.street.textures import Colour, Generator, Texture, _flat, _shade, cylinder, fractal_noise

CLOTHES: tuple[Colour, ...] = (
    (0.09, 0.09, 0.11), (0.15, 0.18, 0.28), (0.42, 0.10, 0.10), (0.30, 0.28, 0.24), (0.46, 0.44, 0.40),
    (0.12, 0.24, 0.20), (0.55, 0.42, 0.20), (0.24, 0.26, 0.30),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = ((0.12, 0.15, 0.24), (0.08, 0.08, 0.09), (0.32, 0.28, 0.22), (0.20, 0.21, 0.23))
SKINS: tuple[Colour, ...] = ((0.78, 0.58, 0.48), (0.66, 0.47, 0.37), (0.42, 0.28, 0.21))


def cloth(rng: Generator, base: Colour, width: int = 40, height: int = 64, *, torso: bool = False) -> Texture:
    """A sleeve, a trouser leg or a coat: round, with creases; a torso has a front seam and a hem."""
    texture = cylinder(rng, base, width, height, grain=0.10)
    image = texture.colour.copy()
    creases = fractal_noise(rng, height, width, 14, 3)
    image = _shade(image, (1 + 0.10 * creases).astype(np.float32))
    if torso:
        image[:, width // 2] *= 0.6
        image[int(height * 0.9) :] *= 0.75
        image[: int(height * 0.08), width // 3 : 2 * width // 3] *= 0.6
    return Texture(image)


def shin(rng: Generator, base: Colour) -> Texture:
    """Lower leg with a shoe at its end."""
    image = cloth(rng, base, 32, 64).colour.copy()
    image[54:] = 0.07
    image[61:] = 0.30
    return Texture(image)


def head(rng: Generator, skin: Colour, hair: Colour) -> Texture:
    """A head: hair on top, face below, soft eyes' shade."""
    image = cylinder(rng, skin, 40, 48, grain=0.03).colour.copy()
    cv2.ellipse(image, (20, 14), (21, 17), 0, 0, 360, tuple(float(c) for c in hair), -1)
    image[20:25, 8:32] *= 0.8
    image[44:] *= 0.7
    return Texture(np.clip(image, 0, 1))


def bicycle_wheel() -> Texture:
    """Tyre, rim and spokes, cut out."""
    size = 128
    alpha = np.zeros((size, size), np.uint8)
    cv2.circle(alpha, (64, 64), 59, 255, 7)
    for angle in np.arange(12) * np.pi / 6:
        end = (int(64 + 58 * np.cos(angle)), int(64 + 58 * np.sin(angle)))
        cv2.line(alpha, (64, 64), end, 255, 2)
    colour = _flat(size, size, (0.07, 0.07, 0.075))
    cv2.circle(colour, (64, 64), 53, (0.5, 0.5, 0.52), 2)
    return Texture(colour, alpha=alpha)


@dataclass(frozen=True)
class Wardrobe:
    """Texture ids of people's parts, one per variant."""

    torso: tuple[int, ...]
    sleeve: tuple[int, ...]
    """Same order as `torso`."""
    thigh: tuple[int, ...]
    shin: tuple[int, ...]
    head: tuple[int, ...]
    bag: int
    tube: int


@dataclass(frozen=True)
class Person:
    """Who somebody is; where they are is given by the world, per time."""

    height: float
    """[m]."""
    phase: float
    """Of the walk, radians at t = 0."""
    coat: int
    legs: int
    face: int
    bag: bool
    instance: int
    stride: float = 1.45
    """Metres walked per full cycle."""


def _boards(
    rows: list[tuple[Array, Array, float, int, int, float]], label: int, instance: int, anchor: Array
) -> Billboards:
    tops, bottoms, widths, outlines, textures, biases = zip(*rows, strict=True)
    n = len(rows)
    return Billboards(
        np.asarray(tops), np.asarray(bottoms), np.asarray(widths), np.asarray(outlines, np.int32),
        np.asarray(textures, np.int32), np.full(n, label, np.uint8), np.full(n, instance, np.int32),
        np.tile(anchor, (n, 1)), np.ones(n), np.asarray(biases),
    )  # fmt: skip


def _bend(root: Array, forward: Array, angle: float, length: float) -> Array:
    """The end of a bone that hangs from `root`, swung forward by `angle`."""
    return root + length * (np.sin(angle) * forward + np.array([0.0, -np.cos(angle), 0.0]))


def walker(
    person: Person, foot: Array, forward: Array, walked_m: float, pace: float, label: int, wear: Wardrobe
) -> Billboards:
    """A pedestrian at `foot` (3,) facing `forward` (3,), `walked_m` metres into the walk; `pace` 0 stands, 1 walks."""
    size, up = person.height, np.array([0.0, 1.0, 0.0])
    side = np.cross(up, forward)  # to the person's right
    cycle = person.phase + 2 * np.pi * walked_m / person.stride
    bob = 0.018 * size * pace * abs(np.cos(cycle))
    hip = foot + up * (0.50 * size + bob)
    chest = foot + up * (0.83 * size + bob) + 0.03 * size * pace * forward
    rows: list[tuple[Array, Array, float, int, int, float]] = []
    for sign in (-1.0, 1.0):
        swing = sign * np.sin(cycle)
        thigh_angle = pace * 0.48 * swing + 0.03
        knee = pace * (0.10 + 0.75 * max(0.0, sign * np.cos(cycle))) + 0.03
        hip_joint = hip + sign * 0.052 * size * side
        knee_joint = _bend(hip_joint, forward, thigh_angle, 0.25 * size)
        ankle = _bend(knee_joint, forward, thigh_angle - knee, 0.26 * size)
        rows.append(
            (
                hip_joint + 0.03 * size * up,
                knee_joint - 0.01 * size * up,
                0.098 * size,
                LIMB,
                wear.thigh[person.legs],
                0,
            )
        )
        rows.append((knee_joint + 0.015 * size * up, ankle, 0.078 * size, LIMB, wear.shin[person.legs], 0))
        shoulder = chest - 0.045 * size * up + sign * 0.115 * size * side
        elbow = _bend(shoulder, forward, -pace * 0.42 * swing, 0.175 * size)
        hand = _bend(elbow, forward, -pace * 0.42 * swing + 0.2 + 0.25 * pace, 0.19 * size)
        rows.append((shoulder + 0.02 * size * up, elbow, 0.068 * size, LIMB, wear.sleeve[person.coat], 0))
        rows.append((elbow + 0.01 * size * up, hand, 0.055 * size, LIMB, wear.sleeve[person.coat], 0))
    rows.append((chest + 0.015 * size * up, hip - 0.06 * size * up, 0.245 * size, TORSO, wear.torso[person.coat], 0))
    face = chest + 0.095 * size * up + 0.02 * size * forward
    rows.append((face + 0.068 * size * up, face - 0.072 * size * up, 0.108 * size, DISC, wear.head[person.face], 0))
    if person.bag:
        strap = hip + 0.13 * size * side
        rows.append((strap + 0.10 * size * up, strap - 0.09 * size * up, 0.13 * size, BOX, wear.bag, 0))
    return _boards(rows, label, person.instance, foot)


def rider(person: Person, foot: Array, forward: Array, ridden_m: float, label: int, wear: Wardrobe) -> Billboards:
    """A cyclist whose bottom bracket is above `foot`: frame tubes, pedalling legs, arms on the bar, torso, head."""
    up = np.array([0.0, 1.0, 0.0])
    side = np.cross(up, forward)

    def at(along: float, height: float, across: float = 0.0) -> Array:
        return foot + along * forward + height * up + across * side

    crank = person.phase + ridden_m / 0.85
    saddle, bracket, head_tube, front_hub, rear_hub = (
        at(-0.20, 0.95),
        at(0, 0.29),
        at(0.48, 0.82),
        at(0.58, 0.34),
        at(-0.46, 0.34),
    )
    rows: list[tuple[Array, Array, float, int, int, float]] = [
        (top, bottom, 0.042, BOX, wear.tube, 0.0)
        for top, bottom in (
            (saddle, bracket),
            (head_tube, bracket),
            (head_tube, at(-0.16, 0.80)),
            (head_tube + 0.16 * up, front_hub),
            (saddle, rear_hub),
            (bracket + 0.01 * up, rear_hub),
        )
    ]
    rows.append((at(0.46, 0.99, -0.25), at(0.46, 0.99, 0.25), 0.04, BOX, wear.tube, 0.0))
    for sign in (-1.0, 1.0):
        angle = crank + (np.pi if sign > 0 else 0.0)
        pedal = bracket + 0.17 * (np.cos(angle) * forward + np.sin(angle) * up) + 0.10 * sign * side
        hip = at(-0.18, 0.98, 0.10 * sign)
        line = pedal - hip
        reach = float(np.linalg.norm(line))
        bend = np.sqrt(max(0.0, 0.46**2 - (min(reach, 0.90) / 2) ** 2))
        knee = hip + line / 2 + bend * forward + 0.25 * bend * up
        rows.append((hip + 0.04 * up, knee, 0.165, LIMB, wear.thigh[person.legs], 0.0))
        rows.append((knee + 0.02 * up, pedal - 0.04 * up, 0.125, LIMB, wear.shin[person.legs], 0.0))
        shoulder, grip = at(0.14, 1.42, 0.18 * sign), at(0.46, 1.01, 0.22 * sign)
        rows.append((shoulder + 0.03 * up, grip, 0.105, LIMB, wear.sleeve[person.coat], 0.0))
    rows.append((at(0.16, 1.50), at(-0.20, 0.93), 0.42, TORSO, wear.torso[person.coat], 0.0))
    rows.append((at(0.26, 1.74), at(0.24, 1.49), 0.19, DISC, wear.head[person.face], 0.05))
    return _boards(rows, label, person.instance, foot)
