"""`dwnet data`: check a data set, and extract the frames that training needs from videos."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import tyro

from dwnet.core.errors import DWNetError
from dwnet.core.progress import Progress


def check_files(
    dataset: Literal["camvid", "cityscapes", "own"],
    root: Path | None = None,
    splits: tuple[Literal["train", "val", "test"], ...] = ("train", "val"),
    neighbours: Literal["none", "camera_motion", "labelled", "video", "mixed"] = "none",
    coarse: bool = False,
) -> None:
    """Look at every file of a data set, before a long run does, and name each one that is missing or inconsistent.

    Args:
        dataset: which data set.
        root: its folder; default: data/DATASET.
        splits: which parts of it.
        neighbours: what training will pair the frames with; video and mixed need real neighbouring frames.
        coarse: cityscapes: also the coarsely labelled frames of train_extra.
    """
    root = Path("data", dataset) if root is None else root
    from dwnet.data import CamVid, Cityscapes, LabelledFrames, OwnData
    from dwnet.data.check import check, describe

    def opener(split: Literal["train", "val", "test"], *, extra: bool = False) -> Callable[[], LabelledFrames]:
        if dataset == "cityscapes":
            chosen = "none" if extra else neighbours
            return lambda: Cityscapes(root, split, neighbours=chosen, coarse=extra)
        return lambda: (CamVid if dataset == "camvid" else OwnData)(root, split, neighbours=neighbours)

    if coarse and dataset != "cityscapes":
        raise DWNetError(f"--coarse is for cityscapes, found {dataset}")
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
        raise DWNetError(f"{problems} problem(s) in {root}")


def frames(root: Path = Path("data/own"), max_offset: int = 5) -> None:
    """Extract the labelled frames of your own video files, and those around them, as images that training can read.

    Args:
        root: folder of the data.
        max_offset: frames before and after each labelled frame.
    """
    from dwnet.data.own import extract_frames

    written = extract_frames(root, max_offset=max_offset, progress=lambda video, n: print(f"{video}: {n} frames ..."))
    print(f"{sum(written.values())} frames written; {root} is ready")


def camvid_frames(
    video: tyro.conf.Positional[Path],
    /,
    root: Path = Path("data/camvid"),
    max_offset: int = 5,
) -> None:
    """Extract the neighbours of CamVid's labelled frames from a raw CamVid video, for `--data.neighbours video`.

    Args:
        video: one of the raw videos: 01TP_extract.avi, 0006R0.MXF, 0016E5.MXF, 0005VD.MXF.
        root: folder of the data set; frames go to its video_frames/.
        max_offset: raw frames before and after each labelled frame.
    """
    from dwnet.data.camvid_video import extract_neighbours

    done = extract_neighbours(video, root, max_offset=max_offset)
    fit = ""
    if done.still_difference is not None:
        fit = f"; the labelled stills differ from their frames by {done.still_difference:.1f} grey levels"
    print(
        f"{done.sequence}: {done.written} frames written, {done.present} were there, {done.outside} lie outside the "
        f"video{fit} (a few are usual; tens mean another video)"
    )
