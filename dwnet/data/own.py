"""A user's own data: clips with some labelled frames, or single labelled images.

.. code-block:: text

    ROOT/classes.json                   names, ids and colours of the classes (`dwnet.core.class_files`)
    ROOT/train/clips/DRIVE_1.mp4        a video, or a folder of frames, DRIVE_1/000000.jpg, 000001.jpg, ...
    ROOT/train/labels/DRIVE_1/000012.png    ids of frame 12, counted from 0 in a video; in a folder the file's number
    ROOT/train/images/YARD.jpg          single images, where there are no clips
    ROOT/train/labels/YARD.png
    ROOT/val/...                        the same

`own_layouts` lists further layouts of images that are read, for example the exports of CVAT, Roboflow and labelme.
Frames of video files are read from ``ROOT/SPLIT/frames/DRIVE_1/000012.jpg``; `extract_frames` writes them.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dwnet.core.data_kinds import SPLITS, Neighbours, Split
from dwnet.core.file_names import by_stem, frame_number, label_files
from dwnet.core.files import IMAGE_SUFFIXES, listed, same_form
from dwnet.core.label_images import LABEL_SUFFIXES
from dwnet.data.frames import FileSource, LabelledFrame, list_images, matched, offsets_within
from dwnet.data.own_labels import ids_of, label_reader, positions_for_ids, refuse_lossy, void_hides_a_class
from dwnet.data.own_layouts import SplitFiles, labelled_images, own_classes, own_root, split_folder, split_names
from dwnet.data.pair_dataset import check_options
from dwnet.data.pairs import DataError, collecting, refuse
from dwnet.data.video_frames import extract

_FILES_OF_IDS = 20
"""Largest number of label files whose ids are compared with the classes file before training."""
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
    if split not in SPLITS:
        raise DataError(f"split: found {split!r}; allowed are {', '.join(SPLITS)}")
    root = own_root(root)
    folder = split_folder(root, split)
    own = own_classes(root, [folder] if split == "train" else [split_folder(root, "train"), folder])
    if len(own.ids) < 2:
        raise DataError(
            f"{root}: the classes file names one class, {own.classes.classes[0]}; allowed are two or more (name the "
            "background too)"
        )
    holds_clips = folder is not None and (folder / "clips").is_dir() and not (folder / "images").is_dir()
    files = None if holds_clips else labelled_images(root, split, folder)
    if files is None and folder is None:
        raise DataError(f"{root / split}: missing; splits found in {root}: {', '.join(split_names(root)) or 'none'}")
    clips = []
    if files is None:
        assert folder is not None
        if (folder / "images").is_dir():
            raise DataError(f"{folder / 'labels'}: missing; the labels of {folder / 'images'} belong there")
        clips = _clips(folder)
        frames = _clip_frames(folder, clips, offsets_within(neighbours, max_offset, max_offset))
    else:
        frames = _single_images(files)
    if folder is not None:
        _refuse_unused_files(folder, single=files is not None)
    labels = [frame.labels for frame in frames]
    refuse_lossy(labels)
    if not collecting() and (split == "train" or len(own.ids) == 2):  # the check counts all files
        wrong = positions_for_ids(own, ids_of(labels, _FILES_OF_IDS)) or void_hides_a_class(own, labels)
        if wrong is not None:
            raise DataError(f"{root}, split {split}: {wrong}")
    return FileSource(
        frames,
        classes=own.classes,
        read_labels=label_reader(own),
        layout="clips with labelled frames" if files is None else files.description,
        name=f"{root}, split {split}",
        raw_frame=partial(_raw_frame, {clip.name: clip.frames for clip in clips}),
        class_file=own,
    )


@dataclass(frozen=True)
class _Clip:
    name: str
    labels: dict[int, Path]
    frames: dict[int, Path]
    video: Path | None


def extract_frames(
    root: Path,
    *,
    max_offset: int = 5,
    progress: Callable[[Path, int], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Writes the labelled frames of all video files, and the frames within `max_offset` of them, as images.

    Existing files are not written again, so an interrupted extraction continues.

    Args:
        root: the folder of the data.
        max_offset: largest distance from a labelled frame, in frames.
        progress: called before each video, with its path and the number of frames to write.
        warn: called with what is out of the ordinary in a video, for example frames that lack a key frame.

    Returns:
        The number of frames written, for each video with missing frames.

    Raises:
        DataError: if there is no data, or a video cannot be decoded or ends before a labelled frame.
    """
    done: dict[str, int] = {}
    root = own_root(root)
    folders = [folder for split in SPLITS if (folder := split_folder(root, split)) is not None]
    if not folders:
        raise DataError(f"{root}: found none of the folders {', '.join(SPLITS)}")
    for place in folders:
        for clip in _clips(place) if (place / "clips").is_dir() else []:
            if clip.video is None:
                continue
            folder = place / "frames" / clip.video.stem
            reach = {number + offset for number in clip.labels for offset in range(-max_offset, max_offset + 1)}
            targets = {n: folder / f"{n:06d}.jpg" for n in reach if n >= 0 and n not in clip.frames}
            if not targets:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            if progress is not None:
                progress(clip.video, len(targets))
            done[str(clip.video)] = extract(clip.video, targets, warn)
            beyond = [
                path for number, path in clip.labels.items() if number in targets and not targets[number].exists()
            ]
            if beyond:
                raise DataError(f"{beyond[0]}: labels a frame beyond the end of {clip.video}")
    return done


def _single_images(files: SplitFiles) -> tuple[LabelledFrame, ...]:
    if not files.images:
        raise DataError(f"{files.image_folder}: found no images; allowed are {', '.join(IMAGE_SUFFIXES)}")
    if not files.labels:
        found = ", ".join(sorted({path.suffix for path in listed(files.label_folder)})) or "no files"
        raise DataError(
            f"{files.label_folder}: found no label images ({found}); allowed are {', '.join(LABEL_SUFFIXES)}"
        )
    names = matched((files.image_folder, dict(files.images)), (files.label_folder, dict(files.labels)))
    return tuple(LabelledFrame(name, files.images[name], files.labels[name], sequence=name) for name in names)


def _raw_frame(frames: dict[str, dict[int, Path]], frame: LabelledFrame, offset: int) -> Path | None:
    return frames.get(frame.sequence, {}).get(frame.number + offset)


def _clip_frames(folder: Path, clips: Sequence[_Clip], offsets: Sequence[int]) -> tuple[LabelledFrame, ...]:
    """Returns the labelled frames with the real frames at these offsets; DataError lists all missing ones."""
    frames, problems = [], []
    for clip in clips:
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


def _refuse_unused_files(folder: Path, *, single: bool) -> None:
    """Passes the files of the other layout to `refuse`, because they would not be read."""
    other = [folder / "clips"] if single and (folder / "clips").is_dir() else []
    entries = listed(folder / "labels") if (folder / "labels").is_dir() else []
    other += [path for path in entries if path.is_dir() == single]
    if other:
        layout = "images/ with labels/NAME.png" if single else "clips/ with labels/CLIP/NUMBER.png"
        problems = [f"{path}: is not part of {layout}, the layout of {folder}" for path in other]
        refuse(DataError(f"{problems[0]} ({len(problems)} such paths)", problems))


def _clips(folder: Path) -> list[_Clip]:
    for name in ("clips", "labels"):
        if not (folder / name).is_dir():
            raise DataError(f"{folder / name}: missing; allowed are clips/ with labels/CLIP/, or images/ with labels/")
    entries = listed(folder / "clips")
    videos = {same_form(path.stem): path for path in entries if path.suffix.lower() in VIDEO_SUFFIXES}
    folders = {same_form(path.name): path for path in entries if path.is_dir()}
    clips = []
    for labels in (path for path in listed(folder / "labels") if path.is_dir()):
        name = same_form(labels.name)
        video = videos.get(name)
        frames = folders.get(name) if video is None else folder / "frames" / video.stem
        if frames is None:
            raise DataError(f"{labels}: no clip {name} in {folder / 'clips'}; allowed is a folder of frames or a video")
        numbers = _numbered(list_images(frames)) if frames.is_dir() else {}
        clips.append(_Clip(name, _numbered(by_stem(label_files(labels))), numbers, video))
    return clips


def _numbered(files: Mapping[str, Path]) -> dict[int, Path]:
    """Returns the files by the number at the end of their names, or before a usual end such as ``_mask``."""
    numbered: dict[int, Path] = {}
    for name, path in files.items():
        number = frame_number(name)
        if number is None:
            raise DataError(f"{path}: found no number at the end of its name; allowed are names such as 000012.png")
        if number in numbered:
            raise DataError(f"{path}: has the number of {numbered[number].name}; allowed is one file per number")
        numbered[number] = path
    return numbered
