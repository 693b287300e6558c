"""The static world of the rendered street, assembled from its parts."""

from __future__ import annotations

from dwnet.street.geometry import Array
from dwnet.street.library import Library
from dwnet.street.textures.synthesis import Generator
from dwnet.street.world.furniture import park_vehicles, put_furniture
from dwnet.street.world.ground import lay_ground
from dwnet.street.world.houses import build_backdrop, build_houses, close_street
from dwnet.street.world.plan import Plan, Road
from dwnet.street.world.site import Site, Statics

BEHIND_M, AHEAD_M = 14.0, 190.0
"""Distances behind and ahead of the camera within which the world is drawn, along the road."""


def build_world(rng: Generator, road: Road, plan: Plan, lib: Library, sun: Array) -> tuple[Statics, int]:
    """Returns the static parts, with the ground in the order of painting, and the last instance number used."""
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
