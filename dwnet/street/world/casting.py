"""Random choice of traffic, cyclists, pedestrians, and people who cross the road in front of the camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dwnet.street.geometry import Array
from dwnet.street.library import Library
from dwnet.street.models.people import Person
from dwnet.street.models.vehicles import vehicle_surfaces
from dwnet.street.textures.synthesis import Generator
from dwnet.street.world.ego import Ego
from dwnet.street.world.movers import FOREVER, Cyclist, Mover, Vehicle, Walker
from dwnet.street.world.plan import CAR, LANE_M, Plan


class Casting:
    """Draws all moving objects from the seed, without collisions."""

    def __init__(self, rng: Generator, plan: Plan, lib: Library, ego: Ego, seconds: float, first_instance: int) -> None:
        self.plan, self.lib = plan, lib
        self._next = first_instance
        self._templates = [vehicle_surfaces(body, list(textures), CAR) for body, textures in lib.vehicles]
        self.vehicles: list[Vehicle] = []
        self.cyclists: list[Cyclist] = []
        self.walkers: list[Walker] = []
        self._traffic(rng, ego, seconds)
        self.ego = self._cycling(rng, ego, seconds)
        self._walking(rng)
        self._crossing(rng, seconds)

    def _instance(self) -> int:
        self._next += 1
        return self._next

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
        else:  # a vehicle that overtakes through a gap in the oncoming traffic
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
            self._cyclist(rng, ego.s(meet) - speed * meet, speed, self._lane_edge(-1))
            moves.append((ego.s(meet) - 24, ego.s(meet) + 12, 0.45))
        s = float(rng.uniform(10, 40))
        while s < ego.s(seconds) + 200:
            speed = float(rng.uniform(4.2, 6))
            self._cyclist(rng, s, -speed, self._lane_edge(1))
            s += float(rng.uniform(25, 80))
        return Ego(ego.time, ego.distance, ego.wander, ego.shake, tuple(moves[:1]))

    def _cyclist(self, rng: Generator, s: float, speed: float, d: float) -> None:
        """Adds a cyclist; rider and bicycle are one object."""
        person = self._person(rng)
        self.cyclists.append(Cyclist(s, speed, d, person.instance, person=person))

    def _lane_edge(self, side: int) -> float:
        return side * 2.95

    def _walking(self, rng: Generator) -> None:
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
        """Adds people who cross the road close to the camera, without collisions."""
        moment, timetable = float(rng.uniform(0.8, 2.0)), self._timetable(seconds)
        while moment < seconds:
            crossed = any(self._try_crossing(rng, moment + float(rng.uniform(0, 0.8)), timetable) for _ in range(8))
            moment += float(rng.uniform(2.0, 4.0)) if crossed else 0.8

    def _try_crossing(self, rng: Generator, moment: float, timetable: tuple[Array, Array, Array]) -> bool:
        """Adds one or two people in the camera's lane at `moment`, unless a collision would result."""
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
        """(times (T,), s (M + 1, T), d (M + 1, T)) of M vehicles and cyclists; the last row is the camera's car."""
        times = np.arange(-10.0, seconds + 10, 0.1)
        where_s, where_d = [], []
        for mover in (*self.vehicles, *self.cyclists):
            plain = not (isinstance(mover, Vehicle) and (mover.moves or mover.leads is not None))
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
        path = person.at(times[begin:end])
        close = (np.abs(where_s[:, begin:end] - path[0]) < 3.3) & (np.abs(where_d[:, begin:end] - path[1]) < 1.5)
        return bool(close.any())
