"""Label maps for the test server of the Cityscapes benchmark, and the frames of its test split, which has no labels.

The server and the evaluator of the package `cityscapesscripts` read files ``CITY_SNIPPET_FRAME*.png``. A file has one
channel of label ids (not train ids) and the size of the frame.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import CITYSCAPES_19, IGNORE_LABEL
from dwnet.core.data_kinds import Split
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_folder
from dwnet.core.launch import Processes
from dwnet.data.cityscapes import label_ids, snippet_file
from dwnet.data.frames import FileSource, LabelledFrame
from dwnet.data.open import FrameData
from dwnet.data.pair_dataset import PairDataset
from dwnet.data.pairs import DataError, read_image
from dwnet.evaluation.processes import broadcast_from_first

if TYPE_CHECKING:
    from dwnet.evaluation.measure import OnLabels

SUFFIX = "_pred_labelIds.png"
_IMAGE_SUFFIX = "_leftImg8bit.png"


def check_server_folder(folder: Path, data: FrameData) -> None:
    """Raises DWNetError for data without the Cityscapes classes, or for a folder that holds other files."""
    if data.classes != CITYSCAPES_19:
        raise DWNetError(
            f"files for the test server are of Cityscapes' classes; the data has {', '.join(data.classes.classes)}"
        )
    if folder.exists():
        other = None if not folder.is_dir() else [one for one in folder.iterdir() if not one.name.endswith(SUFFIX)]
        if other is None or other:
            found = "is no folder" if other is None else f"holds {min(other).name}"
            raise DWNetError(
                f"{folder}: {found}; allowed for the test server's files is a new folder, an empty one, or one with "
                f"only *{SUFFIX}, which are replaced"
            )


@contextmanager
def server_files(folder: Path, names: Sequence[str], processes: Processes) -> "Iterator[OnLabels]":
    """Yields a function that writes the file of a frame. `folder` appears only after all files are written.

    Args:
        folder: a folder that `check_server_folder` accepts. If there are several machines, they must share it.
        names: names of the frames, CITY_SNIPPET_FRAME.
        processes: rank and number of the processes that write. The first process creates a temporary folder and renames
            it at the end of the context. The others must have written their files before (`evaluate` ensures this).
    """
    if processes.rank:
        yield _writer(broadcast_from_first(None, processes), names)
        return
    with atomic_folder(folder) as new:
        yield _writer(broadcast_from_first(new, processes), names)


def _writer(folder: Path, names: Sequence[str]) -> "OnLabels":
    def write(index: int, labels: NDArray[np.uint8]) -> None:
        path = folder / f"{names[index]}{SUFFIX}"
        if not cv2.imwrite(str(path), label_ids(labels)):
            raise OSError(f"{path}: could not be written")

    return write


def without_labels(root: Path, split: Split) -> PairDataset:
    """Returns the frames of a Cityscapes split with every label ignored. The labels of ``test`` are not published.

    Args:
        root: the folder that holds ``leftImg8bit``.
        split: the split.

    Raises:
        DataError: if there are no frames, or a file name has another form.
    """
    folder = root / "leftImg8bit" / split
    images = [path for path in sorted(folder.glob(f"*/*{_IMAGE_SUFFIX}")) if not path.name.startswith(".")]
    if not images:
        raise DataError(f"{folder}: found no CITY/*{_IMAGE_SUFFIX}")
    frames = []
    for image in images:
        name = image.name.removesuffix(_IMAGE_SUFFIX)
        parts = name.rsplit("_", 2)
        if len(parts) != 3 or not (parts[1] + parts[2]).isdigit():
            raise DataError(f"{image}: not named CITY_SNIPPET_FRAME{_IMAGE_SUFFIX}")
        frames.append(LabelledFrame(name, image, image, f"{parts[0]}_{parts[1]}", int(parts[2])))
    source = FileSource(
        frames,
        classes=CITYSCAPES_19,
        read_labels=lambda path: np.full(read_image(path).shape[:2], IGNORE_LABEL, np.uint8),
        layout=f"leftImg8bit without labels, {split}",
        name=f"{root}, split {split}",
        raw_frame=partial(snippet_file, root, split),
    )
    return PairDataset(source)
