"""Errors of optical flow against the exact flow of rendered streets: end-point error, and sharpness of motion steps.

The paper shows its refined flow only in a picture (Fig. 3). Here it is measured, together with the coarse flow that it
refines.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.core.tables import markdown_table, number_cell
from dwnet.deploy.runtime import OnnxFlowRefinement
from dwnet.flow import dis_flow
from dwnet.metrics.meter import Meter, counts, sums
from dwnet.street import StreetScene

BOUNDARY_PX = 3
"""A pixel within this distance of a step of the true flow is on a motion boundary, in pixels."""
STEP_PX, STEP_SHARE = 1.0, 0.05
"""Two neighbouring pixels have a step between them if their true flows differ by more than STEP_PX plus STEP_SHARE of
the longer flow. The share is for the road: right before the camera its flow is long and changes fast, but smoothly."""

_FIGURES = ("overall_px", "boundary_px", "occluded_px", "visible_px", "sharpness_percent")
"""Figures of a `FlowError`, in the order of the meter's arrays."""

FlowOf = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]
"""(frame, neighbour), each (H, W, 3) uint8 RGB, to (2, H, W) float32 flow_px between them."""
Progress = Callable[[int, int], None]
"""Called with (pairs done, pairs in all)."""


@dataclass(frozen=True)
class FlowError:
    """Errors of a flow against truth; None where no pixel was counted."""

    pairs: int
    overall_px: float | None
    """Mean end-point error, the length of the difference, over all pixels."""
    boundary_px: float | None
    """The same within `BOUNDARY_PX` of a motion boundary, visible or not."""
    occluded_px: float | None
    """The same where the point is hidden in the neighbour or outside it."""
    visible_px: float | None
    """The same where the point is visible in both frames."""
    sharpness_percent: float | None
    """Share of the true steps that the flow has too: 100 is as sharp as truth, 0 is flat across the boundary."""


def motion_steps(flow_px: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns the steps of a true flow (2, H, W): (H, W - 1) to the right neighbour, (H - 1, W) to the lower one."""
    length = np.hypot(*flow_px)
    steps = []
    for axis in (1, 0):
        a, b = _pair(length, axis)
        differs = np.hypot(*np.diff(flow_px, axis=axis + 1))
        steps.append(differs > STEP_PX + STEP_SHARE * np.maximum(a, b))
    return steps[0], steps[1]


def boundary_mask(flow_px: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns (H, W): the pixels within `BOUNDARY_PX` of the two pixels at a step of a true flow (2, H, W)."""
    across, down = motion_steps(flow_px)
    edge = np.zeros(flow_px.shape[1:], np.uint8)
    edge[:, :-1] |= across
    edge[:, 1:] |= across
    edge[:-1] |= down
    edge[1:] |= down
    size = 2 * BOUNDARY_PX + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.dilate(edge, disc).astype(bool)


def kept_steps(flow_px: NDArray[np.float32], true_flow_px: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns (n,): for each step of the true flow, the share of it that a flow has too, 0..1; both flows (2, H, W).

    A step is measured from the pixel before its two pixels to the pixel behind them, so that a step that is one pixel
    off still counts. The share is the flow's difference projected on the true difference, divided by its length.
    """
    shares = []
    for axis, steps in zip((2, 1), motion_steps(true_flow_px), strict=True):
        length = steps.shape[axis - 1]
        inner = np.take(steps, np.arange(1, length - 1), axis - 1)
        true, found = (_wide_difference(f, axis)[:, inner].astype(np.float64) for f in (true_flow_px, flow_px))
        squared = (true**2).sum(0)
        wide = squared > STEP_PX**2  # an object one pixel wide can have the same motion on both sides
        shares.append(np.clip((true * found).sum(0)[wide] / squared[wide], 0, 1))
    return np.concatenate(shares)


def _pair(array: NDArray[np.float32], axis: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    count = array.shape[axis]
    return np.take(array, np.arange(count - 1), axis), np.take(array, np.arange(1, count), axis)


def _wide_difference(flow_px: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    count = flow_px.shape[axis]
    return np.take(flow_px, np.arange(3, count), axis) - np.take(flow_px, np.arange(count - 3), axis)


class FlowErrorMeter(Meter):
    """Errors over pairs of frames. Every pixel, and every step, has the same weight."""

    def __init__(self) -> None:
        super().__init__(pairs=counts(), sums=sums(len(_FIGURES)), counts=counts(len(_FIGURES)))

    @property
    def pairs(self) -> int:
        """Pairs of frames counted."""
        return int(self._arrays["pairs"])

    def update(
        self, flow_px: NDArray[np.float32], true_flow_px: NDArray[np.float32], visible: NDArray[np.bool_]
    ) -> None:
        """Counts one pair.

        Args:
            flow_px: (2, H, W), the flow to measure.
            true_flow_px: (2, H, W), exact.
            visible: (H, W) bool, as `StreetScene.flow` returns it.

        Raises:
            DWNetError: for shapes that differ, or a flow that is not finite.
        """
        if flow_px.shape != true_flow_px.shape or visible.shape != flow_px.shape[1:]:
            raise DWNetError(
                f"found a flow of shape {flow_px.shape}, a true one of {true_flow_px.shape} and visibility of "
                f"{visible.shape}; allowed are (2, H, W) twice and (H, W)"
            )
        if not np.isfinite(flow_px).all():
            raise DWNetError("the flow has values that are not finite; allowed are finite numbers of pixels")
        error = np.hypot(*(flow_px - true_flow_px)).astype(np.float64)
        self._arrays["pairs"] += 1
        values = (
            error,
            error[boundary_mask(true_flow_px)],
            error[~visible],
            error[visible],
            100 * kept_steps(flow_px, true_flow_px),
        )
        self._arrays["sums"] += [one.sum() for one in values]
        self._arrays["counts"] += [one.size for one in values]

    def compute(self) -> FlowError:
        """Returns the means over everything counted so far."""
        sums, counts = self._arrays["sums"].tolist(), self._arrays["counts"].tolist()
        means = {
            name: total / count if count else None for name, total, count in zip(_FIGURES, sums, counts, strict=True)
        }
        return FlowError(self.pairs, **means)


def at_stride(flow_px: NDArray[np.float32], stride: int = 8) -> NDArray[np.float32]:
    """Returns a flow (2, H, W) resized to ceil(H / stride) x ceil(W / stride) pixels and back, bilinearly.

    A flow refined at stride 8 starts from this one, so it is the fair comparison: both lost the same resolution.
    """
    height, width = flow_px.shape[1:]
    small = (-(-width // stride), -(-height // stride))
    resized = [
        cv2.resize(cv2.resize(channel, small, interpolation=cv2.INTER_LINEAR), (width, height)) for channel in flow_px
    ]
    return np.stack(resized)


def flows_to_judge(refiner: OnnxFlowRefinement | None = None) -> dict[str, FlowOf]:
    """Returns the flows to compare, by name.

    No motion, as a reference; the coarse flow; the coarse flow at the stride of the flow refinement module (FRM); and,
    with a `refiner`, the flow that it refines.
    """
    flows: dict[str, FlowOf] = {
        "zero": lambda frame, _: np.zeros((2, *frame.shape[:2]), np.float32),
        "DIS": dis_flow,
        "DIS at stride 8": lambda frame, neighbour: at_stride(dis_flow(frame, neighbour)),
    }
    if refiner is not None:
        flows["DIS, refined"] = lambda frame, neighbour: refiner.refine(frame, neighbour, dis_flow(frame, neighbour))
    return flows


def judge_flow(
    scenes: Sequence[StreetScene],
    flows: Mapping[str, FlowOf],
    *,
    frames_per_scene: int = 5,
    offsets: Sequence[int] = (-1, 5),
    progress: Progress | None = None,
) -> dict[tuple[str, int], FlowError]:
    """Measures flows on pairs of frames spread evenly over rendered drives.

    Args:
        scenes: the drives.
        flows: by name.
        frames_per_scene: number of frames I_t of each drive.
        offsets: k of the neighbours I_{t+k}, signed.
        progress: called after each pair.

    Returns:
        The errors by (name, k).

    Raises:
        DWNetError: without scenes or offsets, or for more frames than a drive has.
    """
    if not scenes or not offsets or 0 in offsets:
        raise DWNetError(f"found {len(scenes)} scenes and offsets {tuple(offsets)}; allowed are some, and no offset 0")
    reach = max(abs(k) for k in offsets)
    shortest = min(len(scene) for scene in scenes) - 2 * reach
    if not 1 <= frames_per_scene <= shortest:
        raise DWNetError(f"frames_per_scene: found {frames_per_scene}; allowed are 1 to {shortest}")
    meters = {(name, k): FlowErrorMeter() for name in flows for k in offsets}
    total, done = len(scenes) * frames_per_scene * len(offsets), 0
    for scene in scenes:
        for t in np.linspace(reach, len(scene) - 1 - reach, frames_per_scene + 2)[1:-1].round().astype(int).tolist():
            for k in offsets:
                frame, neighbour = scene.render(t).image, scene.render(t + k).image
                true_flow_px, visible = scene.flow(t, k)
                for name, flow_of in flows.items():
                    meters[name, k].update(flow_of(frame, neighbour), true_flow_px, visible)
                done += 1
                if progress is not None:
                    progress(done, total)
    return {key: meter.compute() for key, meter in meters.items()}


def markdown(errors: Mapping[tuple[str, int], FlowError]) -> str:
    """Returns a Markdown table with a row for each flow and offset."""
    headings = ("flow", "k", "EPE px", "at motion boundaries", "occluded", "visible", "steps kept %")
    ordered = sorted(errors.items(), key=lambda item: item[0][1])
    return markdown_table(
        headings,
        [
            [name, f"{k:+d}", *(number_cell(getattr(error, figure)) for figure in _FIGURES)]
            for (name, k), error in ordered
        ],
    )
