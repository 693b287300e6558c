"""Functions that several metrics use: sampling along a flow, occlusion, confusion matrices.

Public functions accept NumPy arrays and torch tensors, and compute in NumPy. Public names are in `dwnet.metrics`.
"""

from typing import SupportsFloat

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_flow, as_labels, as_numpy
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError


def positions_along(
    flow_px: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Returns the position of each pixel in the neighbour frame, x and y (H, W) in pixels, and the mask of inside ones.

    A position is inside if it lies between the centres of the outermost pixels, as in `dwnet.ops.warp.inside`.
    Positions that are outside or not finite are returned as 0, so that all positions can be used as indices.
    """
    height, width = flow_px.shape[1:]
    x = np.arange(width, dtype=np.float32) + flow_px[0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow_px[1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    if not inside.all():
        x[~inside] = 0
        y[~inside] = 0
    return x, y, inside


def occlusion_mask(
    flow_forward_px: Array, flow_backward_px: Array, *, alpha: float = 0.01, beta: float = 0.5
) -> NDArray[np.bool_]:
    """Returns the pixels of frame t that are visible in its neighbour, by the forward-backward check.

    A pixel x is visible if its flow w(x) ends inside the neighbour frame and the backward flow v cancels it:
    ``|w(x) + v(x + w(x))|^2 < alpha (|w(x)|^2 + |v(x + w(x))|^2) + beta``
    (Sundaram, Brox, Keutzer: Dense point trajectories by GPU-accelerated large displacement optical flow, ECCV 2010,
    Eq. 5, with their alpha and beta).

    Args:
        flow_forward_px: (2, H, W), from t to the neighbour, in pixels.
        flow_backward_px: (2, H, W), from the neighbour to t, in pixels.
        alpha: tolerance relative to the motion, without unit.
        beta: absolute tolerance, in squared pixels.

    Returns:
        (H, W) bool, true for visible pixels. A pixel whose flow is not finite is not visible.

    Raises:
        DWNetError: for flows that are not (2, H, W) of one size, or a negative tolerance.
    """
    shape = as_numpy(flow_forward_px).shape[-2:]
    forward = as_flow(flow_forward_px, (shape[0], shape[-1]) if len(shape) == 2 else (0, 0), "flow_forward_px")
    backward = as_flow(flow_backward_px, (forward.shape[1], forward.shape[2]), "flow_backward_px")
    if alpha < 0 or beta < 0:
        raise DWNetError(f"alpha is {alpha} and beta {beta}; allowed are numbers from 0")
    x, y, inside = positions_along(forward)
    # OpenCV 5 samples exactly and OpenCV 4 at 1/32 px. Both errors are far below the tolerance.
    back_x, back_y = (cv2.remap(np.ascontiguousarray(channel), x, y, cv2.INTER_LINEAR) for channel in backward)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = (forward[0] + back_x) ** 2 + (forward[1] + back_y) ** 2
        size = forward[0] ** 2 + forward[1] ** 2 + back_x**2 + back_y**2
        visible: NDArray[np.bool_] = inside & (gap < alpha * size + beta)
    return visible


class NearestWarp:
    """`warp_labels` for several label maps along one flow. The source positions are computed once.

    Args:
        flow_px: (2, H, W), from frame t to the neighbour whose labels are warped, in pixels.
    """

    def __init__(self, flow_px: NDArray[np.float32]) -> None:
        x, y, self.inside = positions_along(flow_px)
        self._all_inside = bool(self.inside.all())
        # Positions are not negative here, so the cast rounds down.
        index = (y + np.float32(0.5)).astype(np.intp)
        index *= flow_px.shape[2]
        index += (x + np.float32(0.5)).astype(np.intp)
        self._index = index

    def __call__(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the warped labels (H, W), with `IGNORE_LABEL` for pixels whose flow leaves the frame."""
        warped: NDArray[np.uint8] = labels.ravel().take(self._index)
        if not self._all_inside:
            warped[~self.inside] = IGNORE_LABEL
        return warped


def warp_labels(labels_neighbour: Array, flow_px: Array) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Warps the labels of the neighbour to frame t: Eq. 1 with the nearest pixel, since class ids cannot be averaged.

    ``warped(x) = labels_neighbour(round(x + flow(x)))``. A position halfway between two pixels is rounded to the right
    or lower one.

    Args:
        labels_neighbour: (H, W) integers: labels of the frame the flow points to (for flicker: the previous one).
        flow_px: (2, H, W), from frame t to that neighbour, in pixels.

    Returns:
        The warped labels, (H, W) uint8, and the validity mask, (H, W) bool. Where the flow leaves the frame, the label
        is `IGNORE_LABEL` and the mask is false.

    Raises:
        DWNetError: for an invalid label map, or a flow of another size.
    """
    labels = as_labels(labels_neighbour, "labels_neighbour")
    warp = NearestWarp(as_flow(flow_px, labels.shape))
    return warp(labels), warp.inside


def near_edge(labels: Array, *, distance_px: int = 3) -> NDArray[np.bool_]:
    """Returns the pixels near a class boundary: another class is within `distance_px` in x and y (a square window).

    Args:
        labels: (H, W) integers. Ignored pixels have no class and form no boundary.
        distance_px: largest distance to the other class, in pixels, at least 1.

    Returns:
        (H, W) bool.

    Raises:
        DWNetError: for an invalid label map, or a distance below 1.
    """
    if distance_px < 1:
        raise DWNetError(f"distance_px is {distance_px}; allowed are whole numbers from 1")
    array = np.ascontiguousarray(as_labels(labels))
    window = np.ones((2 * distance_px + 1, 2 * distance_px + 1), np.uint8)
    # A window has two classes if its largest and smallest id differ. Ignored pixels must be neither the largest nor the
    # smallest.
    highest = cv2.dilate(np.where(array == IGNORE_LABEL, np.uint8(0), array), window)
    lowest = cv2.erode(array, window)
    different: NDArray[np.bool_] = highest > lowest
    return different


def confusion_matrix(
    rows: NDArray[np.uint8], columns: NDArray[np.uint8], num_classes: int, mask: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Returns the number of pixels per pair of labels, (num_classes, num_classes) int64, from two arrays of one shape.

    Pixels with a label of at least `num_classes` (also `IGNORE_LABEL`) and pixels outside `mask` are left out.
    """
    table = np.zeros((num_classes, num_classes), np.int64)
    planes = [np.ascontiguousarray(array).reshape(1, -1) for array in (rows, columns)]
    inside = None if mask is None else np.ascontiguousarray(mask).view(np.uint8).reshape(1, -1)
    # OpenCV returns float32, which counts exactly up to 2^24.
    for start in range(0, rows.size, 2**24):
        part = slice(start, start + 2**24)
        table += cv2.calcHist(
            [plane[:, part] for plane in planes],
            [0, 1],
            None if inside is None else inside[:, part],
            [num_classes, num_classes],
            [0, num_classes, 0, num_classes],
        ).astype(np.int64)
    return table


def percent(part: SupportsFloat, whole: SupportsFloat) -> float | None:
    """Returns `part` of `whole` in percent; None if `whole` is 0."""
    return 100.0 * float(part) / float(whole) if float(whole) else None


def iou_percent(confusion: NDArray[np.int64], missed: NDArray[np.int64] | int = 0) -> tuple[float | None, ...]:
    """Returns the intersection over union per class, 0..100; None for a class absent from rows and columns.

    `missed`, (K,), is the number of further pixels of each row's class that are in no column.
    """
    both = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - both + missed
    return tuple(percent(part, whole) for part, whole in zip(both, union, strict=True))


def mean_percent(values: tuple[float | None, ...]) -> float | None:
    """Returns the mean of the values that are not None; None if there is no such value."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
