"""CamVid: labelled frames of four drives through Cambridge (Brostow et al., 2008), in the paper's eleven classes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dwnet.core.classes import CAMVID_11
from dwnet.data.camvid_layout import find_layout
from dwnet.data.frames import (
    REAL,
    LabelledFrame,
    LabelledFrames,
    Neighbours,
    Split,
    check_options,
    list_images,
    offsets_within,
)
from dwnet.data.pairs import DataError
from dwnet.data.transforms import Augmentation

FRAME_NAME = r"(.+)_(f?)(\d+)"
VIDEO_FRAMES = "video_frames"
"""Folder below the data set's root that `camvid_video.extract_neighbours` fills."""


@dataclass(frozen=True)
class FrameName:
    """A frame's name, SEQUENCE_NUMBER, taken apart: ``0006R0_f00930`` is raw frame 930 of sequence 0006R0."""

    sequence: str
    prefix: str
    number: int
    digits: int

    @classmethod
    def parse(cls, name: str) -> "FrameName":
        """Take a name apart; raises `DataError` for one of another form."""
        match = re.fullmatch(FRAME_NAME, name)
        if match is None:
            raise DataError(f"frame name: found {name!r}; allowed is SEQUENCE_NUMBER, as in 0016E5_07959")
        sequence, prefix, number = match.groups()
        return cls(sequence, prefix, int(number), len(number))

    def shifted(self, offset: int) -> str:
        """Return the name of the frame `offset` raw frames later."""
        return f"{self.sequence}_{self.prefix}{self.number + offset:0{self.digits}d}"


class CamVid(LabelledFrames):
    """One split of a CamVid copy on disk, in any of the layouts of `camvid_layout`.

    Args:
        root: folder of the copy.
        split: ``train``, ``val`` or ``test``.
        neighbours: what a frame is paired with; real ones need the raw frames that
            `camvid_video.extract_neighbours` extracts.
        max_offset: largest distance to the neighbour, in raw frames (the paper's 5, section 3.1).
        augment: random geometry and colour; None gives whole frames.
        seed: of all random numbers, 0 or above.

    Raises:
        DataError: files are missing, or no frame has a neighbour; on reading an item: as `LabelledFrames`, or labels
            with unknown ids. The message names the file.
        ValueError: an unknown `neighbours`, a `max_offset` below 1, or a negative `seed`.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        neighbours: Neighbours = "none",
        max_offset: int = 5,
        augment: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        check_options(neighbours=neighbours, max_offset=max_offset, seed=seed)
        layout = find_layout(Path(root), split)
        frames = tuple(_placed(frame) for frame in layout.frames)
        if neighbours in REAL:
            offsets = offsets_within(neighbours, max_offset, max_offset)
            frames = _with_video_frames(frames, Path(root) / VIDEO_FRAMES, offsets)
        super().__init__(
            frames,
            classes=CAMVID_11,
            read_labels=layout.read_labels,
            layout=layout.description,
            source=f"{root}, split {split}",
            neighbours=neighbours,
            max_offset=max_offset,
            augment=augment,
            seed=seed,
            raw_frame=partial(_raw_frame, Path(root) / VIDEO_FRAMES),
        )


def _placed(frame: LabelledFrame) -> LabelledFrame:
    if re.fullmatch(FRAME_NAME, frame.name) is None:  # somebody's own names: each frame stands alone
        return replace(frame, sequence=frame.name)
    place = FrameName.parse(frame.name)
    return replace(frame, sequence=place.sequence, number=place.number)


def _raw_frame(folder: Path, frame: LabelledFrame, offset: int) -> Path | None:
    """The frame's file, as `camvid_video.extract_neighbours` names it."""
    if re.fullmatch(FRAME_NAME, frame.name) is None:
        return None
    return folder / f"{FrameName.parse(frame.name).shifted(offset)}.jpg"


def _with_video_frames(
    frames: tuple[LabelledFrame, ...], folder: Path, offsets: Sequence[int]
) -> tuple[LabelledFrame, ...]:
    if not folder.is_dir():
        raise DataError(f"{folder}: missing; extract the frames from the raw videos with extract_neighbours first")
    files = list_images(folder)
    found = []
    for frame in frames:
        place = FrameName.parse(frame.name)
        names = {offset: place.shifted(offset) for offset in offsets}
        found.append(replace(frame, video={offset: files[name] for offset, name in names.items() if name in files}))
    return tuple(found)
