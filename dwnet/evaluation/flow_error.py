"""Errors of optical flow against the exact flow of rendered streets: end-point error, and sharpness of motion steps.

The paper shows the refined flow only in a picture (Fig. 3). This module measures the refined flow and the coarse flow.
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
"""Largest distance of a motion boundary pixel from a step of the true flow, in pixels."""
STEP_PX, STEP_SHARE = 1.0, 0.05
"""Two neighbouring pixels have a step between them if their true flows differ by more than STEP_PX plus STEP_SHARE of
the longer flow. STEP_SHARE excludes the road near the camera, where the flow is long and changes fast but smoothly."""

_FIGURES = ("overall_px", "boundary_px", "occluded_px", "visible_px", "sharpness_percent")
"""Figures of a `FlowError`, in the order of the meter's arrays."""

FlowOf = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]
"""Maps (frame, neighbour), each (H, W, 3) uint8 RGB, to the flow from frame to neighbour, (2, H, W) float32 pixels."""
Progress = Callable[[int, int], None]
"""Called with (number of pairs done, number of all pairs)."""


@dataclass(frozen=True)
class FlowError:
    """Errors of a flow against the true flow. A figure is None if it has no pixels."""

    pairs: int
    """Number of pairs of frames."""
    overall_px: float | None
    """Mean end-point error (length of the difference) over all pixels."""
    boundary_px: float | None
    """Mean end-point error of the pixels within `BOUNDARY_PX` of a motion step, visible or not."""
    occluded_px: float | None
    """Mean end-point error of the pixels that are hidden in the neighbour or outside it."""
    visible_px: float | None
    """Mean end-point error of the pixels that are visible in both frames."""
    sharpness_percent: float | None
    """Mean share of a true step that the flow reproduces: 100 is as sharp as the true flow, 0 has no step."""


def motion_steps(flow_px: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns the steps of a true flow (2, H, W) as bool: (H, W - 1) to the right, (H - 1, W) to the lower pixel."""
    length = np.hypot(*flow_px)
    steps = []
    for axis in (1, 0):
        a, b = _pair(length, axis)
        differs = np.hypot(*np.diff(flow_px, axis=axis + 1))
        steps.append(differs > STEP_PX + STEP_SHARE * np.maximum(a, b))
    return steps[0], steps[1]


def boundary_mask(flow_px: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns a mask (H, W) of the pixels within `BOUNDARY_PX` of the two pixels at a step of a true flow (2, H, W)."""
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
    """Returns (n,): the share of each step of the true flow that a flow reproduces, 0..1; both flows are (2, H, W).

    A step is measured from the pixel before its two pixels to the pixel after them, so that a step that is displaced by
    one pixel still counts. The share is the projection of the flow's difference on the true difference, divided by the
    length of the true difference. Steps at the image border are left out, and steps with nearly equal true flow on both
    sides.
    """
    shares = []
    for axis, steps in zip((2, 1), motion_steps(true_flow_px), strict=True):
        length = steps.shape[axis - 1]
        inner = np.take(steps, np.arange(1, length - 1), axis - 1)
        true, found = (_wide_difference(f, axis)[:, inner].astype(np.float64) for f in (true_flow_px, flow_px))
        squared = (true**2).sum(0)
        wide = squared > STEP_PX**2  # the true flow can be equal on both sides of an object that is one pixel wide
        shares.append(np.clip((true * found).sum(0)[wide] / squared[wide], 0, 1))
    return np.concatenate(shares)


def _pair(array: NDArray[np.float32], axis: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    count = array.shape[axis]
    return np.take(array, np.arange(count - 1), axis), np.take(array, np.arange(1, count), axis)


def _wide_difference(flow_px: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    count = flow_px.shape[axis]
    return np.take(flow_px, np.arange(3, count), axis) - np.take(flow_px, np.arange(count - 3), axis)


class FlowErrorMeter(Meter):
    """Accumulates flow errors over pairs of frames. Every pixel and every step has the same weight."""

    def __init__(self) -> None:
        super().__init__(pairs=counts(), sums=sums(len(_FIGURES)), counts=counts(len(_FIGURES)))

    @property
    def pairs(self) -> int:
        """Number of pairs counted."""
        return int(self._arrays["pairs"])

    def update(
        self, flow_px: NDArray[np.float32], true_flow_px: NDArray[np.float32], visible: NDArray[np.bool_]
    ) -> None:
        """Counts one pair.

        Args:
            flow_px: (2, H, W), the flow to measure, in pixels.
            true_flow_px: (2, H, W), the exact flow, in pixels.
            visible: (H, W) bool, true for pixels that are visible in the neighbour, from `StreetScene.flow`.

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
        """Returns the mean errors over all pairs counted so far."""
        sums, counts = self._arrays["sums"].tolist(), self._arrays["counts"].tolist()
        means = {
            name: total / count if count else None for name, total, count in zip(_FIGURES, sums, counts, strict=True)
        }
        return FlowError(self.pairs, **means)


def at_stride(flow_px: NDArray[np.float32], stride: int = 8) -> NDArray[np.float32]:
    """Returns a flow (2, H, W) resized to ceil(H / stride) x ceil(W / stride) pixels and back, bilinearly.

    The flow refinement module works at stride 8. This flow has the same resolution and is the fair reference for it.
    """
    height, width = flow_px.shape[1:]
    small = (-(-width // stride), -(-height // stride))
    resized = [
        cv2.resize(cv2.resize(channel, small, interpolation=cv2.INTER_LINEAR), (width, height)) for channel in flow_px
    ]
    return np.stack(resized)


def flows_to_judge(refiner: OnnxFlowRefinement | None = None) -> dict[str, FlowOf]:
    """Returns the flows to compare, by name.

    The flows are zero motion as a reference, the coarse DIS flow, the coarse flow at the stride of the flow refinement
    module and, with a `refiner`, the refined flow.
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
    """Measures flows on pairs of frames that are spread evenly over rendered drives.

    Args:
        scenes: the rendered drives.
        flows: the flows to measure, by name.
        frames_per_scene: number of frames I_t in each drive.
        offsets: signed offsets k of the neighbours I_{t+k}; 0 is not allowed.
        progress: called after each pair.

    Returns:
        The errors by (name, k).

    Raises:
        DWNetError: without scenes or offsets, for an offset 0, or for more frames than a drive has.
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
