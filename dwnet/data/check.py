"""Checks every file of a data set and names each one that is missing or inconsistent."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dwnet.core.data_kinds import REAL
from dwnet.core.errors import DWNetError
from dwnet.data.frames import FileSource
from dwnet.data.pair_dataset import PairDataset
from dwnet.data.pairs import DataError, collecting_problems, exif_orientation


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
    """One line for each file that is missing or wrong, and one line if all labels are void."""


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
    sizes: set[tuple[int, int]] = set()
    counts = np.zeros(256, np.int64)
    neighbours: set[Path] = set()
    for done, frame in enumerate(data.frames, start=1):
        try:
            image, labels = source.read(frame)
        except DataError as error:
            problems.append(str(error))
        else:
            size = (image.shape[1], image.shape[0])
            sizes.add(size)
            counts += np.bincount(labels.ravel(), minlength=256)
            for path in frame.video.values() if data.neighbours in REAL else ():
                if path not in neighbours:
                    neighbours.add(path)
                    problems += _header_problem(path, size)
        if progress is not None:
            progress(done, len(data))
    names = data.classes.classes
    if counts.any() and not counts[: len(names)].any():
        problems.append(f"no pixel of the {len(data)} labelled frames has a class: all pixels are void")
    labelled = max(int(counts[: len(names)].sum()), 1)
    return CheckResult(
        frames=len(data),
        neighbours=len(neighbours),
        sizes=tuple(sorted(sizes)),
        class_percent={name: 100 * int(counts[id_]) / labelled for id_, name in enumerate(names)},
        void_percent=100 * int(counts[len(names) :].sum()) / max(int(counts.sum()), 1),
        problems=tuple(problems),
    )


def describe(name: str, result: CheckResult) -> str:
    """Returns the result for a split as text."""
    if not result.frames:
        return f"{name}: cannot be opened, {len(result.problems)} problem(s)"
    sizes = ", ".join(f"{width} x {height}" for width, height in result.sizes)
    shares = ", ".join(f"{label} {share:.1f}" for label, share in result.class_percent.items())
    return (
        f"{name}: {result.frames} labelled frames ({sizes}), {result.neighbours} real neighbours, "
        f"{len(result.problems)} problem(s)\n"
        f"  % of the labelled pixels: {shares}; void: {result.void_percent:.1f}"
    )


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
