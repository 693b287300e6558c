"""Evaluates models on a labelled split: IoU per class, flicker along the flow, and video consistency."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.core.launch import ALONE, Processes
from dwnet.data.open import FrameData
from dwnet.evaluation.counts import WINDOWS, Consistency, Counts, Evaluation, Motion
from dwnet.evaluation.figure import ShownFrame
from dwnet.evaluation.predictors import Predictor
from dwnet.evaluation.processes import positions, raise_on_all_processes, share
from dwnet.flow import dis_flow
from dwnet.flow.registry import FlowFunction

__all__ = [
    "Consistency",
    "Counts",
    "Evaluation",
    "EvaluationSettings",
    "count_share",
    "evaluate",
    "evaluate_models",
    "remembered",
]

Progress = Callable[[int, int], None]
"""Called with (number of frames done, number of all frames), both of this process."""

OnLabels = Callable[[int, NDArray[np.uint8]], None]
"""Called once per frame, by one process, with the frame's index in the split and its predicted labels (H, W) uint8."""

OnFrame = Callable[[ShownFrame, Motion | None], None]
"""Called once per frame, by one process, with the labels of all models and the motion to the frame before, if any."""


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation. Raises DWNetError for a `max_gap` below 1."""

    flow: FlowFunction = dis_flow
    """Flow for measuring flicker and for the methods that warp (`dwnet.flow.registry.flow_function`)."""
    max_gap: int = 5
    """Largest distance in raw frames between two consecutive labelled frames of one sequence."""
    processes: Processes = ALONE
    """Rank and number of the processes that are `joined` and share the frames."""
    second_flow: FlowFunction | None = None
    """Another flow for measuring flicker, for methods that run on the first one; None measures along one flow."""
    flicker: bool = True
    """Whether flicker along the flows is measured."""

    def __post_init__(self) -> None:
        if self.max_gap < 1:
            raise DWNetError(f"max_gap is {self.max_gap}; allowed are whole numbers from 1")


def evaluate(
    name: str,
    predictor: Predictor | None,
    data: FrameData,
    settings: EvaluationSettings | None = None,
    *,
    on_labels: OnLabels | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Runs one model over a split and returns its scores (`evaluate_models`).

    Args:
        name: name of the model, for the result.
        predictor: the model; None evaluates the true labels, whose flicker is the error of the flow.
        data: whole frames without augmentation.
        settings: settings of the evaluation; None uses the defaults.
        on_labels: called for each frame.
        progress: called after each frame.
    """
    (found,) = evaluate_models([(name, predictor)], data, settings, on_labels=on_labels, progress=progress)
    return found


def evaluate_models(
    models: Sequence[tuple[str, Predictor | None]],
    data: FrameData,
    settings: EvaluationSettings | None = None,
    *,
    on_labels: OnLabels | None = None,
    on_frame: OnFrame | None = None,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Runs models over a split, in the order of its frames, and returns the scores of each.

    The models share the frames and the flows that judge them.

    Consecutive frames (`EvaluationSettings.max_gap`) are pairs. Flicker is measured on pairs along the flow, without
    occluded and out-of-frame pixels. A model that uses earlier frames gets the previous frame of the pair. Before a
    frame that is not consecutive, such a model first runs on the raw frames right before it, if the data has them.
    These raw frames are not counted. VC_n is measured on every n consecutive frames.

    With several processes, each one counts a range of consecutive frames. A process whose range starts within a
    sequence first runs as many earlier frames as the model and VC_n use, without counting them. Every frame, pair and
    window is counted once, with the labels that a single process would predict.

    Args:
        models: name and predictor of each model; a predictor of None evaluates the true labels, whose flicker is the
            error of the flow.
        data: whole frames without augmentation.
        settings: settings of the evaluation; None uses the defaults.
        on_labels: called for each frame of the first model.
        on_frame: called for each frame, with the labels of all models.
        progress: called after each frame.

    Returns:
        The scores over the whole split, the same in every process.

    Raises:
        RuntimeError: if another process failed.
        ValueError, OSError: for errors of the data or the model.
    """
    settings = settings or EvaluationSettings()
    counts = [Counts(len(data.classes)) for _ in models]
    error: Exception | None = None
    try:
        runs = [(predictor, one) for (_, predictor), one in zip(models, counts, strict=True)]
        _count_shares(runs, data, settings, on_labels=on_labels, on_frame=on_frame, progress=progress)
    except Exception as found:  # the other processes must learn of any error, otherwise they wait
        error = found
    raise_on_all_processes(error, settings.processes)
    return [one.evaluation(name, settings.processes) for (name, _), one in zip(models, counts, strict=True)]


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
    _count_shares([(predictor, counts)], data, settings, on_labels=on_labels, progress=progress)


def _count_shares(
    models: Sequence[tuple[Predictor | None, Counts]],
    data: FrameData,
    settings: EvaluationSettings,
    *,
    on_labels: OnLabels | None = None,
    on_frame: OnFrame | None = None,
    progress: Progress | None = None,
) -> None:
    places, mine = positions(data.frames, settings.max_gap), share(len(data), settings.processes)
    lead = _window_lead(places, mine.start) if mine else 0
    runs = [_Run(predictor, counts, data, settings.flow, mine, places, lead) for predictor, counts in models]
    first = min((run.first for run in runs), default=mine.stop)
    image = np.empty(0, np.uint8)
    for index in range(first, mine.stop):
        previous = image
        sample = data[index]
        image = (sample["frame"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        truth = sample["labels"].numpy().astype(np.uint8)
        motion = second = None
        if settings.flicker and index in mine and index > first and places[index] > 0:
            motion = Motion.between(image, previous, settings.flow)
            if settings.second_flow is not None:
                second = Motion.between(image, previous, settings.second_flow)
        for run in runs:
            if index >= run.first:
                run.step(index, image, truth, motion, second)
        if index not in mine:
            continue
        if on_labels is not None:
            on_labels(index, runs[0].labels)
        if on_frame is not None:
            on_frame(ShownFrame(index, image, truth, tuple(run.labels for run in runs)), motion)
        if progress is not None:
            progress(index + 1 - mine.start, len(mine))


class _Run:
    """One model on the share of this process: its state, and the counts of its labels."""

    def __init__(
        self,
        predictor: Predictor | None,
        counts: Counts,
        data: FrameData,
        flow: FlowFunction,
        mine: range,
        places: list[int],
        lead: int,
    ) -> None:
        self.predictor, self.counts, self.data, self.flow = predictor, counts, data, flow
        self.mine, self.places = mine, places
        self.first = _first_to_run(mine, places, predictor, data, lead)
        """Index of the first frame to run."""
        self.labels = np.empty(0, np.uint8)
        """Labels of the last frame, (H, W)."""
        self._image: NDArray[np.uint8] | None = None

    def step(
        self,
        index: int,
        image: NDArray[np.uint8],
        truth: NDArray[np.uint8],
        motion: Motion | None,
        second: Motion | None,
    ) -> None:
        """Runs and counts the next frame; the motions are those to the frame before, of a counted pair."""
        previous, counted = self.labels, index in self.mine
        self.labels = truth if self.predictor is None else self._predict(self.predictor, index, image, motion)
        self._image = image
        # A frame that only restores the state of the model can have other labels than in a single process.
        missing = max(0, self.mine.start - index)
        if missing < max(WINDOWS):
            self.counts.video_frame(self.labels, truth, position=self.places[index], missing=missing)
        if not counted:
            return
        self.counts.frame(self.labels, truth)
        if motion is not None:
            self.counts.pair(previous, self.labels, motion)
        if second is not None:
            self.counts.second_pair(previous, self.labels, second)

    def _predict(
        self, predictor: Predictor, index: int, image: NDArray[np.uint8], motion: Motion | None
    ) -> NDArray[np.uint8]:
        if index == self.first or self.places[index] == 0:
            predictor.reset()
        if self.places[index] == 0:
            warmed_up = _warm_up(predictor, self.data, index, self.flow)
            self.counts.without_warmup += int(index in self.mine and not warmed_up)
        reference = predictor.reference
        if motion is not None and reference is self._image:
            return predictor.labels(image, motion.flow_px)
        return predictor.labels(image, _flow_to(reference, image, self.flow))


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


def remembered(flow: FlowFunction, count: int = 4) -> FlowFunction:
    """Returns a flow that keeps its last `count` results. Pairs are told apart by the identity of their frames."""
    kept: deque[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]] = deque(maxlen=count)

    def found(frame: NDArray[np.uint8], neighbour: NDArray[np.uint8]) -> NDArray[np.float32]:
        for first, second, result in kept:
            if first is frame and second is neighbour:
                return result
        result = flow(frame, neighbour)
        kept.append((frame, neighbour, result))
        return result

    return found


def _window_lead(places: list[int], start: int) -> int:
    """Returns how many frames before `start` the windows of VC_n need that end at `start` or later."""
    stop = start + 1
    while stop < len(places) and places[stop]:
        stop += 1
    longest = places[stop - 1] + 1  # consecutive frames of the run around `start`
    return min(places[start], max((n - 1 for n in WINDOWS if n <= longest), default=0))


def _first_to_run(mine: range, places: list[int], predictor: Predictor | None, data: FrameData, lead: int) -> int:
    """Returns the index of the first frame to run.

    From there, the model predicts the right labels for the `lead` frames before the first counted one, at least for
    one. The first counted pair and the first windows of VC_n need these labels.
    """
    if not mine or not places[mine.start]:
        return mine.start
    before = mine.start - max(1, lead)
    if predictor is None:
        return before
    start = before - places[before]
    wanted = predictor.warmup_frames(start)
    warmed_up = len(data.warmup_frames(start, wanted)) if wanted else 0
    return max(start, before - predictor.memory(warmed_up + places[before]))
