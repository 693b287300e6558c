"""Measures one clip in constant memory. The result has a tally, curve, heat map and worst moments for every set.

The flow, which all sets share, is computed ahead in a thread pool. Other threads read the clip and the predictions. The
caller's thread does the counting.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import classes_needed
from dwnet.core.classes import IGNORE_LABEL, ClassSet, made_up_classes
from dwnet.core.errors import DWNetError
from dwnet.core.launch import Processes, threads
from dwnet.flicker.flows import FlowSource, PairMotion
from dwnet.flicker.pictures import Curve, HeatMap, Moment, WorstMoments
from dwnet.flicker.predictions import Prediction, PredictionError, PredictionSet
from dwnet.flicker.tally import PairCount, SetTally
from dwnet.video import VideoFrame, VideoReader, prefetch

Progress = Callable[[int, int | None], None]
"""Called with (number of frames done, number of all frames or None if unknown)."""

PAIRS_AHEAD = 4
"""Largest number of pairs of frames whose flow is computed ahead."""


class RowSink(Protocol):
    """Receives every frame, with the counts of each set for the pair that ends at it (None for a first frame)."""

    def __call__(
        self,
        frame: VideoFrame,
        motion: PairMotion | None,
        counts: Sequence[PairCount | None],
        labels: Sequence[NDArray[np.uint8]],
    ) -> None:
        """Receives a frame, and the labels (H, W) of each set."""


@dataclass
class SetResult:
    """The result of one set on one clip."""

    tally: SetTally
    curve: Curve
    heat: HeatMap
    worst: WorstMoments

    @property
    def moments(self) -> list[Moment]:
        """The moments with the most flipped pixels, in descending order."""
        return self.worst.moments


@dataclass
class ClipResult:
    """The result of one clip."""

    frames: int
    width: int
    height: int
    scene_cuts: int
    classes: ClassSet
    warning: str | None
    """Description of damage in the clip's file; None if there is no damage."""
    mean_frame: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB, the mean of all frames."""
    sets: dict[str, SetResult] = field(default_factory=dict)


@dataclass(frozen=True)
class _Step:
    """A frame, and the futures of its motion to the previous frame along both flows."""

    frame: VideoFrame
    motion: "Future[PairMotion | None] | None"
    second: "Future[PairMotion | None] | None"


def measure_clip(
    clip: VideoReader,
    sets: Sequence[PredictionSet],
    flow: FlowSource,
    *,
    second_flow: FlowSource | None = None,
    second_every: int = 30,
    truth: PredictionSet | None = None,
    classes: ClassSet | None = None,
    on_row: RowSink | Sequence[RowSink] | None = None,
    progress: Progress | None = None,
) -> ClipResult:
    """Measures every set on a clip.

    Args:
        clip: the frames.
        sets: the predictions; they are read once from the start and then closed.
        flow: the flow for counting flips.
        second_flow: another flow, used on some pairs to show how much the result depends on the flow.
        second_every: the second flow is used on every n-th pair; n is at least 1.
        truth: the true labels; they are read and closed like the sets.
        classes: names and colours; None uses those of a network, or generates them for the ids that occur.
        on_row: one or several functions that are called after each frame.
        progress: called after each frame.

    Raises:
        DWNetError: for fewer than two frames, or predictions, truth, flow or classes that do not match the clip or each
            other. The message names the file.
    """
    if second_every < 1:
        raise DWNetError(f"second_every is {second_every}; allowed are whole numbers from 1")
    sinks = on_row if isinstance(on_row, Sequence) else [] if on_row is None else [on_row]
    with ExitStack() as stack:
        for one in (*sets, *([truth] if truth is not None else [])):
            stack.callback(one.close)
        known = _agreed_classes(sets, classes)
        run = _Run(clip, sets, truth, known)
        pool = ThreadPoolExecutor(threads(Processes.of_launcher()), thread_name_prefix="dwnet-flow")
        stack.callback(pool.shutdown, cancel_futures=True)
        frames = stack.enter_context(closing(prefetch(clip)))
        for step in _ahead(frames, pool, flow, second_flow, second_every):
            counts = run.step(step)
            for sink in sinks:
                sink(step.frame, run.motion, counts, run.labels)
            if progress is not None:
                progress(run.frames, clip.info.frames)
        return run.finish([flow] if second_flow is None else [flow, second_flow])


def _ahead(
    frames: Iterator[VideoFrame],
    pool: ThreadPoolExecutor,
    flow: FlowSource,
    second_flow: FlowSource | None,
    second_every: int,
) -> Iterator[_Step]:
    waiting: deque[_Step] = deque()
    previous: VideoFrame | None = None
    for position, frame in enumerate(frames):
        motion = second = None
        if previous is not None:
            motion = pool.submit(flow.pair, position, frame.image, previous.image)
            if second_flow is not None and (position - 1) % second_every == 0:
                second = pool.submit(second_flow.pair, position, frame.image, previous.image)
        waiting.append(_Step(frame, motion, second))
        previous = frame
        if len(waiting) > PAIRS_AHEAD:
            yield waiting.popleft()
    yield from waiting


def _agreed_classes(sets: Sequence[PredictionSet], given: ClassSet | None) -> ClassSet | None:
    """Returns the given classes, or those of the networks. Raises PredictionError if two of them differ."""
    for one in sets:
        if given is not None and one.classes is not None and one.classes.classes != given.classes:
            raise PredictionError(
                f"{one.path}: predicts {', '.join(one.classes.classes)}; the other networks, or the classes file, name "
                f"{', '.join(given.classes)}. Allowed are the same classes in the same order"
            )
        given = given or one.classes
    if given is not None:
        for one in sets:
            if one.num_classes is not None and one.num_classes != len(given):
                raise PredictionError(
                    f"{one.path}: scores {one.num_classes} classes; allowed are the {len(given)} named"
                )
    return given


class _Run:
    """The state of one measurement: the previous frame, and everything counted so far."""

    def __init__(
        self,
        clip: VideoReader,
        sets: Sequence[PredictionSet],
        truth: PredictionSet | None,
        classes: ClassSet | None,
    ) -> None:
        self.clip, self.sets, self.truth, self.classes = clip, sets, truth, classes
        height, width = clip.info.height, clip.info.width
        self.results = {
            one.name: SetResult(
                SetTally(len(classes) if classes is not None else one.num_classes or 1),
                Curve(),
                HeatMap(height, width),
                WorstMoments(),
            )
            for one in sets
        }
        self.frames = 0
        self.scene_cuts = 0
        self.motion: PairMotion | None = None
        """Between the last two frames; None across a scene cut."""
        self._mean = np.zeros((height, width, 3), np.float64)
        self._predictions: list[Prediction] = []
        self._true: NDArray[np.uint8] | None = None

    @property
    def labels(self) -> list[NDArray[np.uint8]]:
        """The labels of the last frame, for each set."""
        return [prediction.labels for prediction in self._predictions]

    def step(self, step: _Step) -> list[PairCount | None]:
        """Counts the next frame. Returns the counts of each set; None if no previous frame is in the same scene."""
        frame = step.frame
        self.motion = step.motion.result() if step.motion is not None else None
        second = step.second.result() if step.second is not None else None
        follows = self.motion is not None
        self.scene_cuts += step.motion is not None and not follows
        true = self._truth_of(frame, follows=follows)
        unchanged = None
        if self.motion is not None and true is not None and self._true is not None:
            before = self.motion.warp(self._true)
            unchanged = (before == true) & (true != IGNORE_LABEL)
        predictions, counts = [], []
        for position, one in enumerate(self.sets):
            prediction = self._prediction_of(one, frame, follows=follows)
            tally = self.results[one.name].tally
            tally.update_frame(prediction.labels, true)
            count = None
            if self.motion is not None:
                before_it = self._predictions[position]
                count = tally.update_pair(before_it, prediction, self.motion, unchanged=unchanged, second=second)
                self._show(one.name, frame, count)
            self.results[one.name].curve.add(count.flips_percent if count is not None else None, frame.pts_seconds)
            predictions.append(prediction)
            counts.append(count)
        cv2.accumulate(frame.image, self._mean)
        self.frames += 1
        self._predictions, self._true = predictions, true
        return counts

    def _prediction_of(self, one: PredictionSet, frame: VideoFrame, *, follows: bool) -> Prediction:
        prediction = one.predict(self.frames, frame.image, follows=follows)
        assert prediction is not None  # only truth can have frames without labels
        tally = self.results[one.name].tally
        needed = classes_needed(prediction.labels)
        if needed > tally.num_classes:
            if self.classes is not None:
                raise PredictionError(
                    f"{one.path}: label map {self.frames} holds the id {needed - 1}; allowed are "
                    f"0..{len(self.classes) - 1}, the classes named, and {IGNORE_LABEL} (ignore; --ignore names "
                    "another)"
                )
            tally.grow(needed)
        return prediction

    def _truth_of(self, frame: VideoFrame, *, follows: bool) -> NDArray[np.uint8] | None:
        if self.truth is None:
            return None
        truth = self.truth.predict(self.frames, frame.image, follows=follows)
        if truth is None:
            for result in self.results.values():
                result.tally.end_video()
            return None
        needed = classes_needed(truth.labels)
        if self.classes is not None and needed > len(self.classes):
            raise PredictionError(
                f"{self.truth.path}: label map {self.frames} holds the id {needed - 1}; allowed are "
                f"0..{len(self.classes) - 1} and {IGNORE_LABEL} (ignore; --ignore names another)"
            )
        for result in self.results.values():
            result.tally.grow(needed)
        return truth.labels

    def _show(self, name: str, frame: VideoFrame, count: PairCount) -> None:
        result = self.results[name]
        result.heat.add(count.flipped, count.compared)
        result.worst.offer(frame.index, frame.pts_seconds, count.flips_percent, count.flipped)

    def finish(self, flows: Sequence[FlowSource]) -> ClipResult:
        """Checks that predictions and flow match the number of frames, and returns the result."""
        if self.frames < 2:
            raise DWNetError(f"{self.clip.path}: has {self.frames} frame(s); flicker needs two or more")
        for one in (*self.sets, *([self.truth] if self.truth is not None else [])):
            one.finish(self.frames)
        for flow in flows:
            flow.finish(self.frames)
        num_classes = max(result.tally.num_classes for result in self.results.values())
        for result in self.results.values():
            result.tally.grow(num_classes)
        info = self.clip.info
        return ClipResult(
            frames=self.frames,
            width=info.width,
            height=info.height,
            scene_cuts=self.scene_cuts,
            classes=self.classes or made_up_classes(num_classes),
            warning=self.clip.warning,
            mean_frame=(self._mean / self.frames).round().astype(np.uint8),
            sets=self.results,
        )


def clip_facts(clip: VideoReader) -> dict[str, Any]:
    """Returns facts about the clip, for the reports."""
    info = clip.info
    return {
        "width_px": info.width,
        "height_px": info.height,
        "fps": info.fps,
        "codec": info.codec,
        "reader": info.reader,
    }
