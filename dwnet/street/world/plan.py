"""The plan of a rendered street: its middle line, and the positions of objects along it.

Street coordinates in metres: s along the road, d to the right of its middle line, h up. Traffic keeps left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dwnet.street.geometry import Array
from dwnet.street.textures.synthesis import Generator

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
VOID = 255

LANE_M = 1.65
"""Distance of the middle of a lane from the middle of the road."""
KERB_M = 0.12
TURN_RADIUS_M = 24.0
CLEAR_M = 45.0
"""Smallest distance of a side street from a corner."""


@dataclass(frozen=True)
class Turn:
    """A street corner: a short, tight bend."""

    middle: float
    """s of its middle."""
    angle: float
    """Turn of the road to the right [radians]."""

    @classmethod
    def draw(cls, rng: Generator, middle: float) -> Turn | None:
        """Draws a corner of 55 to 95 degrees at `middle`, with a probability of 0.6; otherwise None."""
        if rng.random() > 0.6:
            return None
        return cls(middle, float(np.radians(rng.uniform(55, 95)) * rng.choice([-1, 1])))

    @property
    def span(self) -> tuple[float, float]:
        """(from, to) s."""
        half = 0.5 * abs(self.angle) * TURN_RADIUS_M + 4
        return self.middle - half, self.middle + half

    def curvature(self, s: Array) -> Array:
        """(N,) curvature of the corner [1/m] at s (N,), which is sampled every half metre."""
        start, end = self.span
        window = np.clip(np.minimum(s - start, end - s) / 8, 0, 1)
        return self.angle * window / (window.sum() * 0.5)


@dataclass(frozen=True)
class Road:
    """The middle line, sampled every half metre."""

    s: Array
    x: Array
    z: Array
    heading: Array

    @classmethod
    def bending(cls, rng: Generator, length_m: float, turn: Turn | None) -> Road:
        """Draws a road of gentle bends and straights, with a corner if `turn` is given."""
        s = np.arange(-60.0, length_m, 0.5)
        knots = np.arange(-80.0, length_m + 80, 55.0)
        bends = rng.uniform(-1, 1, len(knots)) * rng.choice([0.0, 1 / 160, 1 / 80], len(knots), p=[0.3, 0.4, 0.3])
        bends[:3] *= 0.3
        curvature = np.interp(s, knots, bends)
        if turn is not None:
            curvature += turn.curvature(s)
        heading = np.cumsum(curvature) * 0.5
        heading -= np.interp(0.0, s, heading)
        x, z = np.cumsum(np.sin(heading)) * 0.5, np.cumsum(np.cos(heading)) * 0.5
        return cls(s, x - np.interp(0, s, x), z - np.interp(0, s, z), heading)

    def at(self, s: Array | float, d: Array | float = 0.0, h: Array | float = 0.0) -> Array:
        """(..., 3) world points of street coordinates [m]."""
        angle = np.interp(s, self.s, self.heading)
        x = np.interp(s, self.s, self.x) + d * np.cos(angle)
        z = np.interp(s, self.s, self.z) - d * np.sin(angle)
        points = np.empty((*np.broadcast_shapes(np.shape(x), np.shape(h)), 3))
        points[..., 0], points[..., 1], points[..., 2] = x, h, z
        return points

    def angle(self, s: float) -> float:
        """Returns the heading at s [radians], to the right of north."""
        return float(np.interp(s, self.s, self.heading))

    def angles(self, s: Array) -> Array:
        """(...,) headings at s (...,) [radians]."""
        return np.interp(s, self.s, self.heading)


@dataclass(frozen=True)
class Plan:
    """Properties of a street, drawn from the seed."""

    length_m: float
    parking: tuple[bool, bool]
    """Whether there is a row of parked cars (at the left, at the right)."""
    pavement_m: tuple[float, float]
    leafy: float
    """Share of blocks with trees."""
    bare: bool
    """Winter: trees without leaves."""
    double_yellow: bool
    crossings: tuple[float, ...]
    """s of zebra crossings."""
    junctions: tuple[tuple[float, float], ...]
    """(from, to) s of side streets."""
    turn: Turn | None

    def edge(self, side: int) -> float:
        """d of the kerb; side -1 left, +1 right."""
        return side * (3.35 + (2.05 if self.parking[side > 0] else 0.0))

    def turning(self, s: float) -> bool:
        """Whether `s` is in the corner."""
        return self.turn is not None and self.turn.span[0] < s < self.turn.span[1]

    def front(self, side: int) -> float:
        """d of the house fronts."""
        return self.edge(side) + side * self.pavement_m[side > 0]


def make_plan(rng: Generator, length_m: float, turn: Turn | None) -> Plan:
    """Returns a random plan. Junctions and crossings are not near the corner."""
    junctions: list[tuple[float, float]] = []
    s = float(rng.uniform(28, 55))
    while s < length_m:
        junctions.append((s, s + float(rng.uniform(7.0, 9.0))))
        s += float(rng.uniform(60, 110))
    if turn is not None:
        start, end = turn.span
        junctions = [(a, b) for a, b in junctions if b < start - CLEAR_M or a > end + CLEAR_M]
    crossings = tuple(a - float(rng.uniform(7, 12)) for a, _ in junctions if rng.random() < 0.45)
    return Plan(
        length_m, (bool(rng.random() < 0.3), bool(rng.random() < 0.5)),
        (float(rng.uniform(3.0, 4.8)), float(rng.uniform(3.0, 4.8))),
        float(rng.uniform(0.3, 0.9)), bool(rng.random() < 0.35), bool(rng.random() < 0.5), crossings,
        tuple(junctions), turn,
    )  # fmt: skip
