"""The streaming comparison. It yields labels, times and flips of every method frame by frame, in constant memory.

A background thread decodes frames while another frame is segmented. The side-by-side video and the table are written
during the comparison. Files remain only if the comparison ends without an error.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from dwnet.comparison.files import ComparisonWriter
from dwnet.comparison.frame import Comparator, ComparedFrame
from dwnet.comparison.networks import Networks
from dwnet.comparison.player import ComparisonPlayer
from dwnet.comparison.report import report
from dwnet.comparison.settings import ComparisonSettings
from dwnet.core.errors import DWNetError
from dwnet.flow.registry import flow_function
from dwnet.video import VideoReader, open_video, prefetch
from dwnet.viewer import DEFAULT_MB

PREFETCHED_FRAMES = 8
"""Largest number of frames that are decoded ahead."""


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
    clip_name: str | None = None,
    stop: Callable[[], bool] | None = None,
) -> Generator[ComparedFrame, None, None]:
    """Compares the networks on a clip and yields one compared frame at a time.

    The files of `ComparisonFiles.beside(output_dir, clip_name)` exist when the generator has ended: the HTML page with
    the player, the side-by-side MP4, the CSV with a row per frame, the JSON report, and the relabelling folder.
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
    settings = ComparisonSettings(flow, flow_weights, max_side, every, limit, opacity, player_mb, worst)
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
    with open_video(clip, max_side=settings.max_side) as reader:
        comparison = Comparator(
            networks,
            flow_function(settings.flow, weights=settings.flow_weights),
            opacity=settings.opacity,
            expected=settings.expected_frames(reader.info.frames),
        )
        fps = settings.video_fps(reader.info.fps)
        with _writer(output_dir, name, networks, fps, settings) as writer:
            stopped = False
            with closing(prefetch(reader, PREFETCHED_FRAMES)) as frames:
                for frame in islice(frames, 0, settings.stop_index(), settings.every):
                    if stop():
                        stopped = True
                        break
                    compared = comparison.step(frame)
                    writer.write(compared)
                    yield compared
            facts = _clip_facts(reader, name)
            if comparison.compared >= 2:
                writer.publish(report(facts, settings.as_json(), comparison.outcome(), stopped_early=stopped))
            elif not stopped:
                raise _too_short(name, comparison.compared, settings, facts["warning"])


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
        )

    page, worst = settings.player_mb > 0, settings.worst > 0
    return ComparisonWriter(
        output_dir, name, methods, fps, player=player if page or worst else None, page=page, worst=worst
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
