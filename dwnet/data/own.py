"""A user's own data: clips with some labelled frames, or single labelled images.

.. code-block:: text

    ROOT/classes.json                   names, ids and colours of the classes (`dwnet.core.class_files`)
    ROOT/train/clips/DRIVE_1.mp4        a video, or a folder of frames, DRIVE_1/000000.jpg, 000001.jpg, ...
    ROOT/train/labels/DRIVE_1/000012.png    ids of frame 12, counted from 0 in a video; in a folder the file's number
    ROOT/train/images/YARD.jpg          single images, where there are no clips
    ROOT/train/labels/YARD.png
    ROOT/val/...                        the same

Frames of video files are read from ``ROOT/SPLIT/frames/DRIVE_1/000012.jpg``; `extract_frames` writes them.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dwnet.core.class_files import ClassFileError, read_class_file
from dwnet.core.data_kinds import SPLITS, Neighbours, Split
from dwnet.core.files import IMAGE_SUFFIXES
from dwnet.data.frames import FileSource, LabelledFrame, list_images, matched, offsets_within
from dwnet.data.own_labels import read_labels
from dwnet.data.pair_dataset import check_options
from dwnet.data.pairs import DataError, collecting, refuse
from dwnet.data.video_frames import extract

CLASSES_FILE = "classes.json"
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mxf")


def scan(root: Path, split: Split, *, neighbours: Neighbours = "none", max_offset: int = 5) -> FileSource:
    """Returns the labelled frames of one split of a user's own data, in the layout above.

    Args:
        root: the folder.
        split: ``train``, ``val`` or ``test``.
        neighbours: the kind of neighbours to find. Single images have no real neighbours.
        max_offset: largest distance to the neighbour, in frames of the clip.

    Raises:
        DataError: if files are missing or frames of a video are not extracted; the attribute `problems` lists all.
        DWNetError: for an option that is not allowed.
    """
    check_options(neighbours=neighbours, max_offset=max_offset)
    try:
        own = read_class_file(root / CLASSES_FILE)
    except ClassFileError as error:
        raise DataError(str(error)) from error
    folder = _split_folder(root, split)
    offsets = offsets_within(neighbours, max_offset, max_offset)
    single = (folder / "images").is_dir()
    _refuse_unused_files(folder)
    return FileSource(
        _single_images(folder) if single else _clip_frames(folder, offsets),
        classes=own.classes,
        read_labels=partial(read_labels, own),
        layout="single images" if single else "clips with labelled frames",
        name=f"{root}, split {split}",
        raw_frame=partial(_raw_frame, {} if single else {clip.name: clip.frames for clip in _clips(folder)}),
    )


@dataclass(frozen=True)
class _Clip:
    name: str
    labels: dict[int, Path]
    frames: dict[int, Path]
    video: Path | None


def extract_frames(
    root: Path, *, max_offset: int = 5, progress: Callable[[Path, int], None] | None = None
) -> dict[str, int]:
    """Writes the labelled frames of all video files, and the frames within `max_offset` of them, as images.

    Existing files are not written again, so an interrupted extraction continues.

    Args:
        root: the folder of the data.
        max_offset: largest distance from a labelled frame, in frames.
        progress: called before each video, with its path and the number of frames to write.

    Returns:
        The number of frames written, for each video with missing frames.

    Raises:
        DataError: if there is no data, or a video cannot be decoded or ends before a labelled frame.
    """
    done: dict[str, int] = {}
    splits = [split for split in SPLITS if (root / split).is_dir()]
    if not splits:
        raise DataError(f"{root}: found none of the folders {', '.join(SPLITS)}")
    for split in splits:
        for clip in [] if (root / split / "images").is_dir() else _clips(root / split):
            if clip.video is None:
                continue
            folder = root / split / "frames" / clip.name
            reach = {number + offset for number in clip.labels for offset in range(-max_offset, max_offset + 1)}
            targets = {n: folder / f"{n:06d}.jpg" for n in reach if n >= 0 and n not in clip.frames}
            if not targets:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            if progress is not None:
                progress(clip.video, len(targets))
            done[str(clip.video)] = extract(clip.video, targets)
            beyond = [
                path for number, path in clip.labels.items() if number in targets and not targets[number].exists()
            ]
            if beyond:
                raise DataError(f"{beyond[0]}: labels a frame beyond the end of {clip.video}")
    return done


def _split_folder(root: Path, split: str) -> Path:
    if split not in SPLITS:
        raise DataError(f"split: found {split!r}; allowed are {', '.join(SPLITS)}")
    folder = root / split
    if not folder.is_dir():
        found = ", ".join(name for name in SPLITS if (root / name).is_dir()) or "none"
        raise DataError(f"{folder}: missing; splits found in {root}: {found}")
    return folder


def _single_images(folder: Path) -> tuple[LabelledFrame, ...]:
    if not (folder / "labels").is_dir():
        raise DataError(f"{folder / 'labels'}: missing; the labels of {folder / 'images'} belong there")
    images, labels = list_images(folder / "images"), list_images(folder / "labels")
    if not images:
        raise DataError(f"{folder / 'images'}: found no images; allowed are {', '.join(IMAGE_SUFFIXES)}")
    names = matched((folder / "images", images), (folder / "labels", labels))
    return tuple(LabelledFrame(name, images[name], labels[name], sequence=name) for name in names)


def _raw_frame(frames: dict[str, dict[int, Path]], frame: LabelledFrame, offset: int) -> Path | None:
    return frames.get(frame.sequence, {}).get(frame.number + offset)


def _clip_frames(folder: Path, offsets: Sequence[int]) -> tuple[LabelledFrame, ...]:
    """Returns the labelled frames with the real frames at these offsets; DataError lists all missing ones."""
    frames, problems = [], []
    for clip in _clips(folder):
        gaps = _gaps(clip) if offsets and collecting() and clip.video is None else []
        if gaps:
            refuse(DataError(gaps[0], gaps))
        for number, labels in sorted(clip.labels.items()):
            image = clip.frames.get(number)
            if image is None:
                remedy = f"not extracted from {clip.video}: run `dwnet data frames`" if clip.video else "no such frame"
                problems.append(f"{labels}: {remedy}")
                continue
            video = {offset: clip.frames[number + offset] for offset in offsets if number + offset in clip.frames}
            frames.append(LabelledFrame(f"{clip.name}/{number:06d}", image, labels, clip.name, number, video))
    if problems:
        lost = f"{problems[0]} ({len(problems)} of {len(problems) + len(frames)} labelled frames)"
        refuse(DataError(lost, problems))
    if not frames:
        raise DataError(f"{folder / 'labels'}: found no labels; allowed are labels/CLIP/NUMBER.png")
    return tuple(frames)


def _gaps(clip: _Clip) -> list[str]:
    """Returns a line for each number that a folder of frames skips, if its numbers usually rise by one."""
    numbers = sorted(clip.frames)
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    if not steps or Counter(steps).most_common(1)[0][0] != 1:
        return []
    return [
        f"{clip.frames[before].parent}: no frame {missing}, between {clip.frames[before].name} and "
        f"{clip.frames[after].name}"
        for before, after in itertools.pairwise(numbers)
        for missing in range(before + 1, after)
    ]


def _refuse_unused_files(folder: Path) -> None:
    """Passes the files of the other layout to `refuse`, because they would not be read."""
    single = (folder / "images").is_dir()
    other = [folder / "clips"] if single and (folder / "clips").is_dir() else []
    entries = sorted((folder / "labels").iterdir()) if (folder / "labels").is_dir() else []
    other += [path for path in entries if path.is_dir() == single]
    if other:
        layout = "images/ with labels/NAME.png" if single else "clips/ with labels/CLIP/NUMBER.png"
        problems = [f"{path}: is not part of {layout}, the layout of {folder}" for path in other]
        refuse(DataError(f"{problems[0]} ({len(problems)} such paths)", problems))


def _clips(folder: Path) -> list[_Clip]:
    for name in ("clips", "labels"):
        if not (folder / name).is_dir():
            raise DataError(f"{folder / name}: missing; allowed are clips/ with labels/CLIP/, or images/ with labels/")
    videos = {path.stem: path for path in sorted((folder / "clips").iterdir()) if path.suffix.lower() in VIDEO_SUFFIXES}
    clips = []
    for labels in sorted(path for path in (folder / "labels").iterdir() if path.is_dir()):
        name, video = labels.name, videos.get(labels.name)
        frames = folder / ("clips" if video is None else "frames") / name
        if video is None and not frames.is_dir():
            raise DataError(f"{labels}: no clip {name} in {folder / 'clips'}; allowed is a folder of frames or a video")
        clips.append(_Clip(name, _numbered(labels), _numbered(frames) if frames.is_dir() else {}, video))
    return clips


def _numbered(folder: Path) -> dict[int, Path]:
    """Returns the images of a folder by the number at the end of their names."""
    numbered: dict[int, Path] = {}
    for name, path in list_images(folder).items():
        digits = name[len(name.rstrip("0123456789")) :]
        if not digits:
            raise DataError(f"{path}: found no number at the end of its name; allowed are names such as 000012.png")
        if int(digits) in numbered:
            raise DataError(f"{path}: has the number of {numbered[int(digits)].name}; allowed is one file per number")
        numbered[int(digits)] = path
    return numbered
