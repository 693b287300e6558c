"""Flicker of a segmentation: label flips along the flow, temporal consistency, flicker error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_labels, as_mask, check_class_ids
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.metrics.counting import (
    confusion_matrix,
    iou_percent,
    mean_percent,
    near_edge,
    percent,
    warp_labels,
)
from dwnet.metrics.meter import ClassMeter, class_counts, counts

BOUNDARY_PX = 3
"""Largest distance of a boundary pixel from another class, in pixels."""


def flip_map(
    previous_labels: Array, labels: Array, flow_px: Array, visible: Array | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns the pixels whose label changed along the flow, and the pixels that count.

    Args:
        previous_labels: (H, W) integers, the previous frame's prediction.
        labels: (H, W) integers, the current frame's prediction.
        flow_px: (2, H, W), from the current to the previous frame, in pixels.
        visible: (H, W) bool, pixels of the current frame that the previous one shows; None: all.

    Returns:
        Two (H, W) bool maps of the current frame: flipped, and counted (visible, inside the previous frame, and
        labelled in both). Flipped pixels are always counted ones.

    Raises:
        DWNetError: for maps of different sizes or invalid maps.
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
    """Returns the share of the pixels whose label changes along the flow, in percent.

    ``100 |{x counted: previous(x + flow(x)) != labels(x)}| / |{x counted}|``; None if no pixel counts.
    """
    flipped, counted = flip_map(previous_labels, labels, flow_px, visible)
    return percent(np.count_nonzero(flipped), np.count_nonzero(counted))


def temporal_consistency(
    previous_labels: Array, labels: Array, flow_px: Array, visible: Array | None = None, *, num_classes: int
) -> float | None:
    """Returns the mIoU in percent between the warped previous prediction and the current one, for one pair.

    The idea is from ETC's TC (Liu et al., ECCV 2020). This definition differs: the warp uses the nearest pixel, and
    occluded pixels, pixels outside the frame and classes absent from both maps are left out. For a whole set use
    `FlickerMeter`, which keeps one confusion matrix. `tc_etc` and `tc_vspw` are the published procedures.
    """
    meter = FlickerMeter(num_classes)
    meter.update(previous_labels, labels, flow_px, visible)
    return meter.compute().temporal_consistency_percent


@dataclass(frozen=True)
class FlickerResult:
    """The result of a `FlickerMeter`. Rates are in percent of the counted pixels."""

    flips_percent: float | None
    """Pixels whose label changed along the flow."""
    per_class_percent: tuple[float | None, ...]
    """Flips per class, by the current label; None for a class that is never predicted."""
    boundary_percent: float | None
    """Flips among pixels within `BOUNDARY_PX` of a boundary in the current prediction."""
    interior_percent: float | None
    """Flips among all other pixels."""
    temporal_consistency_percent: float | None
    """mIoU between the warped previous and the current prediction, from one confusion matrix over the whole set."""
    per_class_consistency_percent: tuple[float | None, ...]
    """IoU per class of the same predictions; None for a class in neither prediction."""
    absent_classes: tuple[int, ...]
    """Ids of the classes in neither prediction, left out of the mean."""
    frames: int
    """Pairs of frames counted."""
    pixels: int
    """Pixels counted, over all pairs."""
    boundary_pixels: int
    """Counted pixels near a boundary."""


class FlickerMeter(ClassMeter):
    """Label flips and temporal consistency over a whole set, from one table of label transitions.

    Args:
        num_classes: number of classes; ids are 0 .. num_classes - 1.
    """

    class_axes: ClassVar = {"transitions": 2}

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, transitions=class_counts(num_classes, 2, axes=2), frames=counts())

    @property
    def transitions(self) -> NDArray[np.int64]:
        """(2, K, K) pixels by zone (0 interior, 1 boundary), warped previous label, and current label."""
        return self._arrays["transitions"]

    @property
    def frames(self) -> int:
        """Pairs of frames counted."""
        return int(self._arrays["frames"])

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
            The flips of this pair in percent; None if no pixel counts.

        Raises:
            DWNetError: for maps of different sizes, or a label that is not a class. Nothing is counted in this case.
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
        """Counts one pair of frames whose previous labels are already warped. Several meters can share one warp.

        Args:
            warped: (H, W) uint8, the previous frame's prediction, from `NearestWarp` or `warp_labels`.
            labels: (H, W) uint8, the current frame's prediction. The ids are not checked. Pixels with ids
                that are not classes of this meter are left out.
            visible: (H, W) bool, the pixels to count.

        Returns:
            The flips of this pair in percent; None if no pixel counts.
        """
        boundary = near_edge(labels, distance_px=BOUNDARY_PX)
        table = np.stack(
            [confusion_matrix(warped, labels, self.num_classes, visible & zone) for zone in (~boundary, boundary)]
        )
        self._arrays["transitions"] += table
        self._arrays["frames"] += 1
        pixels = table.sum()
        return percent(pixels - np.trace(table, axis1=1, axis2=2).sum(), pixels)

    def compute(self) -> FlickerResult:
        """Returns the rates over everything counted so far."""
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
    """Returns the pixels whose true label is known in both frames and stays the same along the flow.

    With this mask, combined with the visible pixels, as `visible`, `FlickerMeter.update` measures the flicker error.

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
    """Returns the flicker error in percent: `flip_rate` among the pixels whose true label does not change.

    If the truth is the same in both frames, a flip means that at least one of the two predictions is wrong.

    Args:
        previous_labels: (H, W) integers, the previous frame's prediction.
        labels: (H, W) integers, the current frame's prediction.
        previous_target: (H, W) integers, the previous frame's truth, `IGNORE_LABEL` where unknown.
        target: (H, W) integers, the current frame's truth, `IGNORE_LABEL` where unknown.
        flow_px: (2, H, W), from the current to the previous frame, in pixels.
        visible: (H, W) bool; None: all.

    Returns:
        The rate in percent; None if no pixel counts.
    """
    unchanged = unchanged_truth(previous_target, target, flow_px)
    return flip_rate(previous_labels, labels, flow_px, unchanged & as_mask(visible, unchanged.shape))
