"""Assembly of the static parts of a street, in street coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.street.geometry import BOX, Array, Billboards, SurfaceList, Surfaces, concatenate
from dwnet.street.library import Library
from dwnet.street.textures.synthesis import Generator
from dwnet.street.world.plan import PAVEMENT, ROAD, Plan, Road

SHADOW_CORNERS = 20
"""Corners of a shadow. A shadow with fewer corners repeats its last one."""


@dataclass(frozen=True)
class Statics:
    """All static parts of a street. Fields that end in `_s` hold positions along the road."""

    surfaces: Surfaces
    surfaces_s: Array
    centre: Array
    """(N, 3) middle of each surface."""
    radius: Array
    """(N,) distance from the middle to the farthest corner [m]."""
    boards: Billboards
    boards_s: Array
    shadows: Array
    """(S, SHADOW_CORNERS, 3) polygons on the ground."""
    shadows_s: Array
    tree_shadows: tuple[tuple[float, Array, int], ...]
    """(s, (4, 3) quadrilateral on the ground, texture whose mask is the shadow)."""
    boxes: Array
    """(B, 7) parked vehicles: s, then instance, x, z, yaw, half length, half width."""
    lamps: Array
    """(L, 4) street lamps: s, then x, y, z of the light."""


class Site:
    """Collects the surfaces, posts, shadows and lamps of a street. `freeze` returns them as arrays."""

    def __init__(self, rng: Generator, road: Road, plan: Plan, lib: Library, sun: Array) -> None:
        self.rng, self.road, self.plan, self.lib, self.sun = rng, road, plan, lib, sun
        self.instance = 1
        self._surfaces = SurfaceList()
        self._surfaces_s: list[float] = []
        self._boards: list[tuple[Array, Array, float, int, int, int, int, Array, float, float]] = []
        self._boards_s: list[float] = []
        self._rigid: list[tuple[float, Surfaces]] = []
        self._shadows: list[tuple[float, Array]] = []
        self._tree_shadows: list[tuple[float, Array, int]] = []
        self._boxes: list[tuple[float, ...]] = []
        self._lamps: list[tuple[float, ...]] = []

    def new_instance(self) -> int:
        """Returns the next free instance number."""
        self.instance += 1
        return self.instance

    # -- solids --------------------------------------------------------------------------------------------------------

    def quad(self, s: float, corners: Array, texture: int, label: int, **kwargs: object) -> None:
        """Adds a polygon at `s`; `kwargs` are those of `SurfaceList.add`."""
        self._surfaces.add(corners, texture, label, **kwargs)  # type: ignore[arg-type]
        self._surfaces_s.append(s)

    def post(
        self,
        s: float,
        bottom: Array,
        top: Array,
        width: float,
        texture: int,
        label: int,
        *,
        outline: int = BOX,
        instance: int = 0,
        anchor: Array | None = None,
        brightness: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        """Adds a round object around the axis from `bottom` to `top`, `width` metres wide; see `Billboards`."""
        where = bottom if anchor is None else anchor
        self._boards.append((top, bottom, width, outline, texture, label, instance, where, brightness, bias))
        self._boards_s.append(s)

    def plane(self, s: float, polygon: Array, texture: int, label: int, tile_m: float, height: float) -> None:
        """Adds a horizontal polygon. Its tiles lie along the world axes, so that they continue in adjacent polygons."""
        u_axis, v_axis = tile_m * np.array([1.0, 0, 0]), tile_m * np.array([0, 0, -1.0])
        # The origin of the tiles is near the polygon, because float32 is more precise for small texture coordinates.
        x, _, z = np.rint(polygon.mean(0) / tile_m) * tile_m
        frame = (np.array([x, height, z]), u_axis, v_axis)
        self.quad(s, polygon, texture, label, frame=frame, layer=1, two_sided=True)

    def strip(
        self, s0: float, s1: float, d0: float, d1: float, texture: int, label: int, tile_m: float, height: float = 0.0
    ) -> None:
        """Adds a band of ground between offsets `d0` and `d1`, in pieces that are short enough to be straight."""
        for a, b in pairwise(self.pieces(s0, s1)):
            overlap = 0.02 if label in (ROAD, PAVEMENT) and s1 - s0 > 6 else 0.0
            corners = self.road.at(np.array([a, b + overlap, b + overlap, a]), np.array([d0, d0, d1, d1]), height)
            self.plane((a + b) / 2, corners, texture, label, tile_m, height)

    def pieces(self, s0: float, s1: float) -> Array:
        """Returns positions from `s0` to `s1` that divide the road into straight pieces of 6 m, or 2 m at a turn."""
        cuts = [s0]
        for a, b in pairwise(np.linspace(s0, s1, max(2, int(np.ceil((s1 - s0) / 6.0)) + 1))):
            count = 3 if abs(self.road.angle(b) - self.road.angle(a)) > 0.1 else 1
            cuts.extend(np.linspace(a, b, count + 1)[1:].tolist())
        return np.asarray(cuts)

    def rigid(self, s: float, parts: Surfaces, box: tuple[float, ...]) -> None:
        """Adds a parked vehicle: its surfaces, and its (instance, x, z, yaw, half length, half width)."""
        self._rigid.append((s, parts))
        self._boxes.append((s, *box))

    # -- light ---------------------------------------------------------------------------------------------------------

    def cast(self, points: Array) -> Array:
        """Returns the shadows (..., 3) of points (..., 3) on the ground."""
        points = np.asarray(points, float)
        along = points[..., 1:2] / max(self.sun[1], 0.15)
        return points - along * self.sun * np.array([1, 0, 1]) - points * np.array([0, 1, 0])

    def shadow(self, s: float, points: Array) -> None:
        """Adds the shadow of a convex solid with these corners."""
        flat = np.concatenate([self.cast(points), points * np.array([1, 0, 1])])
        self.shadow_hull(s, flat)

    def shadow_hull(self, s: float, points: Array) -> None:
        """Adds a shadow: the convex hull of points (k, 3) on the ground."""
        hull = cv2.convexHull(points[:, [0, 2]].astype(np.float32))[:, 0]
        self.ground_shadow(s, np.stack([hull[:, 0], np.full(len(hull), 0.0), hull[:, 1]], 1).astype(float))

    def box_shadow(self, s: float, position: Array, yaw: float, size: tuple[float, float, float]) -> None:
        """Adds the shadow of a box of `size` (length, width, height)."""
        points = box_shadows(position[None], np.array([yaw]), np.array([size]), self.sun)[0]
        self.shadow_hull(s, points)

    def thin_shadow(self, s: float, bottom: Array, top: Array, width: float) -> None:
        """Adds the shadow of a post."""
        a, b = bottom * np.array([1, 0, 1]), self.cast(top)
        along = b - a
        across = np.array([along[2], 0, -along[0]]) / (np.linalg.norm(along) + 1e-6) * width / 2
        self.ground_shadow(s, np.stack([a - across, a + across, b + across, b - across]))

    def ground_shadow(self, s: float, polygon: Array) -> None:
        """Adds a shadow: a polygon (k, 3) on the ground, k <= SHADOW_CORNERS."""
        self._shadows.append((s, polygon))

    def tree_shadow(self, s: float, quad: Array, texture: int) -> None:
        """Adds the shadow of a tree: a quadrilateral (4, 3) on the ground with a texture's mask."""
        self._tree_shadows.append((s, quad, texture))

    def lamp(self, s: float, position: Array) -> None:
        """Adds the light of a street lamp."""
        self._lamps.append((s, *position.tolist()))

    # -- the plan ------------------------------------------------------------------------------------------------------

    def blocks(self, start: float, end: float) -> list[tuple[float, float]]:
        """Returns (from, to) s of the stretches between side streets."""
        cuts = [start, *(v for pair in self.plan.junctions for v in pair), end]
        return [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=True) if b - a > 1]

    def free(self, s: float, margin: float = 1.5) -> bool:
        """Returns whether no side street is within `margin` metres of `s`."""
        return not any(a - margin < s < b + margin for a, b in self.plan.junctions)

    # -- all of it -----------------------------------------------------------------------------------------------------

    def freeze(self) -> Statics:
        """Returns all parts that were added, as arrays."""
        surfaces = concatenate([self._surfaces.freeze(), *(part for _, part in self._rigid)])
        where = [np.asarray(self._surfaces_s), *(np.full(len(part), s) for s, part in self._rigid)]
        centre = surfaces.corners.mean(1)
        return Statics(
            surfaces=surfaces,
            surfaces_s=np.concatenate(where),
            centre=centre,
            radius=np.linalg.norm(surfaces.corners - centre[:, None], axis=2).max(1),
            boards=self._freeze_boards(),
            boards_s=np.asarray(self._boards_s),
            shadows=pad_corners([polygon for _, polygon in self._shadows]),
            shadows_s=np.asarray([s for s, _ in self._shadows]),
            tree_shadows=tuple(self._tree_shadows),
            boxes=np.asarray(self._boxes, float).reshape(-1, 7),
            lamps=np.asarray(self._lamps, float).reshape(-1, 4),
        )

    def _freeze_boards(self) -> Billboards:
        top, bottom, width, outline, texture, label, instance, anchor, brightness, bias = zip(
            *self._boards, strict=True
        )
        return Billboards(
            np.asarray(top), np.asarray(bottom), np.asarray(width), np.asarray(outline, np.int32),
            np.asarray(texture, np.int32), np.asarray(label, np.uint8), np.asarray(instance, np.int32),
            np.asarray(anchor), np.asarray(brightness), np.asarray(bias),
        )  # fmt: skip


def pad_corners(polygons: list[Array]) -> Array:
    """(N, SHADOW_CORNERS, 3) array of polygons (k, 3), padded with the last corner."""
    rows = np.zeros((len(polygons), SHADOW_CORNERS, 3))
    for row, polygon in zip(rows, polygons, strict=True):
        row[: len(polygon)] = polygon
        row[len(polygon) :] = polygon[-1]
    return rows


def box_shadows(position: Array, yaw: Array, size: Array, sun: Array) -> Array:
    """Returns the shadows of boxes on the ground. With the sun overhead they are the areas below the boxes.

    Args:
        position: (N, 3) points on the ground below the middles of the boxes [m].
        yaw: (N,) radians.
        size: (N, 3) length, width, height [m].
        sun: (3,) towards the sun.

    Returns:
        (N, 8, 3) points; the shadow is their convex hull.
    """
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    along = size[:, :1] / 2 * np.array([-1, -1, 1, 1])
    across = size[:, 1:2] / 2 * np.array([-1, 1, 1, -1])
    x, z = position[:, :1] + across * cos + along * sin, position[:, 2:] - across * sin + along * cos
    shift = -size[:, 2:] / max(sun[1], 0.15) * sun[[0, 2]]
    # The top is a little smaller than the foot.
    top_x = 0.98 * x + 0.02 * position[:, :1] + shift[:, :1]
    top_z = 0.98 * z + 0.02 * position[:, 2:] + shift[:, 1:]
    ground: NDArray[np.float64] = np.zeros((len(position), 8, 3))
    ground[..., 0], ground[..., 2] = np.concatenate([x, top_x], 1), np.concatenate([z, top_z], 1)
    return ground
