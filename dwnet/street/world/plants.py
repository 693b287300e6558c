"""Trees of the rendered street."""

from __future__ import annotations

import numpy as np

from dwnet.street.geometry import TAPER, Array
from dwnet.street.world.plan import KERB_M, TREE
from dwnet.street.world.site import Site


def plant_tree(site: Site, s: float, d: float, height: float, *, far: bool = False) -> None:
    """Adds a tree at (s, d): clumps of leaves around a trunk, or bare branches in winter. `far` adds a simpler tree."""
    rng, lib, instance = site.rng, site.lib, site.new_instance()
    base = KERB_M if abs(d) > abs(site.plan.edge(1 if d > 0 else -1)) else 0.0
    foot = site.road.at(s, d, base)
    if site.plan.bare and rng.random() < 0.8:
        texture = lib.names["bare"][int(rng.integers(3))]
        top = foot + np.array([0, height * 1.15, 0])
        site.post(
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
        _tree_shadow(site, s, foot, 0.0, height * 1.15, height * 1.15, texture)
        return
    crown, low = height * float(rng.uniform(0.55, 0.7)), height * float(rng.uniform(0.24, 0.32))
    trunk = foot + np.array([0, low + 0.45 * (height - low), 0])
    kind = {"outline": TAPER, "instance": instance, "anchor": foot, "bias": -0.5}
    site.post(s, foot, trunk, 0.05 * height, lib["bark"], TREE, **kind)  # type: ignore[arg-type]
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
        site.post(
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
            _tree_shadow(site, s, foot, low, height, size, texture)


def _tree_shadow(site: Site, s: float, foot: Array, low: float, high: float, width: float, texture: int) -> None:
    along = site.cast(np.array([0.0, 1.0, 0.0]))
    across = np.array([along[2], 0, -along[0]]) / (np.linalg.norm(along) + 1e-6) * width / 2
    ground = foot * np.array([1, 0, 1])
    near, far = ground + along * low, ground + along * high
    site.tree_shadow(s, np.stack([far - across, far + across, near + across, near - across]), texture)
