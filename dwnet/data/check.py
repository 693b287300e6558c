"""Checks every file of a data set and names each one that is missing or inconsistent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dwnet.core.class_files import LARGEST_ID
from dwnet.core.data_kinds import REAL
from dwnet.core.errors import DWNetError
from dwnet.core.label_images import LabelImageError, exif_orientation, file_orientation, read_label_image
from dwnet.core.tables import markdown_table
from dwnet.data.frames import FileSource, LabelledFrame
from dwnet.data.own_labels import positions_for_ids, void_hides_a_class
from dwnet.data.pair_dataset import PairDataset
from dwnet.data.pairs import DataError, collecting_problems
from dwnet.viz import caption, grid, overlay

SAMPLES = 3
"""Number of frames in the picture of a split: the first, the middle and the last."""
_SAMPLE_WIDTH_PX = 480


@dataclass(frozen=True)
class ClassCount:
    """The pixels of one class in a split."""

    name: str
    colour: tuple[int, int, int]
    """RGB, 0..255."""
    pixels: int
    frames: int
    """Frames with at least one pixel of the class."""


@dataclass(frozen=True)
class CheckResult:
    """Result of `check` for one split."""

    frames: int
    """Labelled frames checked; 0 if files were missing."""
    neighbours: int
    """Files of real neighbours checked."""
    sizes: tuple[tuple[int, int], ...]
    """All (width, height) found, in pixels."""
    class_percent: dict[str, float]
    """Share of each class in the labelled pixels, in percent."""
    void_percent: float
    """Share of the pixels without a label, in percent."""
    problems: tuple[str, ...]
    """One line for each file that is missing or wrong, and for each kind of labels that cannot be meant: all void,
    masks of 0 and 255 whose 255 is ignored, positions where ids belong."""
    warnings: tuple[str, ...] = ()
    """One line for each class without a pixel and for frames that are left out or turned. Training is possible."""
    layout: str = ""
    """Description of the layout of the files."""
    classes: tuple[ClassCount, ...] = ()
    """Pixels of each class."""
    void_pixels: int = 0
    samples: tuple[NDArray[np.uint8], ...] = field(default=(), repr=False)
    """Up to `SAMPLES` frames with their labels in class colours over them, (H, W, 3) uint8 RGB."""


class _Counts:
    """Everything that is counted in the frames of a split."""

    def __init__(self, data: PairDataset) -> None:
        self.data, self.number = data, len(data.classes)
        self.pixels = np.zeros(256, np.int64)
        self.frames = np.zeros(256, np.int64)
        self.ids = np.zeros(LARGEST_ID + 1, np.int64)
        """Pixels of each id on disk; all 0 for data sets without a classes file."""
        self.sizes: set[tuple[int, int]] = set()
        self.turned = 0
        self.samples: list[NDArray[np.uint8]] = []
        last = len(data) - 1
        self._shown = {last * place // (SAMPLES - 1) for place in range(SAMPLES)}

    def add(self, index: int, frame: LabelledFrame, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Counts a frame."""
        self.sizes.add((image.shape[1], image.shape[0]))
        found = np.bincount(labels.ravel(), minlength=256)
        self.pixels += found
        self.frames += found > 0
        self.turned += file_orientation(frame.image) != 1
        if index in self._shown:
            width = min(_SAMPLE_WIDTH_PX, image.shape[1])
            height = max(1, round(image.shape[0] * width / image.shape[1]))
            picture = overlay(image, labels, self.data.classes.palette)
            small = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
            self.samples.append(caption(small, frame.name))

    def add_ids(self, path: Path) -> None:
        """Counts the ids of a label file as stored."""
        try:
            ids = read_label_image(path).ids
        except LabelImageError:
            return  # named when the frame was read
        if ids is not None and ids.min() >= 0 and ids.max() <= LARGEST_ID:
            self.ids += np.bincount(ids.ravel(), minlength=LARGEST_ID + 1)


def check(open_split: Callable[[], PairDataset], progress: Callable[[int, int], None] | None = None) -> CheckResult:
    """Returns the content of a split and every problem in it.

    The check reads all images and labels, and the beginning and end of the files of all real neighbours.

    Args:
        open_split: returns the data set, as training opens it.
        progress: called with (frames done, number of frames).

    Raises:
        DWNetError: for a data set without files.
    """
    with collecting_problems() as problems:
        try:
            data = open_split()
        except DataError as error:
            return CheckResult(0, 0, (), {}, 0.0, (*problems, *error.problems))
    source = data.source
    if not isinstance(source, FileSource):
        raise DWNetError(f"{data.layout}: has no files to check; allowed are data sets on disk")
    counts, neighbours = _Counts(data), set[Path]()
    for index, frame in enumerate(data.frames):
        if source.class_file is not None:
            counts.add_ids(frame.labels)
        try:
            image, labels = source.read(frame)
        except DataError as error:
            problems.append(str(error))
        else:
            counts.add(index, frame, image, labels)
            for path in frame.video.values() if data.neighbours in REAL else ():
                if path not in neighbours:
                    neighbours.add(path)
                    problems += _header_problem(path, (image.shape[1], image.shape[0]))
        if progress is not None:
            progress(index + 1, len(data))
    return _result(counts, source, [*problems, *_wrong_labels(counts, source)], len(neighbours))


def _result(counts: _Counts, source: FileSource, problems: list[str], neighbours: int) -> CheckResult:
    data, pixels, number = counts.data, counts.pixels, counts.number
    labelled = max(int(pixels[:number].sum()), 1)
    return CheckResult(
        frames=len(data),
        neighbours=neighbours,
        sizes=tuple(sorted(counts.sizes)),
        class_percent={name: 100 * int(pixels[id_]) / labelled for id_, name in enumerate(data.classes.classes)},
        void_percent=100 * int(pixels[number:].sum()) / max(int(pixels.sum()), 1),
        problems=tuple(problems),
        warnings=tuple(_warnings(counts, source)),
        layout=data.layout,
        classes=tuple(
            ClassCount(name, colour, int(pixels[id_]), int(counts.frames[id_]))
            for id_, (name, colour) in enumerate(zip(data.classes.classes, data.classes.palette, strict=True))
        ),
        void_pixels=int(pixels[number:].sum()),
        samples=tuple(counts.samples),
    )


def _wrong_labels(counts: _Counts, source: FileSource) -> list[str]:
    """Returns a line for each kind of labels that cannot be meant."""
    data, own, problems = counts.data, source.class_file, []
    if own is not None and counts.pixels[: counts.number].any():
        line = positions_for_ids(own, set(np.flatnonzero(counts.ids).tolist()))
        line = line or void_hides_a_class(own, [frame.labels for frame in data.frames])
        problems += [line] if line is not None else []
    if counts.pixels.any() and not counts.pixels[: counts.number].any() and source.labels_published:
        problems.append(f"no pixel of the {len(data)} labelled frames has a class: all pixels are void")
    return problems


def _warnings(counts: _Counts, source: FileSource) -> list[str]:
    """Returns a line for each class without a pixel, and for frames that are left out or turned."""
    data, lines = counts.data, []
    if not source.labels_published:
        return ["the labels of this split are not published: all pixels are void"]
    if counts.pixels[: counts.number].any():
        void = 100 * int(counts.pixels[counts.number :].sum()) / int(counts.pixels.sum())
        beside = f", and {void:.1f} % of the pixels are void" if void else ""
        ids = source.class_file.ids if source.class_file is not None else range(counts.number)
        lines += [
            f"class {name!r} (id {ids[place]}) has no pixel{beside}"
            for place, name in enumerate(data.classes.classes)
            if not counts.pixels[place]
        ]
    lost = len(source.frames) - len(data)
    if lost:
        lines.append(f"{lost} of {len(source.frames)} labelled frames have no neighbour and are left out")
    if counts.turned:
        lines.append(f"{counts.turned} of {len(data)} frames are turned by their EXIF data, and their labels with them")
    return lines


def describe(name: str, result: CheckResult) -> str:
    """Returns the result for a split as text: a summary and a table of the classes."""
    if not result.frames:
        return f"{name}: cannot be opened, {len(result.problems)} problem(s)"
    sizes = ", ".join(f"{width} x {height}" for width, height in result.sizes)
    rows = [
        [one.name, f"{one.pixels:,}", f"{result.class_percent[one.name]:.1f}", str(one.frames)]
        for one in result.classes
    ]
    rows.append(["void", f"{result.void_pixels:,}", "-", "-"])
    return "\n".join(
        [
            *(f"warning: {line}" for line in result.warnings),
            f"{name}: {result.frames} labelled frames ({sizes}), {result.neighbours} real neighbours, "
            f"{len(result.problems)} problem(s); {result.layout}",
            f"void: {result.void_percent:.1f} % of all pixels",
            "",
            markdown_table(["class", "pixels", "% of the labelled pixels", "frames with it"], rows),
        ]
    )


def picture(result: CheckResult) -> NDArray[np.uint8] | None:
    """Returns the samples side by side above the colours of the classes, (H, W, 3) uint8 RGB; None without samples."""
    if not result.samples:
        return None
    shown = grid(result.samples, SAMPLES)
    blocks = [caption(np.full((8, 150, 3), one.colour, np.uint8), one.name, height_px=20) for one in result.classes]
    legend = grid(blocks, max(1, shown.shape[1] // 154))
    width = max(shown.shape[1], legend.shape[1])
    return np.concatenate([_as_wide(shown, width), _as_wide(legend, width)])


def _as_wide(image: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=32)


_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xae\x42\x60\x82"}
"""The last bytes of a complete file, before padding."""


def _header_problem(path: Path, size: tuple[int, int]) -> list[str]:
    """Returns the problems in the beginning and end of a file. Decoding all neighbours would take too long."""
    try:
        with Image.open(path) as image:
            found, kind = image.size, image.format or ""
            found = found[::-1] if exif_orientation(image) >= 5 else found
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 1024))
            if _ENDS.get(kind, b"") not in file.read():
                return [f"{path}: not a whole image (its end is missing)"]
    except (OSError, UnidentifiedImageError) as error:
        return [f"{path}: not a readable image ({error})"]
    if found != size:
        return [f"{path}: found {found[0]} x {found[1]} pixels; its labelled frame has {size[0]} x {size[1]}"]
    return []
