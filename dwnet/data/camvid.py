"""CamVid: labelled frames of four drives through Cambridge (Brostow et al., 2008), in the paper's eleven classes."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dwnet.data.camera_motion import CameraMotion
from dwnet.data.camvid_layout import LabelledImage, Split, find_layout, list_images
from dwnet.data.classes import CAMVID_11, ClassSet
from dwnet.data.pairs import DataError, FrameSample, PairSample, item_generators, make_sample, read_image
from dwnet.data.transforms import Augmentation

Neighbours = Literal["none", "camera_motion", "labelled", "video"]
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
        match = re.fullmatch(r"(.+)_(f?)(\d+)", name)
        if match is None:
            raise DataError(f"frame name: found {name!r}; allowed is SEQUENCE_NUMBER, as in 0016E5_07959")
        sequence, prefix, number = match.groups()
        return cls(sequence, prefix, int(number), len(number))

    def shifted(self, offset: int) -> str:
        """Return the name of the frame `offset` raw frames later."""
        return f"{self.sequence}_{self.prefix}{self.number + offset:0{self.digits}d}"


class CamVid(Dataset[FrameSample | PairSample]):
    """One split of a CamVid copy on disk, in any of the layouts of `camvid_layout`.

    A sample depends on (seed, epoch, index) alone. The epoch lies in shared memory, so that `set_epoch` also reaches
    the copies that a DataLoader's persistent workers hold; call it before the epoch's iteration starts.

    Args:
        root: folder of the copy.
        split: ``train``, ``val`` or ``test``.
        neighbours: what a frame is paired with. ``none``: nothing (`FrameSample`). ``camera_motion``: a neighbour made
            from the frame itself, with its exact flow. ``labelled``: the nearest other labelled frame of its sequence,
            the earlier of two equally near; frames that have none within `max_offset` are left out. ``video``: a raw
            frame extracted by `camvid_video.extract_neighbours`, drawn uniformly from those within `max_offset`.
        max_offset: largest distance to the neighbour, in raw frames (the paper's 5, section 3.1).
        augment: random geometry and colour; None gives whole frames.
        seed: of all random numbers, 0 or above.

    Raises:
        DataError: files are missing, or no frame has a neighbour; on reading an item: a file that is no image, labels
            of another size or with unknown ids. The message names the file.
        ValueError: an unknown `neighbours`, a `max_offset` below 1, or a negative `seed`.
    """

    classes: ClassSet = CAMVID_11

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
        if neighbours not in get_args(Neighbours):
            raise ValueError(f"neighbours: found {neighbours!r}; allowed are {', '.join(get_args(Neighbours))}")
        if max_offset < 1:
            raise ValueError(f"max_offset: found {max_offset}; allowed are whole raw frames of at least 1")
        if seed < 0:
            raise ValueError(f"seed: found {seed}; allowed are whole numbers of at least 0")
        layout = find_layout(Path(root), split)
        self.split = split
        self.neighbours = neighbours
        self.layout = layout.description
        self._read_labels = layout.read_labels
        self._augment = augment
        self._seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._motion = CameraMotion(max_offset=max_offset)
        self._frames = layout.frames
        self._choices: tuple[dict[int, Path], ...] = ()  # for each frame, its possible neighbours by offset
        if neighbours == "labelled":
            self._frames, self._choices = _labelled_neighbours(layout.frames, max_offset, Path(root), split)
        elif neighbours == "video":
            self._choices = _video_neighbours(layout.frames, max_offset, Path(root))
        self.names = tuple(frame.name for frame in self._frames)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._frames)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random numbers of an epoch, 0 or above, here and in the workers that share this data set."""
        if epoch < 0:
            raise ValueError(f"epoch: found {epoch}; allowed are whole numbers of at least 0")
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> FrameSample | PairSample:
        """Read, pair and augment one frame; raises `DataError` as the class says, IndexError beyond the last."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: found {index}; allowed are 0..{len(self) - 1}")
        index %= len(self)
        item = self._frames[index]
        augmentation_rng, neighbour_rng = item_generators(self._seed, int(self._epoch), index)
        frame = read_image(item.image)
        labels = self._read_labels(item.labels)
        _require_same_size(item.labels, labels, item.image, frame)
        neighbour, offset, flow_px, visible = None, 0, None, None
        if self.neighbours == "camera_motion":
            made = self._motion.sample(neighbour_rng, frame)
            neighbour, offset, flow_px, visible = made.image, made.offset, made.flow_px, made.visible
        elif self._choices:
            offsets = sorted(self._choices[index])
            offset = offsets[int(neighbour_rng.integers(len(offsets)))]
            path = self._choices[index][offset]
            neighbour = read_image(path)
            _require_same_size(path, neighbour, item.image, frame)
        return make_sample(
            name=item.name,
            index=index,
            frame=frame,
            labels=labels,
            neighbour=neighbour,
            offset=offset,
            flow_px=flow_px,
            visible=visible,
            augment=self._augment,
            rng=augmentation_rng,
        )


def _require_same_size(path: Path, array: NDArray[np.uint8], frame_path: Path, frame: NDArray[np.uint8]) -> None:
    if array.shape[:2] != frame.shape[:2]:
        raise DataError(
            f"{path}: found {array.shape[1]} x {array.shape[0]} pixels; allowed is the size of {frame_path}, "
            f"{frame.shape[1]} x {frame.shape[0]}"
        )


def _labelled_neighbours(
    frames: tuple[LabelledImage, ...], max_offset: int, root: Path, split: Split
) -> tuple[tuple[LabelledImage, ...], tuple[dict[int, Path], ...]]:
    places = [(FrameName.parse(frame.name), frame) for frame in frames]
    nearest: dict[str, dict[int, Path]] = {}
    distances: Counter[int] = Counter()
    for place, frame in places:
        offsets = {
            other.number - place.number: other_frame.image
            for other, other_frame in places
            if other.sequence == place.sequence and other.number != place.number
        }
        if not offsets:
            continue
        best = min(offsets, key=lambda offset: (abs(offset), offset))  # of two equally near ones the previous
        distances[abs(best)] += 1
        if abs(best) <= max_offset:
            nearest[frame.name] = {best: offsets[best]}
    if not nearest:
        found = ", ".join(f"{distance} ({count} frames)" for distance, count in sorted(distances.items())) or "none"
        raise DataError(
            f"{root}, split {split}: no labelled frame has another of its sequence within {max_offset} raw frames; "
            f"distances found to the nearest: {found}"
        )
    kept = tuple(frame for frame in frames if frame.name in nearest)
    return kept, tuple(nearest[frame.name] for frame in kept)


def _video_neighbours(frames: tuple[LabelledImage, ...], max_offset: int, root: Path) -> tuple[dict[int, Path], ...]:
    folder = root / VIDEO_FRAMES
    if not folder.is_dir():
        raise DataError(f"{folder}: missing; extract the frames from the raw videos with extract_neighbours first")
    files = list_images(folder)
    choices = []
    lacking: list[str] = []
    for frame in frames:
        place = FrameName.parse(frame.name)
        names = {offset: place.shifted(offset) for offset in range(-max_offset, max_offset + 1) if offset}
        choices.append({offset: files[name] for offset, name in names.items() if name in files})
        if not choices[-1]:
            lacking.append(frame.name)
    if lacking:
        sequences = ", ".join(sorted({FrameName.parse(name).sequence for name in lacking}))
        raise DataError(
            f"{folder}: found no frame within {max_offset} raw frames of {lacking[0]} ({len(lacking)} of {len(frames)} "
            f"frames have none; sequences: {sequences}); extract them with extract_neighbours"
        )
    return tuple(choices)
