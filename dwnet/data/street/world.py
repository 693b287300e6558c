"""The world of the rendered street: a bending road, blocks of houses, furniture, parked cars, and who moves in it.

Street coordinates: s along the road, d to the right of its middle line, h up, all metres. Traffic keeps left.
Everything that moves is a closed form of time, so any frame can be made on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dwnet.data.street.geometry import BOX, LIMB, TAPER, Array, Billboards, SurfaceList, Surfaces
from dwnet.data.street.library import Facade, Library
from dwnet.data.street.textures import Generator
from dwnet.data.street.vehicles import place, vehicle_surfaces

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
VOID = 255

LANE_M = 1.65
"""Middle of a lane from the middle of the road."""
KERB_M = 0.12
BEHIND_M, AHEAD_M = 14.0, 190.0
"""How far around the camera the world is drawn, along the road."""


@dataclass(frozen=True)
class Road:
    """The middle line, sampled every half metre."""

    s: Array
    x: Array
    z: Array
    heading: Array

    @classmethod
    def bending(cls, rng: Generator, length_m: float) -> Road:
        """A road of gentle bends and straights."""
        s = np.arange(-60.0, length_m, 0.5)
        knots = np.arange(-80.0, length_m + 80, 55.0)
        bends = rng.uniform(-1, 1, len(knots)) * rng.choice([0.0, 1 / 160, 1 / 80], len(knots), p=[0.3, 0.4, 0.3])
        bends[:3] *= 0.3
        curvature = np.interp(s, knots, bends)
        heading = np.cumsum(curvature) * 0.5
        heading -= np.interp(0.0, s, heading)
        x, z = np.cumsum(np.sin(heading)) * 0.5, np.cumsum(np.cos(heading)) * 0.5
        return cls(s, x - np.interp(0, s, x), z - np.interp(0, s, z), heading)

    def at(self, s: Array | float, d: Array | float = 0.0, h: Array | float = 0.0) -> Array:
        """World points (..., 3) of street coordinates."""
        s, d, h = np.broadcast_arrays(np.asarray(s, float), d, h)
        angle = np.interp(s, self.s, self.heading)
        x = np.interp(s, self.s, self.x) + d * np.cos(angle)
        z = np.interp(s, self.s, self.z) - d * np.sin(angle)
        return np.stack([x, h, z], -1)

    def angle(self, s: float) -> float:
        """Heading at s, radians to the right of north."""
        return float(np.interp(s, self.s, self.heading))


@dataclass(frozen=True)
class Plan:
    """What a street is like; drawn from the seed."""

    length_m: float
    parking: tuple[bool, bool]
    """A row of parked cars at the left, at the right."""
    pavement_m: tuple[float, float]
    leafy: float
    """Share of blocks with trees."""
    bare: bool
    """Winter: trees without leaves."""
    double_yellow: bool
    crossings: tuple[float, ...]
    """s of zebra crossings."""
    junctions: tuple[tuple[float, float], ...]
    """(from, to) of side streets, s."""

    def edge(self, side: int) -> float:
        """d of the kerb; side -1 left, +1 right."""
        return side * (3.35 + (2.05 if self.parking[side > 0] else 0.0))

    def front(self, side: int) -> float:
        """d of the house fronts."""
        return self.edge(side) + side * self.pavement_m[side > 0]


def make_plan(rng: Generator, length_m: float) -> Plan:
    """Draw the street's character and the places of its junctions and crossings."""
    junctions: list[tuple[float, float]] = []
    s = float(rng.uniform(28, 55))
    while s < length_m:
        junctions.append((s, s + float(rng.uniform(7.0, 9.0))))
        s += float(rng.uniform(60, 110))
    crossings = tuple(a - float(rng.uniform(7, 12)) for a, _ in junctions if rng.random() < 0.45)
    return Plan(
        length_m, (bool(rng.random() < 0.3), bool(rng.random() < 0.5)),
        (float(rng.uniform(3.0, 4.8)), float(rng.uniform(3.0, 4.8))),
        float(rng.uniform(0.3, 0.9)), bool(rng.random() < 0.35), bool(rng.random() < 0.5), crossings, tuple(junctions),
    )  # fmt: skip


@dataclass
class Statics:
    """All that stands still."""

    surfaces: Surfaces
    surfaces_s: Array
    """(N,) s, to find what is near."""
    boards: Billboards
    boards_s: Array
    ground_shadows: list[tuple[float, Array]]
    """(s, (k, 3) polygon on the ground)."""
    tree_shadows: list[tuple[float, Array, int]]
    """(s, (4, 3) quadrilateral, texture whose mask is cast)."""
    boxes: Array
    """(B, 7) parked vehicles: s, then instance, x, z, yaw, half length, half width."""


class Builder:
    """Puts a street together, piece by piece."""

    def __init__(self, rng: Generator, road: Road, plan: Plan, lib: Library, sun: Array) -> None:
        self.rng, self.road, self.plan, self.lib, self.sun = rng, road, plan, lib, sun
        self.out = SurfaceList()
        self.out_s: list[float] = []
        self.boards: list[tuple[Array, Array, float, int, int, int, int, Array, float, float]] = []
        self.boards_s: list[float] = []
        self.rigid: list[tuple[float, Surfaces]] = []
        self.shadows: list[tuple[float, Array]] = []
        self.tree_shadows: list[tuple[float, Array, int]] = []
        self.boxes: list[tuple[float, ...]] = []
        self.instance = 1

    def build(self) -> Statics:
        """Everything, in the order of painting where that matters."""
        self._ground()
        for side in (-1, 1):
            self._houses(side)
            self._backdrop(side)
            self._furniture(side)
            if self.plan.parking[side > 0]:
                self._parked(side)
        self._street_end()
        surfaces = [self.out.freeze(), *(part for _, part in self.rigid)]
        where = [np.asarray(self.out_s), *(np.full(len(part), s) for s, part in self.rigid)]
        columns = list(zip(*self.boards, strict=True))
        boards = Billboards(
            np.asarray(columns[0]), np.asarray(columns[1]), np.asarray(columns[2]), np.asarray(columns[3], np.int32),
            np.asarray(columns[4], np.int32), np.asarray(columns[5], np.uint8), np.asarray(columns[6], np.int32),
            np.asarray(columns[7]), np.asarray(columns[8]), np.asarray(columns[9]),
        )  # fmt: skip
        from dwnet.data.street.geometry import concatenate

        return Statics(
            concatenate(surfaces),
            np.concatenate(where),
            boards,
            np.asarray(self.boards_s),
            self.shadows,
            self.tree_shadows,
            np.asarray(self.boxes, float).reshape(-1, 7),
        )

    # -- small tools ---------------------------------------------------------------------------------------------------

    def new_instance(self) -> int:
        """The next free instance number."""
        self.instance += 1
        return self.instance

    def _quad(self, s: float, corners: Array, texture: int, label: int, **kwargs: object) -> None:
        self.out.add(corners, texture, label, **kwargs)  # type: ignore[arg-type]
        self.out_s.append(s)

    def _post(
        self,
        s: float,
        bottom: Array,
        top: Array,
        width: float,
        texture: int,
        label: int,
        *,
        outline: int = BOX,
        instance: int = 0,
        anchor: Array | None = None,
        brightness: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        where = bottom if anchor is None else anchor
        self.boards.append((top, bottom, width, outline, texture, label, instance, where, brightness, bias))
        self.boards_s.append(s)

    def _cast(self, points: Array) -> Array:
        """Where the shadow of points falls on the ground."""
        points = np.asarray(points, float)
        along = points[..., 1:2] / max(self.sun[1], 0.15)
        return points - along * self.sun * np.array([1, 0, 1]) - points * np.array([0, 1, 0])

    def _shadow(self, s: float, points: Array) -> None:
        """The shadow of a convex solid, by its corners."""
        import cv2

        flat = np.concatenate([self._cast(points), points * np.array([1, 0, 1])])
        hull = cv2.convexHull(flat[:, [0, 2]].astype(np.float32))[:, 0]
        self.shadows.append((s, np.stack([hull[:, 0], np.full(len(hull), 0.0), hull[:, 1]], 1).astype(float)))

    # -- ground --------------------------------------------------------------------------------------------------------

    def _plane(self, s: float, polygon: Array, texture: int, label: int, tile_m: float, height: float) -> None:
        """A polygon of a horizontal plane, tiled along the world's axes: the tiles run on from piece to piece."""
        u_axis, v_axis = tile_m * np.array([1.0, 0, 0]), tile_m * np.array([0, 0, -1.0])
        # Start the tiles near the polygon: small texture coordinates keep float32 exact.
        x, _, z = np.rint(polygon.mean(0) / tile_m) * tile_m
        frame = (np.array([x, height, z]), u_axis, v_axis)
        self._quad(s, polygon, texture, label, frame=frame, layer=1, two_sided=True)

    def _strip(
        self, s0: float, s1: float, d0: float, d1: float, texture: int, label: int, tile_m: float, height: float = 0.0
    ) -> None:
        """A band of ground between two offsets from the middle line, in pieces short enough to be straight."""
        edges = np.linspace(s0, s1, max(2, int(np.ceil((s1 - s0) / 6.0)) + 1))
        for a, b in pairwise(edges):
            overlap = 0.02 if label in (ROAD, PAVEMENT) and s1 - s0 > 6 else 0.0
            corners = self.road.at(np.array([a, b + overlap, b + overlap, a]), np.array([d0, d0, d1, d1]), height)
            self._plane((a + b) / 2, corners, texture, label, tile_m, height)

    def _ground(self) -> None:
        plan, lib, rng = self.plan, self.lib, self.rng
        start, end = -40.0, plan.length_m - 5
        left, right = plan.edge(-1), plan.edge(1)
        self._strip(start, end, left - 0.05, right + 0.05, lib["asphalt"], ROAD, 14.0)
        for a, b in plan.junctions:
            for side in (-1, 1):
                self._strip(a, b, plan.edge(side), side * 60, lib["asphalt"], ROAD, 14.0)
                for d in np.arange(abs(plan.edge(side)) + 0.1, abs(plan.edge(side)) + 0.5, 0.35):  # give-way line
                    for s in np.arange(a + 0.4, b - 0.6, 0.9):
                        self._strip(s, s + 0.6, side * d, side * (d + 0.2), lib["paint"], ROAD, 2.0)
        for _ in range(int((end - start) / 9)):
            s, d = float(rng.uniform(start, end)), float(rng.uniform(left + 0.4, right - 2.2))
            if rng.random() < 0.6:
                length, width = float(rng.uniform(0.8, 5)), float(rng.uniform(0.5, 1.6))
                corners = self.road.at(np.array([s + length, s + length, s, s]), np.array([d, d + width, d + width, d]))
                self._quad(s, corners, lib["patch"], ROAD, layer=1, two_sided=True)
            else:
                corners = self.road.at(np.array([s + 0.65, s + 0.65, s, s]), np.array([d, d + 0.65, d + 0.65, d]))
                self._quad(s, corners, lib["manhole"], ROAD, layer=1, two_sided=True)
        self._markings(start, end)
        for side in (-1, 1):
            texture = lib.names["paving"][int(rng.integers(2))]
            inner, outer = plan.edge(side), plan.front(side) + side * 1.0
            free = self._blocks(start, end)
            for a, b in free:
                self._strip(a, b, inner, outer, texture, PAVEMENT, 4.0, KERB_M)
                for s in (a, b):  # the ends, towards the side streets
                    first, last = (inner, outer) if (s == a) == (side > 0) else (outer, inner)
                    top, low = (
                        self.road.at(s, np.array([first, last]), KERB_M),
                        self.road.at(s, np.array([last, first]), 0.0),
                    )
                    self._quad(s, np.concatenate([top, low]), lib["kerb"], PAVEMENT, layer=1, two_sided=True)
                edges = np.linspace(a, b, max(2, int(np.ceil((b - a) / 6)) + 1))
                for p, q in pairwise(edges):
                    first, last = (p, q) if side < 0 else (q, p)
                    top = self.road.at(np.array([first, last]), inner, KERB_M)
                    low = self.road.at(np.array([last, first]), inner, 0.0)
                    corners = np.concatenate([top, low])
                    frame = (top[0], (top[1] - top[0]) / max(1.0, (q - p) / 2), low[1] - top[0])
                    self._quad((p + q) / 2, corners, lib["kerb"], PAVEMENT, frame=frame, layer=1, two_sided=True)

    def _blocks(self, start: float, end: float) -> list[tuple[float, float]]:
        """The stretches between side streets."""
        cuts = [start, *(v for pair in self.plan.junctions for v in pair), end]
        return [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=True) if b - a > 1]

    def _markings(self, start: float, end: float) -> None:
        plan, lib = self.plan, self.lib
        white = lib["paint"]
        near_crossing = [(c - 16, c + 4) for c in plan.crossings]
        for s in np.arange(start, end - 6, 6.0):
            if any(c - 0.5 < s + 1.5 < c + 4 for c in plan.crossings):
                continue
            long = any(a < s < b for a, b in near_crossing)
            self._strip(s, s + (4.4 if long else 2.6), -0.06, 0.06, white, ROAD, 2.0)
        for side in (-1, 1):
            edge = plan.edge(side)
            for a, b in self._blocks(start, end):
                if plan.parking[side > 0]:
                    for s in np.arange(a + 3, b - 6, 6.0):
                        self._strip(s, s + 0.1, edge - side * 2.0, edge - side * 0.1, white, ROAD, 2.0)
                elif plan.double_yellow:
                    for offset in (0.25, 0.45):
                        self._strip(a, b, edge - side * offset, edge - side * (offset + 0.09), lib["yellow"], ROAD, 2.0)
        for c in plan.crossings:
            for d in np.arange(plan.edge(-1) + 0.3, plan.edge(1) - 0.6, 1.2):
                self._strip(c, c + 2.8, d, d + 0.6, white, ROAD, 2.0)
            for d in np.arange(plan.edge(-1) + 0.2, -0.3, 0.5):
                self._strip(c - 1.3, c - 1.1, d, d + 0.3, white, ROAD, 2.0)

    # -- houses --------------------------------------------------------------------------------------------------------

    def _houses(self, side: int) -> None:
        rng, plan = self.rng, self.plan
        for a, b in self._blocks(-40.0, plan.length_m - 30):
            s = a + 0.5
            park_at = a + float(rng.uniform(0.2, 0.8)) * (b - a) if rng.random() < 0.25 else 1e9
            while s < b - 5:
                if s > park_at:
                    gap = min(float(rng.uniform(14, 26)), b - s)
                    self._park(side, s, s + gap)
                    s, park_at = s + gap, 1e9
                    continue
                if rng.random() < 0.15:
                    gap = float(rng.uniform(2.5, 6))
                    if s + gap < b:
                        self._wall_fence(side, s, s + gap)
                    s += gap
                    continue
                facade = self.lib.facades[int(rng.integers(len(self.lib.facades)))]
                if s + facade.width_m > b + 1.5:
                    fitting = [f for f in self.lib.facades if s + f.width_m <= b + 1.5]
                    if not fitting:
                        break
                    facade = fitting[int(rng.integers(len(fitting)))]
                self._house(side, s, facade)
                s += facade.width_m

    def _house(self, side: int, s: float, facade: Facade) -> None:
        """Front, both sides, roof, chimney, and a shop's awning and hanging sign."""
        rng, lib = self.rng, self.lib
        s1, d, depth, top = (
            s + facade.width_m,
            self.plan.front(side) + side * float(rng.uniform(0, 0.25)),
            9.0,
            facade.height_m,
        )
        middle, instance = s + facade.width_m / 2, self.new_instance()
        brightness = float(rng.uniform(0.86, 1.06))
        first, last = (s1, s) if side > 0 else (s, s1)  # from left to right, as seen from the road
        base_l, base_r = self.road.at(first, d), self.road.at(last, d)
        out = self.road.at(middle, d + side) - self.road.at(middle, d)
        up = np.array([0.0, top, 0.0])
        anchor = (base_l + base_r) / 2
        common = {"instance": instance, "layer": 2, "anchor": anchor, "brightness": brightness}
        self._quad(
            middle, np.stack([base_l + up, base_r + up, base_r, base_l]), facade.texture, BUILDING, order=2, **common
        )
        back_l, back_r = base_l + depth * out, base_r + depth * out
        wall = lib.names["gable"][int(rng.integers(4))]
        self._quad(middle, np.stack([back_l + up, base_l + up, base_l, back_l]), wall, BUILDING, order=1, **common)
        self._quad(middle, np.stack([base_r + up, back_r + up, back_r, base_r]), wall, BUILDING, order=1, **common)
        rise = np.array([0.0, float(rng.uniform(1.6, 3.0)), 0.0])
        ridge_l, ridge_r = base_l + up + 4.5 * out + rise, base_r + up + 4.5 * out + rise
        roof = lib.names["slates"][int(rng.integers(3))]
        if rng.random() < 0.75:
            self._quad(
                middle, np.stack([ridge_l, ridge_r, base_r + up, base_l + up]), roof, BUILDING, order=1, **common
            )
            for near, far, ridge in ((base_l, back_l, ridge_l), (back_r, base_r, ridge_r)):
                tri = np.stack([ridge, near + up, far + up])
                frame = (near + up + rise, far - near, -rise)
                self._quad(middle, tri, wall, BUILDING, frame=frame, order=1, two_sided=True, **common)
        if rng.random() < 0.6:
            across = (base_r - base_l) / np.linalg.norm(base_r - base_l)
            at = base_l + up + across * float(rng.uniform(0.8, facade.width_m - 1.6)) + 3.6 * out
            wide, tall = 0.9 * across, np.array([0.0, float(rng.uniform(2.6, 3.6)), 0.0])
            self._quad(
                middle, np.stack([at + tall, at + wide + tall, at + wide, at]), wall, BUILDING, order=0.5, **common
            )
            for edge in (at, at + wide):
                deep = edge + 0.7 * out
                quad = np.stack([edge + tall, deep + tall, deep, edge])
                self._quad(middle, quad, wall, BUILDING, order=0.4, two_sided=True, **common)
        if facade.shop:
            self._shop_extras(side, s, s1, base_l, base_r, out, common)
        solid = np.concatenate(
            [np.stack([p, p + up]) for p in (base_l, base_r, back_l, back_r)] + [ridge_l[None], ridge_r[None]]
        )
        self._shadow(middle, solid)

    def _shop_extras(
        self, side: int, s0: float, s1: float, left: Array, right: Array, out: Array, common: dict[str, object]
    ) -> None:
        rng, lib = self.rng, self.lib
        if rng.random() < 0.4:
            a, b = left + (right - left) * 0.06, left + (right - left) * 0.94
            high, low = np.array([0, 2.95, 0]), np.array([0, 2.45, 0])
            quad = np.stack([a + high, b + high, b + low - 1.1 * out, a + low - 1.1 * out])
            length = float(np.linalg.norm(b - a))
            texture = lib.names["awning"][int(rng.integers(2))]
            frame = (quad[0], (b - a) / length * 2.5, quad[3] - quad[0])
            for n in range(int(length / 2.5) + 1):  # the stripes repeat every 2.5 m
                f0, f1 = n * 2.5 / length, min(1.0, (n + 1) * 2.5 / length)
                if f1 - f0 < 1e-3:
                    continue
                piece = np.stack(
                    [quad[0] + (b - a) * f0, quad[0] + (b - a) * f1, quad[3] + (b - a) * f1, quad[3] + (b - a) * f0]
                )
                part = (frame[0] + (b - a) * f0, frame[1], frame[2])
                self._quad((s0 + s1) / 2, piece, texture, BUILDING, frame=part, order=3, two_sided=True, **common)
        if rng.random() < 0.5:
            s = float(rng.uniform(s0 + 0.5, s1 - 0.5))
            d = self.plan.front(side)
            inner, outer = self.road.at(s, d - side * 0.15), self.road.at(s, d - side * 0.85)
            ends = (inner, outer) if side < 0 else (outer, inner)
            high, low = np.array([0, 3.5, 0]), np.array([0, 2.75, 0])
            texture = lib.names["signs"][2 + int(rng.integers(2))]
            quad = np.stack([ends[0] + high, ends[1] + high, ends[1] + low, ends[0] + low])
            self._quad(s, quad, texture, SIGN, instance=self.new_instance(), two_sided=True)

    def _park(self, side: int, s0: float, s1: float) -> None:
        """A green gap: hedge or railings in front, trees behind."""
        rng, d = self.rng, self.plan.front(side)
        lawn = self.road.at(np.array([s0, s1, s1, s0]), np.array([d, d, d + side * 22, d + side * 22]), KERB_M)
        self._plane((s0 + s1) / 2, lawn, self.lib["grass"], VOID, 5.0, KERB_M)
        if rng.random() < 0.5:
            self._front_panels(side, s0, s1, d + side * 0.2, 1.15, "railings", FENCE)
        else:
            self._front_panels(side, s0, s1, d + side * 0.2, 1.4, "hedge", TREE)
        for s in np.arange(s0 + 2, s1 - 1, 4.5):
            self._tree(float(s), d + side * float(rng.uniform(2.5, 9)), float(rng.uniform(7, 11)))

    def _wall_fence(self, side: int, s0: float, s1: float) -> None:
        d = self.plan.front(side)
        self._front_panels(side, s0, s1, d + side * 0.3, 1.8, "boards", FENCE)
        if self.rng.random() < 0.7:
            self._tree((s0 + s1) / 2, d + side * 3.5, float(self.rng.uniform(6, 9)))

    def _front_panels(self, side: int, s0: float, s1: float, d: float, height: float, texture: str, label: int) -> None:
        """A row of panels parallel to the road, about 2.5 m each."""
        instance, base = self.new_instance(), KERB_M if abs(d) > abs(self.plan.edge(side)) else 0.0
        count = max(1, round((s1 - s0) / 2.5))
        edges = np.linspace(s0, s1, count + 1)
        for a, b in pairwise(edges):
            first, last = (b, a) if side > 0 else (a, b)
            low = self.road.at(np.array([first, last]), d, base)
            high = low + np.array([0, height, 0])
            quad = np.stack([high[0], high[1], low[1], low[0]])
            self._quad((a + b) / 2, quad, self.lib[texture], label, instance=instance, two_sided=True)

    def _backdrop(self, side: int) -> None:
        """Further houses and trees, seen through the gaps."""
        rng, plan = self.rng, self.plan
        for s in np.arange(-30.0, plan.length_m + 20, 11.0):
            d = plan.front(side) + side * float(rng.uniform(24, 34))
            blocked = any(a - 6 < s < b + 6 for a, b in plan.junctions)
            if rng.random() < 0.5 and not blocked:
                facade = self.lib.facades[int(rng.integers(len(self.lib.facades)))]
                width = facade.width_m
                first, last = (s + width, s) if side > 0 else (s, s + width)
                low = self.road.at(np.array([first, last]), d)
                up = np.array([0, facade.height_m + float(rng.uniform(-1, 2)), 0])
                quad = np.stack([low[0] + up, low[1] + up, low[1], low[0]])
                self._quad(
                    s, quad, facade.texture, BUILDING, instance=self.new_instance(), two_sided=True, brightness=0.92
                )
            else:
                self._tree(float(s), d, float(rng.uniform(8, 13)), far=True)
        for a, b in plan.junctions:  # houses along the side street, seen end on
            for s in (a - 0.5, b + 0.5):
                for d in np.arange(abs(plan.front(side)) + 9.5, 52, 11):
                    facade = self.lib.facades[int(rng.integers(len(self.lib.facades)))]
                    near, far = self.road.at(s, side * d), self.road.at(s, side * (d + 11))
                    ends = (near, far) if (s > a) == (side > 0) else (far, near)
                    up = np.array([0, facade.height_m, 0])
                    quad = np.stack([ends[0] + up, ends[1] + up, ends[1], ends[0]])
                    self._quad(s, quad, facade.texture, BUILDING, instance=self.new_instance(), two_sided=True)
            self._quad(
                a,
                self._across(a, b, side * 58),
                self.lib.facades[0].texture,
                BUILDING,
                instance=self.new_instance(),
                two_sided=True,
            )

    def _across(self, a: float, b: float, d: float) -> Array:
        low = self.road.at(np.array([a - 6, b + 6]), d)
        up = np.array([0, 10.0, 0])
        return np.stack([low[0] + up, low[1] + up, low[1], low[0]])

    def _street_end(self) -> None:
        """What closes the view: trees and houses across the road's end."""
        end = self.plan.length_m - 5
        for d in np.arange(-70, 71, 9.0):
            self._tree(end + float(self.rng.uniform(0, 15)), float(d), float(self.rng.uniform(8, 14)), far=True)

    # -- furniture -----------------------------------------------------------------------------------------------------

    def _free(self, s: float, margin: float = 1.5) -> bool:
        return not any(a - margin < s < b + margin for a, b in self.plan.junctions)

    def _furniture(self, side: int) -> None:
        rng, plan, lib = self.rng, self.plan, self.lib
        edge = plan.edge(side)
        grey = lib.names["pole"][int(rng.integers(3))]
        lamp_start = float(rng.uniform(0, 25)) + (12 if side > 0 else 0)
        for s in np.arange(-30 + lamp_start, plan.length_m, 27.0):
            if self._free(s):
                self._lamp(float(s), edge + side * 0.45, side, grey)
        for a, b in self._blocks(-35.0, plan.length_m - 10):
            if rng.random() < plan.leafy:
                for s in np.arange(a + 4, b - 3, float(rng.uniform(9, 15))):
                    self._tree(float(s) + float(rng.uniform(-1, 1)), edge + side * 0.9, float(rng.uniform(5.5, 9)))
            if rng.random() < 0.75:
                length = float(rng.uniform(7, 26))
                self._front_panels(
                    side, max(a + 1, b - 1.5 - length), b - 1.5, edge + side * 0.3, 1.05, "railings", FENCE
                )
            for s in np.arange(a + 2, b - 2, 1.6) if rng.random() < 0.3 else ():
                bottom = self.road.at(s, edge + side * 0.35, KERB_M)
                self._post(
                    s,
                    bottom,
                    bottom + np.array([0, 0.95, 0]),
                    0.13,
                    lib["bollard"],
                    POLE,
                    outline=LIMB,
                    instance=self.new_instance(),
                )
        for s in np.arange(-25 + float(rng.uniform(0, 15)), plan.length_m - 10, float(rng.uniform(14, 22))):
            if self._free(s):
                self._sign(float(s) + float(rng.uniform(-3, 3)), edge + side * 0.5, side)
        for a, _ in plan.junctions:
            if rng.random() < 0.75:
                self._traffic_light(a - 1.2, edge + side * 0.5, side)

    def _lamp(self, s: float, d: float, side: int, texture: int) -> None:
        instance, lib = self.new_instance(), self.lib
        bottom = self.road.at(s, d, KERB_M)
        top, arm = self.road.at(s, d, 7.2), self.road.at(s, d - side * 1.7, 7.5)
        self._post(s, bottom, bottom + np.array([0, 1.3, 0]), 0.22, texture, POLE, instance=instance, anchor=bottom)
        self._post(s, bottom, top, 0.14, texture, POLE, outline=BOX, instance=instance, anchor=bottom, bias=0.01)
        self._post(s, top, arm, 0.09, texture, POLE, instance=instance, anchor=bottom, bias=0.02)
        head = self.road.at(s, d - side * 2.3, 7.52)
        self._post(s, arm, head, 0.17, lib["lamp"], POLE, instance=instance, anchor=bottom, bias=0.03)
        self._thin_shadow(s, bottom, top, 0.14)

    def _thin_shadow(self, s: float, bottom: Array, top: Array, width: float) -> None:
        a, b = bottom * np.array([1, 0, 1]), self._cast(top)
        along = b - a
        across = np.array([along[2], 0, -along[0]]) / (np.linalg.norm(along) + 1e-6) * width / 2
        self.shadows.append((s, np.stack([a - across, a + across, b + across, b - across])))

    def _sign(self, s: float, d: float, side: int) -> None:
        """A plate on a post, facing the traffic of its side of the road."""
        rng, lib, instance = self.rng, self.lib, self.new_instance()
        height = float(rng.uniform(2.2, 2.9))
        bottom = self.road.at(s, d, KERB_M)
        kind = int(rng.integers(5))
        size = (0.62, 0.70, 0.80, 0.80, 0.60)[kind]
        self._post(
            s,
            bottom,
            bottom + np.array([0, height + size * 0.9, 0]),
            0.075,
            lib.names["pole"][0],
            POLE,
            instance=instance,
            anchor=bottom,
        )
        towards = -1.0 if side < 0 else 1.0  # the plate looks back along s on the left, ahead on the right
        left, right = self.road.at(s + 0.06 * towards, d - size / 2), self.road.at(s + 0.06 * towards, d + size / 2)
        ends = (left, right) if side < 0 else (right, left)
        high, low = np.array([0, height + size, 0]), np.array([0, height, 0])
        front = np.stack([ends[0] + high, ends[1] + high, ends[1] + low, ends[0] + low])
        self._quad(s, front, lib.names["signs"][kind], SIGN, instance=instance, anchor=bottom, order=1)
        back = front[[1, 0, 3, 2]]
        behind = lib["sign_back"] if kind in (0, 4) else lib.names["slates"][2] if kind in (2, 3) else lib["sign_back"]
        if kind != 1:
            self._quad(s, back, behind, SIGN, instance=instance, anchor=bottom, order=1)
        self._thin_shadow(s, bottom, bottom + np.array([0, height + size, 0]), 0.1)

    def _traffic_light(self, s: float, d: float, side: int) -> None:
        lib, instance = self.lib, self.new_instance()
        bottom = self.road.at(s, d, KERB_M)
        self._post(
            s,
            bottom,
            bottom + np.array([0, 3.3, 0]),
            0.12,
            lib.names["pole"][1],
            POLE,
            instance=instance,
            anchor=bottom,
            bias=-0.3,
        )
        lamp = lib.names["light"][int(self.rng.choice([0, 2, 2]))]
        width, depth, low, high = 0.36, 0.26, 2.35, 3.3
        near, far = s - 0.1 - depth, s - 0.1
        if side > 0:
            near, far = s + 0.1 + depth, s + 0.1
        toward = 1 if side < 0 else -1

        def corner(s_at: float, across: float, h: float) -> Array:
            return self.road.at(s_at, d + across * toward, h)

        half = width / 2
        faces = (
            ((near, -half), (near, half), lamp), ((far, half), (far, -half), lib["light_back"]),
            ((far, -half), (near, -half), lib["light_back"]), ((near, half), (far, half), lib["light_back"]),
        )  # fmt: skip
        for (sa, wa), (sb, wb), texture in faces:
            quad = np.stack([corner(sa, wa, high), corner(sb, wb, high), corner(sb, wb, low), corner(sa, wa, low)])
            self._quad(s, quad, texture, SIGN, instance=instance, anchor=bottom, order=1)
        self._thin_shadow(s, bottom, bottom + np.array([0, 3.3, 0]), 0.3)

    def _tree(self, s: float, d: float, height: float, *, far: bool = False) -> None:
        rng, lib, instance = self.rng, self.lib, self.new_instance()
        base = KERB_M if abs(d) > abs(self.plan.edge(1 if d > 0 else -1)) else 0.0
        foot = self.road.at(s, d, base)
        if self.plan.bare and rng.random() < 0.8:
            texture = lib.names["bare"][int(rng.integers(3))]
            top = foot + np.array([0, height * 1.15, 0])
            self._post(
                s,
                foot,
                top,
                height * 1.15,
                texture,
                TREE,
                instance=instance,
                anchor=foot,
                brightness=float(rng.uniform(0.85, 1.1)),
            )
            self._tree_shadow(s, foot, 0.0, height * 1.15, height * 1.15, texture)
            return
        crown, low = height * float(rng.uniform(0.55, 0.7)), height * float(rng.uniform(0.24, 0.32))
        trunk = foot + np.array([0, low + 0.45 * (height - low), 0])
        kind = {"outline": TAPER, "instance": instance, "anchor": foot, "bias": -0.5}
        self._post(s, foot, trunk, 0.05 * height, lib["bark"], TREE, **kind)  # type: ignore[arg-type]
        hue = int(rng.integers(3))
        clumps = 1 if far else 4
        for n in range(clumps):
            size = crown * float(rng.uniform(1.0, 1.35)) * (1.5 if far else 1.0)
            angle = n * 2 * np.pi / clumps + float(rng.uniform(0, 1))
            radius = 0.0 if n == 0 else crown * 0.24
            centre = foot + np.array(
                [
                    radius * np.cos(angle),
                    (low + height) / 2 + float(rng.uniform(-0.12, 0.12)) * crown,
                    radius * np.sin(angle),
                ]
            )
            half = np.array([0, size / 2, 0])
            texture = lib.names["foliage"][2 * hue + int(rng.integers(2))]
            self._post(
                s,
                centre - half,
                centre + half,
                size,
                texture,
                TREE,
                instance=instance,
                anchor=foot,
                brightness=float(rng.uniform(0.86, 1.08)),
            )
            if n < 2 and not far:
                self._tree_shadow(s, foot, low, height, size, texture)

    def _tree_shadow(self, s: float, foot: Array, low: float, high: float, width: float, texture: int) -> None:
        along = self._cast(np.array([0.0, 1.0, 0.0]))
        across = np.array([along[2], 0, -along[0]]) / (np.linalg.norm(along) + 1e-6) * width / 2
        ground = foot * np.array([1, 0, 1])
        near, far = ground + along * low, ground + along * high
        self.tree_shadows.append((s, np.stack([far - across, far + across, near + across, near - across]), texture))

    def _parked(self, side: int) -> None:
        rng, plan, lib = self.rng, self.plan, self.lib
        d = plan.edge(side) - side * 1.02
        for a, b in self._blocks(-30.0, plan.length_m - 20):
            s = a + 6.0
            while s < b - 8:
                near_crossing = any(c - 7 < s < c + 8 for c in plan.crossings)
                if rng.random() < 0.72 and not near_crossing:
                    body, textures = lib.vehicles[int(rng.integers(len(lib.vehicles) - 1))]
                    yaw = (
                        self.road.angle(s)
                        + (np.pi if rng.random() < (0.85 if side > 0 else 0.15) else 0.0)
                        + float(rng.normal(0, 0.015))
                    )
                    position = self.road.at(s, d + float(rng.normal(0, 0.06)))
                    template = vehicle_surfaces(body, list(textures), CAR)
                    instance = self.new_instance()
                    self.rigid.append((s, place(template, position, yaw, instance)))
                    self.boxes.append((s, instance, position[0], position[2], yaw, body.length / 2, body.width / 2))
                    self.shadows.append(
                        (s, vehicle_shadow(position, yaw, body.length, body.width, body.roof * 0.8, self.sun))
                    )
                s += float(rng.uniform(5.4, 6.6))


def vehicle_shadow(position: Array, yaw: float, length: float, width: float, height: float, sun: Array) -> Array:
    """(k, 3) shadow on the ground of a box; with the sun overhead it is the patch below the vehicle."""
    import cv2

    cos, sin = np.cos(yaw), np.sin(yaw)
    half_l, half_w = length / 2, width / 2
    local = np.array([[-half_w, -half_l], [half_w, -half_l], [half_w, half_l], [-half_w, half_l]])
    ground = position[[0, 2]] + np.stack(
        [local[:, 0] * cos + local[:, 1] * sin, -local[:, 0] * sin + local[:, 1] * cos], 1
    )
    shift = -height / max(sun[1], 0.15) * sun[[0, 2]]
    hull = cv2.convexHull(np.concatenate([ground, ground * 0.98 + 0.02 * ground.mean(0) + shift]).astype(np.float32))[
        :, 0
    ]
    return np.stack([hull[:, 0], np.zeros(len(hull)), hull[:, 1]], 1).astype(float)
