"""Temporal metrics as published, flaws included, so that papers can be compared. For judging, use ours.

Each function states what its published procedure does. The flow is an argument, so the papers' choice of flow network
(and how they feed it) is the caller's. Users import from `dwnet.metrics`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dwnet import IGNORE_LABEL
from dwnet.metrics_core import (
    Array,
    as_flow,
    as_labels,
    check_class_ids,
    check_num_classes,
    confusion_matrix,
    percent,
)


def tc_etc(pairs: Iterable[tuple[Array, Array, Array]], *, num_classes: int) -> float:
    """TC as ETC computes it (Liu et al., Efficient semantic video segmentation with per-frame inference, ECCV 2020).

    The procedure of its evaluation script: labels of frame t+1 are warped to t, intersections and unions are summed
    over all pairs, and ``TC = mean over all classes of I_c / (U_c + 1e-10)``.

    What it does that ours does not: class ids are warped *bilinearly* in float32 and truncated, so between ids 1 and 9
    any id in between can arise, and even inside a region rounding can lose one (0.9999999 x 3 becomes 2); positions
    outside clamp to the border; nothing occluded is left out; a class that never occurs scores 0 and stays in the
    mean. The script also feeds its FlowNet2 with images normalised twice; give such a flow to reproduce that too.

    Args:
        pairs: (labels_t, labels_t+1, flow from t to t+1), each (H, W) integers, (H, W) integers, (2, H, W) pixels.
            Consumed one by one.
        num_classes: all of them enter the mean.

    Returns:
        TC in percent, 0..100; 0 if there are no pairs.

    Raises:
        ValueError: for maps that do not fit each other, or a label that is no class.
    """
    check_num_classes(num_classes)
    intersection = np.zeros(num_classes, np.int64)
    union = np.zeros(num_classes, np.int64)
    for first, second, flow in pairs:
        labels, neighbour, flow_px = _read_pair(first, second, flow, num_classes, ignore=True)
        warped = _clamped_bilinear(neighbour.astype(np.float32), flow_px).astype(np.uint8)
        # Ignored pixels of the warped map are ignored in both; ids that mixing with 255 produced are no class.
        labels = np.where(warped == IGNORE_LABEL, np.uint8(IGNORE_LABEL), labels)
        same = np.bincount(labels[labels == warped], minlength=256)[:num_classes]
        area = np.bincount(labels.ravel(), minlength=256) + np.bincount(warped.ravel(), minlength=256)
        intersection += same
        union += area[:num_classes] - same
    return float(100.0 * np.mean(intersection / (union + 1e-10)))


def tc_vspw(pairs: Iterable[tuple[Array, Array, Array]], *, num_classes: int) -> float | None:
    """TC as VSPW's benchmark computes it (Miao et al., VSPW, CVPR 2021; its published TC script).

    Labels of frame t+1 are warped to t with the nearest pixel, one confusion matrix is kept over all pairs, and the
    IoU is averaged over the classes present in the predictions of t.

    What it does that ours does not: pixels that come from outside the frame become class 0; the sampling grid is
    normalised for ``align_corners=True`` but read with ``align_corners=False``, so every position is stretched by
    W/(W-1) and shifted by half a pixel, and even zero flow loses the last column and row of even-sized frames;
    nothing occluded is left out; a class found only in the warped map is left out of the mean. The benchmark takes
    RAFT's flow and the first 100 validation videos.

    Args:
        pairs: (labels_t, labels_t+1, flow from t to t+1), each (H, W) integers, (H, W) integers, (2, H, W) pixels.
            Consumed one by one.
        num_classes: VSPW has 124.

    Returns:
        TC in percent, 0..100; None if there are no pairs.

    Raises:
        ValueError: for maps that do not fit each other, or a label that is no class (`IGNORE_LABEL` included, which
            the published code would count at random).
    """
    check_num_classes(num_classes)
    confusion = np.zeros((num_classes, num_classes), np.int64)
    for first, second, flow in pairs:
        labels, neighbour, flow_px = _read_pair(first, second, flow, num_classes, ignore=False)
        confusion += confusion_matrix(labels, _misaligned_nearest(neighbour, flow_px), num_classes)
    present = confusion.sum(axis=1) > 0
    if not present.any():
        return None
    both = np.diag(confusion)[present]
    union = (confusion.sum(axis=0) + confusion.sum(axis=1))[present] - both
    return float(100.0 * np.mean(both / union))


def _read_pair(
    first: Array, second: Array, flow: Array, num_classes: int, *, ignore: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    labels, neighbour = as_labels(first, "labels of t"), as_labels(second, "labels of t+1")
    if labels.shape != neighbour.shape:
        raise ValueError(f"labels of t have shape {labels.shape}, of t+1 {neighbour.shape}; allowed is one shape")
    check_class_ids(labels, num_classes, "labels of t", ignore=ignore)
    check_class_ids(neighbour, num_classes, "labels of t+1", ignore=ignore)
    flow_px = as_flow(flow, labels.shape)
    if not np.isfinite(flow_px).all():
        raise ValueError("flow_px holds values that are not finite; the published procedures allow finite numbers only")
    return labels, neighbour, flow_px


def _clamped_bilinear(values: NDArray[np.float32], flow_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """NVIDIA's Resample2d: bilinear, each of the four taps clamped to the frame, summed in float32 in its order."""
    height, width = values.shape
    x = np.arange(width, dtype=np.float32) + flow_px[0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow_px[1]
    left, top = np.floor(x), np.floor(y)
    alpha, beta = x - left, y - top
    columns = [np.clip(left + step, 0, width - 1).astype(np.intp) for step in (0, 1)]
    rows = [np.clip(top + step, 0, height - 1).astype(np.intp) for step in (0, 1)]
    out = (1 - alpha) * (1 - beta) * values[rows[0], columns[0]]
    out += alpha * (1 - beta) * values[rows[0], columns[1]]
    out += (1 - alpha) * beta * values[rows[1], columns[0]]
    out += alpha * beta * values[rows[1], columns[1]]
    return out


def _misaligned_nearest(labels: NDArray[np.uint8], flow_px: NDArray[np.float32]) -> NDArray[np.uint8]:
    """VSPW's warp: its own grid, PyTorch's own sampler, so that halves and borders round exactly as there."""
    import torch
    import torch.nn.functional as F

    height, width = labels.shape
    x = np.arange(width, dtype=np.float32) + flow_px[0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow_px[1]
    grid = np.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), axis=-1)
    source = torch.from_numpy(labels.astype(np.float32))[None, None]
    warped = F.grid_sample(source, torch.from_numpy(grid)[None], mode="nearest", align_corners=False)
    return warped[0, 0].numpy().astype(np.uint8)


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
            raise ValueError(f"n is {n}; allowed are whole numbers from 2")
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
            raise ValueError(f"prediction has shape {predicted.shape} and target {true.shape}; allowed is one shape")
        if self._last is None:
            self._true_run = np.ones(true.shape, np.int32)
            self._predicted_run = np.ones(true.shape, np.int32)
        else:
            if self._last[1].shape != true.shape:
                raise ValueError(
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
