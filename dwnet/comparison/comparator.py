"""Compares all methods frame by frame, in three stages that may run in different threads: motion, labels, counts."""

import time
from functools import partial

import numpy as np

from dwnet.comparison.frame import ComparedFrame, LabelledFrame, MethodFrame, MethodLabels, Motion, MovedFrame
from dwnet.comparison.networks import Networks
from dwnet.comparison.report import MethodSummary, Outcome
from dwnet.comparison.spread import Spread
from dwnet.core.arrays import as_flow, as_labels, check_class_ids
from dwnet.deploy.runtime import OnnxNetwork, OnnxSegmenter
from dwnet.deploy.smoothing import SmoothedSegmenter
from dwnet.flow.registry import FlowFunction
from dwnet.metrics import FlickerMeter, occlusion_mask
from dwnet.metrics.counting import NearestWarp
from dwnet.video import VideoFrame, is_scene_cut
from dwnet.viz import overlay


class Comparator:
    """Runs every method on each frame of one clip, and accumulates the results.

    `step` does everything for a frame. It consists of `move`, `label` and `count`. Each of them has a state of its own
    and takes every frame once, in order, so that each may run in a thread of its own, ahead of the next one. The
    results are the same.

    Args:
        networks: the networks; several comparators may share them.
        flow: the flow for the methods that warp and for counting flips.
        opacity: opacity of the class colours over the frame, 0..1.
        expected: number of frames that will be compared; None if unknown.
    """

    def __init__(
        self, networks: Networks, flow: FlowFunction, *, opacity: float = 0.6, expected: int | None = None
    ) -> None:
        self.networks = networks
        self.compared = 0
        """Number of frames compared so far."""
        self._segmenters = {method: network.fresh() for method, network in networks.segmenters.items()}
        self._flow, self._opacity, self._expected = flow, opacity, expected
        # State of `move`, of `label` and of `count`. Different threads use them.
        self._moved: np.ndarray | None = None
        self._labelled = 0
        self._previous: ComparedFrame | None = None
        self._scene_cuts = 0
        self._flicker = {method: FlickerMeter(len(networks.classes)) for method in networks.segmenters}
        self._latency, self._ratio, self._flow_latency = (
            {method: Spread() for method in networks.segmenters} for _ in range(3)
        )

    def step(self, frame: VideoFrame) -> ComparedFrame:
        """Runs every method on the next frame and compares its labels with those of the previous frame."""
        return self.count(self.label(self.move(frame)))

    def move(self, frame: VideoFrame) -> MovedFrame:
        """First stage: the motion from the next frame to the one before."""
        image, previous = frame.image, self._moved
        self._moved = image
        if previous is None:
            # The first run at a new size allocates memory and must not be timed.
            return MovedFrame(frame, None, scene_cut=False, still_px=self._flow(image, image))
        if is_scene_cut(previous, image):
            return MovedFrame(frame, None, scene_cut=True, still_px=None)
        start = time.perf_counter()
        coarse = as_flow(self._flow(image, previous), image.shape[:2])
        between = time.perf_counter()
        visible = occlusion_mask(coarse, self._flow(previous, image))
        end = time.perf_counter()
        times_ms = (1000 * (between - start), 1000 * (end - between))
        return MovedFrame(frame, Motion(previous, coarse, visible, NearestWarp(coarse), *times_ms), False, None)

    def label(self, moved: MovedFrame) -> LabelledFrame:
        """Second stage: the labels of every method."""
        if moved.still_px is not None:
            self._warm_up(moved.frame.image, moved.still_px)
        methods = list(self._segmenters)
        # A different method runs first on each frame: it runs with CPU caches that hold other data, which costs time.
        first = self._labelled % len(methods)
        self._labelled += 1
        results = {method: self._label(method, moved) for method in methods[first:] + methods[:first]}
        return LabelledFrame(moved, {method: results[method] for method in methods})

    def count(self, labelled: LabelledFrame) -> ComparedFrame:
        """Third stage: flips and summaries."""
        moved, previous = labelled.moved, self._previous
        frame, motion = moved.frame, moved.motion
        baseline = labelled.methods[self.networks.baseline]
        methods = {}
        for method, found in labelled.methods.items():
            self._latency[method].update(found.latency_ms)
            self._ratio[method].update(found.latency_ms / baseline.latency_ms)
            if found.flow_ms is not None:
                self._flow_latency[method].update(found.flow_ms)
            before = None if previous is None else previous.methods[method].labels
            methods[method] = self._count(method, frame.image, found, before, motion)
        self._scene_cuts += moved.scene_cut
        self.compared += 1
        refinement, refine = self.networks.flow_refinement, None
        if motion is not None and refinement is not None:
            refine = partial(refinement.refine, frame.image, motion.previous, motion.coarse_px)
        self._previous = ComparedFrame(
            index=frame.index,
            pts_seconds=frame.pts_seconds,
            compared=self.compared,
            expected=self._expected,
            image=frame.image,
            methods=methods,
            summaries=self._summaries(),
            scene_cut=moved.scene_cut,
            coarse_flow_px=None if motion is None else motion.coarse_px,
            comparable_percent=None if motion is None else 100 * float(motion.visible.mean()),
            visible=None if motion is None else motion.visible,
            refine=refine,
        )
        return self._previous

    def outcome(self) -> Outcome:
        """Returns the results over all frames counted so far."""
        networks: list[OnnxNetwork] = list(self.networks.segmenters.values())
        if self.networks.flow_refinement is not None:
            networks.append(self.networks.flow_refinement)
        return Outcome(
            summaries=self._summaries(),
            classes=self.networks.classes,
            networks=[network.info for network in networks],
            frames_compared=self.compared,
            scene_cuts=self._scene_cuts,
            threads_per_network=networks[0].session.threads,
        )

    def _label(self, method: str, moved: MovedFrame) -> MethodLabels:
        """Runs one method on a frame."""
        network, image, motion = self._segmenters[method], moved.frame.image, moved.motion
        if motion is None:
            network.reset()
        flow_px, visible, flow_ms = None, None, None
        if motion is not None and network.reference is motion.previous:
            flow_px, flow_ms = motion.coarse_px, motion.coarse_ms
            if isinstance(network, SmoothedSegmenter):
                visible, flow_ms = motion.visible, flow_ms + motion.visible_ms
        elif network.reference is not None:
            start = time.perf_counter()
            flow_px = self._flow(image, network.reference)
            flow_ms = 1000 * (time.perf_counter() - start)
        labels, network_ms = self._segment(network, image, flow_px, visible)
        return MethodLabels(labels, network_ms + (flow_ms or 0.0), flow_ms)

    def _segment(
        self, network: OnnxSegmenter, image: np.ndarray, flow_px: np.ndarray | None, visible: np.ndarray | None
    ) -> tuple[np.ndarray, float]:
        """Returns the labels and the time from image to labels in milliseconds, without the flow."""
        start = time.perf_counter()
        if isinstance(network, SmoothedSegmenter):
            labels = network.labels(image, flow_px, visible)
        else:
            labels = network.labels(image, flow_px)
        return labels, 1000 * (time.perf_counter() - start)

    def _count(
        self, method: str, image: np.ndarray, found: MethodLabels, before: np.ndarray | None, motion: Motion | None
    ) -> MethodFrame:
        """Counts the flips of one method since the labels `before`."""
        labels = as_labels(found.labels)
        check_class_ids(labels, len(self.networks.classes))
        warped, flips_percent, transitions = None, None, None
        if before is not None and motion is not None:
            warped, counted = motion.warp(before), self._flicker[method].transitions.copy()
            flips_percent = self._flicker[method].update_warped(warped, labels, motion.visible)
            transitions = self._flicker[method].transitions - counted
        paint = partial(overlay, image, labels, self.networks.palette, opacity=self._opacity)
        flow_ms = found.flow_ms or 0.0
        return MethodFrame(labels, found.latency_ms, flow_ms, flips_percent, paint, transitions, warped)

    def _warm_up(self, image: np.ndarray, still_px: np.ndarray) -> None:
        """Runs every network once, because the first run at a new size allocates memory and must not be timed."""
        for network in self._segmenters.values():
            network.labels(image)
            if network.reference is not None:
                network.labels(image, still_px)

    def _summaries(self) -> dict[str, MethodSummary]:
        return {method: self._summary(method) for method in self._segmenters}

    def _summary(self, method: str) -> MethodSummary:
        flicker = self._flicker[method].compute()
        counted = [int(pixels) for pixels in self._flicker[method].transitions.sum(axis=(0, 1))]
        latency, ratio, flow = self._latency[method], self._ratio[method], self._flow_latency[method]
        return MethodSummary(
            flips_percent=flicker.flips_percent,
            class_flips_percent=flicker.per_class_percent,
            temporal_consistency_percent=flicker.temporal_consistency_percent,
            class_share_percent=tuple(100 * pixels / max(sum(counted), 1) for pixels in counted),
            latency_ms_median=latency.median,
            latency_ms_quartiles=latency.quartiles,
            latency_ms_mean=latency.mean,
            latency_ratio_median=ratio.median,
            latency_ratio_quartiles=ratio.quartiles,
            flow_ms_median=flow.median if flow.count else 0.0,
            flow_ms_mean=flow.mean * flow.count / latency.count if flow.count else 0.0,
        )
