"""`dwnet data`: checks data sets, and extracts the frames that training needs from videos."""

from functools import partial
from pathlib import Path

import tyro
from PIL import Image

from dwnet.cli.options import limit_clips, print_warning
from dwnet.core.data_kinds import CheckedNeighbours, OnDiskKind, Split
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write
from dwnet.core.progress import Progress


def check_files(
    dataset: OnDiskKind,
    root: Path | None = None,
    splits: tuple[Split, ...] = ("train", "val"),
    neighbours: CheckedNeighbours = "none",
    coarse: bool = False,
    output: Path = Path("data-check"),
) -> None:
    """Check every file of a data set before training. Every missing or inconsistent file is reported.

    Also prints the pixels of each class, and writes a picture of three frames with their labels for each split. Classes
    without a pixel, masks of 0 and 255 whose 255 is ignored, and positions where ids belong are named.

    Args:
        dataset: which data set.
        root: folder of the data set; default: data/DATASET.
        splits: parts of the data set to check.
        neighbours: kind of neighbour frames for training; video and mixed need real neighbouring frames.
        coarse: also check the coarsely labelled frames of train_extra; cityscapes only.
        output: folder for the pictures, SPLIT.png.
    """
    root = Path("data", dataset) if root is None else root
    from dwnet.data import open_data
    from dwnet.data.check import check, describe, picture

    if coarse and dataset != "cityscapes":
        raise DWNetError(f"--coarse is for cityscapes, found {dataset}")
    parts = {str(split): partial(open_data, dataset, root, split, neighbours=neighbours) for split in splits}
    if coarse:
        parts["train_extra"] = partial(open_data, dataset, root, "train", coarse=True)
    problems = 0
    for name, open_split in parts.items():
        progress = Progress(name)
        result = check(open_split, progress)
        progress.close()
        problems += len(result.problems)
        print("\n".join([*result.problems, describe(name, result)]), end="\n\n")
        shown = picture(result)
        if shown is not None:
            with atomic_write(output / f"{name}.png") as temporary:
                Image.fromarray(shown).save(temporary)
            print(f"{output / name}.png: frames with their labels\n")
    if problems:
        raise DWNetError(f"{problems} problem(s) in {root}")


def frames(
    root: Path = Path("data/own"),
    max_offset: int = 5,
    max_pixels: int | None = None,
    max_memory_mb: int | None = None,
) -> None:
    """Extract the labelled frames of your own video files, and the frames around them, as images for training.

    Args:
        root: folder of the data.
        max_offset: number of frames before and after each labelled frame.
        max_pixels: largest number of pixels of a frame of a clip; default: 40 million, which allows 8192 x 4320.
        max_memory_mb: largest memory in MiB for decoding a clip, estimated from its header; default: 4096.
    """
    from dwnet.data.own import extract_frames

    limit_clips(max_pixels, max_memory_mb)
    written = extract_frames(
        root,
        max_offset=max_offset,
        progress=lambda video, n: print(f"{video}: {n} frames ..."),
        warn=print_warning,
    )
    print(f"{sum(written.values())} frames written; {root} is ready")


def camvid_frames(
    video: tyro.conf.Positional[Path],
    /,
    root: Path = Path("data/camvid"),
    max_offset: int = 5,
    max_pixels: int | None = None,
    max_memory_mb: int | None = None,
) -> None:
    """Extract the neighbours of CamVid's labelled frames from a raw CamVid video, for `--data.neighbours video`.

    Args:
        video: one of the raw videos: 01TP_extract.avi, 0006R0.MXF, 0016E5.MXF, 0005VD.MXF.
        root: folder of the data set; frames are written to its video_frames/.
        max_offset: number of raw frames before and after each labelled frame.
        max_pixels: largest number of pixels of a frame of a clip; default: 40 million, which allows 8192 x 4320.
        max_memory_mb: largest memory in MiB for decoding a clip, estimated from its header; default: 4096.
    """
    from dwnet.data.camvid_video import extract_neighbours

    limit_clips(max_pixels, max_memory_mb)
    done = extract_neighbours(video, root, max_offset=max_offset)
    print_warning(done.warning)
    fit = ""
    if done.still_difference is not None:
        fit = (
            f"; the labelled stills differ from their frames by {done.still_difference:.1f} grey levels "
            "(a few are usual; tens mean that the video is not the right one)"
        )
    print(
        f"{done.sequence}: {done.written} frames written, {done.present} were present, {done.outside} lie outside "
        f"the video{fit}"
    )
