"""All counts of one set of predictions. They add up over frames and clips, and can be written as JSON."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import IGNORE_LABEL
from dwnet.flicker.flows import PairMotion
from dwnet.flicker.label_maps import Prediction
from dwnet.metrics import (
    FlickerMeter,
    LogitJitterMeter,
    Meter,
    SegmentationMeter,
    TCETCMeter,
    TCVSPWMeter,
    VideoConsistencyMeter,
)

WINDOWS = (8, 16)
"""Frames per window of VC_n, as in the papers."""


@dataclass(frozen=True)
class PairCount:
    """The counts of one pair of frames."""

    flips_percent: float | None
    flipped: NDArray[np.bool_]
    """(H, W) bool, pixels whose label changed along the flow."""
    compared: NDArray[np.bool_]
    """(H, W) bool, pixels that are counted."""
    error_percent: float | None
    """Flicker error in percent; None without truth for both frames."""
    jitter: float | None
    """Mean absolute change of the class probabilities; None without scores."""
    transitions: NDArray[np.int64]
    """(2, K, K), the counts of this pair alone (`metrics.FlickerMeter.transitions`)."""


class SetTally:
    """All meters of one set of predictions.

    Args:
        num_classes: number of classes at the start; `grow` adds more.
    """

    def __init__(self, num_classes: int = 1) -> None:
        self.num_classes = num_classes
        self.flicker = FlickerMeter(num_classes)
        self.first_flow = FlickerMeter(num_classes)
        """Flicker along the first flow, on the pairs that `second_flow` has counted."""
        self.second_flow = FlickerMeter(num_classes)
        self.error = FlickerMeter(num_classes)
        self.segmentation = SegmentationMeter(num_classes)
        self.etc = TCETCMeter(num_classes)
        self.vspw = TCVSPWMeter(num_classes)
        self.jitter = LogitJitterMeter()
        self.consistency = {n: VideoConsistencyMeter(n) for n in WINDOWS}
        self.pixels = 0
        """Number of pixels in all frames."""
        self.ignored = 0
        """Number of pixels without a class in all frames."""
        self.published_pairs = 0
        """Number of pairs that `etc` and `vspw` have counted."""

    def _meters(self) -> dict[str, Meter]:
        return {
            "flicker": self.flicker,
            "first_flow": self.first_flow,
            "second_flow": self.second_flow,
            "error": self.error,
            "segmentation": self.segmentation,
            "etc": self.etc,
            "vspw": self.vspw,
            "jitter": self.jitter,
            **{f"vc{n}": meter for n, meter in self.consistency.items()},
        }

    def grow(self, num_classes: int) -> None:
        """Extends all meters to `num_classes` classes. Does nothing if they have as many already."""
        if num_classes > self.num_classes:
            for meter in self._meters().values():
                meter.grow(num_classes)
            self.num_classes = num_classes

    def update_frame(self, labels: NDArray[np.uint8], truth: NDArray[np.uint8] | None) -> None:
        """Counts one frame: (H, W) uint8 labels, and (H, W) uint8 truth or None."""
        missing = labels == IGNORE_LABEL
        self.pixels += labels.size
        self.ignored += int(np.count_nonzero(missing))
        if truth is not None:
            self.segmentation.update(labels, truth)
            for meter in self.consistency.values():
                meter.update(labels, truth)

    def update_pair(
        self,
        previous: Prediction,
        current: Prediction,
        motion: PairMotion,
        *,
        unchanged: NDArray[np.bool_] | None,
        second: PairMotion | None,
    ) -> PairCount:
        """Counts one pair of frames.

        Args:
            previous: prediction for the previous frame.
            current: prediction for the current frame.
            motion: motion between the two frames.
            unchanged: (H, W) bool, pixels whose true label is known and equal in both frames; None without truth.
            second: motion along the second flow; None if it was not computed for this pair.
        """
        labels = current.labels
        warped = motion.warp(previous.labels)
        before = self.flicker.transitions.copy()
        flips_percent = self.flicker.update_warped(warped, labels, motion.visible)
        transitions = self.flicker.transitions - before
        compared = motion.visible & (warped != IGNORE_LABEL) & (labels != IGNORE_LABEL)
        error_percent = None
        if unchanged is not None:
            error_percent = self.error.update_warped(warped, labels, motion.visible & unchanged)
        if motion.etc is not None and motion.vspw is not None:
            self.etc.update_warped(previous.labels, motion.etc(labels))
            # VSPW's script cannot count ignored pixels: `summary` gives no figure for a set with such pixels.
            self.vspw.update_warped(previous.labels, motion.vspw(labels))
            self.published_pairs += 1
        if second is not None:
            self.first_flow.update_warped(warped, labels, motion.visible)
            self.second_flow.update_warped(second.warp(previous.labels), labels, second.visible)
        jitter = None
        if previous.logits is not None and current.logits is not None:
            jitter = self.jitter.update(previous.logits, current.logits, motion.to_previous_px, motion.visible)
        return PairCount(flips_percent, compared & (warped != labels), compared, error_percent, jitter, transitions)

    def end_video(self) -> None:
        """Ends the run of labelled frames: windows of the video consistency do not cross this point."""
        for meter in self.consistency.values():
            meter.end_video()

    def merge(self, other: "SetTally") -> None:
        """Adds the counts of a tally of other clips. Both tallies grow to the larger number of classes."""
        num_classes = max(self.num_classes, other.num_classes)
        self.grow(num_classes)
        other.grow(num_classes)
        self._add(other.state())

    def _add(self, state: dict[str, Any]) -> None:
        for name, meter in self._meters().items():
            meter.merge(state["meters"][name])
        self.pixels += state["pixels"]
        self.ignored += state["ignored"]
        self.published_pairs += state["published_pairs"]

    def state(self) -> dict[str, Any]:
        """Returns all counts as values for JSON. `from_state` restores them."""
        return {
            "num_classes": self.num_classes,
            "meters": {
                name: {key: array.tolist() for key, array in meter.state().items()}
                for name, meter in self._meters().items()
            },
            "pixels": self.pixels,
            "ignored": self.ignored,
            "published_pairs": self.published_pairs,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "SetTally":
        """Returns the tally with this `state`."""
        tally = cls(state["num_classes"])
        tally._add(state)
        return tally

    def summary(self) -> dict[str, Any]:
        """Returns all figures of the set; an undefined figure is None. `definitions.DEFINITIONS` explains them."""
        flicker, error = self.flicker.compute(), self.error.compute()
        first, second = self.first_flow.compute().flips_percent, self.second_flow.compute().flips_percent
        truth, published = self.segmentation.compute(), self.published_pairs > 0
        figures: dict[str, Any] = {
            "flip_rate_percent": flicker.flips_percent,
            "flip_rate_boundary_percent": flicker.boundary_percent,
            "flip_rate_interior_percent": flicker.interior_percent,
            "temporal_consistency_percent": flicker.temporal_consistency_percent,
            "tc_etc_percent": self.etc.compute() if published else None,
            "tc_vspw_percent": self.vspw.compute() if published and not self.ignored else None,
            "logit_jitter": self.jitter.compute(),
            "miou_percent": truth.miou_percent,
            "pixel_accuracy_percent": truth.pixel_accuracy_percent,
            "flicker_error_percent": error.flips_percent,
        }
        for n, meter in self.consistency.items():
            windows = meter.compute()
            figures[f"vc{n}_percent"] = windows.constant_percent
            figures[f"vc{n}_correct_percent"] = windows.correct_percent
            figures[f"vc{n}_published_percent"] = windows.published_percent
        return figures | {
            "flip_rate_same_pairs_percent": first,
            "flip_rate_second_flow_percent": second,
            "second_flow_pairs": self.second_flow.frames,
            "pairs": self.flicker.frames,
            "pixels_compared": flicker.pixels,
            "boundary_pixels_compared": flicker.boundary_pixels,
            "ignored_percent": 100 * self.ignored / self.pixels if self.pixels else None,
            "unpredicted_labelled_pixels": int(self.segmentation.missed.sum()) if truth.pixels else None,
        }

    def per_class(self) -> list[dict[str, float | None]]:
        """Returns the flip rate, consistency and IoU of every class, in percent."""
        flicker, truth = self.flicker.compute(), self.segmentation.compute()
        columns = (flicker.per_class_percent, flicker.per_class_consistency_percent, truth.per_class_iou_percent)
        keys = ("flip_rate_percent", "temporal_consistency_percent", "iou_percent")
        return [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
