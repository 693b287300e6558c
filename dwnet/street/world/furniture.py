"""Street furniture and parked vehicles: lamps, signs, traffic lights, railings, bollards."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dwnet.street.geometry import BOX, LIMB, Array
from dwnet.street.models.vehicles import place, vehicle_surfaces
from dwnet.street.world.plan import CAR, FENCE, KERB_M, POLE, SIGN
from dwnet.street.world.plants import plant_tree
from dwnet.street.world.site import Site


def put_furniture(site: Site, side: int) -> None:
    """Adds lamps, trees at the kerb, railings, bollards, signs and traffic lights along one side."""
    rng, plan, lib = site.rng, site.plan, site.lib
    edge = plan.edge(side)
    grey = lib.names["pole"][int(rng.integers(3))]
    lamp_start = float(rng.uniform(0, 25)) + (12 if side > 0 else 0)
    for s in np.arange(-30 + lamp_start, plan.length_m, 27.0):
        if site.free(s):
            _lamp(site, float(s), edge + side * 0.45, side, grey)
    for a, b in site.blocks(-35.0, plan.length_m - 10):
        if rng.random() < plan.leafy:
            for s in np.arange(a + 4, b - 3, float(rng.uniform(9, 15))):
                plant_tree(site, float(s) + float(rng.uniform(-1, 1)), edge + side * 0.9, float(rng.uniform(5.5, 9)))
        if rng.random() < 0.75:
            length = float(rng.uniform(7, 26))
            front_panels(site, side, max(a + 1, b - 1.5 - length), b - 1.5, edge + side * 0.3, 1.05, "railings", FENCE)
        for s in np.arange(a + 2, b - 2, 1.6) if rng.random() < 0.3 else ():
            bottom = site.road.at(s, edge + side * 0.35, KERB_M)
            site.post(
                s,
                bottom,
                bottom + np.array([0, 0.95, 0]),
                0.13,
                lib["bollard"],
                POLE,
                outline=LIMB,
                instance=site.new_instance(),
            )
    for s in np.arange(-25 + float(rng.uniform(0, 15)), plan.length_m - 10, float(rng.uniform(14, 22))):
        if site.free(s):
            _sign(site, float(s) + float(rng.uniform(-3, 3)), edge + side * 0.5, side)
    for a, _ in plan.junctions:
        if rng.random() < 0.75:
            _traffic_light(site, a - 1.2, edge + side * 0.5, side)


def _lamp(site: Site, s: float, d: float, side: int, texture: int) -> None:
    instance, lib = site.new_instance(), site.lib
    bottom = site.road.at(s, d, KERB_M)
    top, arm = site.road.at(s, d, 7.2), site.road.at(s, d - side * 1.7, 7.5)
    site.post(s, bottom, bottom + np.array([0, 1.3, 0]), 0.22, texture, POLE, instance=instance, anchor=bottom)
    site.post(s, bottom, top, 0.14, texture, POLE, outline=BOX, instance=instance, anchor=bottom, bias=0.01)
    site.post(s, top, arm, 0.09, texture, POLE, instance=instance, anchor=bottom, bias=0.02)
    head = site.road.at(s, d - side * 2.3, 7.52)
    site.post(s, arm, head, 0.17, lib["lamp"], POLE, instance=instance, anchor=bottom, bias=0.03)
    site.thin_shadow(s, bottom, top, 0.14)
    site.lamp(s, head)


def _sign(site: Site, s: float, d: float, side: int) -> None:
    """Adds a plate on a post. It faces the traffic on its side of the road."""
    rng, lib, instance = site.rng, site.lib, site.new_instance()
    height = float(rng.uniform(2.2, 2.9))
    bottom = site.road.at(s, d, KERB_M)
    kind = int(rng.integers(5))
    size = (0.62, 0.70, 0.80, 0.80, 0.60)[kind]
    site.post(
        s,
        bottom,
        bottom + np.array([0, height + size * 0.9, 0]),
        0.075,
        lib.names["pole"][0],
        POLE,
        instance=instance,
        anchor=bottom,
    )
    towards = -1.0 if side < 0 else 1.0  # the plate faces back along s on the left, ahead on the right
    left, right = site.road.at(s + 0.06 * towards, d - size / 2), site.road.at(s + 0.06 * towards, d + size / 2)
    ends = (left, right) if side < 0 else (right, left)
    high, low = np.array([0, height + size, 0]), np.array([0, height, 0])
    front = np.stack([ends[0] + high, ends[1] + high, ends[1] + low, ends[0] + low])
    site.quad(s, front, lib.names["signs"][kind], SIGN, instance=instance, anchor=bottom, order=1)
    back = front[[1, 0, 3, 2]]
    behind = lib["sign_back"] if kind in (0, 4) else lib.names["slates"][2] if kind in (2, 3) else lib["sign_back"]
    if kind != 1:
        site.quad(s, back, behind, SIGN, instance=instance, anchor=bottom, order=1)
    site.thin_shadow(s, bottom, bottom + np.array([0, height + size, 0]), 0.1)


def _traffic_light(site: Site, s: float, d: float, side: int) -> None:
    lib, instance = site.lib, site.new_instance()
    bottom = site.road.at(s, d, KERB_M)
    site.post(
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
    lamp = lib.names["light"][int(site.rng.choice([0, 2, 2]))]
    width, depth, low, high = 0.36, 0.26, 2.35, 3.3
    near, far = s - 0.1 - depth, s - 0.1
    if side > 0:
        near, far = s + 0.1 + depth, s + 0.1
    toward = 1 if side < 0 else -1

    def corner(s_at: float, across: float, h: float) -> Array:
        return site.road.at(s_at, d + across * toward, h)

    half = width / 2
    faces = (
        ((near, -half), (near, half), lamp), ((far, half), (far, -half), lib["light_back"]),
        ((far, -half), (near, -half), lib["light_back"]), ((near, half), (far, half), lib["light_back"]),
    )  # fmt: skip
    for (sa, wa), (sb, wb), texture in faces:
        quad = np.stack([corner(sa, wa, high), corner(sb, wb, high), corner(sb, wb, low), corner(sa, wa, low)])
        site.quad(s, quad, texture, SIGN, instance=instance, anchor=bottom, order=1)
    site.thin_shadow(s, bottom, bottom + np.array([0, 3.3, 0]), 0.3)


def front_panels(
    site: Site, side: int, s0: float, s1: float, d: float, height: float, texture: str, label: int
) -> None:
    """Adds a row of panels parallel to the road, about 2.5 m each."""
    instance, base = site.new_instance(), KERB_M if abs(d) > abs(site.plan.edge(side)) else 0.0
    count = max(1, round((s1 - s0) / 2.5))
    edges = np.linspace(s0, s1, count + 1)
    for a, b in pairwise(edges):
        first, last = (b, a) if side > 0 else (a, b)
        low = site.road.at(np.array([first, last]), d, base)
        high = low + np.array([0, height, 0])
        quad = np.stack([high[0], high[1], low[1], low[0]])
        site.quad((a + b) / 2, quad, site.lib[texture], label, instance=instance, two_sided=True)


def park_vehicles(site: Site, side: int) -> None:
    """Adds a row of parked cars and vans with lamps off at one side."""
    rng, plan, lib = site.rng, site.plan, site.lib
    d = plan.edge(side) - side * 1.02
    templates = [vehicle_surfaces(body, list(textures), CAR) for body, textures in lib.vehicles]
    for a, b in site.blocks(-30.0, plan.length_m - 20):
        s = a + 6.0
        while s < b - 8:
            near_crossing = any(c - 7 < s < c + 8 for c in plan.crossings)
            if rng.random() < 0.72 and not near_crossing:
                kind = int(rng.integers(len(lib.vehicles) - 1))
                body = lib.vehicles[kind][0]
                yaw = (
                    site.road.angle(s)
                    + (np.pi if rng.random() < (0.85 if side > 0 else 0.15) else 0.0)
                    + float(rng.normal(0, 0.015))
                )
                position = site.road.at(s, d + float(rng.normal(0, 0.06)))
                instance = site.new_instance()
                box = (instance, position[0], position[2], yaw, body.length / 2, body.width / 2)
                site.rigid(s, place(templates[kind], position, yaw, instance, glow=0.0), box)
                site.box_shadow(s, position, yaw, (body.length, body.width, body.roof * 0.8))
            s += float(rng.uniform(5.4, 6.6))
