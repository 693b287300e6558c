"""One frame of a comparison: what every stage adds to it. Pictures are computed when they are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dwnet.comparison.report import MethodSummary
from dwnet.metrics.counting import NearestWarp
from dwnet.video import VideoFrame


@dataclass(frozen=True)
class MethodFrame:
    """The result of one method on one frame."""

    labels: np.ndarray
    """uint8 (H, W) class ids."""
    latency_ms: float
    """Time from image to labels, including the flow if the method needs it (`report.LATENCY_CONTAINS`)."""
    flow_ms: float
    """Part of the latency that the flow takes; 0 if the method needs no flow."""
    flips_percent: float | None
    """Label flips since the previous compared frame, in percent of the comparable pixels; None if there are none."""
    paint: Callable[[], np.ndarray] = field(repr=False)
    """Computes the overlay."""
    transitions: np.ndarray | None = None
    """int64 (2, K, K), the counts of this frame alone (`metrics.FlickerMeter.transitions`); None if it has none."""
    warped_labels: np.ndarray | None = None
    """uint8 (H, W), the labels of the previous compared frame along the flow; None if there is no such frame."""

    @cached_property
    def overlay(self) -> np.ndarray:
        """uint8 (H, W, 3) RGB: the class colours blended over the frame. It is computed when it is read first."""
        return self.paint()


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
    comparable_percent: float | None
    """Share of the pixels that are visible in the previous compared frame; None if there is no such frame."""
    visible: np.ndarray | None = None
    """bool (H, W), pixels that are visible in the previous compared frame; None if there is no such frame."""
    refine: Callable[[], np.ndarray] | None = field(default=None, repr=False)
    """Computes the refined flow; None if there is no flow, or no network that refines it."""

    @cached_property
    def refined_flow_px(self) -> np.ndarray | None:
        """The flow after the flow refinement network, computed when it is read first; None also without such a network.

        float32 (2, H, W) to the previous compared frame, in pixels. No method uses it.
        """
        return None if self.refine is None else self.refine()


@dataclass(frozen=True)
class Motion:
    """The motion to the previous compared frame."""

    previous: np.ndarray
    """uint8 (H, W, 3) RGB, the previous compared frame."""
    coarse_px: np.ndarray
    """float32 (2, H, W)."""
    visible: np.ndarray
    """bool (H, W), pixels that are visible in the previous frame."""
    warp: NearestWarp
    """Moves labels of the previous frame to this one."""
    coarse_ms: float
    """Time of the flow."""
    visible_ms: float
    """Time of the flow back and of the check that gives `visible`."""


@dataclass(frozen=True)
class MovedFrame:
    """A frame and its motion, the result of the first stage (`Comparator.move`)."""

    frame: VideoFrame
    motion: Motion | None
    """None for the first frame and at a scene cut."""
    scene_cut: bool
    still_px: np.ndarray | None
    """The flow from the first frame to itself, for the first run of the networks; None for later frames."""


@dataclass(frozen=True)
class MethodLabels:
    """Labels of one method and the time that they took."""

    labels: np.ndarray
    """uint8 (H, W) class ids."""
    latency_ms: float
    """Time from image to labels, including the flow if the method needs it."""
    flow_ms: float | None
    """Part of the latency that the flow takes; None if the method needed no flow on this frame."""


@dataclass(frozen=True)
class LabelledFrame:
    """A frame and the labels of every method, the result of the second stage (`Comparator.label`)."""

    moved: MovedFrame
    methods: Mapping[str, MethodLabels]
    """In the order of the networks."""
