"""What moves in the rendered street: the camera's own car, traffic, cyclists, people walking and crossing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dwnet.data.street.geometry import Array, Billboards, SurfaceList, Surfaces, concatenate, look_rotation
from dwnet.data.street.library import Library
from dwnet.data.street.people import Person, rider, walker
from dwnet.data.street.textures import Generator
from dwnet.data.street.vehicles import Body, place, vehicle_surfaces
from dwnet.data.street.world import BICYCLIST, CAR, KERB_M, LANE_M, PEDESTRIAN, Plan, Road

CAMERA_HEIGHT_M = 1.4
LEAD_SECONDS = 1.6
FOREVER = 1e6
"""Longer than any scene [s]."""


def _smooth(x: float) -> float:
    x = min(1.0, max(0.0, x))
    return x * x * (3 - 2 * x)


@dataclass(frozen=True)
class Ego:
    """The camera's own motion."""

    time: Array
    distance: Array
    """s at each of `time`."""
    wander: Array
    """(3, 3) amplitude, frequency [Hz], phase of the slow drift in the lane."""
    shake: Array
    """(6, 4): amplitude of pitch, roll, height; frequency; phase; unused."""
    moves: tuple[tuple[float, float, float], ...]
    """(start s, end s, sideways m): swerves around cyclists."""

    @classmethod
    def draw(cls, rng: Generator, seconds: float) -> Ego:
        """A drive at 4 to 11 m/s with some slowing down."""
        time = np.arange(-1.0, seconds + 4.0, 0.02)
        knots = np.arange(-4.0, seconds + 8, 3.0)
        speed = rng.uniform(6.0, 10.0) + rng.uniform(-2.2, 2.2, len(knots))
        if rng.random() < 0.5:
            speed[int(rng.integers(2, len(knots)))] = 3.0
        speeds = np.interp(time, knots, np.clip(speed, 2.5, 11.5))
        kernel = np.hanning(101) / np.hanning(101).sum()
        speeds = np.convolve(np.pad(speeds, 50, mode="edge"), kernel, "valid")
        distance = np.cumsum(speeds) * 0.02
        distance -= np.interp(0.0, time, distance)
        wander = np.stack([rng.uniform(0.04, 0.12, 3), rng.uniform(0.05, 0.3, 3), rng.uniform(0, 6.28, 3)])
        shake = np.stack(
            [[r * rng.uniform(0.0003, 0.0011), r * rng.uniform(0.0003, 0.0009), r * rng.uniform(0.001, 0.004),
              rng.uniform(0.7, 7.0)] for r in (2.2, 1.6, 1.2, 1.0, 0.8, 0.6)]
        )  # fmt: skip
        return cls(time, distance, wander, shake, ())

    def s(self, seconds: float) -> float:
        """How far along the road the camera is [m]."""
        return float(np.interp(seconds, self.time, self.distance))

    def d(self, seconds: float) -> float:
        """How far from the middle line [m]."""
        amplitude, frequency, phase = self.wander
        drift = float((amplitude * np.sin(2 * np.pi * frequency * seconds + phase)).sum())
        s = self.s(seconds)
        for start, end, sideways in self.moves:
            drift += sideways * _smooth((s - start) / 9) * (1 - _smooth((s - end) / 9))
        return -LANE_M + drift

    def pose(self, seconds: float, road: Road) -> tuple[Array, Array]:
        """((3,) position [m], (3, 3) rotation) of the camera."""
        s, step = self.s(seconds), 0.1
        here, ahead = road.at(s, self.d(seconds), 0.0), road.at(self.s(seconds + step), self.d(seconds + step), 0.0)
        direction = ahead - here
        # Follow the road's own heading; the last bit comes from moving sideways in the lane.
        yaw = 0.75 * road.angle(s + 4) + 0.25 * float(np.arctan2(direction[0], direction[2]))
        frequency = self.shake[:, 3]
        waves = np.sin(2 * np.pi * frequency * seconds + np.arange(6) * 1.7)
        second = np.sin(2 * np.pi * frequency * 1.13 * seconds + np.arange(6) * 2.9)
        third = np.sin(2 * np.pi * frequency * 0.91 * seconds + np.arange(6) * 0.6)
        pitch = float((self.shake[:, 0] * waves).sum())
        roll = float((self.shake[:, 1] * second).sum())
        heave = float((self.shake[:, 2] * third).sum())
        return here + np.array([0, CAMERA_HEIGHT_M + heave, 0]), look_rotation(yaw, pitch - 0.012, roll)


@dataclass(frozen=True)
class Mover:
    """A vehicle or cyclist that follows the road."""

    s0: float
    speed: float
    """[m/s] along s; negative: oncoming."""
    d: float
    instance: int
    moves: tuple[tuple[float, float, float], ...] = ()
    """(from time, seconds it takes, sideways m)."""

    def at(self, seconds: float) -> tuple[float, float]:
        """(s, d) at a time."""
        s = self.s0 + self.speed * seconds
        d = self.d + sum(sideways * _smooth((seconds - start) / span) for start, span, sideways in self.moves)
        return float(s), float(d)


@dataclass(frozen=True)
class Vehicle(Mover):
    """A car, van or bus."""

    body: Body | None = None
    template: Surfaces | None = None
    leads: Ego | None = None
    """Drives `s0` metres ahead of where this one will be 1.6 s later: a car ahead in the lane, which brakes first."""

    def at(self, seconds: float) -> tuple[float, float]:
        """(s, d) at a time."""
        s, d = super().at(seconds)
        return (s if self.leads is None else self.leads.s(seconds + LEAD_SECONDS) + self.s0), d


@dataclass(frozen=True)
class Cyclist(Mover):
    """A rider on a bicycle."""

    person: Person | None = None


@dataclass(frozen=True)
class Walker:
    """A pedestrian; `cross` are those who cross the road."""

    person: Person
    s0: float
    d0: float
    velocity: tuple[float, float]
    """(along s, along d) [m/s]."""
    window: tuple[float, float]
    """Walks between these times, stands before and after."""

    def at(self, seconds: float) -> tuple[float, float, float, float]:
        """(s, d, metres walked, pace 0..1)."""
        begin, end = self.window
        walked_s = min(max(seconds, begin), end) - begin
        speed = float(np.hypot(*self.velocity))
        pace = (
            _smooth((seconds - begin + 0.15) / 0.4) * (1 - _smooth((seconds - end - 0.1) / 0.4))
            if end - begin < FOREVER
            else 1.0
        )
        return self.s0 + self.velocity[0] * walked_s, self.d0 + self.velocity[1] * walked_s, speed * walked_s, pace


class Actors:
    """Everybody who moves, and where they are at any time."""

    def __init__(
        self, rng: Generator, road: Road, plan: Plan, lib: Library, ego: Ego, seconds: float, first_instance: int
    ) -> None:
        self.road, self.plan, self.lib = road, plan, lib
        self._next = first_instance
        self._templates = [vehicle_surfaces(body, list(textures), CAR) for body, textures in lib.vehicles]
        self.vehicles: list[Vehicle] = []
        self.cyclists: list[Cyclist] = []
        self.walkers: list[Walker] = []
        self._traffic(rng, ego, seconds)
        self.ego = self._cycling(rng, ego, seconds)
        self._walking(rng, seconds)
        self._crossing(rng, seconds)
        self._wheel = self._wheel_template()
        self._walker_table = np.array([(w.s0, w.velocity[0], *w.window) for w in self.walkers]).T

    def _instance(self) -> int:
        self._next += 1
        return self._next

    # -- who there is --------------------------------------------------------------------------------------------------

    def _vehicle(self, rng: Generator, s0: float, speed: float, d: float, *, bus: float = 0.0) -> Vehicle:
        last = len(self.lib.vehicles) - 1
        kind = last if rng.random() < bus else int(rng.integers(last))
        return Vehicle(s0, speed, d, self._instance(), body=self.lib.vehicles[kind][0], template=self._templates[kind])

    def _traffic(self, rng: Generator, ego: Ego, seconds: float) -> None:
        mean = (ego.s(seconds) - ego.s(0)) / seconds
        s = float(rng.uniform(18, 50))
        speed = float(rng.uniform(7, 10))
        while s < ego.s(seconds) + speed * seconds + 150:
            self.vehicles.append(self._vehicle(rng, s, -speed, LANE_M + 0.1, bus=0.10))
            s += float(rng.uniform(20, 62))
        if rng.random() < 0.65:
            self.vehicles.append(replace(self._vehicle(rng, float(rng.uniform(13, 24)), 0.0, -LANE_M), leads=ego))
        else:  # one that overtakes, through a hole in the oncoming traffic
            start = float(rng.uniform(0.1, 0.5)) * seconds
            fast = self._vehicle(rng, ego.s(start) - 14 - (mean + 5.0) * start, mean + 5.0, LANE_M - 0.1)
            fast = replace(fast, moves=((start + 5.0, 2.5, -2 * LANE_M + 0.1),))
            self.vehicles = [v for v in self.vehicles if v.speed > 0 or not self._meet(v, fast, start - 1, start + 9)]
            self.vehicles.append(fast)

    @staticmethod
    def _meet(a: Mover, b: Mover, begin: float, end: float) -> bool:
        for t in np.arange(begin, end, 0.2):
            (sa, da), (sb, db) = a.at(t), b.at(t)
            if abs(sa - sb) < 7 and abs(da - db) < 2.2:
                return True
        return False

    def _person(self, rng: Generator) -> Person:
        wear = self.lib.wardrobe
        return Person(
            float(rng.normal(1.71, 0.08)), float(rng.uniform(0, 6.28)), int(rng.integers(len(wear.torso))),
            int(rng.integers(len(wear.thigh))), int(rng.integers(len(wear.head))), bool(rng.random() < 0.3),
            self._instance(), float(rng.uniform(1.35, 1.55)),
        )  # fmt: skip

    def _cycling(self, rng: Generator, ego: Ego, seconds: float) -> Ego:
        moves = []
        for _ in range(int(rng.integers(1, 3))):
            meet = float(rng.uniform(0.25, 0.9)) * seconds
            speed = float(rng.uniform(4.0, 5.2))
            cyclist = Cyclist(
                ego.s(meet) - speed * meet, speed, self._lane_edge(-1), self._instance(), person=self._person(rng)
            )
            self.cyclists.append(cyclist)
            moves.append((ego.s(meet) - 24, ego.s(meet) + 12, 0.45))
        s = float(rng.uniform(10, 40))
        while s < ego.s(seconds) + 200:
            speed = float(rng.uniform(4.2, 6))
            self.cyclists.append(Cyclist(s, -speed, self._lane_edge(1), self._instance(), person=self._person(rng)))
            s += float(rng.uniform(25, 80))
        return Ego(ego.time, ego.distance, ego.wander, ego.shake, tuple(moves[:1]))

    def _lane_edge(self, side: int) -> float:
        return side * 2.95

    def _walking(self, rng: Generator, seconds: float) -> None:
        for side in (-1, 1):
            inner, outer = abs(self.plan.edge(side)) + 1.3, abs(self.plan.front(side)) - 0.5
            s = -10.0
            while s < self.plan.length_m - 20:
                speed = float(rng.normal(1.35, 0.15)) * float(rng.choice([-1, 1]))
                if rng.random() < 0.12:
                    speed = 0.0
                d = side * float(rng.uniform(min(inner, outer), outer))
                window = (0.0, FOREVER) if speed else (FOREVER, FOREVER)
                group = 2 if rng.random() < 0.3 else 1
                for member in range(group):
                    self.walkers.append(
                        Walker(self._person(rng), s + 0.25 * member, d - side * 0.6 * member, (speed, 0.0), window)
                    )
                s += float(rng.exponential(6.5))

    def _crossing(self, rng: Generator, seconds: float) -> None:
        """People who cross: timed so that the camera comes close, and never hit."""
        moment, timetable = float(rng.uniform(0.8, 2.0)), self._timetable(seconds)
        while moment < seconds:
            crossed = any(self._try_crossing(rng, moment + float(rng.uniform(0, 0.8)), timetable) for _ in range(8))
            moment += float(rng.uniform(2.0, 4.0)) if crossed else 0.8

    def _try_crossing(self, rng: Generator, moment: float, timetable: tuple[Array, Array, Array]) -> bool:
        """Let one or two people be in the camera's lane at `moment`, unless somebody would run into them."""
        side = int(rng.choice([-1, 1]))
        speed = float(rng.uniform(1.35, 1.85))
        start_d, end_d = self.plan.edge(side) + side * 0.7, self.plan.edge(-side) - side * 0.7
        begin, span = moment - abs(start_d + LANE_M) / speed, abs(end_d - start_d) / speed
        s = self.ego.s(moment + float(rng.uniform(1.3, 2.4))) + 2.5
        for zebra in self.plan.crossings:
            if abs(zebra + 1.4 - s) < 8 and zebra + 1.4 > self.ego.s(moment + 1.2):
                s = zebra + 1.4 + float(rng.uniform(-0.8, 0.8))
        group = []
        for _ in range(int(rng.integers(1, 3))):
            person = Walker(self._person(rng), s, start_d, (0.0, -side * speed), (begin, begin + span))
            if self._in_the_way(person, timetable):
                return False
            group.append(person)
            s += float(rng.uniform(0.7, 1.0))
            begin += float(rng.uniform(-0.2, 0.5))
        self.walkers.extend(group)
        return True

    def _timetable(self, seconds: float) -> tuple[Array, Array, Array]:
        """(times (T,), s (M + 1, T), d (M + 1, T)) of everything on the road, the camera's car last."""
        times = np.arange(-10.0, seconds + 10, 0.1)
        where_s, where_d = [], []
        for mover in (*self.vehicles, *self.cyclists):
            plain = not mover.moves and not (isinstance(mover, Vehicle) and mover.leads is not None)
            if plain:
                where_s.append(mover.s0 + mover.speed * times)
                where_d.append(np.full(len(times), mover.d))
            else:
                track = np.array([mover.at(t) for t in times])
                where_s.append(track[:, 0])
                where_d.append(track[:, 1])
        where_s.append(np.array([self.ego.s(t) for t in times]))
        where_d.append(np.array([self.ego.d(t) for t in times]))
        return times, np.array(where_s), np.array(where_d)

    def _in_the_way(self, person: Walker, timetable: tuple[Array, Array, Array]) -> bool:
        times, where_s, where_d = timetable
        begin, end = np.searchsorted(times, person.window)
        path = np.array([person.at(t)[:2] for t in times[begin:end]]).T
        close = (np.abs(where_s[:, begin:end] - path[0]) < 3.3) & (np.abs(where_d[:, begin:end] - path[1]) < 1.5)
        return bool(close.any())

    # -- where they are ------------------------------------------------------------------------------------------------

    def active(
        self, seconds: float, s_camera: float, behind: float, ahead: float
    ) -> tuple[list[int], list[int], list[int]]:
        """Indices of (vehicles, cyclists, walkers) near the camera."""

        def near(s: float) -> bool:
            return s_camera - behind < s < s_camera + ahead

        start, along, begin, end = self._walker_table
        walker_s = start + along * (np.clip(seconds, begin, end) - begin)
        return (
            [n for n, v in enumerate(self.vehicles) if near(v.at(seconds)[0])],
            [n for n, c in enumerate(self.cyclists) if near(c.at(seconds)[0])],
            np.flatnonzero((walker_s > s_camera - behind) & (walker_s < s_camera + ahead)).tolist(),
        )

    def solid(self, seconds: float, vehicles: list[int], cyclists: list[int]) -> Surfaces | None:
        """The rigid parts: vehicles and bicycle wheels."""
        parts = []
        for n in vehicles:
            vehicle = self.vehicles[n]
            assert vehicle.template is not None
            position, yaw = self._pose(vehicle, seconds)
            parts.append(place(vehicle.template, position, yaw, vehicle.instance))
        for n in cyclists:
            position, yaw = self._pose(self.cyclists[n], seconds)
            parts.append(place(self._wheel, position, yaw, self.cyclists[n].instance))
        return concatenate(parts) if parts else None

    def soft(self, seconds: float, cyclists: list[int], walkers: list[int]) -> list[Billboards]:
        """The limbs of people."""
        wear, out = self.lib.wardrobe, []
        for n in cyclists:
            cyclist = self.cyclists[n]
            assert cyclist.person is not None
            position, yaw = self._pose(cyclist, seconds)
            forward = np.array([np.sin(yaw), 0.0, np.cos(yaw)])
            out.append(
                rider(cyclist.person, position, forward, abs(cyclist.at(seconds)[0] - cyclist.s0), BICYCLIST, wear)
            )
        for n in walkers:
            person = self.walkers[n]
            s, d, walked, pace = person.at(seconds)
            on_kerb = abs(d) - abs(self.plan.edge(1 if d > 0 else -1))
            height = KERB_M * _smooth(on_kerb / 0.3 + 0.5)
            along, across = person.velocity
            if along == 0.0 and across == 0.0:
                across = -np.sign(d)
            yaw = self.road.angle(s) + float(np.arctan2(across, along))
            forward = np.array([np.sin(yaw), 0.0, np.cos(yaw)])
            out.append(walker(person.person, self.road.at(s, d, height), forward, walked, pace, PEDESTRIAN, wear))
        return out

    def _pose(self, mover: Mover, seconds: float) -> tuple[Array, float]:
        s, d = mover.at(seconds)
        ahead_s, ahead_d = mover.at(seconds + 0.05)
        here, there = self.road.at(s, d), self.road.at(ahead_s, ahead_d)
        step = there - here
        return here, float(np.arctan2(step[0], step[2]))

    def boxes(self, seconds: float, vehicles: list[int]) -> Array:
        """(B, 6) instance, x, z, yaw, half length, half width of the vehicles at `vehicles`."""
        rows = []
        for n in vehicles:
            vehicle = self.vehicles[n]
            assert vehicle.body is not None
            position, yaw = self._pose(vehicle, seconds)
            rows.append(
                (vehicle.instance, position[0], position[2], yaw, vehicle.body.length / 2, vehicle.body.width / 2)
            )
        return np.asarray(rows, float).reshape(-1, 6)

    def shadows(
        self, seconds: float, sun: Array, vehicles: list[int], cyclists: list[int], walkers: list[int]
    ) -> list[Array]:
        """(k, 3) ground polygons in the shade of whoever is near."""
        from dwnet.data.street.world import vehicle_shadow

        out = []
        for n in vehicles:
            vehicle = self.vehicles[n]
            assert vehicle.body is not None
            position, yaw = self._pose(vehicle, seconds)
            out.append(
                vehicle_shadow(position, yaw, vehicle.body.length, vehicle.body.width, vehicle.body.roof * 0.8, sun)
            )
        for n in cyclists:
            position, yaw = self._pose(self.cyclists[n], seconds)
            out.append(vehicle_shadow(position, yaw, 1.6, 0.25, 1.4, sun))
        for n in walkers:
            s, d, _, _ = self.walkers[n].at(seconds)
            out.append(vehicle_shadow(self.road.at(s, d), self.road.angle(s), 0.35, 0.4, 1.5, sun))
        return out

    def _wheel_template(self) -> Surfaces:
        parts = SurfaceList()
        for z in (0.58, -0.46):
            r = 0.34
            quad = np.array([[0, 2 * r, z - r], [0, 2 * r, z + r], [0, 0, z + r], [0, 0, z - r]])
            parts.add(quad, self.lib["bicycle_wheel"], BICYCLIST, anchor=np.zeros(3), order=-99.0, two_sided=True)
        return parts.freeze()
