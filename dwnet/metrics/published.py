"""Temporal consistency exactly as published, including known flaws, for comparison with papers.

To judge a network, use `dwnet.metrics.FlickerMeter`. Each docstring states what the published procedure does. The flow
is an argument, so the caller chooses the flow network and its input. Public names are in `dwnet.metrics`.
"""

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_flow, as_labels, check_class_ids
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.metrics.counting import confusion_matrix
from dwnet.metrics.meter import ClassMeter, class_counts


class TCETCMeter(ClassMeter):
    """TC as ETC computes it (Liu et al., Efficient semantic video segmentation with per-frame inference, ECCV 2020).

    ETC's evaluation script warps the labels of frame t+1 to t and sums intersections I_c and unions U_c over all pairs:
    ``TC = mean over all classes of I_c / (U_c + 1e-10)``.

    Differences from `FlickerMeter`:

    - Class ids are warped *bilinearly* in float32 and truncated. At a border between ids 1 and 9 any id between them
      can arise, and rounding can change an id inside a region (0.9999999 x 3 becomes 2).
    - Positions outside the frame are clamped to its border.
    - Occluded pixels are counted.
    - A class that never occurs scores 0 and stays in the mean.
    - The script normalises the input images of FlowNet2 twice. To reproduce this, pass a flow from such images.

    Args:
        num_classes: number of classes; all are in the mean.
    """

    class_axes: ClassVar = {"areas": 1}

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, areas=class_counts(num_classes, 2, axes=1))

    @property
    def areas(self) -> NDArray[np.int64]:
        """(2, K) pixels: intersection and union per class."""
        return self._arrays["areas"]

    def update(self, labels: Array, labels_next: Array, flow_px: Array) -> None:
        """Counts one pair: (H, W) integers of t and t+1, and the flow (2, H, W) from t to t+1, in pixels.

        Raises:
            DWNetError: for maps of different sizes, or a label that is not a class.
        """
        first, second, flow = _read_pair(labels, labels_next, flow_px, self.num_classes, ignore=True)
        self.update_warped(first, ETCWarp(flow)(second))

    def update_warped(self, labels: NDArray[np.uint8], warped: NDArray[np.uint8]) -> None:
        """Counts one pair: labels of t, and labels of t+1 warped to t by `ETCWarp`. Ids are not checked."""
        table = confusion_matrix(labels, warped, 256)
        same, per_warped = np.diag(table), table.sum(axis=0)
        # Ignored pixels of the warped map are ignored in both. Ids that arise from mixing with 255 are not classes.
        per_label = table.sum(axis=1) - table[:, IGNORE_LABEL]
        self.areas[0] += same[: self.num_classes]
        self.areas[1] += (per_label + per_warped - same)[: self.num_classes]

    def compute(self) -> float:
        """Returns TC in percent, 0..100; 0 if nothing was counted."""
        return float(100.0 * np.mean(self.areas[0] / (self.areas[1] + 1e-10)))


def tc_etc(pairs: Iterable[tuple[Array, Array, Array]], *, num_classes: int) -> float:
    """Returns TC in percent exactly as ETC's script computes it (`TCETCMeter`).

    Args:
        pairs: (labels_t, labels_t+1, flow from t to t+1), each (H, W) integers, (H, W) integers, (2, H, W) pixels.
            Consumed one by one.
        num_classes: all of them are in the mean.

    Raises:
        DWNetError: for maps that do not fit each other, or a label that is no class.
    """
    meter = TCETCMeter(num_classes)
    for pair in pairs:
        meter.update(*pair)
    return meter.compute()


class TCVSPWMeter(ClassMeter):
    """TC as VSPW's benchmark computes it (Miao et al., VSPW, CVPR 2021; its published TC script).

    The labels of frame t+1 are warped to t with the nearest pixel. One confusion matrix is kept over all pairs. The
    IoU is averaged over the classes present in the predictions of t.

    Differences from `FlickerMeter`:

    - Pixels that come from outside the frame become class 0.
    - The sampling grid is normalised for ``align_corners=True`` but read with ``align_corners=False``. Every position
      is stretched by W/(W-1) and shifted by half a pixel, and even zero flow loses the last column and row of
      even-sized frames.
    - Occluded pixels are counted.
    - A class found only in the warped map is left out of the mean.

    The benchmark uses RAFT's flow and the first 100 validation videos.

    Args:
        num_classes: VSPW has 124.
    """

    class_axes: ClassVar = {"confusion": 2}

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, confusion=class_counts(num_classes, axes=2))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(K, K) pixels by label of t and warped label of t+1."""
        return self._arrays["confusion"]

    def update(self, labels: Array, labels_next: Array, flow_px: Array) -> None:
        """Counts one pair: (H, W) integers of t and t+1, and the flow (2, H, W) from t to t+1, in pixels.

        Raises:
            DWNetError: for maps of different sizes, or a label that is not a class. `IGNORE_LABEL` is not allowed: the
                published code would count it at random.
        """
        first, second, flow = _read_pair(labels, labels_next, flow_px, self.num_classes, ignore=False)
        self.update_warped(first, VSPWWarp(flow)(second))

    def update_warped(self, labels: NDArray[np.uint8], warped: NDArray[np.uint8]) -> None:
        """Counts one pair: labels of t, and labels of t+1 warped to t by `VSPWWarp`. Ids are not checked."""
        self._arrays["confusion"] += confusion_matrix(labels, warped, self.num_classes)

    def compute(self) -> float | None:
        """Returns TC in percent, 0..100; None if nothing was counted."""
        present = self.confusion.sum(axis=1) > 0
        if not present.any():
            return None
        both = np.diag(self.confusion)[present]
        union = (self.confusion.sum(axis=0) + self.confusion.sum(axis=1))[present] - both
        return float(100.0 * np.mean(both / union))


def tc_vspw(pairs: Iterable[tuple[Array, Array, Array]], *, num_classes: int) -> float | None:
    """Returns TC in percent exactly as VSPW's script computes it (`TCVSPWMeter`).

    Args:
        pairs: (labels_t, labels_t+1, flow from t to t+1), each (H, W) integers, (H, W) integers, (2, H, W) pixels.
            Consumed one by one.
        num_classes: VSPW has 124.

    Raises:
        DWNetError: for maps of different sizes, or a label that is not a class. `IGNORE_LABEL` is not allowed.
    """
    meter = TCVSPWMeter(num_classes)
    for pair in pairs:
        meter.update(*pair)
    return meter.compute()


def _read_pair(
    first: Array, second: Array, flow: Array, num_classes: int, *, ignore: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    labels, neighbour = as_labels(first, "labels of t"), as_labels(second, "labels of t+1")
    if labels.shape != neighbour.shape:
        raise DWNetError(f"labels of t have shape {labels.shape}, of t+1 {neighbour.shape}; allowed is one shape")
    check_class_ids(labels, num_classes, "labels of t", ignore=ignore)
    check_class_ids(neighbour, num_classes, "labels of t+1", ignore=ignore)
    flow_px = as_flow(flow, labels.shape)
    if not np.isfinite(flow_px).all():
        raise DWNetError("flow_px holds values that are not finite; the published procedures allow finite numbers only")
    return labels, neighbour, flow_px


class ETCWarp:
    """The warp of ETC's script along one flow: NVIDIA's Resample2d on class ids, truncated to whole ids.

    The warp is bilinear. Each of the four taps is clamped to the frame. The sum is in float32, in Resample2d's order.

    Args:
        flow_px: (2, H, W) float32, from t to t+1, finite, in pixels.
    """

    def __init__(self, flow_px: NDArray[np.float32]) -> None:
        height, width = flow_px.shape[1:]
        x = np.arange(width, dtype=np.float32) + flow_px[0]
        y = np.arange(height, dtype=np.float32)[:, None] + flow_px[1]
        left, top = np.floor(x), np.floor(y)
        alpha, beta = x - left, y - top
        # After padding by one repeated pixel, the four clamped taps of any position form a 2 x 2 window.
        self._index = (np.clip(top, -1, height - 1) + 1).astype(np.intp) * (width + 1)
        self._index += (np.clip(left, -1, width - 1) + 1).astype(np.intp)
        before, above = 1 - alpha, 1 - beta
        self._weights = (before * above, alpha * above, before * beta, alpha * beta)

    def __call__(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the labels (H, W) of t+1 warped to t."""
        height, width = labels.shape
        padded = np.pad(labels, 1, mode="edge")
        windows = np.empty((height + 1, width + 1, 4), np.uint8)
        for tap in range(4):
            top, left = divmod(tap, 2)
            windows[..., tap] = padded[top : top + height + 1, left : left + width + 1]
        # One look-up of four bytes is faster than four look-ups of one byte.
        taps = windows.view(np.uint32).ravel().take(self._index).view(np.uint8).reshape(height, width, 4)
        total = taps[..., 0] * self._weights[0]
        for tap in range(1, 4):
            total += taps[..., tap] * self._weights[tap]
        truncated: NDArray[np.uint8] = total.astype(np.uint8)
        return truncated


class VSPWWarp:
    """The warp of VSPW's script along one flow: nearest sampling with a grid for the wrong ``align_corners``.

    Args:
        flow_px: (2, H, W) float32, from t to t+1, finite, in pixels.
    """

    def __init__(self, flow_px: NDArray[np.float32]) -> None:
        height, width = flow_px.shape[1:]
        x = np.arange(width, dtype=np.float32) + flow_px[0]
        y = np.arange(height, dtype=np.float32)[:, None] + flow_px[1]
        column, row = _misaligned(x, width), _misaligned(y, height)
        self._outside = (column < 0) | (column > width - 1) | (row < 0) | (row > height - 1)
        column[self._outside] = 0
        row[self._outside] = 0
        self._index = row.astype(np.intp) * width + column.astype(np.intp)

    def __call__(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the labels (H, W) of t+1 warped to t. Pixels from outside the frame get class 0."""
        warped: NDArray[np.uint8] = labels.ravel().take(self._index)
        warped[self._outside] = 0
        return warped


def _misaligned(positions: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Returns the pixel that grid_sample(mode="nearest", align_corners=False) reads if the grid is for True."""
    grid = 2 * positions / np.float32(max(side - 1, 1)) - 1
    # PyTorch rounds halves to the even pixel, as rint does.
    rounded: NDArray[np.float32] = np.rint((grid + 1) * np.float32(side / 2) - np.float32(0.5))
    return rounded
