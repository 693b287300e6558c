"""Independent references for the tests of the method: float64 NumPy loops from the paper's text, and a small segmenter
whose results can be computed by hand. The loops do not use functions of `dwnet`.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dwnet.segmentation import Segmenter

Array = NDArray[np.float64]


def bilinear(source: Array, x: float, y: float) -> Array:
    """Returns the values (C,) of a map (C, H, W) at one position. Pixels outside the map are 0."""
    _, height, width = source.shape
    left, top = math.floor(x), math.floor(y)
    value = np.zeros(len(source))
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                value += (1 - abs(x - column)) * (1 - abs(y - row)) * source[:, row, column]
    return value


def warp_loop(source: Array, flow: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Eq. 1 with section 3.2's x' = x + dx: returns the warped map (C, H, W) and its valid pixels."""
    _, height, width = source.shape
    warped, valid = np.zeros_like(source), np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            x, y = column + flow[0, row, column], row + flow[1, row, column]
            warped[:, row, column] = bilinear(source, x, y)
            valid[row, column] = 0 <= x <= width - 1 and 0 <= y <= height - 1
    return warped, valid


def fg_conv_loop(source: Array, flow: Array, weight: Array) -> Array:
    """Eq. 3 pixel by pixel and tap by tap; flow (s^2, 2, H, W), weight (C_out, C_in, s, s)."""
    _, height, width = source.shape
    size = weight.shape[-1]
    result = np.zeros((len(weight), height, width))
    for row in range(height):
        for column in range(width):
            for tap_row in range(size):
                for tap_column in range(size):
                    dx, dy = flow[tap_row * size + tap_column, :, row, column]
                    x = column + tap_column - size // 2 + dx
                    y = row + tap_row - size // 2 + dy
                    result[:, row, column] += weight[:, :, tap_row, tap_column] @ bilinear(source, x, y)
    return result


def resize_loop(source: Array, size: tuple[int, int]) -> Array:
    """Bilinear resizing that keeps pixel centres (`align_corners=False`) and repeats edges."""
    _, height, width = source.shape
    result = np.zeros((len(source), *size))
    for row in range(size[0]):
        for column in range(size[1]):
            y = min(max((row + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((column + 0.5) * width / size[1] - 0.5, 0), width - 1)
            result[:, row, column] = bilinear(source, x, y)
    return result


def feature_consistency_loop(x: Array, y: Array, keep: NDArray[np.bool_] | None = None) -> float:
    """Eq. 4 and Eq. 5 over all pairs of the kept pixels of two (C, H, W) maps."""
    rows = range(x.shape[1] * x.shape[2]) if keep is None else np.flatnonzero(keep)
    xs, ys = x.reshape(len(x), -1).T, y.reshape(len(y), -1).T

    def cosine(a: Array, b: Array) -> float:
        lengths = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
        return float(a @ b) / lengths if lengths else 0.0

    total = sum((cosine(xs[i], xs[j]) - cosine(ys[i], ys[j])) ** 2 for i in rows for j in rows)
    return total / max(len(rows), 1) ** 2


class TinySegmenter(Segmenter):
    """Features: a bias-free convolution over each stride x stride block; classifier 1x1; an optional auxiliary head."""

    def __init__(self, *, channels: int = 4, num_classes: int = 3, stride: int = 4, auxiliary: bool = False) -> None:
        super().__init__()
        self.channels, self.num_classes = channels, num_classes
        self.stride = self.multiple = stride
        self.body = nn.Conv2d(3, channels, stride, stride=stride, bias=False)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.auxiliary = nn.Conv2d(3, num_classes, stride, stride=stride) if auxiliary else None

    def features(self, image: Tensor) -> Tensor:
        return self.body(image)

    def classify(self, features: Tensor) -> Tensor:
        return self.classifier(features)

    def features_and_auxiliary(
        self, image: Tensor, *, labelled: int | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.body(image), () if self.auxiliary is None else (self.auxiliary(image[:labelled]),)


def frames(batch: int = 2, height: int = 16, width: int = 24, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Two random frames of 0..1 and a flow of a few pixels between them."""
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.rand(2, batch, 3, height, width, generator=generator)
    return first, second, 6 * (torch.rand(batch, 2, height, width, generator=generator) - 0.5)
