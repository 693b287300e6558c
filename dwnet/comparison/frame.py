"""One frame of a comparison: every method's labels, time and flips, and the flow they are counted along."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dwnet.comparison.networks import Networks
from dwnet.comparison.report import BASELINE, FrameTable, MethodSummary, Spread, report
from dwnet.deploy.runtime import OnnxNetwork, OnnxSegmenter
from dwnet.flow.registry import FlowFunction
from dwnet.metrics import FlickerMeter, occlusion_mask
from dwnet.video import VideoFrame
from dwnet.video import is_scene_cut
from dwnet.viz import overlay


@dataclass(frozen=True)
class MethodFrame:
    """One method on one frame."""

    labels: np.ndarray
    """uint8 (H, W) class ids."""
    overlay: np.ndarray
    """uint8 (H, W, 3): the classes' colours over the frame."""
    latency_ms: float
    """Image to labels, with the flow where the method needs it (`compare_report.LATENCY_CONTAINS`)."""
    flow_ms: float
    """The flow's part of it; 0 where the method needs none."""
    flips_percent: float | None
    """Label flips since the previous compared frame, along the flow; None if nothing can be compared."""


@dataclass(frozen=True)
class ComparedFrame:
    """One frame of the clip and what every method made of it."""

    index: int
    """In the clip, from 0."""
    pts_seconds: float
    compared: int
    """How many frames have been compared, this one included."""
    expected: int | None
    """How many there will be, as far as the file tells; it can be wrong by a few."""
    image: np.ndarray
    """uint8 (H, W, 3), at the working size."""
    methods: Mapping[str, MethodFrame]
    summaries: Mapping[str, MethodSummary]
    """Per method, over all frames so far."""
    scene_cut: bool
    """Taken for the first frame of another shot: nothing is compared across it."""
    coarse_flow_px: np.ndarray | None
    """float32 (2, H, W) to the previous compared frame, in pixels; None for the first frame and at a scene cut."""
    refined_flow_px: np.ndarray | None
    """The same after the flow-refinement network; None also without one."""
    comparable_percent: float | None
    """Share of pixels that have a match in the previous compared frame."""


class Comparator:
    """Runs every method on frame after frame of one clip, and adds up what it finds.

    Args:
        networks: what to compare; several comparators may share them.
        flow: the flow that methods warp by and flips are counted along.
        opacity: of the colours over the frame, 0..1.
    """

    def __init__(self, networks: Networks, flow: FlowFunction, opacity: float) -> None:
        self.networks = networks
        self._segmenters = {method: network.fresh() for method, network in networks.segmenters.items()}
        self.flow = flow
        self.opacity = opacity
        self.compared = 0
        self.scene_cuts = 0
        self._previous: ComparedFrame | None = None
        self._flicker = {method: FlickerMeter(len(networks.classes)) for method in networks.segmenters}
        self._latency, self._ratio, self._flow_latency = (
            {method: Spread() for method in networks.segmenters} for _ in range(3)
        )

    def step(self, frame: VideoFrame) -> ComparedFrame:
        """Run every method on the next frame and compare it with the one before."""
        image = frame.image
        if self._previous is None:
            self._warm_up(image)
        scene_cut = self._previous is not None and is_scene_cut(self._previous.image, image)
        self.scene_cuts += scene_cut
        previous = None if scene_cut else self._previous
        coarse_flow, refined_flow, visible, coarse_ms = None, None, None, 0.0
        if previous is not None:
            coarse_flow, coarse_ms = self._timed_flow(image, previous.image)
            visible = occlusion_mask(coarse_flow, self.flow(previous.image, image))
            if self.networks.flow_refinement is not None:
                refined_flow = self.networks.flow_refinement.refine(image, previous.image, coarse_flow)
        results = {}
        for method in self._in_turn():
            network = self._segmenters[method]
            if previous is None:
                network.reset()
            flow_px, flow_ms = None, 0.0
            if previous is not None and network.reference is previous.image:
                flow_px, flow_ms = coarse_flow, coarse_ms
            elif network.reference is not None:
                flow_px, flow_ms = self._timed_flow(image, network.reference)
            labels, latency_ms = self._segment(network, image, flow_px)
            latency_ms += flow_ms
            self._latency[method].update(latency_ms)
            if flow_px is not None:
                self._flow_latency[method].update(flow_ms)
            flips_percent = None
            if previous is not None and coarse_flow is not None:
                before = previous.methods[method].labels
                flips_percent = self._flicker[method].update(before, labels, coarse_flow, visible)
            painted = overlay(image, labels, self.networks.palette, opacity=self.opacity)
            results[method] = MethodFrame(labels, painted, latency_ms, flow_ms, flips_percent)
        for method, result in results.items():
            self._ratio[method].update(result.latency_ms / results[BASELINE].latency_ms)
        self.compared += 1
        methods = {method: results[method] for method in self._segmenters}
        self._previous = ComparedFrame(
            index=frame.index,
            pts_seconds=frame.pts_seconds,
            compared=self.compared,
            expected=None,
            image=image,
            methods=methods,
            summaries={method: self._summary(method) for method in methods},
            scene_cut=scene_cut,
            coarse_flow_px=coarse_flow,
            refined_flow_px=refined_flow,
            comparable_percent=None if visible is None else 100 * float(visible.mean()),
        )
        return self._previous

    def write_row(self, table: FrameTable, frame: ComparedFrame) -> None:
        """Add a frame to the CSV table."""
        table.write(
            frame=frame.index,
            pts_seconds=frame.pts_seconds,
            scene_cut=frame.scene_cut,
            comparable_percent=frame.comparable_percent,
            measured={
                method: (result.flips_percent, result.latency_ms, result.flow_ms)
                for method, result in frame.methods.items()
            },
        )

    def report(self, clip: Mapping[str, Any], settings: Mapping[str, Any], *, stopped_early: bool) -> dict[str, Any]:
        """The JSON report of the frames so far."""
        networks: list[OnnxNetwork] = list(self.networks.segmenters.values())
        if self.networks.flow_refinement is not None:
            networks.append(self.networks.flow_refinement)
        return report(
            clip=clip,
            settings=settings,
            classes=self.networks.classes,
            summaries={method: self._summary(method) for method in self.networks.segmenters},
            networks=[network.info for network in networks],
            frames_compared=self.compared,
            scene_cuts=self.scene_cuts,
            stopped_early=stopped_early,
            threads=networks[0].session.get_session_options().intra_op_num_threads,
        )

    def _in_turn(self) -> list[str]:
        """The methods, each frame another one first: what runs first finds the caches as the video reader left them."""
        methods = list(self._segmenters)
        first = self.compared % len(methods)
        return methods[first:] + methods[:first]

    def _segment(
        self, network: OnnxSegmenter, image: np.ndarray, flow_px: np.ndarray | None
    ) -> tuple[np.ndarray, float]:
        """Labels, and the milliseconds from image to labels without the flow."""
        start = time.perf_counter()
        labels = network.labels(image, flow_px)
        return labels, 1000 * (time.perf_counter() - start)

    def _timed_flow(self, image: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, float]:
        """The flow from the frame to one before, and its milliseconds."""
        start = time.perf_counter()
        flow_px = self.flow(image, reference)
        return flow_px, 1000 * (time.perf_counter() - start)

    def _warm_up(self, image: np.ndarray) -> None:
        """Run everything once: the first run at a new size allocates, and would be measured as the method's time."""
        still = self.flow(image, image)
        for network in self._segmenters.values():
            network.labels(image)
            if network.reference is not None:
                network.labels(image, still)

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
