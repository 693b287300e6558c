"""Runs a model over a labelled split: class IoU, and how steady the labels are along the flow."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.classification import MulticlassConfusionMatrix

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.launch import ALONE, Processes
from dwnet.data.open import FrameData
from dwnet.evaluation.predictors import Predictor
from dwnet.evaluation.processes import positions, raise_on_all_processes, share, total
from dwnet.flow import dis_flow
from dwnet.flow.registry import FlowFunction
from dwnet.metrics import FlickerMeter, FlickerResult, SegmentationMeter, SegmentationResult, occlusion_mask

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all), both of this process."""

OnLabels = Callable[[int, NDArray[np.uint8]], None]
"""Called with each frame's place in the split and its predicted labels (H, W) uint8, once in one of the processes."""


@dataclass(frozen=True)
class Evaluation:
    """What one model scores on a split. Flicker is None where no two frames follow each other closely enough."""

    name: str
    segmentation: SegmentationResult
    flicker: FlickerResult | None
    without_warmup: int = 0
    """Frames at which the model started afresh though it draws on frames before: the data has none before these."""


def evaluate(
    name: str,
    predictor: Predictor | None,
    data: FrameData,
    *,
    max_gap: int = 5,
    flow: FlowFunction = dis_flow,
    processes: Processes = ALONE,
    on_labels: OnLabels | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Runs a model over a split in the order of its frames.

    Frame pairs of one sequence at most `max_gap` raw frames apart count as consecutive: their flicker is measured along
    the flow, occluded and out-of-frame pixels left out, and methods that need a frame before get it. To others the
    model is led by the raw frames right before them, which are not counted, as far as the data has a video.

    Of several processes each counts a run of frames. Where that starts within a sequence, it first runs as many frames
    before as the model draws on, without counting them, so every frame and every pair is counted once, with the labels
    that a single process gives it.

    Args:
        name: of the model, for the result.
        predictor: the model; None judges the labels themselves: what the metric says of perfection, and so what the
            flow is worth.
        data: whole frames (no augmentation).
        max_gap: in raw frames.
        flow: what flicker is measured along, and what methods warp by (`dwnet.flow.registry.flow_function`).
        processes: this one of those that are `joined`.
        on_labels: told of each frame.
        progress: told after each frame.

    Returns:
        The result over the whole split, the same in every process.

    Raises:
        RuntimeError: another process failed.
        ValueError, OSError: what reading the data or running the model raises.
    """
    counts = Counts(len(data.classes), processes)
    error: Exception | None = None
    try:
        count_share(predictor, data, counts, max_gap=max_gap, flow=flow, on_labels=on_labels, progress=progress)
    except Exception as found:  # whatever it is, the others must not wait for this process
        error = found
    raise_on_all_processes(error, processes)
    return counts.evaluation(name)


class Counts:
    """What a process counts, and the rates over all processes.

    Args:
        classes: how many there are.
        processes: this one of those that are `joined`.
    """

    def __init__(self, classes: int, processes: Processes) -> None:
        self.processes, self._classes = processes, classes
        # torchmetrics counts pixels and sums them over the processes; its own IoU is no part of this because it divides
        # in float32, 6e-8 off, and the benchmark's evaluator is met to 1e-9.
        self.pixels = MulticlassConfusionMatrix(
            classes, ignore_index=IGNORE_LABEL, validate_args=False, sync_on_compute=processes.count > 1
        )
        self.flicker = FlickerMeter(classes)
        self.without_warmup = 0
        """As in `Evaluation`."""

    def frame(self, labels: NDArray[np.uint8], truth: NDArray[np.int64]) -> None:
        """Counts a frame: predicted and true labels, both (H, W)."""
        known = labels != IGNORE_LABEL  # the labels themselves, judged as a prediction, have void pixels
        predicted = np.where(known, labels, 0).astype(np.int64)
        target = np.where(known, truth, IGNORE_LABEL).astype(np.int64)
        self.pixels.update(torch.from_numpy(predicted), torch.from_numpy(target))

    def pair(
        self,
        previous: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        flow_px: NDArray[np.float32],
        visible: NDArray[np.bool_],
    ) -> None:
        """Counts a pair of frames, as `FlickerMeter.update`."""
        self.flicker.update(previous, labels, flow_px, visible)

    def evaluation(self, name: str) -> Evaluation:
        """The rates over what all processes counted; each has to ask."""
        segmentation, flicker = SegmentationMeter(self._classes), FlickerMeter(self._classes)
        segmentation.confusion = self.pixels.compute().numpy()
        flicker.transitions = total(self.flicker.transitions, self.processes)
        pairs, without = total(np.array([self.flicker.frames, self.without_warmup], np.int64), self.processes)
        flicker.frames = int(pairs)
        return Evaluation(name, segmentation.compute(), flicker.compute() if flicker.frames else None, int(without))


def count_share(
    predictor: Predictor | None,
    data: FrameData,
    counts: Counts,
    *,
    max_gap: int = 5,
    flow: FlowFunction = dis_flow,
    on_labels: OnLabels | None = None,
    progress: Progress | None = None,
) -> None:
    """Counts this process's share of the frames; arguments as `evaluate`."""
    since_start, mine = positions(data.frames, max_gap), share(len(data), counts.processes)
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
    """Runs the raw frames before one that starts afresh; whether there were as many as the model draws on."""
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
    """Where to start so that the labels of the frame before the first counted one are right: its pair is counted."""
    if not mine or not since_start[mine.start]:
        return mine.start
    before = mine.start - 1
    if predictor is None:
        return before
    start = before - since_start[before]
    wanted = predictor.warmup_frames(start)
    led = len(data.warmup_frames(start, wanted)) if wanted else 0
    return max(start, before - predictor.memory(led + since_start[before]))
