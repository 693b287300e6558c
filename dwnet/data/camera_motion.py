"""Synthetic neighbours of a still: a random camera motion, rendered, with its exact flow.

The labelled frames of most data sets are seconds apart, so a training pair a few raw frames apart (section 3.1) needs
the raw video. Without video, `CameraMotion` makes the neighbour: it draws a smooth map g from the pixels of the
neighbour to positions of the still, renders neighbour(y) = still(g(y)), and inverts g numerically, which gives the flow
of this library's convention: neighbour(x + flow(x)) = still(g(x + flow(x))) = still(x).
"""

from dataclasses import dataclass, field
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError

REFERENCE_WIDTH = 480
"""Image width, in pixels, that the magnitudes of `CameraMotion` and `Appearance` are given for."""

MOST_STRENGTH = 2.0
"""Largest strength of photometric changes. Above it the changes are no longer those of a camera."""

_COARSE = 4  # the displacement is drawn on a grid this many times coarser than the image
_COARSE_STEPS = 6  # fixed-point steps on the coarse grid, where they cost a sixteenth
_FINE_STEPS = 2  # fixed-point steps on the image's own grid
# Largest change of the displacement, in pixels per pixel. Below 1, g is one-to-one; at 0.5 it is inverted fast.
_MAX_SLOPE = 0.5
_RING = 2  # outermost pixels of the still that mix with reflected content
_NORMAL_QUANTILES = np.array([NormalDist().inv_cdf((step + 0.5) / 256) for step in range(256)])


@dataclass(frozen=True)
class Appearance:
    """Ranges of the differences in exposure and noise between neighbour and still, drawn uniformly.

    The defaults stay within the differences between two frames of one drive that are a sixth of a second apart.
    """

    gain: float = 0.12
    """Exposure: factor within exp(-gain) .. exp(gain)."""
    white_balance: float = 0.04
    """Factor per colour channel within exp(-white_balance) .. exp(white_balance)."""
    gamma: float = 0.10
    """Exponent within exp(-gamma) .. exp(gamma)."""
    noise: float = 3.0
    """Largest standard deviation of the sensor noise, in grey levels 0..255."""
    sharpness: float = 0.5
    """Largest share of a 3 x 3 blur that is added (blurs) or subtracted (sharpens)."""
    jpeg_quality: tuple[int, int] = (70, 96)
    """Lowest and highest quality, 1..100, of the recompression."""

    def __post_init__(self) -> None:
        for name in ("gain", "white_balance", "gamma", "noise"):
            if not getattr(self, name) >= 0:
                raise DWNetError(f"{name}: found {getattr(self, name)}; allowed are 0 (off) and above")
        if not 0 <= self.sharpness <= 1:
            raise DWNetError(f"sharpness: found {self.sharpness}; allowed are 0 (off) to 1")
        if not 1 <= self.jpeg_quality[0] <= self.jpeg_quality[1] <= 100:
            raise DWNetError(f"jpeg_quality: found {self.jpeg_quality}; allowed are 1 <= lowest <= highest <= 100")

    def scaled(self, strength: float) -> "Appearance | None":
        """Returns these ranges times `strength`; None, which is no change, for 0.

        Raises:
            DWNetError: for a strength below 0 or above 2.
        """
        if not 0 <= strength <= MOST_STRENGTH:
            raise DWNetError(f"strength: found {strength}; allowed are 0 (off) to {MOST_STRENGTH:g}")
        if strength == 0:
            return None
        lowest, highest = (max(1, round(100 - (100 - quality) * strength)) for quality in self.jpeg_quality)
        return Appearance(
            gain=self.gain * strength,
            white_balance=self.white_balance * strength,
            gamma=self.gamma * strength,
            noise=self.noise * strength,
            sharpness=min(1.0, self.sharpness * strength),
            jpeg_quality=(lowest, highest),
        )

    def change(self, rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns `image`, (H, W, 3) uint8 RGB, with another exposure, sharpness, noise and compression."""
        gains = np.exp(rng.uniform(-1, 1) * self.gain + rng.uniform(-1, 1, 3) * self.white_balance)
        exponent = np.exp(rng.uniform(-1, 1) * self.gamma)
        levels = (np.arange(256)[:, None] / 255) ** exponent * gains * 255
        image = cv2.LUT(image, np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None])
        share = rng.uniform(-1, 1) * self.sharpness
        image = cv2.addWeighted(image, 1 - share, cv2.GaussianBlur(image, (3, 3), 0.8), share, 0)
        deviation = rng.uniform(0, self.noise)
        image = cv2.add(image, _sensor_noise(rng, image.shape, deviation), dtype=cv2.CV_8U)
        quality = int(rng.integers(*self.jpeg_quality, endpoint=True))
        # JPEG needs the right channel order, because its colour planes are coarser than its luma.
        written, data = cv2.imencode(
            ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality)
        )
        if not written:
            raise DWNetError(f"JPEG recompression failed for an image of shape {image.shape}")
        return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@dataclass(frozen=True)
class SynthesizedNeighbour:
    """A synthetic neighbour of a still, and the flow from the still to it."""

    image: NDArray[np.uint8]
    """(H,W,3) uint8 RGB."""
    flow_px: NDArray[np.float32]
    """(2,H,W) float32 pixels, from the still to the neighbour; channel 0 = dx, 1 = dy."""
    visible: NDArray[np.bool_]
    """(H,W) bool: the flow ends inside the neighbour and is exact to `CameraMotion.tolerance_px`."""
    offset: int
    """Raw frames between the still and the neighbour, signed, never 0."""


@dataclass(frozen=True)
class CameraMotion:
    """Random motion of a dashcam of 30 frames per second over 1..`max_offset` raw frames, forwards or backwards.

    The motion imitates a drive. The image expands from a vanishing point near its middle, faster towards the bottom and
    the sides, where objects are near. It turns, shakes and rolls a little. A smooth random field and a few regions with
    their own motion represent uneven depth and other traffic. Magnitudes are in pixels of an image `REFERENCE_WIDTH`
    wide and scale with the image.
    """

    max_offset: int = 5
    """Largest distance between the still and the neighbour, in raw frames."""
    flow_px_per_frame: float = 2.5
    """Mean length of the flow per raw frame (CamVid's 0016E5, measured 2 raw frames apart: 5.3 px)."""
    flow_spread: float = 0.45
    """Standard deviation of the logarithm of that mean from sample to sample."""
    turn: float = 0.5
    """Weight of the image's shift (yaw, pitch, shake); the expansion has the weight 1."""
    roll: float = 0.15
    """Weight of the rotation about the vanishing point."""
    unevenness: float = 0.3
    """Weight of the smooth random field."""
    max_regions: int = 4
    """Largest number of regions with their own motion."""
    region_motion: float = 0.8
    """Largest extra motion of a region, as a share of the mean flow."""
    tolerance_px: float = 0.05
    """Largest error of the flow at visible pixels."""
    appearance: Appearance | None = field(default_factory=Appearance)
    """Change of exposure and noise; None renders the neighbour from the still's own colours."""

    def __post_init__(self) -> None:
        if self.max_offset < 1:
            raise DWNetError(f"max_offset: found {self.max_offset}; allowed are whole raw frames of at least 1")
        if self.max_regions < 0:
            raise DWNetError(f"max_regions: found {self.max_regions}; allowed are 0 (none) and above")
        for name in ("flow_px_per_frame", "flow_spread", "turn", "roll", "unevenness", "region_motion"):
            if not getattr(self, name) >= 0:
                raise DWNetError(f"{name}: found {getattr(self, name)}; allowed are 0 and above")
        if not self.tolerance_px > 0:
            raise DWNetError(f"tolerance_px: found {self.tolerance_px}; allowed are values above 0")

    def sample(self, rng: np.random.Generator, image: NDArray[np.uint8]) -> SynthesizedNeighbour:
        """Returns a random neighbour of `image`, (H, W, 3) uint8 RGB of at least 16 x 16 pixels."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < 16:
            raise DWNetError(
                f"still: found shape {image.shape}, {image.dtype}; allowed is (H,W,3) uint8, at least 16 x 16 pixels"
            )
        height, width = image.shape[:2]
        offset = int(rng.integers(1, self.max_offset, endpoint=True)) * (1 if rng.random() < 0.5 else -1)
        coarse = self._draw_displacement(rng, height, width, offset)
        fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        grid = _pixel_grid(height, width)
        flow_px, error_px = _invert(coarse, fine, grid)
        # Cubic, so that the neighbour is about as sharp as the still.
        rendered = cv2.remap(image, grid + fine, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        end_x, end_y = cv2.split(grid + flow_px)
        visible = error_px < self.tolerance_px
        visible &= (end_x >= 0) & (end_x <= width - 1) & (end_y >= 0) & (end_y <= height - 1)
        visible[:_RING] = visible[-_RING:] = visible[:, :_RING] = visible[:, -_RING:] = False
        if self.appearance is not None:
            rendered = self.appearance.change(rng, rendered)
        return SynthesizedNeighbour(rendered, np.stack(cv2.split(flow_px)), visible, offset)

    def _draw_displacement(self, rng: np.random.Generator, height: int, width: int, offset: int) -> NDArray[np.float32]:
        """Returns a random g(y) - y on the coarse grid, (h, w, 2) float32, in pixels of the image."""
        rows, columns = -(-height // _COARSE), -(-width // _COARSE)
        # Coordinates in half image widths, from the middle of the image.
        x = (np.arange(columns, dtype=np.float32) + 0.5) * (2 / columns) - 1
        y = ((np.arange(rows, dtype=np.float32) + 0.5) * (2 / rows) - 1) * np.float32(height / width)
        from_x = np.broadcast_to(x - np.float32(rng.normal(0, 0.12)), (rows, columns))
        from_y = np.broadcast_to((y - np.float32(rng.normal(-0.05, 0.08)))[:, None], (rows, columns))
        # Nearness 1/Z: the road below the horizon, buildings and trees at the sides, plus a far background everywhere.
        near = (
            np.float32(rng.uniform(0.1, 0.4))
            + np.maximum(from_y, 0) * np.float32(rng.uniform(0.4, 1.2))
            + np.abs(from_x) * np.float32(rng.uniform(0.2, 1.0))
        )
        near = near * (1 + np.float32(self.unevenness) * _smooth_field(rng, rows, columns, 4))
        speed = np.float32(rng.uniform(0.3, 1.0))
        turn_x, turn_y = rng.normal(0, 1, 2) * (self.turn, 0.3 * self.turn)
        roll = rng.normal(0, self.roll)
        motion_x = speed * near * from_x + np.float32(0.4 * turn_x) - np.float32(roll) * from_y
        motion_y = speed * near * from_y + np.float32(0.4 * turn_y) + np.float32(roll) * from_x
        reach = np.float32(0.15 * self.unevenness) * (0.4 + np.hypot(from_x, from_y))
        motion_x = motion_x + reach * _smooth_field(rng, rows, columns, 4)
        motion_y = motion_y + reach * _smooth_field(rng, rows, columns, 4)
        motion = np.dstack([motion_x, motion_y]).astype(np.float32)
        mean_px = self.flow_px_per_frame * abs(offset) * width / REFERENCE_WIDTH
        mean_px *= np.exp(self.flow_spread * np.clip(rng.normal(), -2, 2) - self.flow_spread**2 / 2)
        motion *= np.float32(mean_px / max(1e-6, float(np.hypot(motion[..., 0], motion[..., 1]).mean())))
        self._add_regions(rng, motion, mean_px)
        motion *= np.float32(min(1.0, _MAX_SLOPE / max(1e-6, _steepest(motion))))
        # A point that moves by +motion from the still to the neighbour comes from -motion in the still.
        return motion * np.float32(-np.sign(offset))

    def _add_regions(self, rng: np.random.Generator, motion: NDArray[np.float32], mean_px: float) -> None:
        rows, columns = motion.shape[:2]
        for _ in range(int(rng.integers(0, self.max_regions, endpoint=True))):
            centre = rng.uniform((0.1, 0.3), (0.9, 0.9)) * (columns, rows)
            half = rng.uniform((0.03, 0.05), (0.14, 0.22)) * (columns, rows)
            extra = rng.uniform(-1, 1, 2) * self.region_motion * mean_px
            # The edge is so wide that its slope is at most 1/5, so that g stays one-to-one.
            edge = max(2.0, 5 * float(np.abs(extra).max()) / _COARSE)
            inside_x = half[0] + edge / 2 - np.abs(np.arange(columns) + 0.5 - centre[0])
            inside_y = half[1] + edge / 2 - np.abs(np.arange(rows) + 0.5 - centre[1])
            mask_x, mask_y = (np.clip(inside / edge, 0, 1).astype(np.float32) for inside in (inside_x, inside_y))
            motion += (mask_y[:, None] * mask_x)[..., None] * extra.astype(np.float32)


def _steepest(motion: NDArray[np.float32]) -> float:
    """Returns a bound of the largest change of `motion`, on the coarse grid, in pixels per pixel (Frobenius norm)."""
    along_x = np.square(motion[:-1, 1:] - motion[:-1, :-1])
    along_y = np.square(motion[1:, :-1] - motion[:-1, :-1])
    squares = along_x + along_y
    return float(np.sqrt((squares[..., 0] + squares[..., 1]).max())) / _COARSE


def _smooth_field(rng: np.random.Generator, rows: int, columns: int, knots: int) -> NDArray[np.float32]:
    """Returns a (rows, columns) smooth random field of about unit variance with `knots` x `knots` free values."""
    values = rng.standard_normal((knots, knots), dtype=np.float32)
    return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_CUBIC)


def _pixel_grid(height: int, width: int) -> NDArray[np.float32]:
    """Returns the (x, y) of every pixel, (H, W, 2) float32."""
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = np.arange(width, dtype=np.float32)
    grid[..., 1] = np.arange(height, dtype=np.float32)[:, None]
    return grid


def _sensor_noise(rng: np.random.Generator, shape: tuple[int, ...], deviation: float) -> NDArray[np.float32]:
    """Returns normal noise of the shape, float32, in 256 steps: a table look-up is ten times faster than drawing."""
    uniform = rng.integers(0, 256, shape, dtype=np.uint8)
    return cv2.LUT(uniform, (_NORMAL_QUANTILES * deviation).astype(np.float32))


def _invert(
    coarse: NDArray[np.float32], fine: NDArray[np.float32], grid: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Solves x = y + d(y) for every pixel x of the still by the fixed-point iteration y <- x - d(y).

    Args:
        coarse: the displacement d on the coarse grid, (h, w, 2), in pixels of the image; gives a cheap start.
        fine: the same, interpolated to the grid of the image, (H, W, 2); the equation is solved for it.
        grid: positions of the pixels, (H, W, 2).

    Returns:
        The flow y - x (H,W,2) and the length of its change in the last step (H,W), in pixels. Where d changes by less
        than half a pixel per pixel, the error of the flow is smaller than this change.
    """
    height, width = grid.shape[:2]
    to_coarse = np.array([coarse.shape[1] / width, coarse.shape[0] / height], np.float32)
    start = -coarse
    coarse_grid = _pixel_grid(coarse.shape[0], coarse.shape[1])
    for _ in range(_COARSE_STEPS):
        start = -_sample(coarse, coarse_grid + start * to_coarse)
    flow = cv2.resize(start, (width, height), interpolation=cv2.INTER_LINEAR)
    for _ in range(_FINE_STEPS):
        previous, flow = flow, -_sample(fine, grid + flow)
    change = flow - previous
    return flow, cv2.magnitude(change[..., 0], change[..., 1])


def _sample(field_xy: NDArray[np.float32], positions: NDArray[np.float32]) -> NDArray[np.float32]:
    return cv2.remap(field_xy, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
