"""Temporal metrics as published, flaws included, so that papers can be compared. For judging, use ours.

Each function states what its published procedure does. The flow is an argument, so the papers' choice of flow network
(and how they feed it) is the caller's. Users import from `dwnet.metrics`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_flow, as_labels, check_class_ids, check_num_classes
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.metrics.counting import confusion_matrix, grown, percent


class TCETCMeter:
    """TC as ETC computes it (Liu et al., Efficient semantic video segmentation with per-frame inference, ECCV 2020).

    The procedure of its evaluation script: labels of frame t+1 are warped to t, intersections and unions are summed
    over all pairs, and ``TC = mean over all classes of I_c / (U_c + 1e-10)``.

    What it does that ours does not: class ids are warped *bilinearly* in float32 and truncated, so between ids 1 and 9
    any id in between can arise, and even inside a region rounding can lose one (0.9999999 x 3 becomes 2); positions
    outside clamp to the border; nothing occluded is left out; a class that never occurs scores 0 and stays in the
    mean. The script also feeds its FlowNet2 with images normalised twice; give such a flow to reproduce that too.

    Args:
        num_classes: all of them enter the mean.
    """

    def __init__(self, num_classes: int) -> None:
        check_num_classes(num_classes)
        self.num_classes = num_classes
        self.areas = np.zeros((2, num_classes), np.int64)
        """Intersection and union per class; sum several to merge meters."""

    def update(self, labels: Array, labels_next: Array, flow_px: Array) -> None:
        """Counts one pair: (H, W) integers of t and t+1, and the flow (2, H, W) from t to t+1, in pixels.

        Raises:
            ValueError: for maps that do not fit each other, or a label that is no class.
        """
        first, second, flow = _read_pair(labels, labels_next, flow_px, self.num_classes, ignore=True)
        self.update_warped(first, ETCWarp(flow)(second))

    def update_warped(self, labels: NDArray[np.uint8], warped: NDArray[np.uint8]) -> None:
        """Counts one pair whose next labels an `ETCWarp` brought to t. Ids are not checked."""
        table = confusion_matrix(labels, warped, 256)
        same, per_warped = np.diag(table), table.sum(axis=0)
        # Ignored pixels of the warped map are ignored in both; ids that mixing with 255 produced are no class.
        per_label = table.sum(axis=1) - table[:, IGNORE_LABEL]
        self.areas[0] += same[: self.num_classes]
        self.areas[1] += (per_label + per_warped - same)[: self.num_classes]

    def grow(self, num_classes: int) -> None:
        """Makes room for more classes; ValueError for fewer than there are."""
        self.areas = grown(self.areas, num_classes, axes=1)
        self.num_classes = num_classes

    def compute(self) -> float:
        """TC in percent, 0..100; 0 if nothing was counted."""
        return float(100.0 * np.mean(self.areas[0] / (self.areas[1] + 1e-10)))


def tc_etc(pairs: Iterable[tuple[Array, Array, Array]], *, num_classes: int) -> float:
    """TC in percent as ETC computes it, flaws included: `TCETCMeter` in one call.

    Args:
        pairs: (labels_t, labels_t+1, flow from t to t+1), each (H, W) integers, (H, W) integers, (2, H, W) pixels.
            Consumed one by one.
        num_classes: all of them enter the mean.

    Raises:
        ValueError: for maps that do not fit each other, or a label that is no class.
    """
    meter = TCETCMeter(num_classes)
    for pair in pairs:
        meter.update(*pair)
    return meter.compute()


class TCVSPWMeter:
    """TC as VSPW's benchmark computes it (Miao et al., VSPW, CVPR 2021; its published TC script).

    Labels of frame t+1 are warped to t with the nearest pixel, one confusion matrix is kept over all pairs, and the
    IoU is averaged over the classes present in the predictions of t.

    What it does that ours does not: pixels that come from outside the frame become class 0; the sampling grid is
    normalised for ``align_corners=True`` but read with ``align_corners=False``, so every position is stretched by
    W/(W-1) and shifted by half a pixel, and even zero flow loses the last column and row of even-sized frames;
    nothing occluded is left out; a class found only in the warped map is left out of the mean. The benchmark takes
    RAFT's flow and the first 100 validation videos.

    Args:
        num_classes: VSPW has 124.
    """

    def __init__(self, num_classes: int) -> None:
        check_num_classes(num_classes)
        self.num_classes = num_classes
        self.confusion = np.zeros((num_classes, num_classes), np.int64)
        """Pixels by (label of t, warped label of t+1); sum those of several meters to merge them."""

    def update(self, labels: Array, labels_next: Array, flow_px: Array) -> None:
        """Counts one pair: (H, W) integers of t and t+1, and the flow (2, H, W) from t to t+1, in pixels.

        Raises:
            ValueError: for maps that do not fit each other, or a label that is no class (`IGNORE_LABEL` included, which
                the published code would count at random).
        """
        first, second, flow = _read_pair(labels, labels_next, flow_px, self.num_classes, ignore=False)
        self.update_warped(first, VSPWWarp(flow)(second))

    def update_warped(self, labels: NDArray[np.uint8], warped: NDArray[np.uint8]) -> None:
        """Counts one pair whose next labels a `VSPWWarp` brought to t. Ids are not checked."""
        self.confusion += confusion_matrix(labels, warped, self.num_classes)

    def grow(self, num_classes: int) -> None:
        """Makes room for more classes; ValueError for fewer than there are."""
        self.confusion = grown(self.confusion, num_classes, axes=2)
        self.num_classes = num_classes

    def compute(self) -> float | None:
        """TC in percent, 0..100; None if nothing was counted."""
        present = self.confusion.sum(axis=1) > 0
        if not present.any():
            return None
        both = np.diag(self.confusion)[present]
        union = (self.confusion.sum(axis=0) + self.confusion.sum(axis=1))[present] - both
        return float(100.0 * np.mean(both / union))


def tc_vspw(pairs: Iterable[tuple[Array, Array, Array]], *, num_classes: int) -> float | None:
    """TC in percent as VSPW's benchmark computes it, flaws included: `TCVSPWMeter` in one call.

    Args:
        pairs: (labels_t, labels_t+1, flow from t to t+1), each (H, W) integers, (H, W) integers, (2, H, W) pixels.
            Consumed one by one.
        num_classes: VSPW has 124.

    Raises:
        ValueError: for maps that do not fit each other, or a label that is no class, `IGNORE_LABEL` included.
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

    Bilinear, each of the four taps clamped to the frame, summed in float32 in its order.

    Args:
        flow_px: (2, H, W) float32, from t to t+1, finite, in pixels.
    """

    def __init__(self, flow_px: NDArray[np.float32]) -> None:
        height, width = flow_px.shape[1:]
        x = np.arange(width, dtype=np.float32) + flow_px[0]
        y = np.arange(height, dtype=np.float32)[:, None] + flow_px[1]
        left, top = np.floor(x), np.floor(y)
        alpha, beta = x - left, y - top
        # In a frame with one repeated pixel around it, the four taps of any position clamp to a 2 x 2 window.
        self._index = (np.clip(top, -1, height - 1) + 1).astype(np.intp) * (width + 1)
        self._index += (np.clip(left, -1, width - 1) + 1).astype(np.intp)
        before, above = 1 - alpha, 1 - beta
        self._weights = (before * above, alpha * above, before * beta, alpha * beta)

    def __call__(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels (H, W) of t+1, as the script sees them from t."""
        height, width = labels.shape
        padded = np.pad(labels, 1, mode="edge")
        windows = np.empty((height + 1, width + 1, 4), np.uint8)
        for tap in range(4):
            top, left = divmod(tap, 2)
            windows[..., tap] = padded[top : top + height + 1, left : left + width + 1]
        # One look-up of four bytes instead of four of one.
        taps = windows.view(np.uint32).ravel().take(self._index).view(np.uint8).reshape(height, width, 4)
        total = taps[..., 0] * self._weights[0]
        for tap in range(1, 4):
            total += taps[..., tap] * self._weights[tap]
        truncated: NDArray[np.uint8] = total.astype(np.uint8)
        return truncated


class VSPWWarp:
    """The warp of VSPW's script along one flow: PyTorch's nearest sampling of a grid made for the other alignment.

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
        """Labels (H, W) of t+1, as the script sees them from t: class 0 where they come from outside."""
        warped: NDArray[np.uint8] = labels.ravel().take(self._index)
        warped[self._outside] = 0
        return warped


def _misaligned(positions: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The pixel that grid_sample(mode="nearest", align_corners=False) reads for a grid normalised by side - 1."""
    grid = 2 * positions / np.float32(max(side - 1, 1)) - 1
    # PyTorch rounds halves to the even pixel, as rint does.
    rounded: NDArray[np.float32] = np.rint((grid + 1) * np.float32(side / 2) - np.float32(0.5))
    return rounded


@dataclass(frozen=True)
class VideoConsistency:
    """VC_n in three readings, each in percent; None where no window had a pixel of constant truth."""

    n: int
    """Frames per window."""
    constant_percent: float | None
    """Prediction constant, whatever it says, where the truth is constant and known; all windows."""
    correct_percent: float | None
    """Prediction constant and right there."""
    published_percent: float | None
    """As VSPW's script: correctness ignored, the last window of each video dropped, ignored truth counted."""
    windows: int
    """Windows in the first two means."""


class VideoConsistencyMeter:
    """VC_n over videos, frame by frame, in memory that does not depend on their length.

    ``VC_n = mean over windows of n frames of |C and P| / |C|`` with C the pixels whose true label, and P those whose
    predicted label, is the same in all n frames (Miao et al., VSPW, CVPR 2021). Needs the truth of every frame.

    Args:
        n: frames per window, from 2; the papers use 8 and 16.
    """

    def __init__(self, n: int) -> None:
        if n < 2:
            raise DWNetError(f"n is {n}; allowed are whole numbers from 2")
        self.n = n
        self.sums = np.zeros(3, np.float64)
        """Sums over windows of the constant, correct and published ratios; sum several to merge meters."""
        self.windows = np.zeros(3, np.int64)
        """How many windows each sum holds; sum several to merge meters."""
        self.end_video()

    def end_video(self) -> None:
        """Says that the next frame belongs to another video."""
        self._last: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._pending: float | None = None

    def update(self, prediction: Array, target: Array) -> None:
        """Counts the next frame of the current video.

        Args:
            prediction: (H, W) integers.
            target: (H, W) integers, `IGNORE_LABEL` where unknown.

        Raises:
            ValueError: for maps that are no label maps, or change their size within a video.
        """
        predicted, true = as_labels(prediction, "prediction"), as_labels(target, "target")
        if predicted.shape != true.shape:
            raise DWNetError(f"prediction has shape {predicted.shape} and target {true.shape}; allowed is one shape")
        if self._last is None:
            self._true_run = np.ones(true.shape, np.int32)
            self._predicted_run = np.ones(true.shape, np.int32)
        else:
            if self._last[1].shape != true.shape:
                raise DWNetError(
                    f"frame of shape {true.shape} in a video of {self._last[1].shape}; call end_video first"
                )
            # How many frames each pixel has kept its label.
            self._predicted_run = np.where(predicted == self._last[0], self._predicted_run + 1, 1)
            self._true_run = np.where(true == self._last[1], self._true_run + 1, 1)
        self._last = (predicted.copy(), true.copy())
        # The published script drops the last window of a video: a window counts once another frame has come.
        self._add(2, self._pending)
        constant_truth = self._true_run >= self.n
        constant = self._predicted_run >= self.n
        self._pending = _share(constant, constant_truth)
        known = constant_truth & (true != IGNORE_LABEL)
        self._add(0, _share(constant & (predicted != IGNORE_LABEL), known))
        self._add(1, _share(constant & (predicted == true), known))

    def _add(self, reading: int, ratio: float | None) -> None:
        if ratio is not None:
            self.sums[reading] += ratio
            self.windows[reading] += 1

    def compute(self) -> VideoConsistency:
        """The three means over everything counted so far."""
        means = [percent(total, count) for total, count in zip(self.sums.tolist(), self.windows.tolist(), strict=True)]
        return VideoConsistency(self.n, means[0], means[1], means[2], int(self.windows[0]))


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float | None:
    pixels = np.count_nonzero(whole)
    return np.count_nonzero(part & whole) / pixels if pixels else None


def video_consistency(predictions: Iterable[Array], targets: Iterable[Array], *, n: int) -> VideoConsistency:
    """VC_n of one video, with and without the correctness condition, and as published: see `VideoConsistencyMeter`.

    Args:
        predictions: one (H, W) label map per frame.
        targets: as many true label maps, `IGNORE_LABEL` where unknown.
        n: frames per window, from 2.

    Raises:
        ValueError: for n below 2, maps that do not fit, or one sequence longer than the other.
    """
    meter = VideoConsistencyMeter(n)
    for prediction, target in zip(predictions, targets, strict=True):
        meter.update(prediction, target)
    return meter.compute()
