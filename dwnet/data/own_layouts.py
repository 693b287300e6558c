"""Layouts of labelled images: the own one, and those that labelling tools and published data sets use.

``SPLIT`` is train, val (also valid, validation) or test, in any case. ``IMAGES`` and ``LABELS`` are usual names of
folders, for example ``images``, ``JPEGImages``, ``masks`` and ``SegmentationClass``.

- ``ROOT/SPLIT/IMAGES`` and ``ROOT/SPLIT/LABELS``. An export of CVAT or labelme for each split is this layout;
- ``ROOT/SPLIT`` with images and their masks side by side, ``NAME.jpg`` and ``NAME_mask.png`` (Roboflow);
- ``ROOT/SPLIT`` with images and labelme's ``NAME.json`` side by side;
- ``ROOT/SPLIT`` and ``ROOT/SPLIT_labels``, ``SPLITannot`` or ``SPLIT_masks`` (Kaggle, SegNet);
- ``ROOT/IMAGES/SPLIT`` and ``ROOT/LABELS/SPLIT``;
- ``ROOT/IMAGES`` and ``ROOT/LABELS``, or all files side by side in ``ROOT``. The splits are listed in
  ``ROOT/ImageSets/Segmentation/SPLIT.txt`` or ``ROOT/SPLIT.txt`` (PASCAL VOC, CVAT). Without lists of train and val,
  the last fifth of the images in the order of their names is val.

A split may be a zip file.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dwnet.core.class_files import ClassFile, ClassFileError, read_class_file
from dwnet.core.data_kinds import SPLITS, Split
from dwnet.core.file_names import LABEL_ENDS, by_stem, label_files, named_as_frames
from dwnet.core.files import IMAGE_SUFFIXES, listed, natural_order, same_form
from dwnet.data.archives import data_folder
from dwnet.data.frames import list_images
from dwnet.data.labelme import is_annotation
from dwnet.data.pairs import DataError

CLASS_FILES = (
    "classes.json",
    "labelmap.txt",
    "_classes.csv",
    "class_names.txt",
    "labels.txt",
    "class_dict.csv",
    "classes.csv",
    "classes.txt",
    "codes.txt",
    "label_colors.txt",
    "id2label.json",
    "config.json",
)
"""Names of classes files, in the order in which they are looked for."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Names of each split, in lower case."""
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "img_dir", "rgb")
LABEL_FOLDERS = (
    "labels", "label", "masks", "mask", "annotations", "annotation", "ann_dir", "segmentationclass",
    "segmentationclasspng", "gt",
)  # fmt: skip
"""Names of folders, in lower case, in the order in which they are looked for."""
_BESIDE = ("annot", "_labels", "_label", "_masks", "_mask", "_annotations", "_annot", "_gt")
"""Ends of the name of a folder of labels beside the folder of a split's images."""
_WHOLE = ("default", "all")
"""Names of subsets that CVAT writes for data without splits."""
_HELD_OUT = 5
"""Every fifth part of the images without a split is val."""


@dataclass(frozen=True)
class SplitFiles:
    """Images and labels of a split, both by the name of the image without suffix."""

    description: str
    image_folder: Path
    label_folder: Path
    images: Mapping[str, Path]
    labels: Mapping[str, Path]


def own_root(root: Path) -> Path:
    """Returns the folder that holds the splits: `root`, or what is inside a zip file or an only folder."""
    return data_folder(root, is_layout=_is_root)


def split_folder(root: Path, split: Split) -> Path | None:
    """Returns the folder of a split, unpacked if it is a zip file; None if there is none."""
    for entry in _entries(root):
        name = entry.stem if entry.suffix.lower() == ".zip" else entry.name
        if name.lower() in ALIASES[split] and (entry.is_dir() or entry.suffix.lower() == ".zip"):
            return data_folder(entry, is_layout=_is_split)
    return None


def own_classes(root: Path, folders: Iterable[Path | None]) -> ClassFile:
    """Returns the classes of the data: from the classes file of the root, else from those of the splits.

    Raises:
        DataError: if there is no classes file, if one is wrong, or if those of two splits differ.
    """
    found: tuple[Path, ClassFile] | None = None
    for place in (root, *(folder for folder in folders if folder is not None)):
        path = next((place / name for name in CLASS_FILES if (place / name).is_file()), None)
        if path is None:
            continue
        own = _read(path)
        if place == root:
            return own
        if found is not None and (own.classes.classes, own.ids) != (found[1].classes.classes, found[1].ids):
            raise DataError(
                f"{path}: names the classes {', '.join(own.listed())}; {found[0]} names "
                f"{', '.join(found[1].listed())}; allowed are the same classes in all splits"
            )
        found = found or (path, own)
    return found[1] if found is not None else _read(root / CLASS_FILES[0])


def labelled_images(root: Path, split: Split, folder: Path | None) -> SplitFiles | None:
    """Returns the images and labels of a split in the first layout that fits; None if no layout does.

    Args:
        root: the folder of the data.
        split: the split.
        folder: the result of `split_folder`.

    Raises:
        DataError: for images with the same name, or a list that names no image.
    """
    if folder is not None:
        inside = _pair(folder)
        if inside is not None:
            return _files("folders for each split", *inside)
        beside = next((entry for end in _BESIDE if (entry := _entry(root, f"{folder.name}{end}")) is not None), None)
        if beside is not None:
            return _files(f"folders SPLIT and SPLIT{beside.name.removeprefix(folder.name)}", folder, beside)
        side_by_side = _side_by_side(folder)
        if side_by_side is not None:
            return side_by_side
    whole = _pair(root) or _cvat_default(root)
    if whole is None:
        together = _side_by_side(root)
        return None if together is None else _listed_split(root, split, together)
    for name in ALIASES[split]:
        images, labels = _entry(whole[0], name), _entry(whole[1], name)
        if images is not None and labels is not None:
            return _files(f"{whole[0].name}/SPLIT and {whole[1].name}/SPLIT", images, labels)
    return _listed_split(root, split, _files("", *whole))


def split_names(root: Path) -> list[str]:
    """Returns the splits of which `root` holds a folder or a zip file, for messages."""
    names = {entry.stem.lower() if entry.suffix.lower() == ".zip" else entry.name.lower() for entry in _entries(root)}
    return [split for split in SPLITS if names & set(ALIASES[split])]


def _read(path: Path) -> ClassFile:
    try:
        return read_class_file(path)
    except ClassFileError as error:
        raise DataError(str(error)) from error


def _entries(folder: Path) -> list[Path]:
    return listed(folder) if folder.is_dir() else []


def _entry(folder: Path, *names: str) -> Path | None:
    """Returns the folder inside `folder` with the first of some names, in any case; None if there is none."""
    found = {entry.name.lower(): entry for entry in _entries(folder) if entry.is_dir()}
    return next((found[name.lower()] for name in names if name.lower() in found), None)


def _pair(folder: Path) -> tuple[Path, Path] | None:
    images, labels = _entry(folder, *IMAGE_FOLDERS), _entry(folder, *LABEL_FOLDERS)
    # labelme's older version writes its PNGs beside a folder of arrays.
    if labels is not None and labels.name == "SegmentationClass" and not label_files(labels):
        labels = _entry(folder, "SegmentationClassPNG") or labels
    return None if images is None or labels is None else (images, labels)


def _cvat_default(root: Path) -> tuple[Path, Path] | None:
    for name in _WHOLE:
        images, labels = _entry(root, name), _entry(root, f"{name}annot")
        if images is not None and labels is not None:
            return images, labels
    return None


def _is_root(folder: Path) -> bool:
    if any((folder / name).is_file() for name in CLASS_FILES) or split_names(folder):
        return True
    return _cvat_default(folder) is not None or _entry(folder, *IMAGE_FOLDERS, *LABEL_FOLDERS) is not None


def _is_split(folder: Path) -> bool:
    named = _entry(folder, "clips", *IMAGE_FOLDERS, *LABEL_FOLDERS)
    return named is not None or bool(listed(folder, IMAGE_SUFFIXES))


def _files(description: str, image_folder: Path, label_folder: Path) -> SplitFiles:
    images = list_images(image_folder)
    labels = named_as_frames(images.keys(), by_stem(_without_twins(label_files(label_folder))))
    return SplitFiles(description, image_folder, label_folder, images, labels)


def _without_twins(files: Collection[Path]) -> list[Path]:
    """Returns label files; raises DataError for two with one name."""
    seen: dict[str, Path] = {}
    for file in files:
        name = same_form(file.stem)
        if name in seen:
            raise DataError(f"{file}: found also as {seen[name].name}; allowed is one image per name")
        seen[name] = file
    return list(files)


def _side_by_side(folder: Path) -> SplitFiles | None:
    """Returns images and masks in one folder: NAME and NAME_mask, or NAME.jpg and NAME.png."""
    files = listed(folder, IMAGE_SUFFIXES)
    stems = {same_form(file.stem) for file in files}
    for end in LABEL_ENDS:
        masks = [file for file in files if file.stem.endswith(end) and same_form(file.stem).removesuffix(end) in stems]
        if masks:
            images = {same_form(file.stem): file for file in files if not file.stem.endswith(end)}
            labels = {same_form(file.stem).removesuffix(end): file for file in masks}
            return SplitFiles(f"images and NAME{end} side by side", folder, folder, images, labels)
    images = {same_form(file.stem): file for file in files}
    shapes = {same_form(file.stem): file for file in listed(folder, (".json",)) if same_form(file.stem) in images}
    if shapes and is_annotation(next(iter(shapes.values()))):
        return SplitFiles("images and labelme's NAME.json side by side", folder, folder, images, shapes)
    photos = {same_form(file.stem): file for file in files if file.suffix.lower() in (".jpg", ".jpeg")}
    masks_by_name = {same_form(file.stem): file for file in files if file.suffix.lower() == ".png"}
    if photos and photos.keys() & masks_by_name.keys():
        return SplitFiles("NAME.jpg and NAME.png side by side", folder, folder, photos, masks_by_name)
    return None


def _listed_split(root: Path, split: Split, whole: SplitFiles) -> SplitFiles | None:
    """Returns the part of all images that a list names, or a part for train and val where there are no such lists."""
    lists = {name: path for name in SPLITS if (path := _list_of(root, name)) is not None}
    if split in lists:
        kept = _named(lists[split], whole)
        text = f"{_named_folders(whole)}, split by {lists[split].name}"
        return _part(whole, text, {name: whole.images[name] for name in sorted(kept)})
    if split == "test" or lists.keys() & {"train", "val"}:
        return None
    order = [same_form(path.stem) for path in natural_order(whole.images.values())]
    held = max(1, len(order) // _HELD_OUT)
    text = f"{_named_folders(whole)} without a split: the last {held} of {len(order)} images are val"
    return _part(
        whole, text, {name: whole.images[name] for name in (order[-held:] if split == "val" else order[:-held])}
    )


def _named_folders(whole: SplitFiles) -> str:
    return whole.description or f"{whole.image_folder.name} and {whole.label_folder.name}"


def _part(whole: SplitFiles, description: str, images: Mapping[str, Path]) -> SplitFiles:
    """Returns some images of `whole` with their labels. The other labels belong to other splits."""
    labels = {name: path for name, path in whole.labels.items() if name in images}
    return SplitFiles(description, whole.image_folder, whole.label_folder, images, labels)


def _list_of(root: Path, split: str) -> Path | None:
    folders = (root / "ImageSets" / "Segmentation", root / "ImageSets", root / "splits", root)
    paths = (path for folder in folders for path in _entries(folder) if path.suffix.lower() == ".txt")
    return next((path for path in paths if path.stem.lower() in ALIASES[split]), None)


def _named(path: Path, whole: SplitFiles) -> set[str]:
    """Returns the images that a list names: one name per line, with or without folder, suffix and further columns."""
    names: set[str] = set()
    for line in filter(None, map(str.strip, path.read_text(encoding="utf-8-sig").splitlines())):
        choices = (_stem(line), _stem(line.split()[0]))  # a name may hold spaces
        name = next((name for name in choices if name in whole.images), None)
        if name is None:
            raise DataError(
                f"{path}: names {line!r}, which is not in {whole.image_folder}; allowed are names of images there"
            )
        names.add(name)
    if not names:
        raise DataError(f"{path}: names no image; allowed is one name per line")
    return names


def _stem(name: str) -> str:
    path = Path(name)
    return same_form(path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name)
