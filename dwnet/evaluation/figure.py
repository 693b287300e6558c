"""A figure of consecutive frames where one model flickers and another does not, as Fig. 4 of the paper."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write
from dwnet.evaluation.counts import Motion
from dwnet.viz import caption, grid, overlay

FRAMES = 3
"""Consecutive frames of a figure."""
CROP_SHARE = 0.4
"""Sides of the part of the frame that is shown, relative to the frame's."""
TILE_WIDTH_PX = 320
"""Width of each picture of the figure."""
OPACITY = 0.7


@dataclass(frozen=True)
class ShownFrame:
    """A frame and the labels of every model on it, all (H, W)."""

    index: int
    """Index of the frame in the split."""
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    labels: tuple[NDArray[np.uint8], ...]


@dataclass(frozen=True)
class _Found:
    frames: tuple[ShownFrame, ...]
    top: int
    left: int
    gain: float


class FigureMaker:
    """Finds the frames and the part of them where the first model flips most and the steady one least.

    Memory use does not depend on the number of frames.

    Args:
        names: names of the models, in the order of the rows; at least two.
        palette: colours of the classes, RGB 0..255.

    Raises:
        DWNetError: for fewer than two models.
    """

    def __init__(self, names: Sequence[str], palette: Sequence[Sequence[int]]) -> None:
        if len(names) < 2:
            raise DWNetError(f"the figure compares models; found {len(names)}, allowed are two or more")
        self.names, self.palette = tuple(names), palette
        self.steady = names.index("dwnet") if "dwnet" in names[1:] else len(names) - 1
        """Index of the model that is compared with the first one: dwnet, or else the last."""
        self._recent: deque[ShownFrame] = deque(maxlen=FRAMES)
        self._best: _Found | None = None

    def add(self, frame: ShownFrame, motion: Motion | None) -> None:
        """Considers the next frame of the split; `motion` leads to the frame before, None at the start of a run."""
        if motion is None:
            self._recent.clear()
        self._recent.append(frame)
        if motion is None or len(self._recent) < FRAMES:
            return
        before = self._recent[-2]
        gain = np.zeros(frame.truth.shape, np.float32)
        # The difference is easiest to see where the steady model flips nothing, so its flips count twice.
        for model, weight in ((0, 1), (self.steady, -2)):
            warped = motion.warp(before.labels[model])
            flipped = motion.visible & (warped != frame.labels[model]) & (warped != IGNORE_LABEL)
            gain += weight * flipped.astype(np.float32)
        height, width = _crop_size(*frame.image.shape[:2])
        # The sum over each part of the frame, at the part's upper left corner.
        sums = cv2.integral(gain)
        parts = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
        top, left = (int(place) for place in np.unravel_index(int(parts.argmax()), parts.shape))
        found = _Found(tuple(self._recent), top, left, float(parts[top, left]))
        if self._best is None or found.gain > self._best.gain:
            self._best = found

    def write(self, path: Path) -> str:
        """Writes the figure as PNG and returns a sentence that says what it shows.

        Raises:
            DWNetError: if there were never three consecutive frames, or the file is no PNG.
        """
        if self._best is None:
            raise DWNetError(f"{path}: the split has no {FRAMES} consecutive labelled frames to show")
        if path.suffix.lower() != ".png":
            raise DWNetError(f"{path}: allowed for the figure is a .png file")
        picture = self._picture(self._best)
        with atomic_write(path) as temporary:
            if not cv2.imwrite(str(temporary), picture[..., ::-1]):
                raise OSError(f"{path}: could not be written")
        first, last = self._best.frames[0].index, self._best.frames[-1].index
        return (
            f"{path}: part of the frames {first} to {last} of the split, chosen because {self.names[0]} flips there "
            f"and {self.names[self.steady]} does not"
        )

    def _picture(self, found: _Found) -> NDArray[np.uint8]:
        height, width = _crop_size(*found.frames[0].image.shape[:2])
        part = np.s_[found.top : found.top + height, found.left : found.left + width]
        size = (TILE_WIDTH_PX, round(TILE_WIDTH_PX * height / width))
        tiles = []
        for row, name in enumerate(("input", "true labels", *self.names)):
            for place, frame in enumerate(found.frames):
                image = np.ascontiguousarray(frame.image[part])
                tile = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
                if row:
                    labels = frame.truth if row == 1 else frame.labels[row - 2]
                    tile = overlay(tile, labels[part], self.palette, opacity=OPACITY)
                ahead = place - FRAMES + 1
                tiles.append(caption(tile, f"{name}, t{ahead or ''}", height_px=20))
        return grid(tiles, FRAMES)


def _crop_size(height: int, width: int) -> tuple[int, int]:
    return max(1, int(height * CROP_SHARE)), max(1, int(width * CROP_SHARE))
