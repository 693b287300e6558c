"""Labelled frames on disk, alone or paired with a neighbour: what CamVid, Cityscapes and a user's own clips share.

A layout (`camvid_layout`, `cityscapes`, `own`) says which files belong together; `LabelledFrames` reads, pairs and
augments them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError
from dwnet.core.files import IMAGE_SUFFIXES
from dwnet.data.camera_motion import CameraMotion
from dwnet.data.pairs import DataError, EpochData, FrameSample, PairSample, make_sample, read_image, refuse
from dwnet.data.transforms import Augmentation

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

Neighbours = Literal["none", "camera_motion", "labelled", "video", "previous", "mixed"]
"""What a frame is paired with.

- ``none``: nothing (`FrameSample`).
- ``camera_motion``: a neighbour made from the frame itself, with its exact flow. Needs no video at all.
- ``labelled``: the nearest other labelled frame of its sequence, the earlier of two equally near; frames that have none
  within `max_offset` are left out.
- ``video``: a real frame of the clip, drawn uniformly from those within `max_offset`.
- ``previous``: the real frame of the clip right before it; frames that have none are left out.
- ``mixed``: ``camera_motion`` or ``video``, by the toss of a coin for each sample.
"""


@dataclass(frozen=True)
class LabelledFrame:
    """One labelled frame on disk.

    Frames of one `sequence` follow each other by `number`, the raw frame of the video that they are.
    """

    name: str
    image: Path
    labels: Path
    sequence: str = ""
    number: int = 0
    video: Mapping[int, Path] = field(default_factory=dict)
    """Real neighbours by their offset in raw frames, signed, never 0."""


RawFrame = Callable[[LabelledFrame, int], Path | None]
"""The file of the raw frame so many frames from a labelled one, whether it exists or not; None if there can be none."""

REAL: tuple[Neighbours, ...] = ("video", "previous", "mixed")
"""Those that need raw frames around the labelled ones."""


def offsets_within(neighbours: Neighbours, before: int, after: int) -> list[int]:
    """Offsets of the raw frames that are needed, of those from `before` frames before to `after` frames after."""
    if neighbours not in REAL:
        return []
    return [-1] if neighbours == "previous" else [offset for offset in range(-before, after + 1) if offset]


class LabelledFrames(EpochData):
    """Labelled frames as samples.

    Args:
        frames: in order; of one sequence by rising number, so that neighbours in the list are neighbours in time.
        classes: what the ids mean.
        read_labels: a label file to (H,W) uint8 ids and `IGNORE_LABEL`; raises `DataError` for a wrong one.
        layout: how the files lie, in words.
        source: what messages call the set: its folder and split.
        neighbours: what a frame is paired with.
        max_offset: largest distance to the neighbour, in raw frames (the paper's 5, section 3.1).
        augment: random geometry and colour; None gives whole frames.
        seed: of all random numbers, 0 or above.
        raw_frame: where the raw frames around a labelled one lie; by default those of its `video`.

    Raises:
        DataError: no frame has a neighbour; on reading an item: a file that is no image, labels or a neighbour of
            another size. The message names the file.
        ValueError: an unknown `neighbours`, a `max_offset` below 1, or a negative `seed`.
    """

    def __init__(
        self,
        frames: Sequence[LabelledFrame],
        *,
        classes: ClassSet,
        read_labels: Callable[[Path], NDArray[np.uint8]],
        layout: str,
        source: str,
        neighbours: Neighbours = "none",
        max_offset: int = 5,
        augment: Augmentation | None = None,
        seed: int = 0,
        raw_frame: RawFrame = lambda item, offset: item.video.get(offset),
    ) -> None:
        check_options(neighbours=neighbours, max_offset=max_offset, seed=seed)
        super().__init__(seed)
        self.classes, self.layout, self.neighbours, self.max_offset = classes, layout, neighbours, max_offset
        self._read_labels, self._augment, self._raw_frame = read_labels, augment, raw_frame
        self._motion = CameraMotion(max_offset=max_offset)
        self.frames = tuple(frames)
        """What each sample is made of."""
        self._choices: tuple[dict[int, Path], ...] = ()  # for each frame, its possible neighbours by offset
        if neighbours == "labelled":
            self.frames, self._choices = _labelled_neighbours(self.frames, max_offset, source)
        elif neighbours == "previous":
            self.frames = tuple(frame for frame in self.frames if -1 in frame.video) or self.frames
            self._choices = _video_neighbours(self.frames, [-1], source)
        elif neighbours in REAL:
            offsets = offsets_within(neighbours, max_offset, max_offset)
            self._choices = _video_neighbours(self.frames, offsets, source)
        self.names = tuple(frame.name for frame in self.frames)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frames)

    def __getitem__(self, index: int) -> FrameSample | PairSample:
        """Read, pair and augment one frame; raises `DataError` as the class says, IndexError beyond the last."""
        index, augmentation_rng, neighbour_rng = self._item(index)
        item = self.frames[index]
        frame, labels = self.read(item)
        neighbour, offset, flow_px, visible = None, 0, None, None
        if self._makes_neighbour(neighbour_rng):
            made = self._motion.sample(neighbour_rng, frame)
            neighbour, offset, flow_px, visible = made.image, made.offset, made.flow_px, made.visible
        elif self._choices:
            offsets = sorted(self._choices[index])
            offset = offsets[int(neighbour_rng.integers(len(offsets)))]
            path = self._choices[index][offset]
            neighbour = read_image(path)
            require_same_size(path, neighbour, item.image, frame)
        if self.neighbours == "mixed":  # samples of a batch hold the same things, and real neighbours have no flow
            flow_px = visible = None
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

    def read(self, item: LabelledFrame) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return a frame as (H,W,3) uint8 RGB and its labels as (H,W) uint8; raises `DataError` as the class says."""
        frame, labels = read_image(item.image), self._read_labels(item.labels)
        require_same_size(item.labels, labels, item.image, frame)
        return frame, labels

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Return the labels of one whole frame as (H,W) uint8; raises `DataError` as the class says."""
        return self._read_labels(self.frames[index].labels)

    def warmup_frames(self, index: int, most: int) -> list[NDArray[np.uint8]]:
        """Return the raw frames right before one in their order, (H,W,3) uint8 RGB: up to `most`, as far as there are.

        Raises `DataError` for a file that is no image or of another size.
        """
        item, paths = self.frames[index], list[Path]()
        while len(paths) < most:
            path = self._raw_frame(item, -len(paths) - 1)
            if path is None or not path.is_file():
                break
            paths.insert(0, path)
        frame, images = read_image(item.image), [read_image(path) for path in paths]
        for path, image in zip(paths, images, strict=True):
            require_same_size(path, image, item.image, frame)
        return images

    def _makes_neighbour(self, rng: np.random.Generator) -> bool:
        if self.neighbours == "mixed":
            return bool(rng.integers(2))
        return self.neighbours == "camera_motion"


def check_options(*, neighbours: str, max_offset: int, seed: int) -> None:
    """Raise ValueError for an option of a data set that is not allowed."""
    if neighbours not in get_args(Neighbours):
        raise DWNetError(f"neighbours: found {neighbours!r}; allowed are {', '.join(get_args(Neighbours))}")
    if max_offset < 1:
        raise DWNetError(f"max_offset: found {max_offset}; allowed are whole raw frames of at least 1")
    if seed < 0:
        raise DWNetError(f"seed: found {seed}; allowed are whole numbers of at least 0")


def require_same_size(path: Path, array: NDArray[np.uint8], frame_path: Path, frame: NDArray[np.uint8]) -> None:
    """Raise `DataError`, naming both files, unless `array` is as high and wide as its frame."""
    if array.shape[:2] != frame.shape[:2]:
        raise DataError(
            f"{path}: found {array.shape[1]} x {array.shape[0]} pixels; allowed is the size of {frame_path}, "
            f"{frame.shape[1]} x {frame.shape[0]}"
        )


def list_images(folder: Path) -> dict[str, Path]:
    """Return the image files of a folder by name without suffix; `DataError` for a name that two files share."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if path.stem in files:
            raise DataError(f"{path}: found also as {files[path.stem].name}; allowed is one image per name")
        files[path.stem] = path
    return files


def matched(images: tuple[Path, dict[str, Path]], labels: tuple[Path, dict[str, Path]]) -> list[str]:
    """Return the names that two folders, each with `list_images` of it, have in common, sorted.

    `refuse` with every file that has no counterpart.
    """
    messages, problems = [], []
    for (folder, here), (other, there), what in ((images, labels, "labels"), (labels, images, "image")):
        unmatched = [here[name] for name in sorted(here.keys() - there.keys())]
        problems += [f"{path}: no {what} of that name in {other}" for path in unmatched]
        if unmatched:
            messages.append(
                f"{folder / unmatched[0].name}: no {what} of that name in {other} ({len(unmatched)} of {len(here)} "
                "files lack one)"
            )
    if messages:
        refuse(DataError("; ".join(messages), problems))
    return sorted(images[1].keys() & labels[1].keys())


def _labelled_neighbours(
    frames: Sequence[LabelledFrame], max_offset: int, source: str
) -> tuple[tuple[LabelledFrame, ...], tuple[dict[int, Path], ...]]:
    nearest: dict[str, dict[int, Path]] = {}
    distances: Counter[int] = Counter()
    for frame, others in _by_sequence(frames):
        offsets = {other.number - frame.number: other.image for other in others if other.number != frame.number}
        if not offsets:
            continue
        best = min(offsets, key=lambda offset: (abs(offset), offset))  # of two equally near ones the previous
        distances[abs(best)] += 1
        if abs(best) <= max_offset:
            nearest[frame.name] = {best: offsets[best]}
    if not nearest:
        found = ", ".join(f"{distance} ({count} frames)" for distance, count in sorted(distances.items())) or "none"
        raise DataError(
            f"{source}: no labelled frame has another of its sequence within {max_offset} raw frames; "
            f"distances found to the nearest: {found}"
        )
    kept = tuple(frame for frame in frames if frame.name in nearest)
    return kept, tuple(nearest[frame.name] for frame in kept)


def _by_sequence(frames: Sequence[LabelledFrame]) -> Iterable[tuple[LabelledFrame, list[LabelledFrame]]]:
    """Each frame with all those of its sequence."""
    sequences: dict[str, list[LabelledFrame]] = {}
    for frame in frames:
        sequences.setdefault(frame.sequence, []).append(frame)
    return ((frame, sequences[frame.sequence]) for frame in frames)


def _video_neighbours(
    frames: Sequence[LabelledFrame], offsets: Sequence[int], source: str
) -> tuple[dict[int, Path], ...]:
    choices = tuple({offset: path for offset, path in frame.video.items() if offset in offsets} for frame in frames)
    lacking = [frame for frame, choice in zip(frames, choices, strict=True) if not choice]
    if lacking:
        sequences = ", ".join(sorted({frame.sequence for frame in lacking}))
        near = "right before" if offsets == [-1] else f"within {max(offsets)} raw frames of"
        raise DataError(
            f"{source}: found no frame {near} {lacking[0].name} ({len(lacking)} of {len(frames)} frames have none; "
            f"sequences: {sequences})"
        )
    return choices
