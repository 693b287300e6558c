"""Opening a video file with PyAV: one check of the file, one choice of the stream, one set of errors."""

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
    """Raises VideoError for a path that is no file, an empty file, a playlist or a text."""
    if not path.exists():
        raise VideoError(f"{path}: there is no such file; allowed is {allowed}")
    if not path.is_file():
        raise VideoError(f"{path}: is neither a file nor a folder; allowed is {allowed}")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise VideoError(f"{path}: an empty file (0 bytes); allowed is {allowed}")
    # A playlist would make FFmpeg open other files, or addresses, that it names.
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(_PLAYLISTS):
        raise VideoError(f"{path}: is a playlist or a text, not a video; allowed is {allowed}")


@contextmanager
def open_container(path: Path, allowed: str = READABLE) -> Iterator[tuple[Any, Any]]:
    """Yields the PyAV container of a video file and its first stream of pictures that is not a cover.

    Args:
        path: the file.
        allowed: what error messages call allowed.

    Raises:
        VideoError: for a file that is no video, has no video stream, or needs a decoder that FFmpeg does not have.
            FFmpeg's errors after that pass unchanged.
    """
    import av

    check_file(path, allowed)
    try:
        # An absolute path, so that FFmpeg does not take a colon in a name for a protocol. Metadata is ignored:
        # cameras write names in any encoding.
        container = av.open(str(path.resolve()), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path}: is not a video, or is damaged ({path.stat().st_size} bytes, {one_line(error)}); "
            f"allowed is {allowed}"
        ) from error
    with container:
        # FFmpeg shows text files as pictures of text.
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
    """What PyAV finds in a video file before the frames are read."""

    format_name: str
    """FFmpeg's name of the container format."""
    codec: str
    fps: float
    frames: int | None
    """Within its duration; None if the file does not say."""
    counted_frames: int
    """As the header says, however damaged it is; 0 if it says nothing."""
    duration_seconds: float | None
    open_gop: bool
    """Whether frames shown before a key frame are stored after it (common in HEVC): they need the GOP before."""
    orientation: Orientation | None
    """Of the first frame; None if that frame cannot be decoded."""


def frames_per_second(stream: Any) -> float:
    """Returns a stream's average rate; 25 if it has none."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def read_header(path: Path) -> Header | None:
    """Returns the facts of a video file; None if PyAV is not installed.

    Raises:
        VideoError: as `open_container`, or for a display matrix that is not made of quarter turns and mirrorings.
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
            # The smaller of the two: an edit list hides frames that the header counts.
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
    """Looks through the first packets without decoding; an encoder does not change its ways within a clip."""
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
        # Damage further on is reported by whoever decodes it.
        return False
    return False


def _first_orientation(path: Path) -> Orientation | None:
    """Decodes the first frame: some codecs store the matrix in the frames, not in the container."""
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
