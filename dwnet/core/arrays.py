"""Checks of arrays that come from users: label maps, flows, masks, class ids.

NumPy arrays and torch tensors are both accepted. This module does not import PyTorch.
"""

from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError

if TYPE_CHECKING:
    from torch import Tensor


# PyTorch is not imported here: code that runs exported networks must work without it.
Array: TypeAlias = Union[NDArray[Any], "Tensor"]
"""A NumPy array or a torch tensor (on any device, with or without gradient)."""


def as_numpy(array: Array) -> NDArray[Any]:
    """Returns an array, a nested sequence or a torch tensor on any device as a NumPy array; bfloat16 as float32."""
    if not hasattr(array, "detach"):
        return np.asarray(array)
    tensor = array.detach().cpu()
    return np.asarray((tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy())


def as_labels(labels: Array, name: str = "labels") -> NDArray[np.uint8]:
    """Returns a label map as (H, W) uint8.

    Raises:
        DWNetError: for another number of dimensions, an empty map, a dtype that is not an integer type, or values
            outside 0..255.
    """
    array = as_numpy(labels)
    if array.ndim != 2 or array.size == 0:
        raise DWNetError(f"{name} has shape {array.shape}; allowed is a non-empty (H, W)")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iu":
        raise DWNetError(f"{name} has dtype {array.dtype}; allowed are integers (class ids, {IGNORE_LABEL} = ignore)")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 255:
        raise DWNetError(f"{name} holds the label {low if low < 0 else high}; allowed are 0..255")
    return array.astype(np.uint8)


def as_flow(flow_px: Array, shape: tuple[int, int], name: str = "flow_px") -> NDArray[np.float32]:
    """Returns a flow as (2, H, W) float32, for a map of `shape` = (H, W).

    Raises:
        DWNetError: for another shape, or a dtype that is not a real number type.
    """
    array = as_numpy(flow_px)
    if array.shape != (2, *shape):
        raise DWNetError(
            f"{name} has shape {array.shape}; a map of {shape[0]}x{shape[1]} needs (2, {shape[0]}, {shape[1]})"
        )
    if array.dtype.kind not in "fiu":
        raise DWNetError(f"{name} has dtype {array.dtype}; allowed are real numbers (pixels)")
    return array.astype(np.float32, copy=False)


def as_mask(mask: Array | None, shape: tuple[int, int], name: str = "visible") -> NDArray[np.bool_]:
    """Returns a mask as (H, W) bool. None gives a mask that is true everywhere.

    Raises:
        DWNetError: if the mask is not bool of `shape` = (H, W).
    """
    if mask is None:
        return np.ones(shape, dtype=np.bool_)
    array = as_numpy(mask)
    if array.shape != shape or array.dtype != np.bool_:
        raise DWNetError(f"{name} is {array.dtype} of shape {array.shape}; allowed is bool of shape {shape}")
    return array


def check_num_classes(num_classes: int) -> None:
    """Raises DWNetError unless `num_classes` is in 1..255, so that no class has the ignore label."""
    if not 1 <= num_classes <= IGNORE_LABEL:
        raise DWNetError(f"num_classes is {num_classes}; allowed are 1..{IGNORE_LABEL}")


def classes_needed(labels: NDArray[np.uint8]) -> int:
    """Returns the highest class id of a label map plus one; 0 if every pixel is ignored."""
    # In uint8 the ignore label, 255, becomes 0.
    return int((labels + np.uint8(1)).max(initial=0))


def check_class_ids(labels: NDArray[np.uint8], num_classes: int, name: str = "labels", *, ignore: bool = True) -> None:
    """Raises DWNetError for a label outside 0..num_classes - 1. With `ignore`, the ignore label is allowed too."""
    if classes_needed(labels) > num_classes or (not ignore and labels.max(initial=0) == IGNORE_LABEL):
        ids = np.arange(256)
        allowed = (ids < num_classes) | (ignore & (ids == IGNORE_LABEL))
        found = sorted({int(label) for label in np.unique(labels) if not allowed[label]})
        also = f" and {IGNORE_LABEL} (ignore)" if ignore else ""
        raise DWNetError(f"{name} holds the labels {found}; allowed are 0..{num_classes - 1}{also}")
