"""The world of the rendered street: everything along the road that stands still, put together from its parts."""

from __future__ import annotations

from dwnet.data.street.furniture import park_vehicles, put_furniture
from dwnet.data.street.geometry import Array
from dwnet.data.street.ground import lay_ground
from dwnet.data.street.houses import build_backdrop, build_houses, close_street
from dwnet.data.street.library import Library
from dwnet.data.street.plan import Plan, Road
from dwnet.data.street.site import Site, Statics
from dwnet.data.street.textures import Generator

BEHIND_M, AHEAD_M = 14.0, 190.0
"""How far around the camera the world is drawn, along the road."""


def build_world(rng: Generator, road: Road, plan: Plan, lib: Library, sun: Array) -> tuple[Statics, int]:
    """All that stands still, the ground in the order of painting, and the last instance number given."""
    site = Site(rng, road, plan, lib, sun)
    lay_ground(site)
    for side in (-1, 1):
        build_houses(site, side)
        build_backdrop(site, side)
        put_furniture(site, side)
        if plan.parking[side > 0]:
            park_vehicles(site, side)
    close_street(site)
    return site.freeze(), site.instance
