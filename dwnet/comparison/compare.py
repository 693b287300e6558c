"""The streaming comparison: a clip in; the methods' labels, times and flips out, frame by frame, in constant memory.

While one frame is segmented, the next ones are decoded in the background. The side-by-side video and the table of
frames are written as they come, in a temporary folder; only a comparison that ends well leaves files behind.
"""

import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from dwnet.comparison.frame import Comparator, ComparedFrame, MethodFrame
from dwnet.comparison.networks import Networks, load_networks
from dwnet.comparison.report import ComparisonFiles, FrameTable, MethodSummary, write_json
from dwnet.core.errors import DWNetError
from dwnet.flow.registry import FLOW_NAMES, flow_function
from dwnet.video import VideoWriter, open_video, prefetch
from dwnet.viz import caption, grid

__all__ = [
    "ComparedFrame",
    "ComparisonFiles",
    "MethodFrame",
    "MethodSummary",
    "Networks",
    "compare",
    "load_networks",
]

PREFETCHED_FRAMES = 8
"""Decoded ahead, at most."""


def compare(
    clip: str | Path,
    networks: Networks,
    *,
    output_dir: str | Path,
    flow: str = "dis",
    flow_weights: str | Path = "published",
    max_side: int = 480,
    every: int = 1,
    limit: int | None = None,
    opacity: float = 0.6,
    clip_name: str | None = None,
    stop: Callable[[], bool] | None = None,
) -> Generator[ComparedFrame, None, None]:
    """Compare the networks on a clip, one yielded frame at a time.

    When the last frame has been yielded and the generator is asked for another, the files of
    `ComparisonFiles.beside(output_dir, clip_name)` are there: the side-by-side MP4, a CSV row per frame and the JSON
    report. A comparison that was stopped (`stop`) after two frames or more keeps the files of the frames it saw, marked
    `stopped_early`: whoever presses Stop has seen enough, but wants what he saw. One that fails, or whose generator is
    closed (the page was left), leaves nothing.

    Args:
        clip: a video file.
        networks: what to compare; several comparisons may share them.
        output_dir: where the files go; made if missing.
        flow: what methods warp by and flips are counted along, one of `dwnet.flow.registry.FLOW_NAMES`; all but dis
            import PyTorch.
        flow_weights: of the flow: "published" or a file.
        max_side: the frames' longer side is reduced to this, in pixels.
        every: takes every n-th frame of the clip.
        limit: at most so many frames are compared; None takes all.
        opacity: of the colours over the frame, 0..1.
        clip_name: the clip's name for people, where the file has another; None takes the file's.
        stop: asked before every frame; True ends the comparison.

    Raises:
        ValueError: an argument out of range, or fewer than two frames to compare (flicker needs two).
        VideoError: the file is no video that can be read.
    """
    settings = {
        "flow": flow,
        "flow_weights": Path(flow_weights).name,
        "max_side": max_side,
        "every": every,
        "limit": limit,
        "opacity": opacity,
    }
    _check_settings(flow=flow, max_side=max_side, every=every, limit=limit, opacity=opacity)
    clip, output_dir = Path(clip), Path(output_dir)
    stop = stop or (lambda: False)
    new_folder = not output_dir.exists()
    output_dir.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".comparison-", dir=output_dir))
    try:
        with ExitStack() as stack:
            reader = stack.enter_context(open_video(clip, max_side=max_side))
            comparison = Comparator(networks, flow_function(flow, weights=flow_weights), opacity)
            written = ComparisonFiles.beside(scratch, Path(clip_name or clip.name))
            table = stack.enter_context(FrameTable(written.csv, tuple(networks.segmenters)))
            # Files that lie about their rate must not make a video that no browser plays.
            fps = min(max(reader.info.fps / every, 0.5), 120.0)
            writer: VideoWriter | None = None
            expected = _expected_frames(reader.info.frames, every, limit)
            frames = stack.enter_context(closing(prefetch(reader, PREFETCHED_FRAMES)))
            stopped = False
            for frame in islice(frames, 0, None if limit is None else (limit - 1) * every + 1, every):
                if stop():
                    stopped = True
                    break
                compared = replace(comparison.step(frame), expected=expected)
                picture = _side_by_side(compared)
                if writer is None:
                    size = (picture.shape[1], picture.shape[0])
                    writer = stack.enter_context(VideoWriter(written.video, fps=fps, size=size))
                writer.write(picture)
                comparison.write_row(table, compared)
                yield compared
        name = clip_name or clip.name
        warning = reader.warning and reader.warning.replace(str(reader.path), name)
        if comparison.compared < 2:
            if stopped:
                return
            raise DWNetError(
                f"{name} has {comparison.compared or 'no'} frame{'' if comparison.compared == 1 else 's'} to compare "
                f"(every: {every}, limit: {limit or 'none'}); "
                f"flicker needs two or more{f'. {warning}' if warning else ''}"
            )
        info = reader.info
        facts = {
            "name": name,
            "width_px": info.source_width,
            "height_px": info.source_height,
            "compared_width_px": info.width,
            "compared_height_px": info.height,
            "fps": info.fps,
            "frames": info.frames,
            "duration_seconds": info.duration_seconds,
            "codec": info.codec,
            "reader": info.reader,
            "warning": warning,
        }
        write_json(written.json, comparison.report(facts, settings, stopped_early=stopped))
        final = ComparisonFiles.beside(output_dir, Path(name))
        for source, target in ((written.video, final.video), (written.csv, final.csv), (written.json, final.json)):
            source.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if new_folder and not any(output_dir.iterdir()):
            output_dir.rmdir()


def _check_settings(*, flow: str, max_side: int, every: int, limit: int | None, opacity: float) -> None:
    if flow not in FLOW_NAMES:
        raise DWNetError(f"unknown flow {flow!r}; allowed: {', '.join(FLOW_NAMES)}")
    if not 64 <= max_side <= 4096:
        raise DWNetError(f"max_side is 64 to 4096 px, found {max_side}")
    if every < 1:
        raise DWNetError(f"every is at least 1 (each frame), found {every}")
    if limit is not None and limit < 2:
        raise DWNetError(f"limit is at least 2 frames (flicker needs two), found {limit}")
    if not 0 <= opacity <= 1:
        raise DWNetError(f"opacity is 0 to 1, found {opacity}")


def _expected_frames(frames: int | None, every: int, limit: int | None) -> int | None:
    if not frames:
        return limit
    expected = -(-frames // every)
    return expected if limit is None else min(expected, limit)


def _side_by_side(frame: ComparedFrame) -> np.ndarray:
    """uint8 (H', W', 3): the input and every method's overlay in two columns, with names and flips."""
    tiles = [caption(frame.image, f"input  {frame.pts_seconds:.2f} s")]
    for method, result in frame.methods.items():
        flips = "" if result.flips_percent is None else f"  {result.flips_percent:.2f} % flipped"
        tiles.append(caption(result.overlay, method.replace("_", " ") + flips))
    return grid(tiles, columns=2)
