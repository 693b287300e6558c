"""Judges flow against truth, on the rendered street: how far off it is, and how sharp where motion changes.

The paper shows its refined flow in a picture only (Fig. 3). Here it is measured, with the coarse flow it comes from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.deploy.runtime import OnnxFlowRefinement
from dwnet.flow import dis_flow
from dwnet.street import StreetScene

BOUNDARY_PX = 3
"""A pixel is on a motion boundary up to this distance from a step of the true flow."""
STEP_PX, STEP_SHARE = 1.0, 0.05
"""Two neighbouring pixels have a step between them if their true flows differ by more than STEP_PX and STEP_SHARE of
the longer one together. The share is for the road: before the wheels its flow is long, and changes fast if smoothly."""

FlowOf = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]
"""(frame, neighbour), each (H, W, 3) uint8 RGB, to (2, H, W) float32 flow_px between them."""
Progress = Callable[[int, int], None]
"""Called with (pairs done, pairs in all)."""


@dataclass(frozen=True)
class FlowError:
    """What flows score against truth; None where no pixel was counted."""

    pairs: int
    overall_px: float | None
    """Mean end-point error, the length of the difference, over all pixels."""
    boundary_px: float | None
    """The same within 3 px of a motion boundary, visible or not."""
    occluded_px: float | None
    """The same where the point is hidden in the neighbour or outside it."""
    visible_px: float | None
    """The same where it is seen in both frames."""
    sharpness_percent: float | None
    """Of the true steps, how much the flow steps too: 100 is as sharp as truth, 0 is flat across the boundary."""


def motion_steps(flow_px: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where a true flow (2, H, W) steps: ((H, W - 1) between a pixel and the right one, (H - 1, W) the lower one)."""
    length = np.hypot(*flow_px)
    steps = []
    for axis in (1, 0):
        a, b = _pair(length, axis)
        differs = np.hypot(*np.diff(flow_px, axis=axis + 1))
        steps.append(differs > STEP_PX + STEP_SHARE * np.maximum(a, b))
    return steps[0], steps[1]


def boundary_mask(flow_px: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) the pixels within `BOUNDARY_PX` of a step of a true flow (2, H, W), counted from the pixels beside it."""
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
    """(n,) for each step of the true flow the share of it that a flow has too, 0 to 1, both (2, H, W).

    A step is measured from the pixel before the two it lies between to the pixel behind them, so one that is a pixel
    off still counts: the share is the flow's difference along the true one, by the true one's length.
    """
    shares = []
    for axis, steps in zip((2, 1), motion_steps(true_flow_px), strict=True):
        length = steps.shape[axis - 1]
        inner = np.take(steps, np.arange(1, length - 1), axis - 1)
        true, found = (_wide_difference(f, axis)[:, inner].astype(np.float64) for f in (true_flow_px, flow_px))
        squared = (true**2).sum(0)
        wide = squared > STEP_PX**2  # a thing one pixel wide may have the same motion on both its sides
        shares.append(np.clip((true * found).sum(0)[wide] / squared[wide], 0, 1))
    return np.concatenate(shares)


def _pair(array: NDArray[np.float32], axis: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    count = array.shape[axis]
    return np.take(array, np.arange(count - 1), axis), np.take(array, np.arange(1, count), axis)


def _wide_difference(flow_px: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    count = flow_px.shape[axis]
    return np.take(flow_px, np.arange(3, count), axis) - np.take(flow_px, np.arange(count - 3), axis)


class FlowErrorMeter:
    """Sums errors over pairs of frames; every pixel and every step counts the same."""

    def __init__(self) -> None:
        self.pairs = 0
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def update(
        self, flow_px: NDArray[np.float32], true_flow_px: NDArray[np.float32], visible: NDArray[np.bool_]
    ) -> None:
        """Count one pair.

        Args:
            flow_px: (2, H, W), to be judged.
            true_flow_px: (2, H, W), exact.
            visible: (H, W) bool, as `StreetScene.flow` gives it.

        Raises:
            ValueError: for shapes that differ, or a flow that is not finite.
        """
        if flow_px.shape != true_flow_px.shape or visible.shape != flow_px.shape[1:]:
            raise DWNetError(
                f"found a flow of shape {flow_px.shape}, a true one of {true_flow_px.shape} and visibility of "
                f"{visible.shape}; allowed are (2, H, W) twice and (H, W)"
            )
        if not np.isfinite(flow_px).all():
            raise DWNetError("the flow has values that are not finite")
        error = np.hypot(*(flow_px - true_flow_px)).astype(np.float64)
        self.pairs += 1
        self._add("overall", error)
        self._add("boundary", error[boundary_mask(true_flow_px)])
        self._add("occluded", error[~visible])
        self._add("visible", error[visible])
        self._add("sharpness", 100 * kept_steps(flow_px, true_flow_px))

    def _add(self, name: str, values: NDArray[np.float64]) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + float(values.sum())
        self._counts[name] = self._counts.get(name, 0) + values.size

    def compute(self) -> FlowError:
        """The means."""
        means = {
            name: self._sums[name] / self._counts[name] if self._counts.get(name) else None
            for name in ("overall", "boundary", "occluded", "visible", "sharpness")
        }
        return FlowError(
            self.pairs, means["overall"], means["boundary"], means["occluded"], means["visible"], means["sharpness"]
        )


def at_stride(flow_px: NDArray[np.float32], stride: int = 8) -> NDArray[np.float32]:
    """A flow (2, H, W) sampled on the map of ceil(H / stride) x ceil(W / stride) pixels and brought back, bilinearly.

    What a flow refined at stride 8 starts from, and is fairly compared with: it has lost this much by resolution.
    """
    height, width = flow_px.shape[1:]
    small = (-(-width // stride), -(-height // stride))
    resized = [
        cv2.resize(cv2.resize(channel, small, interpolation=cv2.INTER_LINEAR), (width, height)) for channel in flow_px
    ]
    return np.stack(resized)


def flows_to_judge(refiner: OnnxFlowRefinement | None = None) -> dict[str, FlowOf]:
    """The flows by name.

    No motion at all, for a measure; the coarse flow; the same at the stride that the FRM has; and the one that a
    trained DWNet refines.
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
    """Judge flows on pairs of frames spread evenly over rendered drives.

    Args:
        scenes: the drives.
        flows: by name.
        frames_per_scene: frames I_t of each.
        offsets: k of the neighbours I_{t+k}, signed.
        progress: told after each pair.

    Returns:
        By (name, k).

    Raises:
        ValueError: without scenes or offsets, or with more frames than a drive has room for.
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
    """A Markdown table, a row for each flow and offset."""
    lines = [
        "| flow | k | EPE px | at motion boundaries | occluded | visible | steps kept % |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, k), error in sorted(errors.items(), key=lambda item: item[0][1]):
        values = (
            error.overall_px, error.boundary_px, error.occluded_px, error.visible_px, error.sharpness_percent,
        )  # fmt: skip
        cells = ["-" if value is None else f"{value:.2f}" for value in values]
        lines.append(f"| {name} | {k:+d} | {' | '.join(cells)} |")
    return "\n".join(lines)
