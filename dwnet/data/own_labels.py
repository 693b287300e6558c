"""Label images of data sets on disk: `dwnet.core.class_labels` with the errors of data sets."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dwnet.core.class_files import ClassFile
from dwnet.core.class_labels import ClassLabels, LabelError
from dwnet.core.label_images import LOSSY_SUFFIXES, LabelImage, LabelImageError, read_label_image
from dwnet.data.pairs import DataError, refuse

_FILES_SEARCHED = 200
"""Largest number of label files that are searched for a pixel of the second class."""


def label_reader(own: ClassFile) -> Callable[[Path], NDArray[np.uint8]]:
    """Returns `read_labels` for the classes of `own`. Workers of a loader can receive it."""
    return partial(read_labels, own)


def read_labels(own: ClassFile, path: Path) -> NDArray[np.uint8]:
    """Returns a label image as (H, W) uint8 class indices and `IGNORE_LABEL`.

    Args:
        own: the classes, with their ids and colours on disk.
        path: a lossless image of ids, with a palette, or of the colours of the classes.

    Raises:
        DataError: for a file that is no label image, or has an id or colour that is neither of a class nor ignored.
    """
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
    """Passes label files in formats that may change ids to `refuse`."""
    lossy = [path for path in labels if path.suffix.lower() in LOSSY_SUFFIXES]
    if lossy:
        problems = [f"{path}: is in a format that may change ids; allowed are PNG, BMP and TIFF" for path in lossy]
        refuse(DataError(f"{problems[0]} ({len(lossy)} of {len(labels)} label files)", problems))


def void_hides_a_class(own: ClassFile, labels: list[Path]) -> str | None:
    """Returns the description of masks of 0 and 255 whose 255 is ignored, though it must be the second class.

    A set of two classes with the ids 0 and 1 is searched for the id 1, in files spread over the set. Training on such
    masks would know one class only, and reach a mIoU of 100 %.

    Returns:
        One line that names the class and the remedy; None if the id 1 is there, or 255 is not.
    """
    if own.ids != (0, 1) or 255 not in own.ignored:
        return None
    step = max(1, len(labels) // _FILES_SEARCHED)
    void = searched = 0
    for path in labels[::step]:
        try:
            image = read_label_image(path)
        except LabelImageError:
            continue  # named when the frame is read
        if image.ids is None or (image.ids == 1).any():
            return None
        void += bool((image.ids == 255).any())
        searched += 1
    if not void:
        return None
    name = own.classes.classes[1]
    return (
        f"class {name!r} (id 1) has no pixel in {searched} label files, and {void} of them hold 255, which is ignored; "
        f'if the masks are of 0 and 255, give the class its id in classes.json: {{"name": "{name}", "id": 255}}'
    )


@lru_cache(maxsize=8)
def _labels(own: ClassFile) -> ClassLabels:
    return ClassLabels(own)
