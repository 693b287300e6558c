"""Turns label files into label maps of the library: class indices of a classes file, 255 for pixels without a class."""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.class_files import LARGEST_ID, ClassFile, Colour
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.core.label_images import ALLOWED, LabelImage, read_label_image

_MOST_NAMED = 24
"""Largest number of classes that a message lists."""


class LabelError(DWNetError):
    """Labels that do not fit the classes. The message names the file, what was found and what is allowed."""


class ClassLabels:
    """Reads labels with the ids, ignored ids and colours of a classes file.

    Args:
        own: the classes; None keeps the ids 0..254 as they are, with 255 as `IGNORE_LABEL`.
        ignore: further ids without a class, of any sign and size.

    Raises:
        LabelError: if an id of `ignore` belongs to a class.
    """

    def __init__(self, own: ClassFile | None = None, ignore: Collection[int] = ()) -> None:
        self.own = own
        ids = tuple(range(IGNORE_LABEL)) if own is None else own.ids
        self.ignored = frozenset({IGNORE_LABEL} if own is None else own.ignored) | frozenset(ignore)
        if own is not None and (shared := set(own.ids) & set(ignore)):
            raise LabelError(
                f"--ignore {min(shared)}: the classes file gives this id to a class; allowed are other ids"
            )
        self._lookup = np.full(LARGEST_ID + 1, IGNORE_LABEL, np.uint8)
        self._lookup[list(ids)] = np.arange(len(ids))
        self._known = np.zeros(LARGEST_ID + 1, np.bool_)
        self._known[list(ids)] = True
        stored = [id_ for id_ in self.ignored if 0 <= id_ <= LARGEST_ID]
        self._lookup[stored], self._known[stored] = IGNORE_LABEL, True
        self._beyond = sorted(self.ignored - set(stored))

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Returns a label image as (H, W) uint8 class indices and `IGNORE_LABEL`.

        Raises:
            LabelError: for an id or a colour that belongs to no class and is not ignored, a colour image without
                colours in the classes file, or an image that can be read as ids and as colours with different results.
            LabelImageError: for a file that is no label image.
        """
        return self.from_image(read_label_image(path), str(path))

    def from_image(self, image: LabelImage, name: str) -> NDArray[np.uint8]:
        """Returns the content of a label image as `read` does; `name` is for messages."""
        by_ids = None if image.ids is None else self._by_ids(image.ids)
        by_colours = None if image.colours is None else self._by_colours(image.colours)
        if by_ids is not None and by_colours is not None and not np.array_equal(by_ids, by_colours):
            what = "palette" if image.palette else "grey RGB"
            raise LabelError(
                f"{name}: its {what} values are ids of classes, and its colours are colours of other classes; allowed "
                "is an image that can be read in one way (leave the colours out of the classes file to read ids)"
            )
        if by_ids is not None or by_colours is not None:
            return by_ids if by_ids is not None else by_colours  # type: ignore[return-value]
        if image.ids is not None:
            raise LabelError(self._unknown_ids(image.ids, name))
        assert image.colours is not None
        raise LabelError(self._unknown_colours(image.colours, name))

    def from_ids(self, ids: NDArray[Any], name: str) -> NDArray[np.uint8]:
        """Returns (H, W) integer ids as class indices and `IGNORE_LABEL`; `name` is for messages.

        Raises:
            LabelError: for an array of another shape or type, or an id that is neither of a class nor ignored.
        """
        if ids.ndim != 2 or ids.dtype.kind not in "iub" or ids.size == 0:
            raise LabelError(f"{name}: is {ids.dtype} of shape {ids.shape}; allowed are integers of shape (H, W)")
        labels = self._by_ids(ids)
        if labels is None:
            raise LabelError(self._unknown_ids(ids, name))
        return labels

    def _by_ids(self, ids: NDArray[Any]) -> NDArray[np.uint8] | None:
        """Returns the class indices; None if an id is unknown."""
        if ids.dtype == np.bool_:
            ids = ids.astype(np.uint8)
        if ids.dtype == np.uint8:
            # Look-up tables of OpenCV are several times faster than NumPy's.
            if cv2.LUT(ids, (~self._known[:256]).astype(np.uint8)).any():
                return None
            return np.asarray(cv2.LUT(ids, self._lookup[:256]), np.uint8)
        if ids.dtype == np.uint16:
            return self._lookup[ids] if self._known[ids].all() else None
        beyond = np.isin(ids, self._beyond)
        inside = np.where(beyond, 0, ids)
        if inside.min() < 0 or inside.max() > LARGEST_ID or not (self._known[inside] | beyond).all():
            return None
        return np.where(beyond, np.uint8(IGNORE_LABEL), self._lookup[inside])

    def _by_colours(self, colours: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """Returns the class indices; None if the classes have no colours, or a colour is unknown."""
        if self.own is None or not any(self.own.colours):
            return None
        found = _colour_table(self.own.colours, self.own.ignored_colours)[_codes(colours)]
        return None if (found < 0).any() else found.astype(np.uint8)

    def _unknown_ids(self, ids: NDArray[Any], name: str) -> str:
        values = np.unique(ids)
        if self.own is None:
            first = next(value for value in values if value not in self.ignored and not 0 <= value < IGNORE_LABEL)
            return (
                f"{name}: holds the id {first}; allowed are 0..{IGNORE_LABEL - 1}, {IGNORE_LABEL} (ignore) and the id "
                "given as --ignore"
            )
        known = {*self.own.ids, *self.ignored}
        unknown = [int(value) for value in values if int(value) not in known]
        listed = self.own.listed()
        allowed = ", ".join(listed[:_MOST_NAMED]) + (
            f", ... ({len(listed)} classes)" if len(listed) > _MOST_NAMED else ""
        )
        ignored = id_ranges(self.ignored) or "none"
        found = id_ranges(unknown)
        hint = ""
        if set(values.tolist()) <= {0, 255}:
            hint = '; in a mask of 0 and 255, give the class "id": 255 in the classes file'
        return f"{name}: found ids {found}; allowed are {allowed}, and as ignored {ignored}{hint}"

    def _unknown_colours(self, colours: NDArray[np.uint8], name: str) -> str:
        if self.own is None or not any(self.own.colours):
            return f"{name}: is a colour picture (RGB), and no classes file gives colours; allowed is {ALLOWED}"
        codes = _codes(colours)
        unknown = codes[_colour_table(self.own.colours, self.own.ignored_colours)[codes] < 0]
        values, counts = np.unique(unknown, return_counts=True)
        worst = int(values[counts.argmax()])
        allowed = [
            f"{colour} ({name_})"
            for colour, name_ in zip(self.own.colours, self.own.classes.classes, strict=True)
            if colour is not None
        ]
        more = f", ... ({len(allowed)} colours)" if len(allowed) > _MOST_NAMED else ""
        ignored = ", ".join(map(str, sorted(self.own.ignored_colours))) or "none"
        return (
            f"{name}: found colour {(worst >> 16, worst >> 8 & 255, worst & 255)} at {counts.max()} pixels "
            f"({values.size} unknown colours in all); allowed are {', '.join(allowed[:_MOST_NAMED])}{more}, and as "
            f"ignored {ignored}"
        )


def id_ranges(ids: Collection[int]) -> str:
    """Returns ids as text, with three and more consecutive ones as ``FIRST..LAST``."""
    runs: list[list[int]] = []
    for id_ in sorted(ids):
        if runs and id_ == runs[-1][-1] + 1:
            runs[-1].append(id_)
        else:
            runs.append([id_])
    parts = [f"{run[0]}..{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts[:_MOST_NAMED]) + (", ..." if len(parts) > _MOST_NAMED else "")


def _codes(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Returns (H, W, 3) RGB as one number per pixel."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


@lru_cache(maxsize=4)
def _colour_table(colours: tuple[Colour | None, ...], ignored: frozenset[Colour]) -> NDArray[np.int16]:
    """Returns the class index of each RGB colour, `IGNORE_LABEL` for ignored ones, -1 for others."""
    # One entry for each colour (32 MB): fast, and without collisions.
    table = np.full(1 << 24, -1, np.int16)
    for index, colour in enumerate(colours):
        if colour is not None:
            table[colour[0] << 16 | colour[1] << 8 | colour[2]] = index
    for red, green, blue in ignored:
        table[red << 16 | green << 8 | blue] = IGNORE_LABEL
    return table
