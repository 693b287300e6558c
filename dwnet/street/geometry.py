"""Planes, polygons and the camera of the rendered street.

Everything in the street is a flat, textured polygon. Therefore labels, depth and flow are exact: a pinhole camera maps
a plane by a homography. A texture point (u, v) lies at `origin + u * u_axis + v * v_axis` in the world. The camera maps
it to `A (u, v, 1) = z (x, y, 1)`, where A is a 3x3 matrix and z the depth. The inverse of A gives texture point and
inverse depth of every pixel. With A' of another time, A' A^-1 maps a pixel to its position at that time. World axes: X
right (east), Y up, Z forward (north), in metres.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_CORNERS = 10
"""Corners per polygon. A polygon with fewer corners repeats its last one."""

NEAR_M = 0.15
"""Distance of the near plane [m]. Nothing nearer to the camera is drawn."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in the world."""

    position: Array
    """(3,) [m]."""
    rotation: Array
    """(3, 3): rows are the camera's right, down and forward axes in the world."""
    focal_px: float
    centre_px: tuple[float, float]
    size: tuple[int, int]
    """(height, width)."""

    @property
    def matrix(self) -> Array:
        """(3, 3) K R: world direction to homogeneous pixel."""
        intrinsics = np.array(
            [[self.focal_px, 0, self.centre_px[0]], [0, self.focal_px, self.centre_px[1]], [0, 0, 1.0]]
        )
        return intrinsics @ self.rotation


def look_rotation(yaw: float, pitch: float, roll: float) -> Array:
    """(3, 3) camera axes in the world for yaw (to the right), pitch (up), roll (clockwise), radians."""
    forward = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    down = np.cross(right, forward)
    cos, sin = np.cos(roll), np.sin(roll)
    return np.stack([cos * right + sin * down, cos * down - sin * right, forward])


@dataclass
class Surfaces:
    """N flat polygons, as arrays."""

    corners: Array
    """(N, MAX_CORNERS, 3) world [m]."""
    origin: Array
    """(N, 3) world position of texture point (0, 0) [m]."""
    u_axis: Array
    """(N, 3) world step of one texture unit to the right. A unit is the whole texture, or one tile of a tiled one."""
    v_axis: Array
    """(N, 3) world step of one texture unit down."""
    texture: NDArray[np.int32]
    label: NDArray[np.uint8]
    instance: NDArray[np.int32]
    layer: NDArray[np.int32]
    """(N,) painting layer. Layers are painted from 0 up, and from far to near within a layer."""
    anchor: Array
    """(N, 3) point of the object whose distance to the camera gives the painting order."""
    order: Array
    """(N,) painting order within the object, low first."""
    two_sided: NDArray[np.bool_]
    brightness: Array
    """(N,) extra factor on the light."""
    glow: Array
    """(N,) factor on the light that the surface emits; 0 for a lamp that is off."""

    def __len__(self) -> int:
        return len(self.texture)

    def take(self, index: NDArray[np.intp]) -> Surfaces:
        """Returns the elements at `index`."""
        return Surfaces(*(getattr(self, f.name)[index] for f in fields(self)))


def concatenate(parts: Iterable[Surfaces]) -> Surfaces:
    """Returns the surfaces of all `parts`, in order."""
    listed = [part for part in parts if len(part)]
    return Surfaces(*(np.concatenate([getattr(p, f.name) for p in listed]) for f in fields(Surfaces)))


class SurfaceList:
    """Collects polygons one by one and returns them as `Surfaces`."""

    def __init__(self) -> None:
        self._rows: list[tuple[object, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        corners: Array,
        texture: int,
        label: int,
        *,
        frame: tuple[Array, Array, Array] | None = None,
        instance: int = 0,
        layer: int = 2,
        anchor: Array | None = None,
        order: float = 0.0,
        two_sided: bool = False,
        brightness: float = 1.0,
    ) -> None:
        """Adds one polygon of (k, 3) corners, k <= MAX_CORNERS.

        `frame` is (origin, u_axis, v_axis). Without it the texture's corners lie on corners 0 (top left), 1 (top right)
        and 3 (bottom left).
        """
        corners = np.asarray(corners, float)
        if frame is None:
            frame = (corners[0], corners[1] - corners[0], corners[3] - corners[0])
        padded = np.concatenate([corners, np.repeat(corners[-1:], MAX_CORNERS - len(corners), 0)])
        where = corners.mean(0) if anchor is None else anchor
        self._rows.append((padded, *frame, texture, label, instance, layer, where, order, two_sided, brightness, 1.0))

    def freeze(self) -> Surfaces:
        """Returns the surfaces as arrays."""
        columns = list(zip(*self._rows, strict=True))
        types = (float, float, float, float, np.int32, np.uint8, np.int32, np.int32, float, float, bool, float, float)
        return Surfaces(*(np.asarray(c, t) for c, t in zip(columns, types, strict=True)))


@dataclass
class Billboards:
    """Round objects (posts, limbs, clumps of leaves): strips around an axis that always face the camera."""

    top: Array
    """(N, 3) upper end of the axis [m]."""
    bottom: Array
    """(N, 3) lower end."""
    width: Array
    """(N,) width of the strip [m]."""
    outline: NDArray[np.int32]
    """(N,) index into OUTLINES."""
    texture: NDArray[np.int32]
    label: NDArray[np.uint8]
    instance: NDArray[np.int32]
    anchor: Array
    brightness: Array
    bias: Array
    """(N,) offset on the painting order [m]. Within an object, strips are painted from far to near."""

    def __len__(self) -> int:
        return len(self.texture)

    def take(self, index: NDArray[np.intp]) -> Billboards:
        """Returns the elements at `index`."""
        return Billboards(*(getattr(self, f.name)[index] for f in fields(self)))

    def facing(self, position: Array) -> Surfaces:
        """Returns the strips, turned to face a camera at `position`, (3,)."""
        middle = (self.top + self.bottom) / 2
        to_camera = position - middle
        axis = self.top - self.bottom
        (a, b, c), (d, e, f) = to_camera.T, axis.T
        right = np.stack([b * f - c * e, c * d - a * f, a * e - b * d], 1)
        right /= np.linalg.norm(right, axis=1, keepdims=True) + 1e-9
        u_axis = right * self.width[:, None]
        origin, v_axis = self.top - u_axis / 2, -axis
        shape = OUTLINES[self.outline]
        corners = origin[:, None] + shape[..., :1] * u_axis[:, None] + shape[..., 1:] * v_axis[:, None]
        n = len(self)
        return Surfaces(
            corners, origin, u_axis, v_axis, self.texture, self.label, self.instance,
            np.full(n, 2, np.int32), self.anchor, self.bias - np.linalg.norm(to_camera, axis=1), np.ones(n, bool),
            self.brightness, np.ones(n),
        )  # fmt: skip


def _outlines() -> Array:
    box = [(0, 0), (1, 0), (1, 1), (0, 1)]
    limb = [(0.08, 0.06), (0.3, 0), (0.7, 0), (0.92, 0.06), (0.86, 0.96), (0.7, 1), (0.3, 1), (0.14, 0.96)]
    torso = [
        (0.12, 0.07),
        (0.36, 0),
        (0.64, 0),
        (0.88, 0.07),
        (1, 0.25),
        (0.93, 0.65),
        (0.95, 1),
        (0.05, 1),
        (0.07, 0.65),
        (0, 0.25),
    ]
    angles = np.arange(10) * 2 * np.pi / 10
    disc = np.stack([0.5 + 0.5 * np.cos(angles), 0.5 + 0.5 * np.sin(angles)], 1).tolist()
    taper = [(0.28, 0), (0.72, 0), (1, 1), (0, 1)]
    rows = [[*map(tuple, s), *([tuple(s[-1])] * (MAX_CORNERS - len(s)))] for s in (box, limb, torso, disc, taper)]
    return np.asarray(rows, float)


OUTLINES = _outlines()
BOX, LIMB, TORSO, DISC, TAPER = range(5)


def texture_to_pixel(surfaces: Surfaces, camera: Camera) -> Array:
    """(N, 3, 3) A: texture point to homogeneous pixel; the third component is the depth [m]."""
    columns = np.stack([surfaces.u_axis, surfaces.v_axis, surfaces.origin - camera.position], 2)
    return camera.matrix @ columns


def determinant3(matrices: Array) -> Array:
    """(N,) determinants of (N, 3, 3)."""
    (a, b, c), (d, e, f), (g, h, i) = matrices.transpose(1, 2, 0)
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def inverse3(matrices: Array) -> Array:
    """(N, 3, 3) inverses by cofactors; zeros for singular matrices. Faster than LAPACK for many small matrices."""
    (a, b, c), (d, e, f), (g, h, i) = matrices.transpose(1, 2, 0)
    rows = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    cofactors = np.array(rows).transpose(2, 0, 1)
    det = a * rows[0][0] + b * rows[1][0] + c * rows[2][0]
    return cofactors / np.where(np.abs(det) > 1e-15, det, np.inf)[:, None, None]


def in_view(centre: Array, radius: Array, camera: Camera) -> NDArray[np.bool_]:
    """(N,) whether spheres around `centre` (N, 3) may be visible: in front of the camera and horizontally inside."""
    local = (centre - camera.position) @ camera.rotation.T
    x, z = local[:, 0], local[:, 2]
    slope = (camera.size[1] / 2 + 1) / camera.focal_px
    reach = radius * np.hypot(1.0, slope)
    return (z > -radius) & (np.abs(x) <= np.maximum(z, 0) * slope + reach)


def painting_distance(surfaces: Surfaces, position: Array, boxes: Array) -> Array:
    """(N,) distance that orders the surfaces for painting: from the anchor of their object to the camera.

    For long objects this order can be wrong: a railing behind a bus can be nearer than the middle of the bus. Therefore
    the distance of each of `boxes` is set between those of the objects in front of it and behind it. `boxes` (B, 6) has
    rows of instance, x, z, yaw, half length, half width.
    """
    distance = np.linalg.norm(surfaces.anchor - position, axis=1)
    eye = position[[0, 2]]
    places = surfaces.anchor[:, [0, 2]]
    objects = surfaces.layer == 2
    for instance, x, z, yaw, half_length, half_width in boxes:
        mine = surfaces.instance == instance
        if not mine.any():
            continue
        own = float(distance[mine][0])
        reach = np.hypot(half_length, half_width)
        near = (
            objects
            & ~mine
            & (np.abs(distance - own) < reach + 4)
            & (np.hypot(places[:, 0] - x, places[:, 1] - z) < reach + 9)
        )
        if not near.any():
            continue
        axes = np.array([[np.sin(yaw), np.cos(yaw)], [np.cos(yaw), -np.sin(yaw)]])  # along, across
        half = np.array([half_length, half_width])
        camera_local = axes @ (eye - (x, z))
        local = (places[near] - (x, z)) @ axes.T
        # The box does not hide objects in front of a side that faces the camera. Objects behind all such sides do not
        # hide the box.
        sign = np.sign(camera_local)
        before = ((np.abs(camera_local) > half) & (local * sign > half)).any(1)
        front, back = distance[near][before], distance[near][~before]
        low, high = front.max(initial=-np.inf), back.min(initial=np.inf)
        distance[mine] = min(max(own, low + 1e-3), high - 1e-3) if low < high else high - 1e-3
    return distance


def project(points: Array, camera: Camera) -> tuple[Array, Array]:
    """((..., 2) pixels, (...,) depth [m]) of world points (..., 3). The division uses a depth of at least NEAR_M."""
    homogeneous = (points - camera.position) @ camera.matrix.T
    depth = homogeneous[..., 2]
    return homogeneous[..., :2] / np.maximum(depth, NEAR_M)[..., None], depth


def clip_near(polygon: Array, camera: Camera) -> Array:
    """(k', 2) pixels of a world polygon (k, 3), clipped at the near plane (Sutherland-Hodgman)."""
    homogeneous = (polygon - camera.position) @ camera.matrix.T
    kept: list[Array] = []
    for here, there in zip(homogeneous, np.roll(homogeneous, -1, 0), strict=True):
        if here[2] >= NEAR_M:
            kept.append(here)
        if (here[2] >= NEAR_M) != (there[2] >= NEAR_M):
            kept.append(here + (there - here) * (NEAR_M - here[2]) / (there[2] - here[2]))
    if not kept:
        return np.zeros((0, 2))
    cut = np.asarray(kept)
    return cut[:, :2] / cut[:, 2:]
