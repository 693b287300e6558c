"""Houses and shops of the rendered street, the gaps between them, and the background behind the gaps."""

from __future__ import annotations

import numpy as np

from dwnet.street.geometry import Array
from dwnet.street.library import Facade
from dwnet.street.world.furniture import front_panels
from dwnet.street.world.plan import BUILDING, FENCE, KERB_M, SIGN, TREE, VOID
from dwnet.street.world.plants import plant_tree
from dwnet.street.world.site import Site


def build_houses(site: Site, side: int) -> None:
    """Adds rows of houses between the side streets, with gaps for parks and fences."""
    rng, plan = site.rng, site.plan
    for a, b in site.blocks(-40.0, plan.length_m - 30):
        s = a + 0.5
        park_at = a + float(rng.uniform(0.2, 0.8)) * (b - a) if rng.random() < 0.25 else 1e9
        while s < b - 5:
            if s > park_at and not plan.turning(s) and not plan.turning(s + 26):
                gap = min(float(rng.uniform(14, 26)), b - s)
                _park(site, side, s, s + gap)
                s, park_at = s + gap, 1e9
                continue
            if rng.random() < 0.15:
                gap = float(rng.uniform(2.5, 6))
                if s + gap < b:
                    _wall_fence(site, side, s, s + gap)
                s += gap
                continue
            facade = site.lib.facades[int(rng.integers(len(site.lib.facades)))]
            if s + facade.width_m > b + 1.5:
                fitting = [f for f in site.lib.facades if s + f.width_m <= b + 1.5]
                if not fitting:
                    break
                facade = fitting[int(rng.integers(len(fitting)))]
            _house(site, side, s, facade)
            s += facade.width_m


def _house(site: Site, side: int, s: float, facade: Facade) -> None:
    """Adds a house: front, both sides, roof, chimney, and for a shop an awning and a hanging sign."""
    rng, lib = site.rng, site.lib
    s1, d, depth, top = (
        s + facade.width_m,
        site.plan.front(side) + side * float(rng.uniform(0, 0.25)),
        9.0,
        facade.height_m,
    )
    middle, instance = s + facade.width_m / 2, site.new_instance()
    brightness = float(rng.uniform(0.86, 1.06))
    first, last = (s1, s) if side > 0 else (s, s1)  # from left to right, as seen from the road
    base_l, base_r = site.road.at(first, d), site.road.at(last, d)
    out = site.road.at(middle, d + side) - site.road.at(middle, d)
    up = np.array([0.0, top, 0.0])
    anchor = (base_l + base_r) / 2
    common = {"instance": instance, "layer": 2, "anchor": anchor, "brightness": brightness}
    site.quad(middle, np.stack([base_l + up, base_r + up, base_r, base_l]), facade.texture, BUILDING, order=2, **common)
    back_l, back_r = base_l + depth * out, base_r + depth * out
    wall = lib.names["gable"][int(rng.integers(4))]
    site.quad(middle, np.stack([back_l + up, base_l + up, base_l, back_l]), wall, BUILDING, order=1, **common)
    site.quad(middle, np.stack([base_r + up, back_r + up, back_r, base_r]), wall, BUILDING, order=1, **common)
    rise = np.array([0.0, float(rng.uniform(1.6, 3.0)), 0.0])
    ridge_l, ridge_r = base_l + up + 4.5 * out + rise, base_r + up + 4.5 * out + rise
    roof = lib.names["slates"][int(rng.integers(3))]
    if rng.random() < 0.75:
        site.quad(middle, np.stack([ridge_l, ridge_r, base_r + up, base_l + up]), roof, BUILDING, order=1, **common)
        for near, far, ridge in ((base_l, back_l, ridge_l), (back_r, base_r, ridge_r)):
            tri = np.stack([ridge, near + up, far + up])
            frame = (near + up + rise, far - near, -rise)
            site.quad(middle, tri, wall, BUILDING, frame=frame, order=1, two_sided=True, **common)
    if rng.random() < 0.6:
        across = (base_r - base_l) / np.linalg.norm(base_r - base_l)
        at = base_l + up + across * float(rng.uniform(0.8, facade.width_m - 1.6)) + 3.6 * out
        wide, tall = 0.9 * across, np.array([0.0, float(rng.uniform(2.6, 3.6)), 0.0])
        site.quad(middle, np.stack([at + tall, at + wide + tall, at + wide, at]), wall, BUILDING, order=0.5, **common)
        for edge in (at, at + wide):
            deep = edge + 0.7 * out
            quad = np.stack([edge + tall, deep + tall, deep, edge])
            site.quad(middle, quad, wall, BUILDING, order=0.4, two_sided=True, **common)
    if facade.shop:
        _shop_extras(site, side, s, s1, base_l, base_r, out, common)
    solid = np.concatenate(
        [np.stack([p, p + up]) for p in (base_l, base_r, back_l, back_r)] + [ridge_l[None], ridge_r[None]]
    )
    site.shadow(middle, solid)


def _shop_extras(
    site: Site, side: int, s0: float, s1: float, left: Array, right: Array, out: Array, common: dict[str, object]
) -> None:
    rng, lib = site.rng, site.lib
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
            site.quad((s0 + s1) / 2, piece, texture, BUILDING, frame=part, order=3, two_sided=True, **common)
    if rng.random() < 0.5:
        s = float(rng.uniform(s0 + 0.5, s1 - 0.5))
        d = site.plan.front(side)
        inner, outer = site.road.at(s, d - side * 0.15), site.road.at(s, d - side * 0.85)
        ends = (inner, outer) if side < 0 else (outer, inner)
        high, low = np.array([0, 3.5, 0]), np.array([0, 2.75, 0])
        texture = lib.names["signs"][2 + int(rng.integers(2))]
        quad = np.stack([ends[0] + high, ends[1] + high, ends[1] + low, ends[0] + low])
        site.quad(s, quad, texture, SIGN, instance=site.new_instance(), two_sided=True)


def _park(site: Site, side: int, s0: float, s1: float) -> None:
    """Adds a park: grass, a hedge or railings in front, trees behind."""
    rng, d = site.rng, site.plan.front(side)
    lawn = site.road.at(np.array([s0, s1, s1, s0]), np.array([d, d, d + side * 22, d + side * 22]), KERB_M)
    site.plane((s0 + s1) / 2, lawn, site.lib["grass"], VOID, 5.0, KERB_M)
    if rng.random() < 0.5:
        front_panels(site, side, s0, s1, d + side * 0.2, 1.15, "railings", FENCE)
    else:
        front_panels(site, side, s0, s1, d + side * 0.2, 1.4, "hedge", TREE)
    for s in np.arange(s0 + 2, s1 - 1, 4.5):
        plant_tree(site, float(s), d + side * float(rng.uniform(2.5, 9)), float(rng.uniform(7, 11)))


def _wall_fence(site: Site, side: int, s0: float, s1: float) -> None:
    d = site.plan.front(side)
    front_panels(site, side, s0, s1, d + side * 0.3, 1.8, "boards", FENCE)
    if site.rng.random() < 0.7:
        plant_tree(site, (s0 + s1) / 2, d + side * 3.5, float(site.rng.uniform(6, 9)))


def build_backdrop(site: Site, side: int) -> None:
    """Adds houses and trees that are visible through the gaps."""
    rng, plan = site.rng, site.plan
    for s in np.arange(-30.0, plan.length_m + 20, 11.0):
        d = plan.front(side) + side * float(rng.uniform(24, 34))
        blocked = any(a - 6 < s < b + 6 for a, b in plan.junctions)
        if rng.random() < 0.5 and not blocked:
            facade = site.lib.facades[int(rng.integers(len(site.lib.facades)))]
            width = facade.width_m
            first, last = (s + width, s) if side > 0 else (s, s + width)
            low = site.road.at(np.array([first, last]), d)
            up = np.array([0, facade.height_m + float(rng.uniform(-1, 2)), 0])
            quad = np.stack([low[0] + up, low[1] + up, low[1], low[0]])
            site.quad(s, quad, facade.texture, BUILDING, instance=site.new_instance(), two_sided=True, brightness=0.92)
        else:
            plant_tree(site, float(s), d, float(rng.uniform(8, 13)), far=True)
    for a, b in plan.junctions:  # houses along the side street
        for s in (a - 0.5, b + 0.5):
            for d in np.arange(abs(plan.front(side)) + 9.5, 52, 11):
                facade = site.lib.facades[int(rng.integers(len(site.lib.facades)))]
                near, far = site.road.at(s, side * d), site.road.at(s, side * (d + 11))
                ends = (near, far) if (s > a) == (side > 0) else (far, near)
                up = np.array([0, facade.height_m, 0])
                quad = np.stack([ends[0] + up, ends[1] + up, ends[1], ends[0]])
                site.quad(s, quad, facade.texture, BUILDING, instance=site.new_instance(), two_sided=True)
        site.quad(
            a,
            _across(site, a, b, side * 58),
            site.lib.facades[0].texture,
            BUILDING,
            instance=site.new_instance(),
            two_sided=True,
        )


def _across(site: Site, a: float, b: float, d: float) -> Array:
    low = site.road.at(np.array([a - 6, b + 6]), d)
    up = np.array([0, 10.0, 0])
    return np.stack([low[0] + up, low[1] + up, low[1], low[0]])


def close_street(site: Site) -> None:
    """Adds the background at the end of the road: trees across it."""
    end = site.plan.length_m - 5
    for d in np.arange(-70, 71, 9.0):
        plant_tree(site, end + float(site.rng.uniform(0, 15)), float(d), float(site.rng.uniform(8, 14)), far=True)
