"""Compares all methods on one frame: labels, time and flips of every method, and the flow for counting flips."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dwnet.comparison.networks import Networks
from dwnet.comparison.report import MethodSummary, Outcome
from dwnet.comparison.spread import Spread
from dwnet.deploy.runtime import OnnxNetwork, OnnxSegmenter
from dwnet.deploy.smoothing import SmoothedSegmenter
from dwnet.flow.registry import FlowFunction
from dwnet.metrics import FlickerMeter, occlusion_mask
from dwnet.video import VideoFrame, is_scene_cut
from dwnet.viz import overlay


@dataclass(frozen=True)
class MethodFrame:
    """The result of one method on one frame."""

    labels: np.ndarray
    """uint8 (H, W) class ids."""
    overlay: np.ndarray
    """uint8 (H, W, 3) RGB: the class colours blended over the frame."""
    latency_ms: float
    """Time from image to labels, including the flow if the method needs it (`report.LATENCY_CONTAINS`)."""
    flow_ms: float
    """Part of the latency that the flow takes; 0 if the method needs no flow."""
    flips_percent: float | None
    """Label flips since the previous compared frame, in percent of the comparable pixels; None if there are none."""
    transitions: np.ndarray | None = None
    """int64 (2, K, K), the counts of this frame alone (`metrics.FlickerMeter.transitions`); None if it has none."""


@dataclass(frozen=True)
class ComparedFrame:
    """One frame of the clip, and the results of every method on it."""

    index: int
    """Index of the frame in the clip, from 0."""
    pts_seconds: float
    compared: int
    """Number of compared frames, including this one."""
    expected: int | None
    """Number of frames that will be compared, estimated from the frame count of the file; None if unknown."""
    image: np.ndarray
    """uint8 (H, W, 3) RGB, at the working size."""
    methods: Mapping[str, MethodFrame]
    summaries: Mapping[str, MethodSummary]
    """The summary of each method over all frames so far."""
    scene_cut: bool
    """Whether this frame is the first one of a new scene. Frames are not compared across a scene cut."""
    coarse_flow_px: np.ndarray | None
    """float32 (2, H, W) to the previous compared frame, in pixels; None for the first frame and at a scene cut."""
    refined_flow_px: np.ndarray | None
    """The flow after the flow refinement network; None also if there is no such network."""
    comparable_percent: float | None
    """Share of the pixels that are visible in the previous compared frame; None if there is no such frame."""
    visible: np.ndarray | None = None
    """bool (H, W), pixels that are visible in the previous compared frame; None if there is no such frame."""


@dataclass(frozen=True)
class _Motion:
    """The motion to the previous compared frame."""

    coarse_px: np.ndarray
    """float32 (2, H, W)."""
    refined_px: np.ndarray | None
    visible: np.ndarray
    """bool (H, W), pixels that are visible in the previous frame."""
    coarse_ms: float
    visible_ms: float
    """Time of the flow back and of the check that gives `visible`."""


class Comparator:
    """Runs every method on each frame of one clip, and accumulates the results.

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
        self._scene_cuts = 0
        self._previous: ComparedFrame | None = None
        self._flicker = {method: FlickerMeter(len(networks.classes)) for method in networks.segmenters}
        self._latency, self._ratio, self._flow_latency = (
            {method: Spread() for method in networks.segmenters} for _ in range(3)
        )

    def step(self, frame: VideoFrame) -> ComparedFrame:
        """Runs every method on the next frame and compares its labels with those of the previous frame."""
        image = frame.image
        if self._previous is None:
            self._warm_up(image)
        scene_cut = self._previous is not None and is_scene_cut(self._previous.image, image)
        self._scene_cuts += scene_cut
        previous = None if scene_cut else self._previous
        motion = None if previous is None else self._motion(image, previous.image)
        results = {method: self._run(method, image, previous, motion) for method in self._in_turn()}
        for method, result in results.items():
            self._ratio[method].update(result.latency_ms / results[self.networks.baseline].latency_ms)
        self.compared += 1
        methods = {method: results[method] for method in self._segmenters}
        self._previous = ComparedFrame(
            index=frame.index,
            pts_seconds=frame.pts_seconds,
            compared=self.compared,
            expected=self._expected,
            image=image,
            methods=methods,
            summaries=self._summaries(),
            scene_cut=scene_cut,
            coarse_flow_px=None if motion is None else motion.coarse_px,
            refined_flow_px=None if motion is None else motion.refined_px,
            comparable_percent=None if motion is None else 100 * float(motion.visible.mean()),
            visible=None if motion is None else motion.visible,
        )
        return self._previous

    def outcome(self) -> Outcome:
        """Returns the results over all frames so far."""
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

    def _motion(self, image: np.ndarray, previous: np.ndarray) -> _Motion:
        coarse, coarse_ms = self._timed_flow(image, previous)
        start = time.perf_counter()
        visible = occlusion_mask(coarse, self._flow(previous, image))
        visible_ms = 1000 * (time.perf_counter() - start)
        refinement = self.networks.flow_refinement
        refined = None if refinement is None else refinement.refine(image, previous, coarse)
        return _Motion(coarse, refined, visible, coarse_ms, visible_ms)

    def _run(
        self, method: str, image: np.ndarray, previous: ComparedFrame | None, motion: _Motion | None
    ) -> MethodFrame:
        """Runs one method on a frame, and records its time and its flips."""
        network = self._segmenters[method]
        if previous is None:
            network.reset()
        flow_px, visible, flow_ms = None, None, 0.0
        if previous is not None and motion is not None and network.reference is previous.image:
            flow_px, flow_ms = motion.coarse_px, motion.coarse_ms
            if isinstance(network, SmoothedSegmenter):
                visible, flow_ms = motion.visible, flow_ms + motion.visible_ms
        elif network.reference is not None:
            flow_px, flow_ms = self._timed_flow(image, network.reference)
        labels, network_ms = self._segment(network, image, flow_px, visible)
        latency_ms = network_ms + flow_ms
        self._latency[method].update(latency_ms)
        if flow_px is not None:
            self._flow_latency[method].update(flow_ms)
        flips_percent, transitions = None, None
        if previous is not None and motion is not None:
            before, counted = previous.methods[method].labels, self._flicker[method].transitions.copy()
            flips_percent = self._flicker[method].update(before, labels, motion.coarse_px, motion.visible)
            transitions = self._flicker[method].transitions - counted
        painted = overlay(image, labels, self.networks.palette, opacity=self._opacity)
        return MethodFrame(labels, painted, latency_ms, flow_ms, flips_percent, transitions)

    def _in_turn(self) -> list[str]:
        """Returns the methods in running order. A different method runs first on each frame.

        The first method runs with CPU caches that hold the video reader's data, which costs time.
        """
        methods = list(self._segmenters)
        first = self.compared % len(methods)
        return methods[first:] + methods[:first]

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

    def _timed_flow(self, image: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, float]:
        """Returns the flow from the frame to an earlier one, and its time in milliseconds."""
        start = time.perf_counter()
        flow_px = self._flow(image, reference)
        return flow_px, 1000 * (time.perf_counter() - start)

    def _warm_up(self, image: np.ndarray) -> None:
        """Runs every network once, because the first run at a new size allocates memory and must not be timed."""
        still = self._flow(image, image)
        for network in self._segmenters.values():
            network.labels(image)
            if network.reference is not None:
                network.labels(image, still)

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
