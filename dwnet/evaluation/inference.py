"""Inference on a frame: whole or in windows, at several scales, with mirroring. Results state these settings."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dwnet.core.errors import DWNetError
from dwnet.ops.resize import resize

Logits = Callable[[NDArray[np.uint8]], Tensor]
"""A per-frame network. It maps (H, W, 3) uint8 RGB of any size to (K, H, W) float logits."""


@dataclass(frozen=True)
class Inference:
    """Inference settings of a per-frame network.

    The frame is resized to every scale and, with `flip`, also mirrored. The network runs on each of these images, in
    windows if `window` is set. The logits of overlapping windows are averaged. The results of scales and mirror images
    are mirrored back and resized to the frame, and their probabilities are averaged.

    Raises DWNetError for a window, an overlap or scales out of range.
    """

    window: int | None = None
    """Side of the square windows in pixels of the resized frame; None uses the whole frame."""
    window_overlap: Fraction = Fraction(1, 3)
    """Overlap of neighbouring windows as a fraction of their side, 0 to below 1, rounded to whole pixels."""
    scales: tuple[float, ...] = (1.0,)
    """Scale factors of the frame."""
    flip: bool = False
    """Whether the mirror image of each scale is used too."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise DWNetError(f"window is {self.window}; allowed are whole pixels from 1")
        if not 0 <= self.window_overlap < 1:
            raise DWNetError(f"window_overlap is {self.window_overlap}; allowed is a part of the window, 0 to below 1")
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise DWNetError(f"scales are {self.scales}; allowed are numbers above 0, at least one")
        if len(set(self.scales)) < len(self.scales):
            raise DWNetError(f"scales are {self.scales}; allowed is each one once")

    @property
    def stride(self) -> int | None:
        """Pixels from one window to the next; None without windows."""
        return None if self.window is None else max(1, math.ceil(self.window * (1 - self.window_overlap)))

    @property
    def augments(self) -> bool:
        """Whether test-time augmentation is used: several scales, one scale other than 1, or mirroring."""
        return self.flip or self.scales != (1.0,)

    @property
    def short(self) -> str:
        """The settings in short form, for table rows; empty for whole images without test-time augmentation."""
        parts = [] if self.window is None else [f"window {self.window}, stride {self.stride}"]
        parts += [f"scales {self._scales(' ')}"] if self.scales != (1.0,) else []
        return ", ".join(parts + ["flip"] * self.flip)

    def __str__(self) -> str:
        """Returns the settings in words."""
        whole = "whole images"
        if self.window is not None:
            whole = f"windows of {self.window} px every {self.stride} px, logits averaged where they overlap"
        if not self.augments:
            return f"{whole}, no test-time augmentation"
        mirrored = " and mirror images" if self.flip else ""
        return f"{whole}, probabilities averaged over scales {self._scales(', ')}{mirrored}"

    def scores(self, logits: Logits, image: NDArray[np.uint8]) -> Tensor:
        """Returns the scores of a frame. The label of a pixel is the class with the highest score.

        Args:
            logits: the network.
            image: (H, W, 3) uint8 RGB.

        Returns:
            (K, H, W) float: averaged probabilities (0..1) with test-time augmentation, otherwise logits.
        """
        if self.window is not None:
            assert self.stride is not None
            logits = partial(sliding_window, logits, window=self.window, stride=self.stride)
        if not self.augments:
            return logits(image)
        views = list(itertools.product(self.scales, (False, True) if self.flip else (False,)))
        return torch.stack([_probabilities(logits, image, *view) for view in views]).mean(dim=0)

    def _scales(self, between: str) -> str:
        return between.join(f"{scale:.12g}" for scale in self.scales)


WHOLE = Inference()
"""Whole images at their original size, without test-time augmentation."""


def sliding_window(logits: Logits, image: NDArray[np.uint8], *, window: int, stride: int) -> Tensor:
    """Returns the logits of square windows, averaged where they overlap.

    The last window of a row or column ends at the image border, so it can overlap more than the others. If a side is
    shorter than the window, the image is padded at the right or bottom by repeating its edge. The result is cut to the
    size of the image.

    Args:
        logits: the network.
        image: (H, W, 3) uint8 RGB.
        window: side of a window in pixels.
        stride: pixels from one window to the next, 1..window.

    Returns:
        (K, H, W) float.
    """
    height, width = image.shape[:2]
    below, right = max(0, window - height), max(0, window - width)
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    rows, columns = (window_starts(side, window, stride) for side in padded.shape[:2])
    total, count = torch.zeros(0), torch.zeros(padded.shape[:2], dtype=torch.float64)
    for top, left in itertools.product(rows, columns):
        place = np.s_[top : top + window, left : left + window]
        found = logits(np.ascontiguousarray(padded[place]))
        if not total.numel():
            # float64: the mean of equal float32 logits is exactly that value.
            total = found.new_zeros((len(found), *padded.shape[:2]), dtype=torch.float64)
        total[:, *place] += found
        count[place] += 1
    return (total / count.to(total.device)).float()[:, :height, :width]


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """Returns the starts of the windows along a side of at least `window` pixels. The last one ends at the border."""
    return [*range(0, side - window, stride), side - window]


def _probabilities(logits: Logits, image: NDArray[np.uint8], scale: float, mirrored: bool) -> Tensor:
    """Returns the softmax of one view's logits, resized to the frame and mirrored back."""
    height, width = image.shape[:2]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    seen = image if size == (height, width) else cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    found = logits(np.ascontiguousarray(seen[:, ::-1]) if mirrored else seen)
    found = found.flip(-1) if mirrored else found
    return resize(found[None].float(), (height, width))[0].softmax(dim=0)
