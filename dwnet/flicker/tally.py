"""What is counted of one set of predictions: it adds up over frames and clips, and can be written down."""

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
    SegmentationMeter,
    TCETCMeter,
    TCVSPWMeter,
    VideoConsistencyMeter,
)

WINDOWS = (8, 16)
"""Frames per window of VC_n, as the papers have them."""


@dataclass(frozen=True)
class PairCount:
    """What one pair of frames adds."""

    flips_percent: float | None
    flipped: NDArray[np.bool_]
    """(H, W) bool, pixels whose label changed along the flow."""
    compared: NDArray[np.bool_]
    """(H, W) bool, pixels that count."""
    error_percent: float | None
    """Flips that are errors; None without truth of both frames."""
    jitter: float | None
    """Mean absolute change of the probabilities; None without scores."""


class SetTally:
    """Every meter of one set of predictions.

    Args:
        num_classes: so many classes to begin with; it grows with the ids that are met.
    """

    def __init__(self, num_classes: int = 1) -> None:
        self.num_classes = num_classes
        self.flicker = FlickerMeter(num_classes)
        self.first_flow = FlickerMeter(num_classes)
        """The flicker along the flow, on the pairs that the second flow saw too."""
        self.second_flow = FlickerMeter(num_classes)
        self.error = FlickerMeter(num_classes)
        self.segmentation = SegmentationMeter(num_classes)
        self.etc = TCETCMeter(num_classes)
        self.vspw = TCVSPWMeter(num_classes)
        self.jitter = LogitJitterMeter()
        self.consistency = {n: VideoConsistencyMeter(n) for n in WINDOWS}
        self.pixels = 0
        """Pixels of all frames."""
        self.ignored = 0
        """Those of them without a class."""
        self.published_pairs = 0
        """Pairs that `etc` and `vspw` saw."""

    def _meters(self) -> dict[str, FlickerMeter | SegmentationMeter | TCETCMeter | TCVSPWMeter]:
        return {
            "flicker": self.flicker,
            "first_flow": self.first_flow,
            "second_flow": self.second_flow,
            "error": self.error,
            "segmentation": self.segmentation,
            "etc": self.etc,
            "vspw": self.vspw,
        }

    def grow(self, num_classes: int) -> None:
        """Makes room for so many classes; does nothing where there is room."""
        if num_classes > self.num_classes:
            for meter in self._meters().values():
                meter.grow(num_classes)
            self.num_classes = num_classes

    def update_frame(self, labels: NDArray[np.uint8], truth: NDArray[np.uint8] | None) -> None:
        """Counts one frame: (H, W) uint8 labels, and the truth where it is known."""
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
            previous: what is predicted for the frame before.
            current: what is predicted for this frame.
            motion: between them.
            unchanged: (H, W) bool, where the true label is known and stays; None without truth.
            second: the same motion by another flow, where it was computed.
        """
        labels = current.labels
        warped = motion.warp(previous.labels)
        flips_percent = self.flicker.update_warped(warped, labels, motion.visible)
        compared = motion.visible & (warped != IGNORE_LABEL) & (labels != IGNORE_LABEL)
        error_percent = None
        if unchanged is not None:
            error_percent = self.error.update_warped(warped, labels, motion.visible & unchanged)
        if motion.etc is not None and motion.vspw is not None:
            self.etc.update_warped(previous.labels, motion.etc(labels))
            # Only ids can be counted there: a set with ignored pixels gets no figure.
            self.vspw.update_warped(previous.labels, motion.vspw(labels))
            self.published_pairs += 1
        if second is not None:
            self.first_flow.update_warped(warped, labels, motion.visible)
            self.second_flow.update_warped(second.warp(previous.labels), labels, second.visible)
        jitter = None
        if previous.logits is not None and current.logits is not None:
            jitter = self.jitter.update(previous.logits, current.logits, motion.to_previous_px, motion.visible)
        return PairCount(flips_percent, compared & (warped != labels), compared, error_percent, jitter)

    def merge(self, other: "SetTally") -> None:
        """Adds what another tally counted, of other clips."""
        num_classes = max(self.num_classes, other.num_classes)
        self.grow(num_classes)
        other.grow(num_classes)
        for mine, theirs in zip(self._tables(), other._tables(), strict=True):
            mine += theirs
        for name in ("flicker", "first_flow", "second_flow", "error"):
            getattr(self, name).frames += getattr(other, name).frames
        self.jitter.change += other.jitter.change
        self.jitter.pixels += other.jitter.pixels
        for name in ("pixels", "ignored", "published_pairs"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def _tables(self) -> list[NDArray[Any]]:
        flicker = [meter.transitions for meter in (self.flicker, self.first_flow, self.second_flow, self.error)]
        windows = [array for meter in self.consistency.values() for array in (meter.sums, meter.windows)]
        return [
            *flicker,
            self.segmentation.confusion,
            self.segmentation.missed,
            self.etc.areas,
            self.vspw.confusion,
            *windows,
        ]

    def state(self) -> dict[str, Any]:
        """Everything counted, as JSON has it; `from_state` reads it back."""
        return {
            "num_classes": self.num_classes,
            "tables": [table.tolist() for table in self._tables()],
            "pairs": [meter.frames for meter in (self.flicker, self.first_flow, self.second_flow, self.error)],
            "jitter": [self.jitter.change, self.jitter.pixels],
            "pixels": [self.pixels, self.ignored, self.published_pairs],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "SetTally":
        """The tally that `state` describes."""
        tally = cls(state["num_classes"])
        for table, values in zip(tally._tables(), state["tables"], strict=True):
            table += np.asarray(values, table.dtype)
        meters = (tally.flicker, tally.first_flow, tally.second_flow, tally.error)
        for meter, frames in zip(meters, state["pairs"], strict=True):
            meter.frames = frames
        tally.jitter.change, tally.jitter.pixels = state["jitter"]
        tally.pixels, tally.ignored, tally.published_pairs = state["pixels"]
        return tally

    def summary(self) -> dict[str, Any]:
        """Every figure of the set, None where it is undefined; `definitions.DEFINITIONS` says what each means."""
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
        """Flip rate, consistency and IoU of every class."""
        flicker, truth = self.flicker.compute(), self.segmentation.compute()
        columns = (flicker.per_class_percent, flicker.per_class_consistency_percent, truth.per_class_iou_percent)
        keys = ("flip_rate_percent", "temporal_consistency_percent", "iou_percent")
        return [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]
