"""How steady a segmentation is: label flips along the flow, temporal consistency, flicker error, logit jitter."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_flow, as_labels, as_mask, as_numpy, check_class_ids, check_num_classes
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.metrics.counting import (
    confusion_matrix,
    grown,
    iou_percent,
    mean_percent,
    near_edge,
    percent,
    positions_along,
    warp_labels,
)

BOUNDARY_PX = 3
"""How near another class must be for a pixel to count as boundary."""


def flip_map(
    previous_labels: Array, labels: Array, flow_px: Array, visible: Array | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the label changed along the flow.

    Args:
        previous_labels: (H, W) integers, the previous frame's prediction.
        labels: (H, W) integers, the current frame's prediction.
        flow_px: (2, H, W), from the current to the previous frame, in pixels.
        visible: (H, W) bool, pixels of the current frame that the previous one shows; None: all.

    Returns:
        Two (H, W) bool maps of the current frame: flipped, and counted (visible, inside the previous frame, and
        labelled in both). Flipped pixels are always counted ones.

    Raises:
        ValueError: for maps that do not fit each other.
    """
    current = as_labels(labels)
    shape = current.shape
    previous = as_labels(previous_labels, "previous_labels")
    if previous.shape != shape:
        raise DWNetError(f"previous_labels has shape {previous.shape} and labels {shape}; allowed is one shape")
    warped, _ = warp_labels(previous, flow_px)
    # A position outside the frame was warped to the ignore label.
    counted = as_mask(visible, shape) & (warped != IGNORE_LABEL) & (current != IGNORE_LABEL)
    return counted & (warped != current), counted


def flip_rate(previous_labels: Array, labels: Array, flow_px: Array, visible: Array | None = None) -> float | None:
    """Share of the pixels whose label changes along the flow, in percent: `flip_map` as one number.

    ``100 |{x counted: previous(x + flow(x)) != labels(x)}| / |{x counted}|``; None if no pixel counts.
    """
    flipped, counted = flip_map(previous_labels, labels, flow_px, visible)
    return percent(np.count_nonzero(flipped), np.count_nonzero(counted))


def temporal_consistency(
    previous_labels: Array, labels: Array, flow_px: Array, visible: Array | None = None, *, num_classes: int
) -> float | None:
    """mIoU in percent between the warped previous prediction and the current one, for one pair.

    The idea is ETC's TC (Liu et al., ECCV 2020); the definition is ours: nearest warp, occluded and out-of-frame
    pixels left out, classes absent from both maps left out. For a whole set use `FlickerMeter`, which keeps one
    confusion matrix; `tc_etc` and `tc_vspw` are the published procedures.
    """
    meter = FlickerMeter(num_classes)
    meter.update(previous_labels, labels, flow_px, visible)
    return meter.compute().temporal_consistency_percent


@dataclass(frozen=True)
class FlickerResult:
    """What a `FlickerMeter` found; rates in percent of the counted pixels."""

    flips_percent: float | None
    """Pixels whose label changed along the flow."""
    per_class_percent: tuple[float | None, ...]
    """The same per class, by the current label; None for a class that is never predicted."""
    boundary_percent: float | None
    """The same among pixels within `BOUNDARY_PX` of an edge of the current prediction."""
    interior_percent: float | None
    """The same among all other pixels."""
    temporal_consistency_percent: float | None
    """mIoU between the warped previous and the current prediction, one confusion matrix over the whole set."""
    per_class_consistency_percent: tuple[float | None, ...]
    """Its IoU per class; None for a class in neither prediction."""
    absent_classes: tuple[int, ...]
    """Ids of the classes in neither prediction, left out of the mean."""
    frames: int
    """Pairs of frames counted."""
    pixels: int
    """Pixels counted, over all pairs."""
    boundary_pixels: int
    """Those of them near an edge."""


class FlickerMeter:
    """Label flips and temporal consistency over a whole set, from one table of label transitions.

    Args:
        num_classes: ids are 0 .. num_classes - 1.
    """

    def __init__(self, num_classes: int) -> None:
        check_num_classes(num_classes)
        self.num_classes = num_classes
        self.transitions = np.zeros((2, num_classes, num_classes), np.int64)
        """Pixels by (0 interior, 1 boundary; warped previous label; current label); sum several to merge meters."""
        self.frames = 0
        """Pairs counted; sum several to merge meters."""

    def update(
        self, previous_labels: Array, labels: Array, flow_px: Array, visible: Array | None = None
    ) -> float | None:
        """Counts one pair of frames.

        Args:
            previous_labels: (H, W) integers, the previous frame's prediction.
            labels: (H, W) integers, the current frame's prediction.
            flow_px: (2, H, W), from the current to the previous frame, in pixels.
            visible: (H, W) bool, pixels of the current frame that the previous one shows; None: all.

        Returns:
            This pair's flips in percent; None if no pixel counts.

        Raises:
            ValueError: for maps that do not fit each other, or a label that is no class. Nothing is counted then.
        """
        current = as_labels(labels)
        previous = as_labels(previous_labels, "previous_labels")
        if previous.shape != current.shape:
            raise DWNetError(
                f"previous_labels has shape {previous.shape} and labels {current.shape}; allowed is one shape"
            )
        check_class_ids(current, self.num_classes)
        check_class_ids(previous, self.num_classes, "previous_labels")
        warped, _ = warp_labels(previous, flow_px)
        return self.update_warped(warped, current, as_mask(visible, current.shape))

    def update_warped(
        self, warped: NDArray[np.uint8], labels: NDArray[np.uint8], visible: NDArray[np.bool_]
    ) -> float | None:
        """Counts one pair of frames whose previous labels are warped already: several meters can share one warp.

        Args:
            warped: (H, W) uint8, the previous frame's prediction, from `NearestWarp` or `warp_labels`.
            labels: (H, W) uint8, the current frame's prediction. Neither map's ids are checked here: what is no class
                of this meter is left out.
            visible: (H, W) bool.

        Returns:
            This pair's flips in percent; None if no pixel counts.
        """
        boundary = near_edge(labels, distance_px=BOUNDARY_PX)
        counts = np.stack(
            [confusion_matrix(warped, labels, self.num_classes, visible & zone) for zone in (~boundary, boundary)]
        )
        self.transitions += counts
        self.frames += 1
        pixels = counts.sum()
        return percent(pixels - np.trace(counts, axis1=1, axis2=2).sum(), pixels)

    def grow(self, num_classes: int) -> None:
        """Makes room for more classes; ValueError for fewer than there are."""
        self.transitions = grown(self.transitions, num_classes, axes=2)
        self.num_classes = num_classes

    def merge(self, other: "FlickerMeter") -> None:
        """Adds what another meter counted, as if this one had seen its frames.

        Raises:
            ValueError: for another number of classes.
        """
        if other.num_classes != self.num_classes:
            raise DWNetError(f"the other meter has {other.num_classes} classes; allowed is {self.num_classes}")
        self.transitions += other.transitions
        self.frames += other.frames

    def compute(self) -> FlickerResult:
        """The rates over everything counted so far."""
        per_zone = self.transitions.sum(axis=(1, 2))
        flips_per_zone = per_zone - np.trace(self.transitions, axis1=1, axis2=2)
        table = self.transitions.sum(axis=0)
        per_class = table.sum(axis=0)
        flips_per_class = per_class - np.diag(table)
        consistency = iou_percent(table)
        return FlickerResult(
            flips_percent=percent(flips_per_zone.sum(), per_zone.sum()),
            per_class_percent=tuple(
                percent(flips, pixels) for flips, pixels in zip(flips_per_class, per_class, strict=True)
            ),
            boundary_percent=percent(flips_per_zone[1], per_zone[1]),
            interior_percent=percent(flips_per_zone[0], per_zone[0]),
            temporal_consistency_percent=mean_percent(consistency),
            per_class_consistency_percent=consistency,
            absent_classes=tuple(index for index, iou in enumerate(consistency) if iou is None),
            frames=self.frames,
            pixels=int(per_zone.sum()),
            boundary_pixels=int(per_zone[1]),
        )


def unchanged_truth(previous_target: Array, target: Array, flow_px: Array) -> NDArray[np.bool_]:
    """Where the true label is known in both frames and stays the same along the flow.

    Given to `FlickerMeter.update` (and-ed with the visible pixels) it turns the flip rate into the flicker error.

    Args:
        previous_target: (H, W) integers, the previous frame's truth.
        target: (H, W) integers, the current frame's truth.
        flow_px: (2, H, W), from the current to the previous frame, in pixels.

    Returns:
        (H, W) bool.
    """
    changed, counted = flip_map(previous_target, target, flow_px)
    return counted & ~changed


def flicker_error(
    previous_labels: Array,
    labels: Array,
    previous_target: Array,
    target: Array,
    flow_px: Array,
    visible: Array | None = None,
) -> float | None:
    """Flips that are errors, in percent: `flip_rate` among the pixels whose true label does not change.

    Where the truth is the same in both frames, a flip means that at least one of the two predictions is wrong.

    Args:
        previous_labels: (H, W) integers, the previous frame's prediction.
        labels: (H, W) integers, the current frame's prediction.
        previous_target: (H, W) integers, the previous frame's truth, `IGNORE_LABEL` where unknown.
        target: (H, W) integers, the current frame's truth, `IGNORE_LABEL` where unknown.
        flow_px: (2, H, W), from the current to the previous frame, in pixels.
        visible: (H, W) bool; None: all.

    Returns:
        The rate; None if no pixel counts.
    """
    unchanged = unchanged_truth(previous_target, target, flow_px)
    return flip_rate(previous_labels, labels, flow_px, unchanged & as_mask(visible, unchanged.shape))


class LogitJitterMeter:
    """`logit_jitter` over a whole set: the mean over all counted pixels of all pairs."""

    def __init__(self) -> None:
        self.change = 0.0
        """Sum over the counted pixels of the mean absolute change; sum several to merge meters."""
        self.pixels = 0
        """Counted pixels; sum several to merge meters."""

    def update(
        self, previous_logits: Array, logits: Array, flow_px: Array, visible: Array | None = None
    ) -> float | None:
        """Counts one pair of frames (arguments as `logit_jitter`) and returns its jitter."""
        current = _probabilities(logits, "logits")
        previous = _probabilities(previous_logits, "previous_logits")
        if previous.shape != current.shape:
            raise DWNetError(
                f"previous_logits has shape {previous.shape} and logits {current.shape}; allowed is one shape"
            )
        shape = (current.shape[1], current.shape[2])
        x, y, inside = positions_along(as_flow(flow_px, shape))
        counted = as_mask(visible, shape) & inside
        change = np.zeros(shape, np.float32)
        for then, now in zip(previous, current, strict=True):
            change += np.abs(cv2.remap(then, x, y, cv2.INTER_LINEAR) - now)
        total = float(change[counted].sum(dtype=np.float64)) / len(current)
        pixels = int(np.count_nonzero(counted))
        self.change += total
        self.pixels += pixels
        return total / pixels if pixels else None

    def compute(self) -> float | None:
        """The mean over everything counted so far, 0..1; None if nothing was."""
        return self.change / self.pixels if self.pixels else None


def logit_jitter(previous_logits: Array, logits: Array, flow_px: Array, visible: Array | None = None) -> float | None:
    """Mean absolute change of the class probabilities along the flow: flicker before it crosses a decision.

    ``mean over counted x and classes c of |p_c(x) - p_previous,c(x + flow(x))|``, p = softmax(logits), the previous
    map sampled bilinearly. It lies in 0 .. 2/C; times ``50 C`` it is the share of probability that moves, in percent,
    which for one-hot probabilities and whole-pixel flow equals `flip_rate`.

    Args:
        previous_logits: (C, H, W) float, the previous frame's logits.
        logits: (C, H, W) float, the current frame's logits.
        flow_px: (2, H, W), from the current to the previous frame, in pixels.
        visible: (H, W) bool, pixels of the current frame that the previous one shows; None: all.

    Returns:
        The jitter; None if no pixel counts.

    Raises:
        ValueError: for maps that do not fit each other, or logits that are not finite.
    """
    return LogitJitterMeter().update(previous_logits, logits, flow_px, visible)


def _probabilities(logits: Array, name: str) -> NDArray[np.float32]:
    array = as_numpy(logits)
    if array.ndim != 3 or array.size == 0 or array.dtype.kind != "f":
        raise DWNetError(f"{name} is {array.dtype} of shape {array.shape}; allowed is a non-empty float (C, H, W)")
    if not np.isfinite(array).all():
        raise DWNetError(f"{name} holds values that are not finite; allowed are finite numbers")
    shifted = np.exp(array.astype(np.float32) - array.max(axis=0).astype(np.float32))
    probabilities: NDArray[np.float32] = np.ascontiguousarray(shifted / shifted.sum(axis=0))
    return probabilities
