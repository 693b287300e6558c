"""Counts of an evaluation that processes can add up: segmentation, flicker along two flows, and video consistency."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array
from dwnet.core.launch import ALONE, Processes
from dwnet.evaluation.processes import sum_states
from dwnet.flow.registry import FlowFunction
from dwnet.metrics import (
    FlickerMeter,
    FlickerResult,
    NearestWarp,
    SegmentationMeter,
    SegmentationResult,
    State,
    VideoConsistencyMeter,
    occlusion_mask,
)

WINDOWS = (8, 16)
"""Frames per window of VC_n, as in the papers."""

_STEPS = 2**40
"""Ratios are added as whole multiples of 1 / _STEPS, so that their sum does not depend on the number of processes."""


@dataclass(frozen=True)
class Consistency:
    """VC_n over the windows of n consecutive labelled frames (`dwnet.metrics.VideoConsistencyMeter`)."""

    n: int
    """Frames per window."""
    constant_percent: float
    """Share of constant predictions, right or wrong, among pixels of constant truth. This is VSPW's VC_n."""
    correct_percent: float
    """Share of constant and right predictions among the same pixels."""
    windows: int
    """Number of windows."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model on a split."""

    name: str
    segmentation: SegmentationResult
    flicker: FlickerResult | None
    """Flicker over all pairs of consecutive frames; None if there are no such pairs."""
    without_warmup: int = 0
    """Number of frames at which a model started without all the earlier frames it uses, because the data lacks them."""
    second_flicker: FlickerResult | None = None
    """Flicker of the same pairs along the second flow; None without a second flow."""
    consistency: tuple[Consistency, ...] = ()
    """VC_n for each n of `WINDOWS` for which n labelled frames are consecutive."""

    def vc_percent(self, n: int) -> float | None:
        """Returns VC_n in percent; None if no n labelled frames are consecutive."""
        return next((found.constant_percent for found in self.consistency if found.n == n), None)


@dataclass(frozen=True)
class Motion:
    """Motion from a frame to the frame before, which all models of an evaluation share."""

    flow_px: NDArray[np.float32]
    """(2, H, W) in pixels."""
    visible: NDArray[np.bool_]
    """(H, W), pixels that are visible in the frame before."""
    warp: NearestWarp

    @classmethod
    def between(cls, image: NDArray[np.uint8], previous: NDArray[np.uint8], flow: FlowFunction) -> "Motion":
        """Returns the motion from a frame to the one before, both (H, W, 3) uint8 RGB."""
        flow_px = flow(image, previous)
        return cls(flow_px, occlusion_mask(flow_px, flow(previous, image)), NearestWarp(flow_px))


class Counts:
    """Counts the frames of one process, and computes the scores over all processes.

    Args:
        num_classes: number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self.segmentation = SegmentationMeter(num_classes)
        self.flicker = FlickerMeter(num_classes)
        self.second_flicker = FlickerMeter(num_classes)
        self.without_warmup = 0
        """See `Evaluation.without_warmup`."""
        self._videos = {n: VideoConsistencyMeter(n) for n in WINDOWS}
        self._ratios = np.zeros((len(WINDOWS), 2), np.int64)
        self._windows = np.zeros(len(WINDOWS), np.int64)

    def frame(self, labels: Array, truth: Array) -> None:
        """Counts one frame from its predicted and true labels, both (H, W)."""
        self.segmentation.update(labels, truth)

    def pair(self, previous: NDArray[np.uint8], labels: NDArray[np.uint8], motion: Motion) -> None:
        """Counts one pair of frames from its predicted labels, both (H, W), along the flow."""
        self.flicker.update_warped(motion.warp(previous), labels, motion.visible)

    def second_pair(self, previous: NDArray[np.uint8], labels: NDArray[np.uint8], motion: Motion) -> None:
        """Counts the same pair along the second flow."""
        self.second_flicker.update_warped(motion.warp(previous), labels, motion.visible)

    def video_frame(
        self, labels: NDArray[np.uint8], truth: NDArray[np.uint8], *, position: int, missing: int = 0
    ) -> None:
        """Counts the windows of VC_n that end at a frame.

        Args:
            labels: predicted labels, (H, W).
            truth: true labels, (H, W).
            position: number of consecutive labelled frames before this one; 0 starts a video.
            missing: number of frames until the first counted one. Windows that end before it are not counted.
        """
        for row, (n, meter) in enumerate(self._videos.items()):
            if position == 0:
                meter.end_video()
            if missing >= n:
                continue
            ratios = meter.update(labels, truth)
            if ratios is not None:
                assert missing == 0  # with n - 1 frames before it, the first counted frame ends the first window
                self._ratios[row] += [round(ratio * _STEPS) for ratio in ratios]
                self._windows[row] += 1

    def state(self) -> State:
        """Returns all counts by name. The states of several processes can be added."""
        return {
            **self.segmentation.state(),
            **self.flicker.state(),
            **{f"second_{key}": array for key, array in self.second_flicker.state().items()},
            "without_warmup": np.array(self.without_warmup, np.int64),
            "vc_ratios": self._ratios.copy(),
            "vc_windows": self._windows.copy(),
        }

    def evaluation(self, name: str, processes: Processes = ALONE) -> Evaluation:
        """Returns the scores over the counts of all processes. Collective: every process must call it."""
        total = sum_states(self.state(), processes)
        classes = self.segmentation.num_classes
        segmentation, flicker, second = SegmentationMeter(classes), FlickerMeter(classes), FlickerMeter(classes)
        for meter in (segmentation, flicker):
            meter.merge({key: total[key] for key in meter.state()})
        second.merge({key: total[f"second_{key}"] for key in second.state()})
        return Evaluation(
            name,
            segmentation.compute(),
            flicker.compute() if flicker.frames else None,
            int(total["without_warmup"]),
            second.compute() if second.frames else None,
            _consistency(total["vc_ratios"].tolist(), total["vc_windows"].tolist()),
        )


def _consistency(ratios: list[list[int]], windows: list[int]) -> tuple[Consistency, ...]:
    found = []
    for n, (constant, correct), count in zip(WINDOWS, ratios, windows, strict=True):
        if count:
            found.append(Consistency(n, 100 * constant / _STEPS / count, 100 * correct / _STEPS / count, count))
    return tuple(found)
