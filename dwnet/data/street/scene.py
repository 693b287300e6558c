"""A street of our own: rendered driving scenes with exact labels, instances, depth and flow.

`StreetScene(seed)` is a drive through a bending street of houses, trees, poles and traffic, made of textured planes
only; so the label, the depth and the motion of every pixel are known in closed form. The classes are
CamVid's eleven, in CamVid's order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.data.street import world as world
from dwnet.data.street.actors import Actors, Ego
from dwnet.data.street.geometry import Camera, SurfaceList, Surfaces, concatenate, painting_distance, texture_to_pixel
from dwnet.data.street.library import VARIANTS, library
from dwnet.data.street.render import Light, Raster, flow_between, geometry, rasterise, shade, shadow_map
from dwnet.data.street.world import AHEAD_M, BEHIND_M

MAX_SECONDS = 40.0
"""A scene lasts this long; the street is built for it."""


@dataclass(frozen=True)
class StreetLook:
    """Weather, light and camera."""

    name: str
    sky: str
    """Texture of the sky."""
    sky_brightness: float
    ambient: tuple[float, float, float]
    """Linear light from the sky."""
    sun: tuple[float, float, float]
    """Linear light from the sun, where it shines straight on."""
    elevation_deg: float
    haze: tuple[float, float, float]
    haze_m: float
    glow: float
    wet: float
    shadow_softness: float
    """Standard deviation of the shadows' edges [pixels at 360 rows]."""
    contrast: float
    noise: float
    """Sensor noise, standard deviation [grey levels]."""
    exposure_drift: float = 0.05
    """Amplitude of the slow drift of the exposure, as a factor."""
    lens_blur: float = 0.55
    """Standard deviation [pixels at 360 rows]."""


_ALL = (
    StreetLook(
        "day", sky="sky_fair", sky_brightness=1.10, ambient=(0.44, 0.475, 0.54), sun=(1.30, 1.20, 1.0),
        elevation_deg=42,
        haze=(0.86, 0.89, 0.93), haze_m=420, glow=0.0, wet=0.0, shadow_softness=0.7, contrast=1.12, noise=2.2,
    ),
    StreetLook(
        "overcast", sky="sky_grey", sky_brightness=1.10, ambient=(0.86, 0.88, 0.92), sun=(0.10, 0.10, 0.10),
        elevation_deg=80, haze=(0.80, 0.81, 0.83), haze_m=330, glow=0.0, wet=0.0, shadow_softness=2.2, contrast=1.05,
        noise=2.6,
    ),
    StreetLook(
        "dusk", sky="sky_dusk", sky_brightness=1.0, ambient=(0.13, 0.145, 0.19), sun=(0.05, 0.035, 0.02),
        elevation_deg=70, haze=(0.50, 0.44, 0.45), haze_m=330, glow=0.95, wet=0.0, shadow_softness=2.2, contrast=1.0,
        noise=4.5,
    ),
    StreetLook(
        "wet", sky="sky_grey", sky_brightness=1.0, ambient=(0.52, 0.55, 0.60), sun=(0.05, 0.05, 0.05), elevation_deg=80,
        haze=(0.70, 0.72, 0.75), haze_m=190, glow=0.35, wet=0.62, shadow_softness=2.4, contrast=1.05, noise=3.2,
    ),
)  # fmt: skip
LOOKS: dict[str, StreetLook] = {look.name: look for look in _ALL}
"""The looks by name; a scene without a given one draws it from its seed."""


@dataclass(frozen=True)
class StreetFrame:
    """One frame and everything that is true of it."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    labels: NDArray[np.uint8]
    """(H, W) CamVid class 0..10, 255 where none fits."""
    instances: NDArray[np.int32]
    """(H, W) number of the object, the same in every frame; 0 for sky and ground."""
    depth_m: NDArray[np.float32]
    """(H, W) distance along the optical axis [m]; inf in the sky."""
    pts_seconds: float


class StreetScene:
    """A drive, by its seed. Any frame can be asked for, in any order; the same seed gives the same bytes."""

    def __init__(
        self, seed: int, *, width: int = 480, height: int = 360, fps: float = 25.0, look: str | StreetLook | None = None
    ) -> None:
        if width < 32 or height < 32:
            raise ValueError(f"a street frame is at least 32 x 32 pixels, got {width} x {height}")
        if not fps > 0:
            raise ValueError(f"fps must be above 0, got {fps}")
        if seed < 0:
            raise ValueError(f"a street's seed is 0 or more, got {seed}")
        if isinstance(look, str) and look not in LOOKS:
            raise ValueError(f"no look named {look!r}; there are {', '.join(LOOKS)}")
        rng = np.random.default_rng([seed, 0xD217E])
        names = list(LOOKS)
        drawn = LOOKS[names[int(rng.choice(len(names), p=[0.5, 0.25, 0.1, 0.15]))]]
        self.look = drawn if look is None else LOOKS[look] if isinstance(look, str) else look
        self.seed, self.width, self.height, self.fps = seed, width, height, fps
        self._lib = library(seed % VARIANTS)
        ego = Ego.draw(rng, MAX_SECONDS)
        length = ego.s(MAX_SECONDS) + AHEAD_M + 30
        self._road = world.Road.bending(rng, length + 60)
        self._plan = world.make_plan(rng, length)
        azimuth = float(rng.choice([-1, 1]) * rng.uniform(0.35, 0.95)) + float(rng.choice([0.0, np.pi], p=[0.4, 0.6]))
        elevation = np.radians(self.look.elevation_deg)
        self._sun = np.array(
            [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
        )
        builder = world.Builder(rng, self._road, self._plan, self._lib, self._sun)
        self._statics = builder.build()
        self._actors = Actors(rng, self._road, self._plan, self._lib, ego, MAX_SECONDS, builder.instance)
        self._light = Light(
            self.look.ambient, self.look.sun, self._sun, self.look.haze, self.look.haze_m, self.look.glow, self.look.wet
        )
        self._sky = self._backcloth()
        tiles = np.random.default_rng([seed, 1]).standard_normal((4, 256, 256, 3), dtype=np.float32)
        self._noise = [cv2.GaussianBlur(tile, (0, 0), 0.45) * 1.6 * self.look.noise for tile in tiles]
        dither = np.random.default_rng(7).uniform(-0.5, 0.5, (height, width))
        self._dither = (2.0 ** (2 * (0.15 + 0.8 * dither))).astype(np.float32)
        self._rasters: OrderedDict[int, Raster] = OrderedDict()

    def __len__(self) -> int:
        """How many frames the scene has."""
        return int(MAX_SECONDS * self.fps)

    # -- geometry ------------------------------------------------------------------------------------------------------

    def _check(self, t: int) -> None:
        if not 0 <= t < len(self):
            raise ValueError(f"this street has frames 0..{len(self) - 1}, got {t}")

    def camera(self, t: int) -> Camera:
        """The camera at frame `t`."""
        position, rotation = self._actors.ego.pose(t / self.fps, self._road)
        centre = ((self.width - 1) / 2, (self.height - 1) / 2)
        return Camera(position, rotation, 1.15 * self.height, centre, (self.height, self.width))

    def _backcloth(self) -> Surfaces:
        """Sky (a deck of clouds, 900 m up) and the ground below everything."""
        parts = SurfaceList()
        sky = self._lib[self.look.sky]
        corners = np.array([[-1e4, 900, 1e4], [1e4, 900, 1e4], [1e4, 900, -1e4], [-1e4, 900, -1e4]], float)
        frame = (np.array([0, 900.0, 0]), np.array([3200.0, 0, 0]), np.array([0, 0, 3200.0]))
        parts.add(corners, sky, world.SKY, frame=frame, layer=0, two_sided=True, brightness=self.look.sky_brightness)
        corners = np.array([[-3e3, -0.02, 3e3], [3e3, -0.02, 3e3], [3e3, -0.02, -3e3], [-3e3, -0.02, -3e3]], float)
        frame = (np.array([0, -0.02, 0]), np.array([5.0, 0, 0]), np.array([0, 0, -5.0]))
        parts.add(corners, self._lib["grass"], world.VOID, frame=frame, layer=1, two_sided=True)
        return parts.freeze()

    def _selection(self, t: int) -> tuple[NDArray[np.intp], NDArray[np.intp], tuple[list[int], list[int], list[int]]]:
        seconds = t / self.fps
        s = self._actors.ego.s(seconds)
        low, high = s - BEHIND_M, s + AHEAD_M
        still = np.flatnonzero((self._statics.surfaces_s > low) & (self._statics.surfaces_s < high))
        boards = np.flatnonzero((self._statics.boards_s > low) & (self._statics.boards_s < high))
        return still, boards, self._actors.active(seconds, s, BEHIND_M, AHEAD_M - 60)

    def _assemble(self, t: int, chosen_at: int, camera: Camera) -> tuple[Surfaces, NDArray[np.int64]]:
        """The surfaces near the camera of frame `chosen_at`, where they are at frame `t`, and their numbers."""
        seconds = t / self.fps
        still, boards, (vehicles, cyclists, walkers) = self._selection(chosen_at)
        statics = self._statics
        parts = [self._sky, statics.surfaces.take(still), statics.boards.take(boards).facing(camera.position)]
        keys = [np.arange(2), 2 + still, 2 + len(statics.surfaces) + boards]
        base = 2 + len(statics.surfaces) + len(statics.boards)
        solid = self._actors.solid(seconds, vehicles, cyclists)
        moving = [*([solid] if solid is not None else [])]
        moving += [board.facing(camera.position) for board in self._actors.soft(seconds, cyclists, walkers)]
        for part in moving:
            # Instance and place inside the object make the number: 64 parts an object are enough.
            first = np.r_[0, np.flatnonzero(np.diff(part.instance)) + 1]
            inside = np.arange(len(part)) - np.repeat(first, np.diff(np.r_[first, len(part)]))
            soft = 32 * int(part is not solid)
            keys.append(base + part.instance.astype(np.int64) * 64 + inside + soft)
        return concatenate([*parts, *moving]), np.concatenate(keys)

    def _raster(self, t: int) -> Raster:
        if t not in self._rasters:
            camera = self.camera(t)
            surfaces, keys = self._assemble(t, t, camera)
            seconds = t / self.fps
            s = self._actors.ego.s(seconds)
            parked = self._statics.boxes
            parked = parked[(parked[:, 0] > s - BEHIND_M) & (parked[:, 0] < s + 40), 1:]
            moving, _, _ = self._actors.active(seconds, s, BEHIND_M, 45)
            boxes = np.concatenate([parked, self._actors.boxes(seconds, moving)])
            distance = painting_distance(surfaces, camera.position, boxes)
            self._rasters[t] = rasterise(surfaces, keys, distance, camera, self._lib.atlas)
            while len(self._rasters) > 12:
                self._rasters.popitem(last=False)
        return self._rasters[t]

    # -- frames --------------------------------------------------------------------------------------------------------

    def render(self, t: int, *, sensor: bool = True) -> StreetFrame:
        """Frame `t`, 0 <= t < len(self). `sensor=False` leaves out lens blur, exposure drift and noise."""
        self._check(t)
        raster = self._raster(t)
        lit = self._shadows(t, raster.camera)
        colour = shade(raster, lit, self._lib.atlas, self._light, self._dither)
        labels, instances, depth = geometry(raster)
        return StreetFrame(self._develop(colour, t, sensor), labels, instances, depth, t / self.fps)

    def frames(self, n: int, *, start: int = 0) -> Iterator[StreetFrame]:
        """Frames start .. start + n - 1."""
        for t in range(start, start + n):
            yield self.render(t)

    def _shadows(self, t: int, camera: Camera) -> NDArray[np.float32]:
        seconds = t / self.fps
        s = self._actors.ego.s(seconds)
        low, high = s - 25, s + 110
        polygons = [p for at, p in self._statics.ground_shadows if low < at < high]
        vehicles, cyclists, walkers = self._actors.active(seconds, s, 12, 80)
        polygons += self._actors.shadows(seconds, self._sun, vehicles, cyclists, walkers)
        masks = self._lib.atlas.alpha
        blobs = []
        for at, quad, texture in self._statics.tree_shadows:
            levels = masks[texture]
            if s - 8 < at < s + 60 and levels is not None:
                blobs.append((quad, levels[2]))
        return shadow_map(polygons, blobs, camera, self.look.shadow_softness * self.height / 360)

    def _develop(self, colour: NDArray[np.float32], t: int, sensor: bool) -> NDArray[np.uint8]:
        look, image = self.look, colour
        if sensor:
            if look.lens_blur > 0:
                image = cv2.GaussianBlur(image, (0, 0), look.lens_blur * self.height / 360)
            seconds = t / self.fps
            drift = 1 + look.exposure_drift * (
                0.6 * np.sin(0.7 * seconds + self.seed) + 0.4 * np.sin(1.9 * seconds + 2 * self.seed)
            )
            image = image * np.float32(drift)
            image += self._grain(t)
        image = (image - 118) * np.float32(look.contrast) + 118
        return np.clip(image + 0.5, 0, 255).astype(np.uint8)

    def _grain(self, t: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.seed, 2, t])
        tile = self._noise[int(rng.integers(len(self._noise)))]
        tile = np.roll(tile, tuple(rng.integers(0, 256, 2)), (0, 1))
        rows, cols = -(-self.height // 256), -(-self.width // 256)
        return np.tile(tile, (rows, cols, 1))[: self.height, : self.width]

    def flow(self, t: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Exact motion from frame `t` to frame `t + k`: ((2, H, W) float32 flow_px, (H, W) bool visible).

        `flow_px[:, y, x]` is (dx, dy): the point that frame `t` shows at (x, y) is at (x + dx, y + dy) in frame
        `t + k`, its own motion included. `visible` is False where it lies outside that frame or behind what is nearer.
        What only light does (shadows that move over the road, reflections on a wet one) has no flow of its own.
        """
        self._check(t)
        self._check(t + k)
        raster, later = self._raster(t), self._raster(t + k)
        surfaces, keys = self._assemble(t + k, t, later.camera)
        to_pixel = texture_to_pixel(surfaces, later.camera)
        order = np.argsort(keys)
        row = order[np.searchsorted(keys[order], raster.key)]
        return flow_between(raster, later, to_pixel[row])
