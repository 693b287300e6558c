"""Vehicles, cyclists and pedestrians of the rendered street, with positions as closed forms of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dwnet.street.geometry import Array, Surfaces
from dwnet.street.models.people import Person
from dwnet.street.models.vehicles import Body
from dwnet.street.world.ego import Ego, smooth_step

LEAD_SECONDS = 1.6
FOREVER = 1e6
"""Longer than any scene [s]."""


@dataclass(frozen=True)
class Mover:
    """A vehicle or cyclist that follows the road."""

    s0: float
    speed: float
    """Speed along s [m/s]; negative for oncoming traffic."""
    d: float
    instance: int

    def at(self, seconds: float) -> tuple[float, float]:
        """Returns (s, d) at a time [m]."""
        return self.s0 + self.speed * seconds, self.d


@dataclass(frozen=True)
class Vehicle(Mover):
    """A car, van or bus."""

    body: Body
    template: Surfaces
    moves: tuple[tuple[float, float, float], ...] = ()
    """Lane changes: (start time [s], duration [s], offset [m])."""
    leads: Ego | None = None
    """The camera's car, if it follows this vehicle. Then this vehicle is `s0` metres ahead of the position that the
    camera's car has 1.6 s later, so it brakes earlier."""

    def at(self, seconds: float) -> tuple[float, float]:
        """Returns (s, d) at a time [m]."""
        s, d = super().at(seconds)
        d += sum(sideways * float(smooth_step((seconds - start) / span)) for start, span, sideways in self.moves)
        return (s if self.leads is None else self.leads.s(seconds + LEAD_SECONDS) + self.s0), d


@dataclass(frozen=True)
class Cyclist(Mover):
    """A rider on a bicycle."""

    person: Person


@dataclass(frozen=True)
class Walker:
    """A pedestrian. Pedestrians with a velocity along d cross the road."""

    person: Person
    s0: float
    d0: float
    velocity: tuple[float, float]
    """(along s, along d) [m/s]."""
    window: tuple[float, float]
    """Times [s] between which the person walks. The person stands before and after."""

    def at(self, seconds: Array) -> tuple[Array, Array]:
        """((T,) s, (T,) d) at times (T,)."""
        walked_s = np.clip(seconds, *self.window) - self.window[0]
        return self.s0 + self.velocity[0] * walked_s, self.d0 + self.velocity[1] * walked_s
