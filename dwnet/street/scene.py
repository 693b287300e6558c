"""Rendered driving scenes with exact labels, instances, depth and flow.

`StreetScene(seed)` is a drive through a bending street of houses, trees, poles and traffic, made of textured planes
only. Therefore the label, the depth and the motion of every pixel have a closed form. The classes are CamVid's eleven,
in CamVid's order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.street.geometry import (
    Array,
    Camera,
    SurfaceList,
    Surfaces,
    concatenate,
    in_view,
    painting_distance,
    texture_to_pixel,
)
from dwnet.street.library import VARIANTS, library
from dwnet.street.looks import LOOKS, SHARES, StreetLook
from dwnet.street.render.motion import Motion, coarse_motion, motion_between
from dwnet.street.render.raster import Raster, rasterise
from dwnet.street.render.sensor import SMEAR_STEP, Sensor, decoded
from dwnet.street.render.shading import Light, bloom, shade
from dwnet.street.render.shadows import light_pools, shadow_map
from dwnet.street.world import plan as plans
from dwnet.street.world.actors import Actors
from dwnet.street.world.casting import Casting
from dwnet.street.world.ego import Ego
from dwnet.street.world.world import AHEAD_M, BEHIND_M, build_world

MAX_SECONDS = 40.0
"""Duration of a scene [s]."""
_KEPT = 12
"""Number of rasters of recent frames that are kept in memory."""
_PARTS = 64
"""Number of surface numbers reserved for each moving object."""


@dataclass(frozen=True)
class StreetFrame:
    """One frame and its ground truth at the middle of its exposure."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    labels: NDArray[np.uint8]
    """(H, W) CamVid class 0..10, 255 where none fits."""
    instances: NDArray[np.int32]
    """(H, W) number of the object, which is the same in every frame; 0 for sky and ground."""
    depth_m: NDArray[np.float32]
    """(H, W) distance along the optical axis [m]; inf in the sky."""
    pts_seconds: float
    jpeg: NDArray[np.uint8] | None
    """(n,) file from which `image` was decoded, with red and blue swapped; None without the sensor."""


class StreetScene:
    """A drive through a street that is drawn from a seed. Frames can be rendered in any order.

    The same arguments give the same frames, byte for byte.

    Args:
        seed: of all random numbers, at least 0.
        width: width of the frames [pixels], at least 32.
        height: height of the frames [pixels], at least 32.
        fps: frames per second.
        look: light and weather: a name in `LOOKS`, or a `StreetLook`; None draws one from the seed.

    Raises:
        DWNetError: for a seed, size, rate or name that is not allowed.
    """

    def __init__(
        self, seed: int, *, width: int = 480, height: int = 360, fps: float = 25.0, look: str | StreetLook | None = None
    ) -> None:
        if width < 32 or height < 32:
            raise DWNetError(f"a street frame is at least 32 x 32 pixels, got {width} x {height}")
        if not fps > 0:
            raise DWNetError(f"fps must be above 0, got {fps}")
        if seed < 0:
            raise DWNetError(f"a street's seed is 0 or more, got {seed}")
        if isinstance(look, str) and look not in LOOKS:
            raise DWNetError(f"no look named {look!r}; there are {', '.join(LOOKS)}")
        rng = np.random.default_rng([seed, 0xD217E])
        drawn = LOOKS[str(rng.choice(list(SHARES), p=list(SHARES.values())))]
        self.look = drawn if look is None else LOOKS[look] if isinstance(look, str) else look
        self.seed, self.width, self.height, self.fps = seed, width, height, fps
        self._lib = library(seed % VARIANTS)
        ego = Ego.draw(rng, MAX_SECONDS)
        length = ego.s(MAX_SECONDS) + AHEAD_M + 30
        turn = plans.Turn.draw(np.random.default_rng([seed, 0x7024]), ego.slowest(8.0, MAX_SECONDS - 9))
        self._road = plans.Road.bending(rng, length + 60, turn)
        street = plans.make_plan(rng, length, turn)
        self._sun = _sun(rng, self.look.elevation_deg)
        self._statics, last_instance = build_world(rng, self._road, street, self._lib, self._sun)
        casting = Casting(rng, street, self._lib, ego, MAX_SECONDS, last_instance)
        self._actors = Actors(casting, self._road, street, self._lib)
        look_ = self.look
        self._light = Light(
            look_.ambient,
            look_.sun,
            self._sun,
            look_.haze,
            look_.haze_m,
            look_.glow,
            look_.wet,
            look_.headlights,
            look_.street_lamps,
        )
        self._sky = self._backcloth()
        self._sensor = Sensor(look_, seed, height, width, fps)
        dither = np.random.default_rng(7).uniform(-0.5, 0.5, (height, width))
        self._dither = (2.0 ** (2 * (0.15 + 0.8 * dither))).astype(np.float32)
        self._rasters: OrderedDict[int, Raster] = OrderedDict()

    def __len__(self) -> int:
        """Returns the number of frames."""
        return int(MAX_SECONDS * self.fps)

    # -- geometry ------------------------------------------------------------------------------------------------------

    def _check(self, t: int) -> None:
        if not 0 <= t < len(self):
            raise DWNetError(f"this street has frames 0..{len(self) - 1}, got {t}")

    def camera(self, t: int) -> Camera:
        """Returns the camera at frame `t`."""
        return self._camera(t / self.fps)

    def _camera(self, seconds: float) -> Camera:
        position, rotation = self._actors.ego.pose(seconds, self._road)
        centre = ((self.width - 1) / 2, (self.height - 1) / 2)
        return Camera(position, rotation, 1.15 * self.height, centre, (self.height, self.width))

    def _backcloth(self) -> Surfaces:
        """Returns the sky (a plane of clouds at a height of 900 m) and the ground plane below all objects."""
        parts = SurfaceList()
        sky = self._lib[self.look.sky]
        corners = np.array([[-1e4, 900, 1e4], [1e4, 900, 1e4], [1e4, 900, -1e4], [-1e4, 900, -1e4]], float)
        frame = (np.array([0, 900.0, 0]), np.array([3200.0, 0, 0]), np.array([0, 0, 3200.0]))
        parts.add(corners, sky, plans.SKY, frame=frame, layer=0, two_sided=True, brightness=self.look.sky_brightness)
        corners = np.array([[-3e3, -0.02, 3e3], [3e3, -0.02, 3e3], [3e3, -0.02, -3e3], [-3e3, -0.02, -3e3]], float)
        frame = (np.array([0, -0.02, 0]), np.array([5.0, 0, 0]), np.array([0, 0, -5.0]))
        parts.add(corners, self._lib["grass"], plans.VOID, frame=frame, layer=1, two_sided=True)
        return parts.freeze()

    def _drawn(self, t: int, camera: Camera) -> tuple[Surfaces, NDArray[np.int64]]:
        """Returns the surfaces that may be visible in frame `t`, and their numbers in the world."""
        s, statics = self._actors.ego.s(t / self.fps), self._statics
        low, high = s - BEHIND_M, s + AHEAD_M
        still = np.flatnonzero((statics.surfaces_s > low) & (statics.surfaces_s < high))
        still = still[in_view(statics.centre[still], statics.radius[still], camera)]
        boards = np.flatnonzero((statics.boards_s > low) & (statics.boards_s < high))
        near = statics.boards.take(boards)
        seen = in_view(
            (near.top + near.bottom) / 2, np.linalg.norm(near.top - near.bottom, axis=1) + near.width, camera
        )
        boards, near = boards[seen], near.take(np.flatnonzero(seen))
        moving, numbers = self._moving(t, t / self.fps, camera)
        surfaces = concatenate([self._sky, statics.surfaces.take(still), near.facing(camera.position), *moving])
        keys = [np.arange(2), self._first_still + still, self._first_board + boards, *numbers]
        return surfaces, np.concatenate(keys)

    @property
    def _first_still(self) -> int:
        return len(self._sky)

    @property
    def _first_board(self) -> int:
        return self._first_still + len(self._statics.surfaces)

    @property
    def _first_moving(self) -> int:
        return self._first_board + len(self._statics.boards)

    def _moving(
        self, chosen_at: int, seconds: float, camera: Camera, only: NDArray[np.int64] | None = None
    ) -> tuple[list[Surfaces], list[NDArray[np.int64]]]:
        """Returns surfaces and numbers at time `seconds` of moving objects. They are near the camera at `chosen_at`.

        Args:
            chosen_at: frame whose camera selects the objects.
            seconds: time of the surfaces.
            camera: camera that the limbs face.
            only: numbers of the instances to return; None returns all.
        """
        then = chosen_at / self.fps
        active = self._actors.active(then, self._actors.ego.s(then), BEHIND_M, AHEAD_M - 60)
        if only is not None:
            active = self._actors.showing(active, only)
        rigid = self._actors.rigid(seconds, active)
        limbs = [boards.facing(camera.position) for boards in self._actors.limbs(seconds, active)]
        parts = limbs if rigid is None else [rigid, *limbs]
        numbers = []
        for part in parts:
            # A number consists of the instance and the index within it. Rigid parts have the first half of the indices.
            first = np.r_[0, np.flatnonzero(np.diff(part.instance)) + 1]
            inside = np.arange(len(part)) - np.repeat(first, np.diff(np.r_[first, len(part)]))
            inside += 0 if part is rigid else _PARTS // 2
            numbers.append(self._first_moving + part.instance.astype(np.int64) * _PARTS + inside)
        return parts, numbers

    def _raster(self, t: int) -> Raster:
        if t in self._rasters:
            self._rasters.move_to_end(t)
        else:
            camera = self.camera(t)
            surfaces, keys = self._drawn(t, camera)
            seconds = t / self.fps
            s = self._actors.ego.s(seconds)
            parked = self._statics.boxes
            parked = parked[(parked[:, 0] > s - BEHIND_M) & (parked[:, 0] < s + 40), 1:]
            moving = self._actors.active(seconds, s, BEHIND_M, 45)[0]
            boxes = np.concatenate([parked, self._actors.boxes(seconds, moving)])
            distance = painting_distance(surfaces, camera.position, boxes)
            self._rasters[t] = rasterise(surfaces, keys, distance, camera, self._lib.atlas)
            while len(self._rasters) > _KEPT:
                self._rasters.popitem(last=False)
        return self._rasters[t]

    def _carried(self, t: int, seconds: float, camera: Camera, known: Raster | None = None) -> Array:
        """(R, 3, 3) maps from texture point to pixel at time `seconds`; zero for surfaces that frame `t` does not show.

        `known` is the raster of that time, if there is one. Most of the maps are taken from it.
        """
        raster = self._raster(t)
        shown = np.flatnonzero(np.bincount(raster.ids.ravel(), minlength=len(raster.key)))
        keys = raster.key[shown]
        to_pixel = np.zeros((len(raster.key), 3, 3))
        if known is not None:
            row = np.minimum(np.searchsorted(known.near_key, keys), len(known.near_key) - 1)
            there = known.near_key[row] == keys
            to_pixel[shown[there]] = known.near_to_pixel[row[there]]
            shown, keys = shown[~there], keys[~there]
        cuts = np.searchsorted([self._first_still, self._first_board, self._first_moving], keys, side="right")
        sky, still, boards, moving = (np.flatnonzero(cuts == kind) for kind in range(4))
        to_pixel[shown[sky]] = texture_to_pixel(self._sky.take(keys[sky]), camera)
        to_pixel[shown[still]] = texture_to_pixel(self._statics.surfaces.take(keys[still] - self._first_still), camera)
        turned = self._statics.boards.take(keys[boards] - self._first_board).facing(camera.position)
        to_pixel[shown[boards]] = texture_to_pixel(turned, camera)
        if len(moving):
            instances = np.unique((keys[moving] - self._first_moving) // _PARTS)
            parts, numbers = self._moving(t, seconds, camera, instances)
            every = np.concatenate(numbers)
            order = np.argsort(every)
            row = order[np.searchsorted(every[order], keys[moving])]
            assert (every[row] == keys[moving]).all()
            to_pixel[shown[moving]] = texture_to_pixel(concatenate(parts).take(row), camera)
        return to_pixel

    # -- frames --------------------------------------------------------------------------------------------------------

    def render(self, t: int, *, sensor: bool = True) -> StreetFrame:
        """Returns frame `t`, 0 <= t < len(self).

        `sensor=False` leaves out motion blur, lens blur, exposure, noise and compression.
        """
        self._check(t)
        raster = self._raster(t)
        pools = self._pools(t, raster.camera) if self.look.street_lamps > 0 else None
        colour = shade(raster, self._shadows(t, raster.camera), pools, self._lib.atlas, self._light, self._dither)
        if self.look.glow > 0:
            bloom(colour, self.look.glow)
        image = cv2.convertScaleAbs(np.maximum(colour, 0, out=colour))
        jpeg = self._sensor.record(self._sensor.expose(image, self._smear(t)), t) if sensor else None
        image = self._sensor.plain(image) if jpeg is None else decoded(jpeg)
        labels: NDArray[np.uint8] = np.take(raster.surfaces.label, raster.ids, mode="wrap")
        instances: NDArray[np.int32] = np.take(raster.surfaces.instance, raster.ids, mode="wrap")
        return StreetFrame(image, labels, instances, raster.depth(), t / self.fps, jpeg)

    def frames(self, n: int, *, start: int = 0) -> Iterator[StreetFrame]:
        """Yields frames `start` to `start + n - 1`."""
        for t in range(start, start + n):
            yield self.render(t)

    def forget(self) -> None:
        """Frees the rasters of recent frames, a few megabytes each. They are computed again when needed."""
        self._rasters.clear()

    def _smear(self, t: int) -> NDArray[np.float32] | None:
        """(2, ceil(H / 2), ceil(W / 2)) motion of every second row and column during the exposure [pixels]."""
        if self.look.exposure_ms <= 0:
            return None
        half = self.look.exposure_ms / 2000
        later = t / self.fps + half
        return 2 * coarse_motion(self._raster(t), self._carried(t, later, self._camera(later)), SMEAR_STEP)

    def _shadows(self, t: int, camera: Camera) -> NDArray[np.float32]:
        seconds, statics = t / self.fps, self._statics
        s = self._actors.ego.s(seconds)
        polygons = statics.shadows[(statics.shadows_s > s - 25) & (statics.shadows_s < s + 110)]
        hulls = self._actors.shadows(seconds, self._sun, self._actors.active(seconds, s, 12, 80))
        masks = self._lib.atlas.alpha
        blobs = []
        for at, quad, texture in statics.tree_shadows:
            levels = masks[texture]
            if s - 8 < at < s + 60 and levels is not None:
                blobs.append((quad, levels[2]))
        return shadow_map(polygons, hulls, blobs, camera, self.look.shadow_softness * self.height / 360)

    def _pools(self, t: int, camera: Camera) -> NDArray[np.float32]:
        s, lamps = self._actors.ego.s(t / self.fps), self._statics.lamps
        near = lamps[(lamps[:, 0] > s - 20) & (lamps[:, 0] < s + 120), 1:]
        return light_pools(near, camera)

    def flow(self, t: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns the exact motion from frame `t` to `t + k`: ((2, H, W) float32 flow_px, (H, W) bool visible).

        `flow_px[:, y, x]` is (dx, dy) in pixels: the point at (x, y) in frame `t` is at (x + dx, y + dy) in frame
        `t + k`, object motion included. `visible` is False where that point is outside frame `t + k` or occluded in it.
        Light has no flow: moving shadows and reflections on a wet road have the flow of the road.
        """
        motion = self.motion(t, k)
        return motion.flow_px, motion.visible

    def motion(self, t: int, k: int) -> Motion:
        """Returns the motion of `flow`, and the maps from which it is computed."""
        self._check(t)
        self._check(t + k)
        later = self._raster(t + k)
        return motion_between(self._raster(t), later, self._carried(t, (t + k) / self.fps, later.camera, later))


def _sun(rng: np.random.Generator, elevation_deg: float) -> Array:
    """(3,) random unit vector towards the sun, at an elevation of `elevation_deg`."""
    azimuth = float(rng.choice([-1, 1]) * rng.uniform(0.35, 0.95)) + float(rng.choice([0.0, np.pi], p=[0.4, 0.6]))
    elevation = np.radians(elevation_deg)
    level = np.cos(elevation)
    return np.array([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level])
