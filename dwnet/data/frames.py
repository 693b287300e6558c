"""Labelled frames on disk: the source that CamVid, Cityscapes and a user's own data share.

The `scan` of each data set (`camvid`, `cityscapes`, `own`) finds the files; `FileSource` reads them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dwnet.core.class_files import ClassFile
from dwnet.core.classes import ClassSet
from dwnet.core.data_kinds import REAL, Neighbours
from dwnet.core.files import IMAGE_SUFFIXES, listed, same_form
from dwnet.core.label_images import file_orientation, turned
from dwnet.data.pairs import DataError, read_image, refuse
from dwnet.data.sources import RealNeighbour, Source


@dataclass(frozen=True)
class LabelledFrame:
    """One labelled frame on disk.

    Frames of one `sequence` follow each other by `number`, which counts the raw frames of the video.
    """

    name: str
    image: Path
    labels: Path
    sequence: str = ""
    number: int = 0
    video: Mapping[int, Path] = field(default_factory=dict)
    """Real neighbours by their offset in raw frames, signed, never 0."""


RawFrame = Callable[[LabelledFrame, int], Path | None]
"""Returns the file of the raw frame at an offset from a labelled one, existing or not; None if it cannot exist."""


def offsets_within(neighbours: Neighbours, before: int, after: int) -> list[int]:
    """Returns the offsets of the raw frames needed, from `before` frames before to `after` frames after."""
    if neighbours not in REAL:
        return []
    return [-1] if neighbours == "previous" else [offset for offset in range(-before, after + 1) if offset]


class FileSource(Source[LabelledFrame]):
    """Labelled frames on disk.

    Args:
        frames: in order; frames of one sequence by rising number.
        classes: names and palette of the classes.
        read_labels: reads a label file as (H, W) uint8 ids and `IGNORE_LABEL`; raises DataError for a wrong file.
        layout: description of the layout of the files.
        name: name of the data set in messages: its folder and split.
        raw_frame: returns the file of a raw frame near a labelled one; by default a file of its `video`.
        class_file: the ids on disk, if label files hold ids of one; None for data sets with a format of their own.
        labels_published: False for a split whose labels are all void on disk, because only a server has them.
    """

    def __init__(
        self,
        frames: Sequence[LabelledFrame],
        *,
        classes: ClassSet,
        read_labels: Callable[[Path], NDArray[np.uint8]],
        layout: str,
        name: str,
        raw_frame: RawFrame = lambda frame, offset: frame.video.get(offset),
        class_file: ClassFile | None = None,
        labels_published: bool = True,
    ) -> None:
        self.frames, self.classes, self.layout, self.name = tuple(frames), classes, layout, name
        self._read_labels, self._raw_frame = read_labels, raw_frame
        self.class_file, self.labels_published = class_file, labels_published
        self._labelled = {(frame.sequence, frame.number): frame.image for frame in self.frames}

    def choices(  # noqa: D102
        self, neighbours: Neighbours, max_offset: int
    ) -> tuple[tuple[LabelledFrame, ...], tuple[Sequence[int], ...]]:
        if neighbours == "labelled":
            return _labelled_neighbours(self.frames, max_offset, self.name)
        if neighbours not in REAL:
            return self.frames, ()
        frames = self.frames
        if neighbours == "previous":
            frames = tuple(frame for frame in frames if -1 in frame.video) or frames
        return frames, _video_neighbours(frames, offsets_within(neighbours, max_offset, max_offset), self.name)

    def read(self, frame: LabelledFrame) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Returns a frame as (H, W, 3) uint8 RGB and its labels as (H, W) uint8.

        Raises:
            DataError: for a file that is no image, wrong labels, or labels of another size.
        """
        image, labels = read_image(frame.image), self._read_labels(frame.labels)
        if labels.shape != image.shape[:2] and labels.shape == image.shape[1::-1]:
            # The labels were drawn on the stored pixels, without the frame's EXIF rotation.
            orientation = file_orientation(frame.image)
            labels = turned(labels, orientation) if orientation >= 5 else labels
        require_same_size(frame.labels, labels, frame.image, image)
        return image, labels

    def labels(self, frame: LabelledFrame) -> NDArray[np.uint8]:  # noqa: D102
        return self._read_labels(frame.labels)

    def neighbour(self, frame: LabelledFrame, offset: int, image: NDArray[np.uint8]) -> RealNeighbour:  # noqa: D102
        path = frame.video.get(offset) or self._labelled[frame.sequence, frame.number + offset]
        neighbour = read_image(path)
        require_same_size(path, neighbour, frame.image, image)
        return RealNeighbour(neighbour)

    def warmup_frames(self, frame: LabelledFrame, most: int) -> list[NDArray[np.uint8]]:
        """Returns the raw frames right before a frame, in order, (H, W, 3) uint8 RGB: `most`, or fewer if some lack.

        Raises:
            DataError: for a file that is no image or has another size.
        """
        paths: list[Path] = []
        while len(paths) < most:
            path = self._raw_frame(frame, -len(paths) - 1)
            if path is None or not path.is_file():
                break
            paths.insert(0, path)
        image, images = read_image(frame.image), [read_image(path) for path in paths]
        for path, before in zip(paths, images, strict=True):
            require_same_size(path, before, frame.image, image)
        return images


def require_same_size(path: Path, array: NDArray[np.uint8], frame_path: Path, frame: NDArray[np.uint8]) -> None:
    """Raises DataError, which names both files, unless `array` has the height and width of its frame."""
    if array.shape[:2] != frame.shape[:2]:
        raise DataError(
            f"{path}: found {array.shape[1]} x {array.shape[0]} pixels; allowed is the size of {frame_path}, "
            f"{frame.shape[1]} x {frame.shape[0]}"
        )


def list_images(folder: Path) -> dict[str, Path]:
    """Returns the image files of a folder by name without suffix, composed (NFC). Hidden files are left out.

    Raises:
        DataError: for a name that two files share.
    """
    files: dict[str, Path] = {}
    for path in listed(folder, IMAGE_SUFFIXES):
        name = same_form(path.stem)
        if name in files:
            raise DataError(f"{path}: found also as {files[name].name}; allowed is one image per name")
        files[name] = path
    return files


def matched(images: tuple[Path, dict[str, Path]], labels: tuple[Path, dict[str, Path]]) -> list[str]:
    """Returns the sorted names that two folders have in common. Each folder is given with its `list_images`.

    Files without a counterpart are passed to `refuse`.
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
) -> tuple[tuple[LabelledFrame, ...], tuple[list[int], ...]]:
    nearest: dict[str, list[int]] = {}
    distances: Counter[int] = Counter()
    for frame, others in _by_sequence(frames):
        offsets = [other.number - frame.number for other in others if other.number != frame.number]
        if not offsets:
            continue
        best = min(offsets, key=lambda offset: (abs(offset), offset))  # the previous one of two equally near
        distances[abs(best)] += 1
        if abs(best) <= max_offset:
            nearest[frame.name] = [best]
    if not nearest:
        found = ", ".join(f"{distance} ({count} frames)" for distance, count in sorted(distances.items())) or "none"
        raise DataError(
            f"{source}: no labelled frame has another of its sequence within {max_offset} raw frames; "
            f"distances found to the nearest: {found}"
        )
    kept = tuple(frame for frame in frames if frame.name in nearest)
    return kept, tuple(nearest[frame.name] for frame in kept)


def _by_sequence(frames: Sequence[LabelledFrame]) -> Iterable[tuple[LabelledFrame, list[LabelledFrame]]]:
    """Returns each frame with all frames of its sequence."""
    sequences: dict[str, list[LabelledFrame]] = {}
    for frame in frames:
        sequences.setdefault(frame.sequence, []).append(frame)
    return ((frame, sequences[frame.sequence]) for frame in frames)


def _video_neighbours(frames: Sequence[LabelledFrame], offsets: Sequence[int], source: str) -> tuple[list[int], ...]:
    choices = tuple(sorted(offset for offset in frame.video if offset in offsets) for frame in frames)
    lacking = [frame for frame, choice in zip(frames, choices, strict=True) if not choice]
    if lacking:
        sequences = ", ".join(sorted({frame.sequence for frame in lacking}))
        near = "right before" if offsets == [-1] else f"within {max(offsets)} raw frames of"
        raise DataError(
            f"{source}: found no frame {near} {lacking[0].name} ({len(lacking)} of {len(frames)} frames have none; "
            f"sequences: {sequences})"
        )
    return choices
