"""Pedestrians and cyclists of the rendered street. Each limb is a strip around a bone that swings.

All functions are closed forms of time, so frames can be computed in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.street.geometry import BOX, DISC, LIMB, TORSO, Array, Billboards
from dwnet.street.textures.props import cylinder
from dwnet.street.textures.synthesis import Colour, Generator, Texture, flat, fractal_noise, shaded

CLOTHES: tuple[Colour, ...] = (
    (0.09, 0.09, 0.11), (0.15, 0.18, 0.28), (0.42, 0.10, 0.10), (0.30, 0.28, 0.24), (0.46, 0.44, 0.40),
    (0.12, 0.24, 0.20), (0.55, 0.42, 0.20), (0.24, 0.26, 0.30),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = ((0.12, 0.15, 0.24), (0.08, 0.08, 0.09), (0.32, 0.28, 0.22), (0.20, 0.21, 0.23))
SKINS: tuple[Colour, ...] = ((0.78, 0.58, 0.48), (0.66, 0.47, 0.37), (0.42, 0.28, 0.21))


def cloth(rng: Generator, base: Colour, width: int = 40, height: int = 64, *, torso: bool = False) -> Texture:
    """Returns a sleeve, trouser leg or coat: round, with creases. `torso` adds a front seam and a hem."""
    texture = cylinder(rng, base, width, height, grain=0.10)
    image = texture.colour.copy()
    creases = fractal_noise(rng, height, width, 14, 3)
    image = shaded(image, (1 + 0.10 * creases).astype(np.float32))
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
    """A head: hair on top, face below, a darker band at the eyes."""
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
    colour = flat(size, size, (0.07, 0.07, 0.075))
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
    """The fixed properties of a person. The world gives the position at each time."""

    height: float
    """[m]."""
    phase: float
    """Phase of the walk at t = 0 [radians]."""
    coat: int
    legs: int
    face: int
    bag: bool
    instance: int
    stride: float = 1.45
    """Metres walked per full cycle."""


@dataclass(frozen=True)
class Crowd:
    """P persons as arrays, (P,) each, so that all are computed at once."""

    height: Array
    phase: Array
    coat: NDArray[np.int32]
    legs: NDArray[np.int32]
    face: NDArray[np.int32]
    bag: NDArray[np.bool_]
    instance: NDArray[np.int32]
    stride: Array

    @classmethod
    def of(cls, persons: list[Person]) -> Crowd:
        """Returns the arrays of a list of persons."""
        types = (float, float, np.int32, np.int32, np.int32, bool, np.int32, float)
        names = [f.name for f in fields(cls)]
        return cls(*(np.array([getattr(p, n) for p in persons], t) for n, t in zip(names, types, strict=True)))

    def __len__(self) -> int:
        return len(self.height)

    def take(self, index: NDArray[np.intp]) -> Crowd:
        """Returns the persons at `index`."""
        return Crowd(*(getattr(self, f.name)[index] for f in fields(self)))


_UP = np.array([0.0, 1.0, 0.0])


def _right_of(forward: Array) -> Array:
    """(P, 3) unit vectors to the right of level unit vectors `forward` (P, 3): up x forward."""
    return np.stack([forward[:, 2], np.zeros(len(forward)), -forward[:, 0]], 1)


def _bend(root: Array, forward: Array, angle: Array, length: Array) -> Array:
    """(P, 3) ends of bones that hang from `root`, swung forward by `angle` (P,)."""
    return root + length[:, None] * (np.sin(angle)[:, None] * forward - np.cos(angle)[:, None] * _UP)


class _Limbs:
    """Collects the limbs of all persons, limb by limb, and returns them person by person."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._rows: list[tuple[Array, Array, Array | float, int, NDArray[np.int32] | int, float]] = []

    def add(
        self, top: Array, bottom: Array, width: Array | float, outline: int, texture: NDArray | int, bias: float = 0.0
    ) -> None:
        """Adds one limb of all persons: (P, 3) ends, width [m], texture ids."""
        self._rows.append((top, bottom, width, outline, texture, bias))

    def boards(self, crowd: Crowd, anchor: Array, label: int, keep: NDArray[np.bool_] | None = None) -> Billboards:
        """Returns all limbs, except those with False in `keep` (limbs, P)."""
        top, bottom, width, outline, texture, bias = zip(*self._rows, strict=True)
        limbs, n = len(self._rows), self._count
        chosen = np.ones(n * limbs, bool) if keep is None else keep.T.ravel()

        def flat(columns: tuple[Array | float, ...], kind: type, *tail: int) -> NDArray:
            """(P * limbs, ...) values, person by person, from one value or (P, ...) array for each limb."""
            table: NDArray = np.empty((n, limbs, *tail), kind)
            for limb, column in enumerate(columns):
                table[:, limb] = column
            return table.reshape(n * limbs, *tail)[chosen]

        total = int(chosen.sum())
        return Billboards(
            flat(top, float, 3), flat(bottom, float, 3), flat(width, float),
            np.tile(np.asarray(outline, np.int32), n)[chosen], flat(texture, np.int32), np.full(total, label, np.uint8),
            np.repeat(crowd.instance, limbs)[chosen], np.repeat(anchor, limbs, 0)[chosen], np.ones(total),
            np.tile(np.asarray(bias, float), n)[chosen],
        )  # fmt: skip


def walkers(
    crowd: Crowd, foot: Array, forward: Array, walked_m: Array, pace: Array, label: int, wear: Wardrobe
) -> Billboards:
    """Returns the limbs of pedestrians.

    Args:
        crowd: P persons.
        foot: (P, 3) positions on the ground [m].
        forward: (P, 3) unit vectors of the walking direction.
        walked_m: (P,) distance walked [m].
        pace: (P,) from 0, standing, to 1, walking.
        label: class id.
        wear: texture ids.
    """
    size, side = crowd.height, _right_of(forward)
    tall = size[:, None] * _UP
    cycle = crowd.phase + 2 * np.pi * walked_m / crowd.stride
    bob = (0.018 * size * pace * np.abs(np.cos(cycle)))[:, None] * _UP
    hip = foot + 0.50 * tall + bob
    chest = foot + 0.83 * tall + bob + (0.03 * size * pace)[:, None] * forward
    across = size[:, None] * side
    thigh, shin_, sleeve = np.asarray(wear.thigh), np.asarray(wear.shin), np.asarray(wear.sleeve)
    limbs = _Limbs(len(crowd))
    for sign in (-1.0, 1.0):
        swing = sign * np.sin(cycle)
        thigh_angle = pace * 0.48 * swing + 0.03
        knee = pace * (0.10 + 0.75 * np.maximum(0.0, sign * np.cos(cycle))) + 0.03
        hip_joint = hip + sign * 0.052 * across
        knee_joint = _bend(hip_joint, forward, thigh_angle, 0.25 * size)
        ankle = _bend(knee_joint, forward, thigh_angle - knee, 0.26 * size)
        limbs.add(hip_joint + 0.03 * tall, knee_joint - 0.01 * tall, 0.098 * size, LIMB, thigh[crowd.legs])
        limbs.add(knee_joint + 0.015 * tall, ankle, 0.078 * size, LIMB, shin_[crowd.legs])
        shoulder = chest - 0.045 * tall + sign * 0.115 * across
        elbow = _bend(shoulder, forward, -pace * 0.42 * swing, 0.175 * size)
        hand = _bend(elbow, forward, -pace * 0.42 * swing + 0.2 + 0.25 * pace, 0.19 * size)
        limbs.add(shoulder + 0.02 * tall, elbow, 0.068 * size, LIMB, sleeve[crowd.coat])
        limbs.add(elbow + 0.01 * tall, hand, 0.055 * size, LIMB, sleeve[crowd.coat])
    limbs.add(chest + 0.015 * tall, hip - 0.06 * tall, 0.245 * size, TORSO, np.asarray(wear.torso)[crowd.coat])
    face = chest + 0.095 * tall + (0.02 * size)[:, None] * forward
    limbs.add(face + 0.068 * tall, face - 0.072 * tall, 0.108 * size, DISC, np.asarray(wear.head)[crowd.face])
    strap = hip + 0.13 * across
    limbs.add(strap + 0.10 * tall, strap - 0.09 * tall, 0.13 * size, BOX, wear.bag)
    keep = np.ones((11, len(crowd)), bool)
    keep[-1] = crowd.bag
    return limbs.boards(crowd, foot, label, keep)


def riders(crowd: Crowd, foot: Array, forward: Array, ridden_m: Array, label: int, wear: Wardrobe) -> Billboards:
    """Returns the frame tubes of bicycles and the limbs of their riders, without the wheels, which are rigid.

    Args:
        crowd: P persons.
        foot: (P, 3) points on the ground below the bottom brackets [m].
        forward: (P, 3) unit vectors of the riding direction.
        ridden_m: (P,) distance ridden [m].
        label: class id.
        wear: texture ids.
    """
    side = _right_of(forward)

    def at(along: float, height: float, across: float = 0.0) -> Array:
        return foot + along * forward + height * _UP + across * side

    crank = crowd.phase + ridden_m / 0.85
    saddle, bracket, head_tube = at(-0.20, 0.95), at(0, 0.29), at(0.48, 0.82)
    front_hub, rear_hub = at(0.58, 0.34), at(-0.46, 0.34)
    thigh, shin_, sleeve = np.asarray(wear.thigh), np.asarray(wear.shin), np.asarray(wear.sleeve)
    limbs = _Limbs(len(crowd))
    for top, bottom in (
        (saddle, bracket), (head_tube, bracket), (head_tube, at(-0.16, 0.80)), (head_tube + 0.16 * _UP, front_hub),
        (saddle, rear_hub), (bracket + 0.01 * _UP, rear_hub),
    ):  # fmt: skip
        limbs.add(top, bottom, 0.042, BOX, wear.tube)
    limbs.add(at(0.46, 0.99, -0.25), at(0.46, 0.99, 0.25), 0.04, BOX, wear.tube)
    for sign in (-1.0, 1.0):
        angle = (crank + (np.pi if sign > 0 else 0.0))[:, None]
        pedal = bracket + 0.17 * (np.cos(angle) * forward + np.sin(angle) * _UP) + 0.10 * sign * side
        hip = at(-0.18, 0.98, 0.10 * sign)
        line = pedal - hip
        reach = np.linalg.norm(line, axis=1, keepdims=True)
        bend = np.sqrt(np.maximum(0.0, 0.46**2 - (np.minimum(reach, 0.90) / 2) ** 2))
        knee = hip + line / 2 + bend * forward + 0.25 * bend * _UP
        limbs.add(hip + 0.04 * _UP, knee, 0.165, LIMB, thigh[crowd.legs])
        limbs.add(knee + 0.02 * _UP, pedal - 0.04 * _UP, 0.125, LIMB, shin_[crowd.legs])
        shoulder, grip = at(0.14, 1.42, 0.18 * sign), at(0.46, 1.01, 0.22 * sign)
        limbs.add(shoulder + 0.03 * _UP, grip, 0.105, LIMB, sleeve[crowd.coat])
    limbs.add(at(0.16, 1.50), at(-0.20, 0.93), 0.42, TORSO, np.asarray(wear.torso)[crowd.coat])
    limbs.add(at(0.26, 1.74), at(0.24, 1.49), 0.19, DISC, np.asarray(wear.head)[crowd.face], 0.05)
    return limbs.boards(crowd, foot, label)
