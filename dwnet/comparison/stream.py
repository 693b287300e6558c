"""The streaming comparison. It yields labels, times and flips of every method frame by frame, in constant memory.

Decoding, motion, networks, counting and writing are stages that run at the same time, each in its own thread and at
most a few frames ahead of the next one. Files remain only if the comparison ends without an error.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from dwnet.comparison.behind import WriteBehind
from dwnet.comparison.comparator import Comparator
from dwnet.comparison.files import ComparisonWriter
from dwnet.comparison.frame import ComparedFrame, LabelledFrame
from dwnet.comparison.networks import Networks
from dwnet.comparison.player import ComparisonPlayer
from dwnet.comparison.report import report
from dwnet.comparison.settings import ComparisonSettings
from dwnet.core.errors import DWNetError
from dwnet.core.opencv_threads import one_opencv_thread
from dwnet.flow.registry import flow_function
from dwnet.video import VideoFrame, VideoReader, open_video, prefetch
from dwnet.viewer import DEFAULT_MB

PREFETCHED_FRAMES = 8
"""Largest number of frames that are decoded ahead."""
STAGE_FRAMES = 1
"""Largest number of finished frames that wait between two of the later stages."""
WRITTEN_BEHIND = 2
"""Largest number of frames that wait for being written."""

T = TypeVar("T")
U = TypeVar("U")


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
    player_mb: int = DEFAULT_MB,
    worst: int = 10,
    video: bool = False,
    refined_flow: bool = False,
    overlap: bool = True,
    clip_name: str | None = None,
    stop: Callable[[], bool] | None = None,
) -> Generator[ComparedFrame, None, None]:
    """Compares the networks on a clip and yields one compared frame at a time.

    The files of `ComparisonFiles.beside(output_dir, clip_name)` exist when the generator has ended: the HTML page with
    the player, the CSV with a row per frame, the JSON report, the relabelling folder, and, if asked for, the
    side-by-side MP4.
    If `stop` ends the comparison after two or more frames, the files contain these frames and the report has
    `stopped_early`. If it ends the comparison earlier, if the comparison fails, or if the generator is closed, no files
    remain.

    Args:
        clip: a video file, or a folder of images.
        networks: the networks; several comparisons may share them.
        output_dir: folder of the files; created if missing.
        flow: flow for the methods that warp and for counting flips: one of `dwnet.flow.FLOW_NAMES`.
        flow_weights: weights of the flow: "published" or a file.
        max_side: longer side of the reduced frames, 64..4096 px.
        every: every n-th frame of the clip is compared; n is at least 1.
        limit: largest number of frames to compare, at least 2; None compares all.
        opacity: opacity of the class colours over the frame, 0..1.
        player_mb: largest size of the frames that the player stores, in MB; a longer clip is stored at a lower rate,
            except for the frames around the worst moments. 0 writes no player.
        worst: number of worst frames in the relabelling folder, 0..999; 0 writes no folder.
        video: whether the side-by-side MP4 is written.
        refined_flow: whether the player has the refined flow, if there is a network that refines it. No method and no
            number uses it.
        overlap: whether the stages run at the same time. Labels and flips do not depend on it. Without it, the
            comparison is slower, and no other stage disturbs the times of the methods.
        clip_name: name of the clip in files and messages; None uses the name of the file.
        stop: called before every frame; returning True ends the comparison.

    Raises:
        DWNetError: for an argument out of range, or fewer than two frames to compare (flicker needs two).
        VideoError: if the clip cannot be read.
    """
    if not isinstance(networks, Networks):
        raise DWNetError(
            f"networks is {type(networks).__name__}; allowed is what `dwnet.load_networks(folder)` returns"
        )
    settings = ComparisonSettings(
        flow=flow,
        flow_weights=flow_weights,
        max_side=max_side,
        every=every,
        limit=limit,
        opacity=opacity,
        player_mb=player_mb,
        worst=worst,
        video=video,
        refined_flow=refined_flow,
        overlap=overlap,
    )
    clip = Path(clip)
    return _frames(clip, clip_name or clip.name, networks, Path(output_dir), settings, stop or (lambda: False))


def _frames(
    clip: Path,
    name: str,
    networks: Networks,
    output_dir: Path,
    settings: ComparisonSettings,
    stop: Callable[[], bool],
) -> Generator[ComparedFrame, None, None]:
    with ExitStack() as stack:
        if settings.overlap:
            stack.enter_context(one_opencv_thread())
        reader = stack.enter_context(open_video(clip, max_side=settings.max_side))
        comparison = Comparator(
            networks,
            flow_function(settings.flow, weights=settings.flow_weights),
            opacity=settings.opacity,
            expected=settings.expected_frames(reader.info.frames),
        )
        writer = stack.enter_context(_writer(output_dir, name, networks, settings.video_fps(reader.info.fps), settings))
        write = stack.enter_context(WriteBehind(writer.write, WRITTEN_BEHIND))
        frames = stack.enter_context(closing(_labelled(reader, comparison, settings)))
        stopped = False
        for frame in frames:
            if stop():
                stopped = True
                break
            compared = comparison.count(frame)
            write(compared)
            if not settings.overlap:
                write.finish()
            yield compared
        frames.close()
        write.finish()
        facts = _clip_facts(reader, name)
        if comparison.compared >= 2:
            writer.publish(report(facts, settings.as_json(), comparison.outcome(), stopped_early=stopped))
        elif not stopped:
            raise _too_short(name, comparison.compared, settings, facts["warning"])


def _labelled(
    reader: VideoReader, comparison: Comparator, settings: ComparisonSettings
) -> Generator[LabelledFrame, None, None]:
    """Returns the frames with the labels of every method. With `overlap` each stage runs ahead in a thread."""
    chosen = _chosen(reader, settings)
    if not settings.overlap:
        return _each(comparison.label, _each(comparison.move, chosen))
    moved = _each(comparison.move, prefetch(chosen, PREFETCHED_FRAMES))
    return prefetch(_each(comparison.label, prefetch(moved, STAGE_FRAMES)), STAGE_FRAMES)


def _chosen(reader: VideoReader, settings: ComparisonSettings) -> Generator[VideoFrame, None, None]:
    """Yields the frames to compare. The decoder does not read beyond the last one."""
    with ExitStack() as stack:
        frames = iter(reader)
        stack.callback(getattr(frames, "close", lambda: None))
        yield from islice(frames, 0, settings.stop_index(), settings.every)


def _each(function: Callable[[T], U], items: Iterable[T]) -> Generator[U, None, None]:
    """Like `map`; closing it also closes `items`, in the same thread."""
    with ExitStack() as stack:
        stack.callback(getattr(items, "close", lambda: None))
        for item in items:
            yield function(item)


def _writer(
    output_dir: Path, name: str, networks: Networks, fps: float, settings: ComparisonSettings
) -> ComparisonWriter:
    """Returns the writer of the files that the settings ask for."""
    methods = tuple(networks.segmenters)

    def player(scratch: Path) -> ComparisonPlayer:
        return ComparisonPlayer(
            scratch,
            methods,
            networks.classes,
            networks.palette,
            budget_mb=settings.player_mb or DEFAULT_MB,
            worst=settings.worst,
            refined_flow=settings.refined_flow,
        )

    page, worst = settings.player_mb > 0, settings.worst > 0
    return ComparisonWriter(
        output_dir,
        name,
        methods,
        fps,
        player=player if page or worst else None,
        page=page,
        worst=worst,
        video=settings.video,
    )


def _clip_facts(reader: VideoReader, name: str) -> dict[str, Any]:
    info = reader.info
    return {
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
        "warning": reader.warning and reader.warning.replace(str(reader.path), name),
    }


def _too_short(name: str, compared: int, settings: ComparisonSettings, warning: str | None) -> DWNetError:
    frames = f"{compared or 'no'} frame{'' if compared == 1 else 's'}"
    return DWNetError(
        f"{name} has {frames} to compare (every: {settings.every}, limit: {settings.limit or 'none'}); "
        f"flicker needs two or more{f'. {warning}' if warning else ''}"
    )
