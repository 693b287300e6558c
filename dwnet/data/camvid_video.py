"""Extraction of the raw frames around CamVid's labelled frames from the videos, for the pairs of section 3.1."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.data.camvid import VIDEO_FRAMES, FrameName
from dwnet.data.camvid_layout import camvid_root, find_layout, find_splits
from dwnet.data.frames import LabelledFrame, list_images
from dwnet.data.pairs import DataError, read_image
from dwnet.data.video_frames import decode, write_jpeg

DECODED_MINUS_NUMBER = {"0001TP": -6660, "0006R0": 1, "0016E5": 1, "Seq05VD": 1}
"""For each sequence: position of a frame in the decoded video, from 0, minus the number in its name."""

_IN_FILE_NAMES = {"01TP": "0001TP", "05VD": "Seq05VD", "06R0": "0006R0", "16E5": "0016E5"}


@dataclass(frozen=True)
class Extraction:
    """Result of `extract_neighbours`."""

    sequence: str
    written: int
    """Number of frames written."""
    present: int
    """Number of frames that existed already."""
    outside: int
    """Number of requested frames before the first or after the last frame of the video, which do not exist."""
    still_difference: float | None
    """Mean absolute difference, in grey levels 0..255, between the labelled stills and their frames in the video: a few
    levels for the right video, tens of levels for another one. None if nothing was decoded."""
    warning: str | None = None
    """What is out of the ordinary in the video; None if nothing is, or nothing was decoded."""


def extract_neighbours(video: Path, root: Path, *, max_offset: int = 5, sequence: str | None = None) -> Extraction:
    """Writes the frames within `max_offset` of every labelled frame of a raw video's sequence.

    The files are ``ROOT/video_frames/NAME.jpg``, at the size of the stills; ``neighbours="video"`` reads them. Files
    are written atomically. Existing files are kept, so an interrupted run can be repeated.

    Args:
        video: the release's raw video: ``01TP_extract.avi``, ``0005VD.MXF``, ``0006R0.MXF`` or ``0016E5.MXF``.
        root: a CamVid copy, in any layout of `camvid_layout`.
        max_offset: largest distance to a labelled frame, in raw frames.
        sequence: name of the sequence; needed only if the file name does not contain it.

    Raises:
        DataError: if there is no video, the sequence is unknown or has no labelled frame in `root`, or the video is too
            short.
        DWNetError: for a `max_offset` below 1.
    """
    if max_offset < 1:
        raise DWNetError(f"max_offset: found {max_offset}; allowed are whole raw frames of at least 1")
    if not video.is_file():
        raise DataError(f"{video}: no such file; allowed is one of CamVid's raw videos")
    sequence = _sequence_of(video) if sequence is None else sequence
    if sequence not in DECODED_MINUS_NUMBER:
        raise DataError(f"sequence: found {sequence!r}; allowed are {', '.join(DECODED_MINUS_NUMBER)}")
    stills = _stills_by_position(root, sequence)
    places = {position: FrameName.parse(still.name) for position, still in stills.items()}
    names = {
        position + offset: place.shifted(offset)
        for position, place in places.items()
        for offset in range(-max_offset, max_offset + 1)
        if offset and place.number + offset >= 0
    }
    wanted = {position: name for position, name in names.items() if position >= 0}
    folder = camvid_root(root) / VIDEO_FRAMES
    folder.mkdir(exist_ok=True)
    there = list_images(folder)
    missing = {position: name for position, name in wanted.items() if name not in there}
    present = len(wanted) - len(missing)
    if not missing:
        return Extraction(sequence, 0, present, len(names) - len(wanted), None)
    written = decoded = 0
    differences: list[float] = []
    size = read_image(next(iter(stills.values())).image).shape[:2]
    warnings: list[str] = []
    for frame in decode(video, max(missing) + 1, warnings.append):
        position, decoded = frame.index, frame.index + 1
        if position in missing:
            write_jpeg(folder / f"{missing[position]}.jpg", _resized(frame.image(), size))
            written += 1
        if position in stills:
            still = read_image(stills[position].image)
            image = _resized(frame.image(), still.shape[:2])
            differences.append(float(cv2.absdiff(image, still).mean()))
    if decoded <= min(max(missing), max(stills)):
        raise DataError(
            f"{video}: found {decoded} frames, but {stills[max(stills)].name} is frame {max(stills)} (from 0) of "
            f"{sequence}; allowed is the sequence's whole raw video"
        )
    outside = len(names) - present - written
    difference = float(np.mean(differences)) if differences else None
    return Extraction(sequence, written, present, outside, difference, next(iter(warnings), None))


def _sequence_of(video: Path) -> str:
    for part, sequence in _IN_FILE_NAMES.items():
        if part in video.name.upper():
            return sequence
    raise DataError(
        f"{video}: cannot tell the sequence from the file's name; allowed are names with one of "
        f"{', '.join(_IN_FILE_NAMES)} in them, or give `sequence`"
    )


def _stills_by_position(root: Path, sequence: str) -> dict[int, LabelledFrame]:
    """Returns the labelled frames of a sequence, of all splits, by their position in the decoded video, from 0."""
    frames = [frame for split in find_splits(root) for frame in find_layout(root, split).frames]
    places = [(FrameName.parse(frame.name), frame) for frame in frames]
    shift = DECODED_MINUS_NUMBER[sequence]
    stills = {place.number + shift: frame for place, frame in places if place.sequence == sequence}
    if not stills:
        found = ", ".join(sorted({place.sequence for place, _ in places}))
        raise DataError(f"{root}: no labelled frame of sequence {sequence}; found are frames of {found}")
    if min(stills) < 0:
        raise DataError(
            f"{stills[min(stills)].image}: lies before the first frame of {sequence}'s video; allowed are numbers of "
            f"at least {-shift}"
        )
    return stills


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if image.shape[:2] == size:
        return image
    smaller = size[0] < image.shape[0]
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
