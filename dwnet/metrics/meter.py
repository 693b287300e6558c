"""Base classes of the meters: named arrays of counts and sums that add up over frames, clips and processes."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dwnet.core.arrays import check_num_classes
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError

State: TypeAlias = dict[str, NDArray[Any]]
"""Arrays by name: int64 (counts) or float64 (sums). The states of several meters are merged by adding their arrays."""


class Meter:
    """Counts and sums that add up.

    Each process counts a share of the frames and returns its `state`. The sum of all states, merged into a new meter,
    gives the result that one meter would give for all frames.

    Args:
        arrays: all arrays of the state, filled with zeros.
    """

    class_axes: ClassVar[Mapping[str, int]] = {}
    """Number of trailing class axes of each array that counts by class."""

    def __init__(self, **arrays: NDArray[Any]) -> None:
        self._arrays = arrays

    def state(self) -> State:
        """Returns a copy of all counts and sums. `merge` adds it to another meter."""
        return {name: array.copy() for name, array in self._arrays.items()}

    def merge(self, state: Mapping[str, ArrayLike]) -> None:
        """Adds the counts and sums of another meter.

        Args:
            state: state of a meter of the same kind with the same number of classes. Nested lists (from JSON) are
                accepted.

        Raises:
            DWNetError: for other names, shapes or number types. Nothing is added in this case.
        """
        if set(state) != set(self._arrays):
            raise DWNetError(
                f"the state of the other meter has {', '.join(sorted(state)) or 'nothing'}; allowed are "
                f"{', '.join(sorted(self._arrays))}"
            )
        read = {name: self._read(name, values) for name, values in state.items()}
        for name, array in read.items():
            self._arrays[name] += array

    def _read(self, name: str, values: ArrayLike) -> NDArray[Any]:
        mine, theirs = self._arrays[name], np.asarray(values)
        if theirs.shape != mine.shape:
            axes = self.class_axes.get(name, 0)
            if axes and theirs.ndim == mine.ndim and theirs.shape[:-axes] == mine.shape[:-axes]:
                raise DWNetError(f"the other meter has {theirs.shape[-1]} classes; allowed is {mine.shape[-1]}")
            raise DWNetError(f"{name} of the other meter has shape {theirs.shape}; allowed is {mine.shape}")
        if not np.can_cast(theirs.dtype, mine.dtype, "safe"):
            raise DWNetError(f"{name} of the other meter is {theirs.dtype}; allowed is {mine.dtype}")
        return theirs

    def grow(self, num_classes: int) -> None:
        """Adds classes without pixels. Raises DWNetError if `num_classes` is below the present number."""
        grown = {name: _grown(self._arrays[name], num_classes, axes) for name, axes in self.class_axes.items()}
        self._arrays |= grown


class ClassMeter(Meter):
    """A meter that counts by class.

    Args:
        num_classes: number of classes; ids are 0 .. num_classes - 1.
        arrays: all arrays of the state, filled with zeros.
    """

    def __init__(self, num_classes: int, **arrays: NDArray[Any]) -> None:
        super().__init__(**arrays)
        self._num_classes = num_classes

    @property
    def num_classes(self) -> int:
        """Number of classes; ids are 0 .. num_classes - 1."""
        return self._num_classes

    def grow(self, num_classes: int) -> None:  # noqa: D102
        super().grow(num_classes)
        self._num_classes = num_classes


def counts(*shape: int) -> NDArray[np.int64]:
    """Returns int64 zeros of a shape; a scalar array without a shape."""
    return np.zeros(shape, np.int64)


def sums(*shape: int) -> NDArray[np.float64]:
    """Returns float64 zeros of a shape; a scalar array without a shape."""
    return np.zeros(shape, np.float64)


def class_counts(num_classes: int, *before: int, axes: int) -> NDArray[np.int64]:
    """Returns int64 zeros of shape (*before, K[, K]) with `axes` class axes. Raises DWNetError for K outside 1..255."""
    check_num_classes(num_classes)
    return counts(*before, *[num_classes] * axes)


def _grown(table: NDArray[Any], num_classes: int, axes: int) -> NDArray[Any]:
    check_num_classes(num_classes)
    if num_classes < table.shape[-1]:
        raise DWNetError(f"num_classes is {num_classes}; allowed are {table.shape[-1]}..{IGNORE_LABEL} (it only grows)")
    more = num_classes - table.shape[-1]
    return np.pad(table, [(0, 0)] * (table.ndim - axes) + [(0, more)] * axes)
