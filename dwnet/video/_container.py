"""Opens video files with PyAV: file checks, choice of the stream, errors and header facts."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dwnet.video._orientation import Orientation
from dwnet.video._types import READABLE, DecoderError, VideoError, one_line

_GOP_PACKETS = 1500
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"<?xml")


def check_file(path: Path, allowed: str = READABLE) -> None:
    """Raises VideoError for a path that is not a file, an empty file, a playlist or a text file."""
    if not path.exists():
        raise VideoError(f"{path}: there is no such file; allowed is {allowed}")
    if not path.is_file():
        raise VideoError(f"{path}: is neither a file nor a folder; allowed is {allowed}")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise VideoError(f"{path}: an empty file (0 bytes); allowed is {allowed}")
    # FFmpeg would open the files and addresses that a playlist names.
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(_PLAYLISTS):
        raise VideoError(f"{path}: is a playlist or a text, not a video; allowed is {allowed}")


@contextmanager
def open_container(path: Path, allowed: str = READABLE) -> Iterator[tuple[Any, Any]]:
    """Yields the PyAV container of a video file and its first video stream that is not a cover image.

    Args:
        path: the file.
        allowed: description of allowed files, for error messages.

    Raises:
        VideoError: for a file that is not a video, has no video stream, or needs a decoder that FFmpeg does not have.
            FFmpeg's errors inside the context are raised unchanged.
    """
    import av

    check_file(path, allowed)
    try:
        # In a relative path FFmpeg could read a name with a colon as a protocol. Metadata errors are ignored, because
        # cameras write metadata in any encoding.
        container = av.open(str(path.resolve()), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path}: is not a video, or is damaged ({path.stat().st_size} bytes, {one_line(error)}); "
            f"allowed is {allowed}"
        ) from error
    with container:
        # FFmpeg decodes text files as pictures of text.
        if container.format.name == "tty":
            raise VideoError(f"{path}: is a text file; allowed is {allowed}")
        cover = av.stream.Disposition.attached_pic
        stream = next((one for one in container.streams.video if not one.disposition & cover), None)
        if stream is None:
            found = ["a cover image" if one.type == "video" else one.type for one in container.streams]
            only = f"has {' and '.join(sorted(set(found)))} only" if found else "has no streams"
            raise VideoError(f"{path}: {only}, and no video; allowed is {allowed}")
        if stream.codec_context is None:
            raise VideoError(f"{path}: coded in a way that FFmpeg has no decoder for; allowed is {allowed}")
        yield container, stream


@dataclass(frozen=True)
class Header:
    """Facts of a video file that PyAV finds without decoding all frames."""

    format_name: str
    """FFmpeg's name of the container format."""
    codec: str
    fps: float
    frames: int | None
    """Number of frames within the duration; None if unknown."""
    counted_frames: int
    """Number of frames in the header, which may be damaged; 0 if the header has no number."""
    duration_seconds: float | None
    open_gop: bool
    """Whether frames shown before a key frame are stored after it (common in HEVC). They need the previous GOP."""
    orientation: Orientation | None
    """Orientation of the first frame; None if that frame cannot be decoded."""


def frames_per_second(stream: Any) -> float:
    """Returns a stream's average frame rate; 25 if it has none."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def read_header(path: Path) -> Header | None:
    """Returns the facts of a video file; None if PyAV is not installed.

    Raises:
        VideoError: as in `open_container`, or for a display matrix with other than quarter turns and mirrorings.
    """
    try:
        import av
    except ImportError:
        return None
    try:
        with open_container(path) as (container, stream):
            fps = frames_per_second(stream)
            if stream.duration is not None and stream.time_base is not None:
                duration: float | None = float(stream.duration * stream.time_base)
            else:
                duration = container.duration / 1e6 if container.duration else None
            # The smaller number is used, because an edit list hides frames that the header counts.
            counts = [stream.frames or None, round(duration * fps) if duration else None]
            return Header(
                format_name=container.format.name,
                codec=stream.codec_context.codec.canonical_name,
                fps=fps,
                frames=min((count for count in counts if count), default=None),
                counted_frames=stream.frames,
                duration_seconds=duration,
                open_gop=_has_open_gop(container, stream),
                orientation=_first_orientation(path),
            )
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path}: is not a video, or is damaged ({path.stat().st_size} bytes, {one_line(error)}); "
            f"allowed is {READABLE}"
        ) from error


def _has_open_gop(container: Any, stream: Any) -> bool:
    """Returns whether the first packets have an open GOP. An encoder uses one GOP structure for the whole clip."""
    import av

    key_pts: int | None = None
    try:
        for packet in itertools.islice(container.demux(stream), _GOP_PACKETS):
            if packet.pts is None:
                continue
            if packet.is_keyframe:
                key_pts = packet.pts
            elif key_pts is not None and packet.pts < key_pts:
                return True
    except (av.error.FFmpegError, OSError):
        # The decoder reports damage later.
        return False
    return False


def _first_orientation(path: Path) -> Orientation | None:
    """Returns the orientation of the decoded first frame. Some codecs store it in frames, not in the container."""
    import av

    try:
        with open_container(path) as (container, stream):
            for frame in container.decode(stream):
                return Orientation.of_frame(frame)
    except (av.error.FFmpegError, OSError):
        return None
    except DecoderError as error:
        raise VideoError(f"{path}: {error}") from error
    return None
