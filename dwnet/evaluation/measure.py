"""Measures a model on a labelled split: class IoU, and how steady the labels are along the flow."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array
from dwnet.core.errors import DWNetError
from dwnet.core.launch import ALONE, Processes
from dwnet.data.open import FrameData
from dwnet.evaluation.predictors import Predictor
from dwnet.evaluation.processes import positions, raise_on_all_processes, share, sum_states
from dwnet.flow import dis_flow
from dwnet.flow.registry import FlowFunction
from dwnet.metrics import FlickerMeter, FlickerResult, SegmentationMeter, SegmentationResult, State, occlusion_mask

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all), both of this process."""

OnLabels = Callable[[int, NDArray[np.uint8]], None]
"""Called once per frame, by one process, with its index in the split and the predicted labels (H, W) uint8."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How a model is evaluated. Raises DWNetError for a `max_gap` below 1."""

    flow: FlowFunction = dis_flow
    """Flicker is measured along it, and methods warp by it (`dwnet.flow.registry.flow_function`)."""
    max_gap: int = 5
    """Two labelled frames of one sequence at most so many raw frames apart are consecutive."""
    processes: Processes = ALONE
    """This process among those that are `joined` and share the frames."""

    def __post_init__(self) -> None:
        if self.max_gap < 1:
            raise DWNetError(f"max_gap is {self.max_gap}; allowed are whole numbers from 1")


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model on a split."""

    name: str
    segmentation: SegmentationResult
    flicker: FlickerResult | None
    """None if no two frames are consecutive."""
    without_warmup: int = 0
    """Frames at which a model that uses earlier frames started without them, because the data has none there."""


def evaluate(
    name: str,
    predictor: Predictor | None,
    data: FrameData,
    settings: EvaluationSettings | None = None,
    *,
    on_labels: OnLabels | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Runs a model over a split, in the order of its frames, and returns its scores.

    Consecutive frames (`EvaluationSettings.max_gap`) are pairs: their flicker is measured along the flow, without
    occluded and out-of-frame pixels, and methods that use an earlier frame get it. Before any other frame such a model
    runs on the raw frames right before it, which are not counted, if the data has a video.

    Each of several processes counts consecutive frames. A process whose share starts within a sequence first runs as
    many earlier frames as the model uses, without counting them. So every frame and every pair is counted once, with
    the labels that a single process would predict.

    Args:
        name: of the model, for the result.
        predictor: the model; None evaluates the labels themselves, which shows the error of the flow.
        data: whole frames (no augmentation).
        settings: flow, distance of consecutive frames, processes; None takes the defaults.
        on_labels: called for each frame.
        progress: called after each frame.

    Returns:
        The scores over the whole split, the same in every process.

    Raises:
        RuntimeError: another process failed.
        ValueError, OSError: errors of reading the data or running the model.
    """
    settings = settings or EvaluationSettings()
    counts = Counts(len(data.classes))
    error: Exception | None = None
    try:
        count_share(predictor, data, counts, settings, on_labels=on_labels, progress=progress)
    except Exception as found:  # any error: the other processes must not wait for this one
        error = found
    raise_on_all_processes(error, settings.processes)
    return counts.evaluation(name, settings.processes)


class Counts:
    """The counts of one process, and the scores over all processes.

    Args:
        num_classes: number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self.segmentation = SegmentationMeter(num_classes)
        self.flicker = FlickerMeter(num_classes)
        self.without_warmup = 0
        """See `Evaluation.without_warmup`."""

    def frame(self, labels: Array, truth: Array) -> None:
        """Counts a frame: predicted and true labels, both (H, W)."""
        self.segmentation.update(labels, truth)

    def pair(
        self,
        previous: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        flow_px: NDArray[np.float32],
        visible: NDArray[np.bool_],
    ) -> None:
        """Counts a pair of frames; arguments as in `FlickerMeter.update`."""
        self.flicker.update(previous, labels, flow_px, visible)

    def state(self) -> State:
        """Returns all counts by name; the states of several processes add up."""
        return {
            **self.segmentation.state(),
            **self.flicker.state(),
            "without_warmup": np.array(self.without_warmup, np.int64),
        }

    def evaluation(self, name: str, processes: Processes = ALONE) -> Evaluation:
        """Returns the scores over the counts of all processes. Collective: every process must call it."""
        total = sum_states(self.state(), processes)
        segmentation, flicker = SegmentationMeter(self.segmentation.num_classes), FlickerMeter(self.flicker.num_classes)
        for meter in (segmentation, flicker):
            meter.merge({key: total[key] for key in meter.state()})
        return Evaluation(
            name,
            segmentation.compute(),
            flicker.compute() if flicker.frames else None,
            int(total["without_warmup"]),
        )


def count_share(
    predictor: Predictor | None,
    data: FrameData,
    counts: Counts,
    settings: EvaluationSettings,
    *,
    on_labels: OnLabels | None = None,
    progress: Progress | None = None,
) -> None:
    """Adds this process's share of the frames to `counts`; other arguments as in `evaluate`."""
    flow = settings.flow
    since_start, mine = positions(data.frames, settings.max_gap), share(len(data), settings.processes)
    first = _first_to_run(mine, since_start, predictor, data)
    image, labels = np.empty(0, np.uint8), np.empty(0, np.uint8)
    for index in range(first, mine.stop):
        counted, follows = index in mine, index > first and since_start[index] > 0
        previous_image, previous_labels = image, labels
        sample = data[index]
        image = (sample["frame"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        truth = sample["labels"].numpy()
        flow_px = flow(image, previous_image) if follows and counted else None
        if predictor is None:
            labels = truth.astype(np.uint8)
        else:
            if not follows:
                predictor.reset()
            if since_start[index] == 0:
                warmed_up = _warm_up(predictor, data, index, flow)
                counts.without_warmup += int(counted and not warmed_up)
            shared = flow_px is not None and predictor.reference is previous_image
            labels = predictor.labels(image, flow_px if shared else _flow_to(predictor.reference, image, flow))
        if not counted:
            continue
        counts.frame(labels, truth)
        if flow_px is not None:
            counts.pair(previous_labels, labels, flow_px, occlusion_mask(flow_px, flow(previous_image, image)))
        if on_labels is not None:
            on_labels(index, labels)
        if progress is not None:
            progress(index + 1 - mine.start, len(mine))


def _warm_up(predictor: Predictor, data: FrameData, index: int, flow: FlowFunction) -> bool:
    """Runs the raw frames before the first frame of a run. Returns whether there were as many as the model uses."""
    wanted = predictor.warmup_frames(index)
    before = data.warmup_frames(index, wanted) if wanted else []
    for image in before:
        predictor.labels(image, _flow_to(predictor.reference, image, flow))
    return len(before) == wanted


def _flow_to(
    reference: NDArray[np.uint8] | None, image: NDArray[np.uint8], flow: FlowFunction
) -> NDArray[np.float32] | None:
    return None if reference is None else flow(image, reference)


def _first_to_run(mine: range, since_start: list[int], predictor: Predictor | None, data: FrameData) -> int:
    """Returns the frame to start at, so that the labels of the frame before the first counted one are right.

    That frame is the first half of the first counted pair.
    """
    if not mine or not since_start[mine.start]:
        return mine.start
    before = mine.start - 1
    if predictor is None:
        return before
    start = before - since_start[before]
    wanted = predictor.warmup_frames(start)
    warmed_up = len(data.warmup_frames(start, wanted)) if wanted else 0
    return max(start, before - predictor.memory(warmed_up + since_start[before]))
