"""CamVid: labelled frames of four drives through Cambridge (Brostow et al., 2008), in the paper's eleven classes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dwnet.core.classes import CAMVID_11
from dwnet.core.data_kinds import REAL, Neighbours, Split
from dwnet.data.camvid_layout import camvid_root, find_layout
from dwnet.data.frames import FileSource, LabelledFrame, list_images, offsets_within
from dwnet.data.pair_dataset import check_options
from dwnet.data.pairs import DataError

FRAME_NAME = r"(.+)_(f?)(\d+)"
VIDEO_FRAMES = "video_frames"
"""Folder within the data set that `camvid_video.extract_neighbours` fills."""


@dataclass(frozen=True)
class FrameName:
    """The parts of a frame's name, SEQUENCE_NUMBER: ``0006R0_f00930`` is raw frame 930 of sequence 0006R0."""

    sequence: str
    prefix: str
    number: int
    digits: int

    @classmethod
    def parse(cls, name: str) -> "FrameName":
        """Returns the parts of a name; raises DataError for a name of another form."""
        match = re.fullmatch(FRAME_NAME, name)
        if match is None:
            raise DataError(f"frame name: found {name!r}; allowed is SEQUENCE_NUMBER, as in 0016E5_07959")
        sequence, prefix, number = match.groups()
        return cls(sequence, prefix, int(number), len(number))

    def shifted(self, offset: int) -> str:
        """Returns the name of the frame `offset` raw frames later."""
        return f"{self.sequence}_{self.prefix}{self.number + offset:0{self.digits}d}"


def scan(root: Path, split: Split, *, neighbours: Neighbours = "none", max_offset: int = 5) -> FileSource:
    """Returns the labelled frames of one split of a CamVid copy, in any of the layouts of `camvid_layout`.

    Args:
        root: folder of the copy.
        split: ``train``, ``val`` or ``test``.
        neighbours: the kind of neighbours to find. Real neighbours are the raw frames that
            `camvid_video.extract_neighbours` wrote.
        max_offset: largest distance to the neighbour, in raw frames.

    Raises:
        DataError: if files are missing. The message names the file.
        DWNetError: for an option that is not allowed.
    """
    check_options(neighbours=neighbours, max_offset=max_offset)
    layout, video = find_layout(root, split), camvid_root(root) / VIDEO_FRAMES
    frames = tuple(_placed(frame) for frame in layout.frames)
    if neighbours in REAL:
        frames = _with_video_frames(frames, video, offsets_within(neighbours, max_offset, max_offset))
    return FileSource(
        frames,
        classes=CAMVID_11,
        read_labels=layout.read_labels,
        layout=layout.description,
        name=f"{root}, split {split}",
        raw_frame=partial(_raw_frame, video),
    )


def _placed(frame: LabelledFrame) -> LabelledFrame:
    if re.fullmatch(FRAME_NAME, frame.name) is None:  # a name of another form: the frame is a sequence by itself
        return replace(frame, sequence=frame.name)
    place = FrameName.parse(frame.name)
    return replace(frame, sequence=place.sequence, number=place.number)


def _raw_frame(folder: Path, frame: LabelledFrame, offset: int) -> Path | None:
    """Returns the file of the raw frame at an offset, as `camvid_video.extract_neighbours` names it."""
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
