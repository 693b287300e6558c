"""Matches the label files of a folder with the frames of a clip."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dwnet.core.errors import DWNetError
from dwnet.core.file_names import frame_number, named_as_frames
from dwnet.core.files import natural_order, same_form


class PredictionError(DWNetError):
    """Predictions that cannot be read or do not match the clip. The message names the file and what is allowed."""


@dataclass(frozen=True)
class Matched:
    """The label files of a clip's frames."""

    files: list[Path | None]
    """One for each frame, from the first; None where there is none. It may end before the last frame."""
    how: str
    """Description of the matching, for the reports."""


def match_frames(folder: Path, files: Sequence[Path], frames: Sequence[str] | int | None, *, sparse: bool) -> Matched:
    """Returns the label file of each frame.

    Files are matched by name (`dwnet.core.file_names.named_as_frames`), else by the number in the name, else by order.
    In a video, frames are counted from 0. Label files for some frames of a video only are matched by that number.

    Args:
        folder: the folder, for messages.
        files: the label files, at least one.
        frames: names of the clip's images without suffix; for a video the number of frames, None if it is unknown.
        sparse: whether some frames may have no file.

    Raises:
        PredictionError: for two files of one name or number, files that match no frame, frames without a file unless
            `sparse`, or a gap in the numbers of files that are matched by order.
    """
    named = _by_name(folder, files)
    if frames is None or isinstance(frames, int):
        return _of_video(folder, named, frames, sparse=sparse)
    names = [same_form(name) for name in frames]
    found = named_as_frames(names, named)
    known = found.keys() & set(names)
    if known:
        if len(known) < len(found):
            strange = next(file.name for name, file in found.items() if name not in known)
            raise PredictionError(
                f"{folder}: {len(known)} of {len(found)} label maps are named after a frame, {strange} is not; "
                "allowed is all of them (matched by name) or none (matched by order)"
            )
        missing = [name for name in names if name not in found]
        if missing and not sparse:
            raise PredictionError(
                f"{folder}: has no label map for {len(missing)} of {len(names)} frames, {missing[0]} among them; "
                "allowed is one for each frame"
            )
        return Matched([found.get(name) for name in names], "matched by name")
    by_number = _with_frame_numbers(folder, named, names, sparse=sparse)
    if by_number is not None:
        return Matched(by_number, "matched by the number in the name")
    if len(named) != len(names):
        raise PredictionError(
            f"{folder}: holds {len(named)} label maps for {len(names)} frames, and no file is named after a frame; "
            "allowed is one for each frame, or the frames' names"
        )
    return _by_order(folder, named, [frame_number(name) for name in names])


def _by_name(folder: Path, files: Sequence[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for file in natural_order(files):
        name = same_form(file.stem)
        if name in named:
            raise PredictionError(f"{folder}: holds {named[name].name} and {file.name}; allowed is one file per name")
        named[name] = file
    return named


def _numbers(named: Mapping[str, Path]) -> list[int] | None:
    """Returns the number in each name; None if a name has none or two names share one."""
    numbers = [number for name in named if (number := frame_number(name)) is not None]
    return numbers if len(set(numbers)) == len(named) else None


def _of_video(folder: Path, named: Mapping[str, Path], count: int | None, *, sparse: bool) -> Matched:
    numbers = _numbers(named)
    if not sparse or len(named) == count or numbers is None:
        return _by_order(folder, named, None)
    files: list[Path | None] = [None] * (max(numbers) + 1)
    for number, file in zip(numbers, named.values(), strict=True):
        files[number] = file
    return Matched(files, f"matched by frame number, from 0; {len(named)} frames have labels")


def _with_frame_numbers(
    folder: Path, named: Mapping[str, Path], names: Sequence[str], *, sparse: bool
) -> list[Path | None] | None:
    """Returns the file of each frame by the number that both names have; None if the numbers do not fit."""
    frame_numbers, numbers = [frame_number(name) for name in names], _numbers(named)
    if numbers is None or None in frame_numbers or len(set(frame_numbers)) < len(names):
        return None
    if not set(numbers) <= set(frame_numbers) or (len(named) < len(names) and not sparse):
        return None
    files = dict(zip(numbers, named.values(), strict=True))
    return [files.get(number) for number in frame_numbers if number is not None]


def _by_order(folder: Path, named: Mapping[str, Path], frame_numbers: Sequence[int | None] | None) -> Matched:
    """Returns the files in the order of their names; raises PredictionError if their numbers have a gap."""
    numbers = _numbers(named)
    if numbers is not None and len(numbers) > 2:
        steps = [after - before for before, after in itertools.pairwise(numbers)]
        usual, times = Counter(steps).most_common(1)[0]
        gap = next((place for place, step in enumerate(steps) if step > usual > 0 and step % usual == 0), None)
        known = [number for number in frame_numbers or () if number is not None]
        alike = len(known) == len(numbers) and [b - a for a, b in itertools.pairwise(known)] == steps
        if gap is not None and 2 * times > len(steps) and not alike:
            files = list(named.values())
            raise PredictionError(
                f"{folder}: no file between {files[gap].name} and {files[gap + 1].name}, and no file is named after a "
                "frame; allowed are files without a gap (matched by order), or the frames' names"
            )
    return Matched(list(named.values()), "matched by order")
