"""Matches label files with frames by their names: equal names, suffixes such as ``_mask``, and numbers."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from dwnet.core.files import listed, same_form
from dwnet.core.label_images import LABEL_SUFFIXES, LOSSY_SUFFIXES

LABEL_ENDS = (
    "_gtFine_labelIds", "_gtCoarse_labelIds", "_gtFine_labelTrainIds", "_gtCoarse_labelTrainIds", "_labelIds",
    "_labelTrainIds", "_train_id", "_masks", "_mask", "-mask", "_labels", "_label", "-label", "_L", "_P", "_gt", "_seg",
    "_segmentation", "_semantic", "_annotation", "_annot", "_trimap",
)  # fmt: skip
"""Usual ends of the names of label files, without the file's suffix, the longer ones first."""
IMAGE_ENDS = ("_leftImg8bit", "_image", "_img", "_rgb", "_sat", "_frame", "_im")
"""Usual ends of the names of frames."""
LABEL_STARTS = ("mask_", "label_", "labels_", "gt_", "seg_")
"""Usual starts of the names of label files."""
_LABEL_FILES = (*LABEL_SUFFIXES, *LOSSY_SUFFIXES)

Found = TypeVar("Found")


def label_files(folder: Path, suffixes: Collection[str] = _LABEL_FILES) -> list[Path]:
    """Returns the label files of a folder, sorted by name, without hidden files.

    Beside Cityscapes' ``*_labelIds.png``, the files of colours, instances and train ids are left out.

    Args:
        folder: an existing folder.
        suffixes: suffixes of label files; default: lossless images and, so that they can be refused, lossy ones.
    """
    files = listed(folder, suffixes)
    for end in ("_labelIds", "_labelTrainIds"):
        of_kind = [file for file in files if file.stem.endswith(end)]
        if of_kind:
            return of_kind
    return files


def named_as_frames(frames: Collection[str], labels: Mapping[str, Found]) -> dict[str, Found]:
    """Returns label files by the name of their frame.

    If no label file has the name of a frame, one common start or end of the names is removed: a label file called
    ``FRAME_mask``, ``mask_FRAME`` or ``FRAME_labelIds``, for a frame ``FRAME`` or ``FRAME_leftImg8bit``. Any common
    end after ``_``, ``-`` or ``.`` is recognised that contains a letter.

    Args:
        frames: names of the frames, without suffix, composed (`same_form`).
        labels: label files by their names, without suffix, composed.

    Returns:
        The same files. Their names are unchanged if no common start or end is found.
    """
    if not labels or not frames or not labels.keys().isdisjoint(frames):
        return dict(labels)
    known = set(frames)
    best: dict[str, Found] = {}
    for image_end in ("", *IMAGE_ENDS):
        bare = {name.removesuffix(image_end): name for name in known if name.endswith(image_end)}
        for start, end in _affixes(bare, labels):
            renamed = {bare.get(_inner(name, start, end), name): value for name, value in labels.items()}
            if len(known & renamed.keys()) > len(known & best.keys()):
                best = renamed
    return best or dict(labels)


def _affixes(frames: Collection[str], labels: Iterable[str]) -> set[tuple[str, str]]:
    """Returns the pairs of a start and an end that turn the name of a label file into that of a frame."""
    found = {("", end) for end in LABEL_ENDS} | {(start, "") for start in LABEL_STARTS}
    for label in sorted(labels)[:3]:
        for cut in range(1, len(label)):
            end = label[cut:]
            if label[:cut] in frames and end[0] in "_-." and re.search("[A-Za-z]", end):
                found.add(("", end))
    return found


def _inner(name: str, start: str, end: str) -> str:
    """Returns a name without start and end; the name itself if it lacks one of them."""
    return name.removeprefix(start).removesuffix(end) if name.startswith(start) and name.endswith(end) else name


def by_stem(files: Iterable[Path]) -> dict[str, Path]:
    """Returns files by their names without suffix, composed. Of two files with one name, the last remains."""
    return {same_form(file.stem): file for file in files}


def frame_number(name: str) -> int | None:
    """Returns the frame number in the name of a label file: the last digits before a usual end such as ``_mask``.

    ``000020`` and ``aachen_000000_000020_gtFine_labelIds`` are of frame 20. None if there are no such digits.
    """
    for end in (*LABEL_ENDS, *IMAGE_ENDS):
        name = name.removesuffix(end)
    digits = re.search(r"([0-9]+)$", name)
    return int(digits[1]) if digits else None
