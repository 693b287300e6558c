"""What the report shows of a clip, collected in constant memory: curve, heat map, worst moments."""

import base64
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

CURVE_POINTS = 4000
"""Largest number of steps of a curve. In a longer clip, each step is the mean and maximum of several frames."""
WORST = 10
"""Number of moments shown for each set."""
MOMENT_GAP_SECONDS = 0.2
"""Of moments that are closer together than this, only the worst is shown."""
HEAT_PX = 480
"""Longer side of a heat map, in pixels."""


class Curve:
    """A value per frame over time, in at most `CURVE_POINTS` steps of equal length: sums, counts and maxima."""

    def __init__(self) -> None:
        self.frames_per_step = 1
        self._sums: list[float] = []
        self._counts: list[int] = []
        self._highest: list[float] = []
        self._times: list[float] = []
        self._frames = 0

    def add(self, value: float | None, pts_seconds: float) -> None:
        """Adds the value of the next frame; None if it has no value."""
        if self._frames % self.frames_per_step == 0:
            if len(self._sums) == CURVE_POINTS:
                self._halve()
            self._sums.append(0.0)
            self._counts.append(0)
            self._highest.append(0.0)
            self._times.append(pts_seconds)
        self._frames += 1
        if value is not None:
            self._sums[-1] += value
            self._counts[-1] += 1
            self._highest[-1] = max(self._highest[-1], value)

    def _halve(self) -> None:
        self.frames_per_step *= 2
        self._sums = [a + b for a, b in zip(self._sums[::2], self._sums[1::2], strict=True)]
        self._counts = [a + b for a, b in zip(self._counts[::2], self._counts[1::2], strict=True)]
        self._highest = [max(a, b) for a, b in zip(self._highest[::2], self._highest[1::2], strict=True)]
        self._times = self._times[::2]

    def points(self) -> dict[str, list[Any]]:
        """Returns times in seconds, means and maxima; None for a step without values."""
        steps = list(zip(self._sums, self._counts, self._highest, strict=True))
        return {
            "pts_seconds": [round(time, 4) for time in self._times],
            "mean": [round(total / count, 4) if count else None for total, count, _ in steps],
            "highest": [round(highest, 4) if count else None for _, count, highest in steps],
        }


class HeatMap:
    """How often each pixel flips: flips and comparisons per pixel."""

    def __init__(self, height: int, width: int) -> None:
        self.flips = np.zeros((height, width), np.int32)
        self.compared = np.zeros((height, width), np.int32)

    def add(self, flipped: NDArray[np.bool_], compared: NDArray[np.bool_]) -> None:
        """Counts one pair of frames, from two (H, W) bool maps."""
        self.flips += flipped
        self.compared += compared

    def percent(self) -> NDArray[np.float32]:
        """Returns (H, W): the share of the compared pairs in which the pixel flipped, 0..100."""
        rate: NDArray[np.float32] = (100 * self.flips / np.maximum(self.compared, 1)).astype(np.float32)
        return rate


def heat_picture(percent: NDArray[np.float32], mean_frame: Image, top_percent: float) -> Image:
    """Returns the heat map over the grey mean frame: transparent at 0, opaque at `top_percent` and above."""
    height, width = percent.shape
    factor = min(1.0, HEAT_PX / max(height, width))
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    heat = cv2.resize(percent, size, interpolation=cv2.INTER_AREA)
    grey = cv2.resize(cv2.cvtColor(mean_frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    share = np.clip(heat / top_percent, 0, 1).astype(np.float32)
    colours = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = np.sqrt(share)[..., None]
    picture: Image = ((1 - weight) * (0.35 * grey[..., None] + 120) + weight * colours).astype(np.uint8)
    return picture


@dataclass(frozen=True)
class Moment:
    """One of the worst moments of a set."""

    frame: int
    pts_seconds: float
    flips_percent: float
    flipped_pixels: int
    share_percent: float
    """Flipped pixels in percent of the frame; moments are ranked by it."""


class WorstMoments:
    """The moments with the most flipped pixels, at least `MOMENT_GAP_SECONDS` apart."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        """The moments, worst first."""

    def offer(
        self,
        frame: int,
        pts_seconds: float,
        flips_percent: float | None,
        flipped: NDArray[np.bool_],
    ) -> None:
        """Keeps this moment if it is one of the worst so far.

        Args:
            frame: index of the frame.
            pts_seconds: time of the frame.
            flips_percent: flips in percent of the compared pixels; None if no pixel was compared.
            flipped: (H, W) bool, the flipped pixels.
        """
        pixels = int(np.count_nonzero(flipped))
        if not pixels or flips_percent is None:
            return
        near = [moment for moment in self.moments if abs(moment.pts_seconds - pts_seconds) < MOMENT_GAP_SECONDS]
        others = [moment for moment in self.moments if moment not in near]
        if any(moment.flipped_pixels >= pixels for moment in near):
            return
        if len(others) == WORST and others[-1].flipped_pixels >= pixels:
            return
        moment = Moment(
            frame=frame,
            pts_seconds=pts_seconds,
            flips_percent=flips_percent,
            flipped_pixels=pixels,
            share_percent=100 * pixels / flipped.size,
        )
        self.moments = sorted([*others, moment], key=lambda kept: (-kept.flipped_pixels, kept.frame))[:WORST]


def reduced(picture: Image, max_side: int) -> Image:
    """Returns the picture with its longer side reduced to `max_side` pixels. A smaller picture is unchanged."""
    factor = max_side / max(picture.shape[:2])
    if factor >= 1:
        return picture
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def data_uri(picture: Image, max_side: int) -> str:
    """Returns a picture as a JPEG data URI, with its longer side reduced to `max_side` pixels."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(reduced(picture, max_side), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82]
    )
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
