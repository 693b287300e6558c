"""Label PNGs of a user's own data."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.class_files import ClassFile
from dwnet.core.classes import IGNORE_LABEL
from dwnet.data.pairs import DataError, read_ids


def read_labels(own: ClassFile, path: Path) -> NDArray[np.uint8]:
    """Returns a label PNG as (H, W) uint8 class ids and `IGNORE_LABEL`.

    Args:
        own: the classes and their ids on disk.
        path: the PNG.

    Raises:
        DataError: for a file that is no image, has more than one channel, or has an id that is neither a class nor
            ignored.
    """
    labels = read_ids(path)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        channels = 1 if labels.ndim == 2 else labels.shape[2]
        raise DataError(f"{path}: found {channels} channels of {labels.dtype}; allowed is one channel of uint8 ids")
    lookup = np.full(256, IGNORE_LABEL, np.uint8)
    lookup[list(own.ids)] = np.arange(len(own.ids))
    known = np.zeros(256, np.bool_)
    known[[*own.ids, *own.ignored]] = True
    unknown = np.flatnonzero((np.bincount(labels.ravel(), minlength=256) > 0) & ~known)
    if unknown.size:
        allowed = ", ".join(f"{id_} ({name})" for id_, name in zip(own.ids, own.classes.classes, strict=True))
        ignored = ", ".join(map(str, sorted(own.ignored))) or "none"
        raise DataError(
            f"{path}: found ids {', '.join(map(str, unknown))}; allowed are {allowed}, and as ignored {ignored}"
        )
    return cv2.LUT(labels, lookup)
