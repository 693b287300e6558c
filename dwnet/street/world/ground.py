"""The ground of the rendered street: carriageway, pavements, kerbs, paint."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dwnet.street.world.plan import KERB_M, PAVEMENT, ROAD
from dwnet.street.world.site import Site


def lay_ground(site: Site) -> None:
    """Adds carriageway, side streets, repairs, paint, pavements and kerbs, in the order of painting."""
    plan, lib, rng = site.plan, site.lib, site.rng
    start, end = -40.0, plan.length_m - 5
    left, right = plan.edge(-1), plan.edge(1)
    site.strip(start, end, left - 0.05, right + 0.05, lib["asphalt"], ROAD, 14.0)
    for a, b in plan.junctions:
        for side in (-1, 1):
            site.strip(a, b, plan.edge(side), side * 60, lib["asphalt"], ROAD, 14.0)
            for d in np.arange(abs(plan.edge(side)) + 0.1, abs(plan.edge(side)) + 0.5, 0.35):  # give-way line
                for s in np.arange(a + 0.4, b - 0.6, 0.9):
                    site.strip(s, s + 0.6, side * d, side * (d + 0.2), lib["paint"], ROAD, 2.0)
    for _ in range(int((end - start) / 9)):
        s, d = float(rng.uniform(start, end)), float(rng.uniform(left + 0.4, right - 2.2))
        if rng.random() < 0.6:
            length, width = float(rng.uniform(0.8, 5)), float(rng.uniform(0.5, 1.6))
            corners = site.road.at(np.array([s + length, s + length, s, s]), np.array([d, d + width, d + width, d]))
            site.quad(s, corners, lib["patch"], ROAD, layer=1, two_sided=True)
        else:
            corners = site.road.at(np.array([s + 0.65, s + 0.65, s, s]), np.array([d, d + 0.65, d + 0.65, d]))
            site.quad(s, corners, lib["manhole"], ROAD, layer=1, two_sided=True)
    _markings(site, start, end)
    for side in (-1, 1):
        texture = lib.names["paving"][int(rng.integers(2))]
        inner, outer = plan.edge(side), plan.front(side) + side * 1.0
        free = site.blocks(start, end)
        for a, b in free:
            site.strip(a, b, inner, outer, texture, PAVEMENT, 4.0, KERB_M)
            for s in (a, b):  # the ends, towards the side streets
                first, last = (inner, outer) if (s == a) == (side > 0) else (outer, inner)
                top, low = (
                    site.road.at(s, np.array([first, last]), KERB_M),
                    site.road.at(s, np.array([last, first]), 0.0),
                )
                site.quad(s, np.concatenate([top, low]), lib["kerb"], PAVEMENT, layer=1, two_sided=True)
            for p, q in pairwise(site.pieces(a, b)):
                first, last = (p, q) if side < 0 else (q, p)
                top = site.road.at(np.array([first, last]), inner, KERB_M)
                low = site.road.at(np.array([last, first]), inner, 0.0)
                corners = np.concatenate([top, low])
                frame = (top[0], (top[1] - top[0]) / max(1.0, (q - p) / 2), low[1] - top[0])
                site.quad((p + q) / 2, corners, lib["kerb"], PAVEMENT, frame=frame, layer=1, two_sided=True)


def _markings(site: Site, start: float, end: float) -> None:
    plan, lib = site.plan, site.lib
    white = lib["paint"]
    near_crossing = [(c - 16, c + 4) for c in plan.crossings]
    for s in np.arange(start, end - 6, 6.0):
        if any(c - 0.5 < s + 1.5 < c + 4 for c in plan.crossings):
            continue
        long = any(a < s < b for a, b in near_crossing)
        site.strip(s, s + (4.4 if long else 2.6), -0.06, 0.06, white, ROAD, 2.0)
    for side in (-1, 1):
        edge = plan.edge(side)
        for a, b in site.blocks(start, end):
            if plan.parking[side > 0]:
                for s in np.arange(a + 3, b - 6, 6.0):
                    site.strip(s, s + 0.1, edge - side * 2.0, edge - side * 0.1, white, ROAD, 2.0)
            elif plan.double_yellow:
                for offset in (0.25, 0.45):
                    site.strip(a, b, edge - side * offset, edge - side * (offset + 0.09), lib["yellow"], ROAD, 2.0)
    for c in plan.crossings:
        for d in np.arange(plan.edge(-1) + 0.3, plan.edge(1) - 0.6, 1.2):
            site.strip(c, c + 2.8, d, d + 0.6, white, ROAD, 2.0)
        for d in np.arange(plan.edge(-1) + 0.2, -0.3, 0.5):
            site.strip(c - 1.3, c - 1.1, d, d + 0.3, white, ROAD, 2.0)
