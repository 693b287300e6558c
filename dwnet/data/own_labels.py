"""Label images of data sets on disk: `dwnet.core.class_labels` with the errors of data sets."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dwnet.core.class_files import ClassFile
from dwnet.core.class_labels import ClassLabels, LabelError, id_ranges
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.label_images import LOSSY_SUFFIXES, LabelImage, LabelImageError, read_label_image
from dwnet.data.labelme import read_annotation
from dwnet.data.pairs import DataError, collecting

_FILES_SEARCHED = 200
"""Largest number of label files that are searched for pixels of two classes."""


def label_reader(own: ClassFile) -> Callable[[Path], NDArray[np.uint8]]:
    """Returns `read_labels` for the classes of `own`. Workers of a loader can receive it."""
    return partial(read_labels, own)


def read_labels(own: ClassFile, path: Path) -> NDArray[np.uint8]:
    """Returns a label image as (H, W) uint8 class indices and `IGNORE_LABEL`.

    Args:
        own: the classes, with their ids and colours on disk.
        path: a lossless image of ids, with a palette, or of the colours of the classes; or a JSON file of labelme.

    Raises:
        DataError: for a file that is no label image, or has an id or colour that is neither of a class nor ignored.
    """
    if path.suffix.lower() == ".json":
        return read_annotation(own, path)
    try:
        return _labels(own).read(path)
    except (LabelError, LabelImageError) as error:
        raise DataError(str(error)) from error


def read_content(path: Path) -> LabelImage:
    """Returns the ids and colours of a label image as stored; raises DataError for a file that is none."""
    try:
        return read_label_image(path)
    except LabelImageError as error:
        raise DataError(str(error)) from error


def refuse_lossy(labels: list[Path]) -> None:
    """Raises DataError for label files in formats that may change ids. A check names them when it reads them."""
    lossy = [path for path in labels if path.suffix.lower() in LOSSY_SUFFIXES]
    if lossy and not collecting():
        raise DataError(
            f"{lossy[0]}: is in a format that may change ids; allowed are PNG, BMP and TIFF ({len(lossy)} of "
            f"{len(labels)} label files)"
        )


def void_hides_a_class(own: ClassFile, labels: list[Path]) -> str | None:
    """Returns the description of labels that hold one class and void, though there are other classes.

    Masks of 0 and 255 are such labels where 255 is ignored. Training on them would know one class only, and reach a
    mIoU of 100 %. Files spread over the set are searched until two classes are found, usually in the first one.

    Returns:
        One line that names a class without a pixel, and the remedy; None if two classes are found, or no void.
    """
    step = max(1, len(labels) // _FILES_SEARCHED)
    found: set[int] = set()
    void = searched = 0
    for path in labels[::step]:
        try:
            counts = np.bincount(read_labels(own, path).ravel(), minlength=IGNORE_LABEL + 1)
        except DataError:
            continue  # named when the frame is read
        found |= set(np.flatnonzero(counts[:IGNORE_LABEL]).tolist())
        if len(found) > 1:
            return None
        void += bool(counts[IGNORE_LABEL])
        searched += 1
    if not void:
        return None
    place = next(place for place in (*range(1, len(own.ids)), 0) if place not in found)
    name, id_ = own.classes.classes[place], own.ids[place]
    remedy = ""
    if 255 in own.ignored and len(own.ids) == 2:
        remedy = f'; if the masks are of 0 and 255, give the class its id: {{"name": "{name}", "id": 255}}'
    return (
        f"class {name!r} (id {id_}) has no pixel in {searched} label files, and {void} of them hold ignored ids "
        f"({id_ranges(own.ignored)}){remedy}"
    )


def positions_for_ids(own: ClassFile, ids: set[int]) -> str | None:
    """Returns a line if labels hold positions of the classes (Cityscapes: trainIds) where ids belong.

    Args:
        own: the classes, with their ids on disk.
        ids: all ids in the labels.
    """
    positions = set(range(len(own.ids)))
    found = ids - {IGNORE_LABEL}
    if set(own.ids) == positions or len(found) < 2 or not found <= positions or found <= set(own.ids):
        return None
    listed = own.listed()
    return (
        f"the labels hold the ids {min(found)}..{max(found)} only, positions in the list of classes (trainIds) where "
        f"ids belong; allowed are {listed[0]} to {listed[-1]} (Cityscapes: files *_labelIds.png)"
    )


def ids_of(labels: list[Path], most: int) -> set[int]:
    """Returns the ids in at most `most` label files, spread over the set; files that cannot be read are left out."""
    found: set[int] = set()
    for path in labels[:: max(1, len(labels) // most)]:
        try:
            ids = read_label_image(path).ids
        except LabelImageError:
            continue  # named when the frame is read
        found |= set() if ids is None else set(np.unique(ids).tolist())
    return found


@lru_cache(maxsize=8)
def _labels(own: ClassFile) -> ClassLabels:
    return ClassLabels(own)
