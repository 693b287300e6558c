"""Moving objects of the rendered street at any time, as surfaces, billboards and shadows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dwnet.street.geometry import Array, Billboards, SurfaceList, Surfaces, concatenate
from dwnet.street.library import Library
from dwnet.street.models.people import Crowd, riders, walkers
from dwnet.street.models.vehicles import place
from dwnet.street.world.casting import Casting
from dwnet.street.world.ego import smooth_step
from dwnet.street.world.movers import FOREVER, Mover
from dwnet.street.world.plan import BICYCLIST, KERB_M, PEDESTRIAN, Plan, Road
from dwnet.street.world.site import box_shadows

Active = tuple[list[int], list[int], NDArray[np.intp]]
"""Indices of the vehicles, cyclists and walkers near the camera."""


class Actors:
    """All moving objects, at any time."""

    def __init__(self, casting: Casting, road: Road, plan: Plan, lib: Library) -> None:
        self.road, self.plan, self.lib = road, plan, lib
        self.vehicles, self.cyclists, self.ego = casting.vehicles, casting.cyclists, casting.ego
        self._wheel = self._wheel_template()
        self._riders = Crowd.of([c.person for c in self.cyclists])
        self._crowd = Crowd.of([w.person for w in casting.walkers])
        table = [(w.s0, w.d0, *w.velocity, *w.window) for w in casting.walkers]
        self._walks = np.array(table, float).reshape(-1, 6)

    def active(self, seconds: float, s_camera: float, behind: float, ahead: float) -> Active:
        """Returns the objects from `behind` metres behind the camera to `ahead` metres ahead of it, along the road."""

        def near(mover: Mover) -> bool:
            return s_camera - behind < mover.at(seconds)[0] < s_camera + ahead

        start, _, along, _, begin, end = self._walks.T
        walker_s = start + along * (np.clip(seconds, begin, end) - begin)
        return (
            [n for n, vehicle in enumerate(self.vehicles) if near(vehicle)],
            [n for n, cyclist in enumerate(self.cyclists) if near(cyclist)],
            np.flatnonzero((walker_s > s_camera - behind) & (walker_s < s_camera + ahead)),
        )

    def showing(self, active: Active, instances: NDArray[np.int64]) -> Active:
        """Returns the objects of `active` whose instance numbers are in `instances`."""
        wanted = set(instances.tolist())
        return (
            [n for n in active[0] if self.vehicles[n].instance in wanted],
            [n for n in active[1] if self.cyclists[n].instance in wanted],
            active[2][np.isin(self._crowd.instance[active[2]], instances)],
        )

    def rigid(self, seconds: float, active: Active) -> Surfaces | None:
        """Returns vehicles and bicycle wheels; None if there are none."""
        templates = [self.vehicles[n].template for n in active[0]] + [self._wheel] * len(active[1])
        movers = self._movers(active)
        positions, yaw = self._poses(movers, seconds)
        parts = [
            place(template, position, float(angle), mover.instance)
            for template, position, angle, mover in zip(templates, positions, yaw, movers, strict=True)
        ]
        return concatenate(parts) if parts else None

    def limbs(self, seconds: float, active: Active) -> list[Billboards]:
        """Returns the limbs of cyclists and walkers."""
        _, cycling, walking = active
        out = []
        if cycling:
            cyclists = [self.cyclists[n] for n in cycling]
            foot, yaw = self._poses(cyclists, seconds)
            ridden = np.array([abs(cyclist.at(seconds)[0] - cyclist.s0) for cyclist in cyclists])
            crowd = self._riders.take(np.asarray(cycling))
            out.append(riders(crowd, foot, _level(yaw), ridden, BICYCLIST, self.lib.wardrobe))
        if len(walking):
            foot, yaw, walked, pace = self._walking(seconds, walking)
            crowd = self._crowd.take(walking)
            out.append(walkers(crowd, foot, _level(yaw), walked, pace, PEDESTRIAN, self.lib.wardrobe))
        return out

    def _walking(self, seconds: float, index: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
        """((P, 3) feet, (P,) yaw, (P,) distance walked [m], (P,) pace 0..1) of walkers."""
        start_s, start_d, along, across, begin, end = self._walks[index].T
        walked_s = np.clip(seconds, begin, end) - begin
        s, d = start_s + along * walked_s, start_d + across * walked_s
        starts_stops = smooth_step((seconds - begin + 0.15) / 0.4) * (1 - smooth_step((seconds - end - 0.1) / 0.4))
        pace = np.where(end - begin < FOREVER, starts_stops, 1.0)
        edge = np.where(d > 0, abs(self.plan.edge(1)), abs(self.plan.edge(-1)))
        height = KERB_M * smooth_step((np.abs(d) - edge) / 0.3 + 0.5)
        stands = (along == 0) & (across == 0)
        yaw = self.road.angles(s) + np.arctan2(np.where(stands, -np.sign(d), across), along)
        return self.road.at(s, d, height), yaw, np.hypot(along, across) * walked_s, pace

    def _movers(self, active: Active) -> list[Mover]:
        return [*(self.vehicles[n] for n in active[0]), *(self.cyclists[n] for n in active[1])]

    def _poses(self, movers: Sequence[Mover], seconds: float) -> tuple[Array, Array]:
        """((V, 3) positions on the ground [m], (V,) yaw [radians])."""
        now, ahead = (np.array([m.at(at) for m in movers]).reshape(-1, 2) for at in (seconds, seconds + 0.05))
        here = self.road.at(now[:, 0], now[:, 1])
        step = self.road.at(ahead[:, 0], ahead[:, 1]) - here
        return here, np.arctan2(step[:, 0], step[:, 2])

    def boxes(self, seconds: float, vehicles: list[int]) -> Array:
        """(B, 6) rows of instance, x, z, yaw, half length and half width of the vehicles with these indices."""
        chosen = [self.vehicles[n] for n in vehicles]
        position, yaw = self._poses(chosen, seconds)
        size = np.array([(v.instance, v.body.length / 2, v.body.width / 2) for v in chosen]).reshape(-1, 3)
        return np.concatenate([size[:, :1], position[:, [0, 2]], yaw[:, None], size[:, 1:]], 1)

    def shadows(self, seconds: float, sun: Array, active: Active) -> Array:
        """(N, 8, 3) points on the ground. The convex hull of each row of 8 points is a shadow."""
        bodies = [self.vehicles[n].body for n in active[0]]
        sizes = [(body.length, body.width, body.roof * 0.8) for body in bodies] + [(1.6, 0.25, 1.4)] * len(active[1])
        place_, yaw = self._poses(self._movers(active), seconds)
        foot, turned, _, _ = self._walking(seconds, active[2])
        position = np.concatenate([place_, foot * np.array([1, 0, 1])])
        size = np.concatenate([np.array(sizes).reshape(-1, 3), np.tile([0.35, 0.4, 1.5], (len(foot), 1))])
        return box_shadows(position, np.concatenate([yaw, turned]), size, sun)

    def _wheel_template(self) -> Surfaces:
        parts = SurfaceList()
        for z in (0.58, -0.46):
            r = 0.34
            quad = np.array([[0, 2 * r, z - r], [0, 2 * r, z + r], [0, 0, z + r], [0, 0, z - r]])
            parts.add(quad, self.lib["bicycle_wheel"], BICYCLIST, anchor=np.zeros(3), order=-99.0, two_sided=True)
        return parts.freeze()


def _level(yaw: Array) -> Array:
    """(P, 3) horizontal unit vectors of headings `yaw` (P,) [radians]."""
    return np.stack([np.sin(yaw), np.zeros(len(yaw)), np.cos(yaw)], 1)
