"""`dwnet data check` and `dwnet data frames`."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tyro

from dwnet.progress import Progress


def data_check(
    kind: tyro.conf.Positional[Literal["camvid", "cityscapes", "own"]],
    root: tyro.conf.Positional[Path],
    /,
    splits: tuple[Literal["train", "val", "test"], ...] = ("train", "val"),
    neighbours: Literal["none", "camera_motion", "labelled", "video", "mixed"] = "none",
    coarse: bool = False,
) -> None:
    """Look at every file of a data set, before a long run does, and name each one that is missing or inconsistent.

    Args:
        kind: which data set.
        root: its folder.
        splits: which parts of it.
        neighbours: what training will pair the frames with; video and mixed need real neighbouring frames.
        coarse: cityscapes: also the coarsely labelled frames of train_extra.
    """
    from dwnet.data import CamVid, Cityscapes, LabelledFrames, OwnData
    from dwnet.data.check import check, describe

    def opener(split: Literal["train", "val", "test"], *, extra: bool = False) -> Callable[[], LabelledFrames]:
        if kind == "cityscapes":
            chosen = "none" if extra else neighbours
            return lambda: Cityscapes(root, split, neighbours=chosen, coarse=extra)
        return lambda: (CamVid if kind == "camvid" else OwnData)(root, split, neighbours=neighbours)

    if coarse and kind != "cityscapes":
        raise ValueError(f"--coarse is for cityscapes, found {kind}")
    parts = {str(split): opener(split) for split in splits}
    if coarse:
        parts["train_extra"] = opener("train", extra=True)
    problems = 0
    for name, open_split in parts.items():
        progress = Progress(name)
        result = check(open_split, progress)
        progress.close()
        problems += len(result.problems)
        print("\n".join([*result.problems, describe(name, result)]), end="\n\n")
    if problems:
        raise ValueError(f"{problems} problem(s) in {root}")


def data_frames(root: tyro.conf.Positional[Path], /, max_offset: int = 5) -> None:
    """Extract the labelled frames of your own video files, and those around them, as images that training can read.

    Args:
        root: folder of the data.
        max_offset: frames before and after each labelled frame.
    """
    from dwnet.data.own import extract_frames

    written = extract_frames(root, max_offset=max_offset, progress=lambda video, n: print(f"{video}: {n} frames ..."))
    print(f"{sum(written.values())} frames written; {root} is ready")
