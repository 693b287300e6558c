"""Cityscapes (Cordts et al., CVPR 2016): 30-frame snippets of 50 cities, one frame of each labelled, 19 classes.

The packages of cityscapes-dataset.com, unpacked into one folder:

- ``leftImg8bit_sequence/SPLIT/CITY/CITY_SNIPPET_FRAME_leftImg8bit.png``: the snippets. The labelled frame is the 20th;
- ``leftImg8bit/SPLIT/CITY/...``: only the labelled frames, sufficient for training without real neighbours;
- ``gtFine/SPLIT/CITY/CITY_SNIPPET_FRAME_gtFine_labelIds.png``;
- ``leftImg8bit/train_extra`` (of leftImg8bit_trainextra.zip) and ``gtCoarse/train_extra``: coarsely labelled frames of
  other cities, without snippets.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dwnet.core.class_files import BUNDLED
from dwnet.core.classes import CITYSCAPES_19, CITYSCAPES_LABEL_IDS
from dwnet.core.data_kinds import REAL, Neighbours, Split
from dwnet.core.errors import DWNetError
from dwnet.core.files import listed
from dwnet.data.frames import FileSource, LabelledFrame, offsets_within
from dwnet.data.own_labels import read_labels
from dwnet.data.pair_dataset import check_options
from dwnet.data.pairs import DataError, refuse

TRAIN_IDS = {label_id: train_id for train_id, label_id in enumerate(CITYSCAPES_LABEL_IDS)}
"""Label ids on disk to ids of `CITYSCAPES_19`. The other ids of 0..33 are ignored."""

BEFORE, AFTER = 19, 10
"""Frames of a snippet before and after the labelled one."""

_NAME = re.compile(r"(?P<city>[^_]+)_(?P<snippet>\d{6})_(?P<frame>\d{6})")


def scan(
    root: Path, split: Split, *, neighbours: Neighbours = "none", max_offset: int = 5, coarse: bool = False
) -> FileSource:
    """Returns the labelled frames of one split of Cityscapes.

    Args:
        root: the folder that holds the unpacked packages.
        split: ``train``, ``val`` or ``test`` (whose published labels are all void).
        neighbours: the kind of neighbours to find. Real neighbours are files of leftImg8bit_sequence.
        max_offset: largest distance to the neighbour, in frames.
        coarse: True returns the coarsely labelled frames of ``train_extra`` instead, which have no real neighbours. The
            split must be ``train``.

    Raises:
        DataError: if files are missing; the attribute `problems` lists all of them.
        DWNetError: for an option that is not allowed.
    """
    check_options(neighbours=neighbours, max_offset=max_offset)
    if coarse and (neighbours not in ("none", "camera_motion") or split != "train"):
        raise DWNetError(
            f"coarse labels: found split {split!r} with neighbours {neighbours!r}; allowed are split 'train' with "
            "'none' or 'camera_motion' (these frames have no snippets)"
        )
    real = neighbours in REAL
    frames = _frames(root, "train_extra" if coarse else split, "gtCoarse" if coarse else "gtFine", real=real)
    if real:
        frames = _with_snippets(frames, offsets_within(neighbours, min(max_offset, BEFORE), min(max_offset, AFTER)))
    return FileSource(
        frames,
        classes=CITYSCAPES_19,
        read_labels=read_label_ids,
        layout="gtCoarse, train_extra" if coarse else f"gtFine, {split}",
        name=f"{root}, split {split}",
        raw_frame=partial(snippet_file, root, split),
        class_file=BUNDLED["cityscapes"],
        labels_published=split != "test",
    )


def snippet_file(root: Path, split: Split, frame: LabelledFrame, offset: int) -> Path:
    """Returns the file of the frame at an offset from a labelled one, existing or not."""
    return root / "leftImg8bit_sequence" / split / frame.image.parent.name / _snippet_name(frame, offset)


def _snippet_name(frame: LabelledFrame, offset: int) -> str:
    return f"{frame.sequence}_{frame.number + offset:06d}_leftImg8bit.png"


def read_label_ids(path: Path) -> NDArray[np.uint8]:
    """Returns a ``*_labelIds.png`` as (H, W) uint8 ids of `CITYSCAPES_19` and `IGNORE_LABEL`.

    Raises:
        DataError: for a file that is no label image, or has an id that Cityscapes does not have.
    """
    return read_labels(BUNDLED["cityscapes"], path)


def label_ids(train_ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns (H, W) uint8 ids of `CITYSCAPES_19` as the label ids of the test server; ignored pixels become 0."""
    lookup = np.zeros(256, np.uint8)
    for label_id, train_id in TRAIN_IDS.items():
        lookup[train_id] = label_id
    return lookup[train_ids]


def _frames(root: Path, split: str, annotation: str, *, real: bool) -> tuple[LabelledFrame, ...]:
    label_folder = root / annotation / split
    single = (root / "leftImg8bit" / split, root / "leftImg8bit_sequence" / split)
    image_folder = single[0] if single[0].is_dir() and not real else single[1]
    if split == "train_extra":
        image_folder = single[0]
    for folder in (label_folder, image_folder):
        if not folder.is_dir():
            found = ", ".join(sorted(path.name for path in root.iterdir())[:8]) if root.is_dir() else "no such folder"
            raise DataError(f"{folder}: missing; found in {root}: {found or 'an empty folder'}")
    suffix = f"_{annotation}_labelIds.png"
    labels = sorted(path for city in listed(label_folder) if city.is_dir() for path in listed(city))
    labels = [path for path in labels if path.name.endswith(suffix)]
    if not labels:
        raise DataError(f"{label_folder}: found no CITY/*{suffix}")
    present = {path for city in listed(image_folder) if city.is_dir() for path in city.iterdir()}
    frames, problems = [], []
    for path in labels:
        name = path.name.removesuffix(suffix)
        place = _NAME.fullmatch(name)
        image = image_folder / path.parent.name / f"{name}_leftImg8bit.png"
        if place is None:
            problems.append(f"{path}: not named CITY_SNIPPET_FRAME{suffix}")
        elif image not in present:
            problems.append(f"{image}: missing; {path.name} labels it")
        else:
            frames.append(LabelledFrame(name, image, path, f"{place['city']}_{place['snippet']}", int(place["frame"])))
    _refuse(problems, len(labels), "label files")
    return tuple(frames)


def _with_snippets(frames: tuple[LabelledFrame, ...], offsets: Sequence[int]) -> tuple[LabelledFrame, ...]:
    """Returns the frames with the files of their snippets at these offsets; DataError lists every missing file."""
    present = {path for folder in sorted({frame.image.parent for frame in frames}) for path in folder.iterdir()}
    found, problems, wanted = [], [], 0
    for frame in frames:
        video = {}
        for offset in offsets:
            wanted += 1
            path = frame.image.with_name(_snippet_name(frame, offset))
            if path in present:
                video[offset] = path
            else:
                problems.append(f"{path}: missing; {offset:+d} frames from the labelled one")
        found.append(replace(frame, video=video))
    _refuse(problems, wanted, "neighbours")
    return tuple(found)


def _refuse(problems: list[str], of: int, what: str) -> None:
    if problems:
        refuse(DataError(f"{problems[0]} ({len(problems)} of {of} {what})", problems))
