"""Evaluates a model on a labelled split: IoU per class, and flicker along the flow."""

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
"""Called with (number of frames done, number of all frames), both of this process."""

OnLabels = Callable[[int, NDArray[np.uint8]], None]
"""Called once per frame, by one process, with the frame's index in the split and its predicted labels (H, W) uint8."""


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation. Raises DWNetError for a `max_gap` below 1."""

    flow: FlowFunction = dis_flow
    """Flow for measuring flicker and for the methods that warp (`dwnet.flow.registry.flow_function`)."""
    max_gap: int = 5
    """Largest distance in raw frames between two consecutive labelled frames of one sequence."""
    processes: Processes = ALONE
    """Rank and number of the processes that are `joined` and share the frames."""

    def __post_init__(self) -> None:
        if self.max_gap < 1:
            raise DWNetError(f"max_gap is {self.max_gap}; allowed are whole numbers from 1")


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model on a split."""

    name: str
    segmentation: SegmentationResult
    flicker: FlickerResult | None
    """Flicker over all pairs of consecutive frames; None if there are no such pairs."""
    without_warmup: int = 0
    """Number of frames at which a model started without all the earlier frames it uses, because the data lacks them."""


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

    Consecutive frames (`EvaluationSettings.max_gap`) are pairs. Flicker is measured on pairs along the flow, without
    occluded and out-of-frame pixels. A model that uses earlier frames gets the previous frame of the pair. Before a
    frame that is not consecutive, such a model first runs on the raw frames right before it, if the data has them.
    These raw frames are not counted.

    With several processes, each one counts a range of consecutive frames. A process whose range starts within a
    sequence first runs as many earlier frames as the model uses, without counting them. Every frame and every pair is
    counted once, with the labels that a single process would predict.

    Args:
        name: name of the model, for the result.
        predictor: the model; None evaluates the true labels, whose flicker is the error of the flow.
        data: whole frames without augmentation.
        settings: settings of the evaluation; None uses the defaults.
        on_labels: called for each frame.
        progress: called after each frame.

    Returns:
        The scores over the whole split, the same in every process.

    Raises:
        RuntimeError: if another process failed.
        ValueError, OSError: for errors of the data or the model.
    """
    settings = settings or EvaluationSettings()
    counts = Counts(len(data.classes))
    error: Exception | None = None
    try:
        count_share(predictor, data, counts, settings, on_labels=on_labels, progress=progress)
    except Exception as found:  # the other processes must learn of any error, otherwise they wait
        error = found
    raise_on_all_processes(error, settings.processes)
    return counts.evaluation(name, settings.processes)


class Counts:
    """Counts the frames of one process, and computes the scores over all processes.

    Args:
        num_classes: number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self.segmentation = SegmentationMeter(num_classes)
        self.flicker = FlickerMeter(num_classes)
        self.without_warmup = 0
        """See `Evaluation.without_warmup`."""

    def frame(self, labels: Array, truth: Array) -> None:
        """Counts one frame from its predicted and true labels, both (H, W)."""
        self.segmentation.update(labels, truth)

    def pair(
        self,
        previous: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        flow_px: NDArray[np.float32],
        visible: NDArray[np.bool_],
    ) -> None:
        """Counts one pair of frames. The arguments are those of `FlickerMeter.update`."""
        self.flicker.update(previous, labels, flow_px, visible)

    def state(self) -> State:
        """Returns all counts by name. The states of several processes can be added."""
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
    """Adds this process's share of the frames to `counts`. The other arguments are those of `evaluate`."""
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
    """Runs the model on the raw frames before the first frame of a run. Returns whether the data had all it uses."""
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
    """Returns the index of the first frame to run.

    From there, the model predicts the right labels for the frame before the first counted one. The first counted pair
    needs these labels.
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
