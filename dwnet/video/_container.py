"""Opens video files with PyAV: file checks, limits, choice of the stream, errors and header facts."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dwnet.video._ffmpeg_log import ffmpeg_errors
from dwnet.video._limits import ClipLimits
from dwnet.video._types import READABLE, VideoError, one_line

_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"<?xml")
_TEXTS = {"tty", "bin", "xbin", "adf", "idf", "concat", "hls", "dash", "sdp", "imf", "webm_dash_manifest"}
"""Formats that are not videos: FFmpeg decodes texts as pictures of text, and opens the files that a list names."""
_DEFAULT_STREAM_PIXELS = 5_000_000
"""FFmpeg's command line prefers a default stream to any stream with fewer than this many more pixels."""
_SYNC_BYTE = 0x47
_TAIL_PACKETS = 1000
_TOO_MANY_PIXELS = re.compile(r"Picture size ([1-9]\d*)x([1-9]\d*) (?:exceeds specified max pixel count|is invalid)")


def check_file(path: Path, allowed: str = READABLE) -> None:
    """Raises VideoError for a path that is not a file, an empty file, a playlist or a text file."""
    if not path.exists():
        raise VideoError(f"{path}: there is no such file; allowed is {allowed}")
    if not path.is_file():
        raise VideoError(f"{path}: is neither a file nor a folder; allowed is {allowed}")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({error.strerror}); allowed is {allowed}") from error
    if not head:
        raise VideoError(f"{path}: an empty file (0 bytes); allowed is {allowed}")
    # FFmpeg would open the files and addresses that a playlist names.
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(_PLAYLISTS):
        raise VideoError(f"{path}: is a playlist or a text, not a video; allowed is {allowed}")


@contextmanager
def open_container(
    path: Path, limits: ClipLimits, allowed: str = READABLE, messages: list[str] | None = None
) -> Iterator[tuple[Any, Any]]:
    """Yields the PyAV container of a video file and the video stream that FFmpeg's command line would take.

    Args:
        path: the file.
        limits: checked for that stream before anything is decoded.
        allowed: description of allowed files, for error messages.
        messages: FFmpeg's error messages while opening are appended to it.

    Raises:
        VideoError: for a file that is not a video, has no video stream, needs a decoder that FFmpeg does not have, or
            has frames with too many pixels. FFmpeg's errors inside the context are raised unchanged.
    """
    check_file(path, allowed)
    # FFmpeg's limit is for frames with padding. It also applies where FFmpeg decodes frames to find out about a stream.
    options = {"max_pixels": str(min(2 * limits.max_pixels, 2**31 - 1)), "pattern_type": "none"}
    messages = [] if messages is None else messages
    with _source(path) as source, _opened(path, source, options, messages, limits, allowed) as container:
        if container.format.name in _TEXTS:
            raise VideoError(f"{path}: is a text file; allowed is {allowed}")
        stream = _best_stream(container)
        if stream is None:
            found = ["a cover image" if one.type == "video" else one.type for one in container.streams]
            only = f"has {' and '.join(sorted(set(found)))} only" if found else "has no streams"
            raise VideoError(f"{path}: {only}, and no video; allowed is {allowed}")
        context = stream.codec_context
        if context is None:
            raise VideoError(f"{path}: coded in a way that FFmpeg has no decoder for; allowed is {allowed}")
        if not context.width or not context.height:
            _refuse_huge(path, messages, limits)
        limits.check_pixels(path, context.width, context.height)
        context.options = {"max_pixels": options["max_pixels"]}
        # With one thread, all messages of the decoder come from this thread (`ffmpeg_errors`).
        context.thread_count = 1
        yield container, stream


def _opened(
    path: Path, source: Any, options: dict[str, str], messages: list[str], limits: ClipLimits, allowed: str
) -> Any:
    """Returns the open PyAV container. Raises VideoError for a file that FFmpeg cannot open."""
    import av

    try:
        # Metadata errors are ignored, because cameras write metadata in any encoding.
        with ffmpeg_errors(messages):
            return av.open(source, metadata_errors="ignore", options=options)
    except (av.error.FFmpegError, OSError, UnicodeError, ValueError) as error:
        _refuse_huge(path, messages, limits)
        raise VideoError(
            f"{path}: is not a video, or is damaged ({path.stat().st_size} bytes, {one_line(error)}); "
            f"allowed is {allowed}"
        ) from error


@contextmanager
def _source(path: Path) -> Iterator[Any]:
    """Yields what PyAV opens: the absolute path, or the open file if FFmpeg takes the name for a pattern of names.

    In a relative path FFmpeg could read a name with a colon as a protocol.
    """
    if "%" not in path.name:
        yield str(path.resolve())
        return
    # The name of such a file object is a number.
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as file:
        yield file


def _refuse_huge(path: Path, messages: list[str], limits: ClipLimits) -> None:
    """Raises VideoError if FFmpeg says that frames are too large."""
    for message in messages:
        if size := _TOO_MANY_PIXELS.search(message):
            limits.check_pixels(path, int(size[1]), int(size[2]))


def _best_stream(container: Any) -> Any:
    """Returns the video stream with the most pixels; a default stream counts more. None if there are covers only."""
    import av

    flags = av.stream.Disposition

    def score(stream: Any) -> int:
        context = stream.codec_context
        pixels = context.width * context.height if context is not None else 0
        return pixels + _DEFAULT_STREAM_PIXELS * bool(stream.disposition & flags.default)

    streams = [one for one in container.streams.video if not one.disposition & flags.attached_pic]
    return max(streams, key=score, default=None)


@dataclass(frozen=True)
class Header:
    """Facts of a video file that PyAV finds without decoding all frames."""

    format_name: str
    """FFmpeg's name of the container format."""
    codec: str
    fps: float
    frames: int | None
    """Number of frames within the duration; None if unknown."""
    duration_seconds: float | None
    pixel_bits: int
    """Bits per pixel of decoded frames."""
    intra: bool
    """Whether the codec has key frames only."""


def frames_per_second(stream: Any) -> float:
    """Returns a stream's average frame rate; 25 if it has none."""
    for rate in (stream.average_rate, stream.guessed_rate):
        # A damaged or very short file can have a rate of tens of thousands.
        if rate and 0 < rate <= 1000:
            return float(rate)
    return 25.0


def header_of(container: Any, stream: Any) -> Header:
    """Returns the facts of an open file."""
    fps = frames_per_second(stream)
    duration = stream_seconds(stream)
    if duration is None and container.duration:
        duration = container.duration / 1e6
    # The smaller number is used, because an edit list hides frames that the header counts.
    counts = [stream.frames or None, round(duration * fps) if duration else None]
    shown = index_length(container, stream)
    if container.format.name == "avi" and duration and 0 < shown < stream.frames:
        # AVI has a fixed rate. Slower clips repeat pictures with empty packets, which give no frames.
        fps, counts = shown / duration, [shown]
    pixels = stream.codec_context.format if stream.codec_context.pix_fmt else None
    return Header(
        format_name=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        fps=fps,
        frames=min((count for count in counts if count), default=None),
        duration_seconds=duration,
        pixel_bits=pixels.padded_bits_per_pixel if pixels is not None else 32,
        intra=stream.codec_context.codec.intra_only,
    )


def stream_seconds(stream: Any) -> float | None:
    """Returns the duration of a stream; None if unknown."""
    if stream.duration is None or stream.time_base is None:
        return None
    return float(stream.duration * stream.time_base)


def promised_seconds(container: Any, stream: Any) -> float | None:
    """Returns the duration that the header promises; None if it promises none.

    FFmpeg estimates the duration of formats without one from the file's size or from its last times. Such an estimate
    promises nothing.
    """
    if container.format.name == "avi":  # without its index, FFmpeg estimates the duration from the file's size
        return float(stream.frames * stream.time_base) if stream.frames else None
    if container.format.name in ("matroska,webm", "flv", "asf", "ivf", "mov,mp4,m4a,3gp,3g2,mj2", "mxf"):
        return container.duration / 1e6 if container.duration else None
    return None


def index_length(container: Any, stream: Any) -> int:
    """Returns the number of packets in the index that an MP4, MOV or AVI file has for the whole file; 0 without one.

    AVI repeats a picture with an empty packet, which is not counted.
    """
    if container.format.name not in ("mov,mp4,m4a,3gp,3g2,mj2", "avi"):
        return 0
    return sum(1 for entry in stream.index_entries if entry.size)


def frame_per_packet(container: Any, stream: Any) -> bool:
    """Returns whether every packet of the stream holds exactly one frame that is shown.

    Other codecs have hidden frames, packets without a picture, or packets of one field.
    """
    if stream.codec_context.codec.intra_only:
        return True
    framed = container.format.name in ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv")
    return framed and stream.codec_context.codec.canonical_name in ("h264", "hevc")


def ending_problem(path: Path, format_name: str, stream_id: int) -> str:
    """Returns what is wrong with the end of a file whose format shows it; empty if nothing is.

    Args:
        path: the file.
        format_name: FFmpeg's name of the container format.
        stream_id: the stream's number in the container, in MPEG-TS its packet identifier.
    """
    if format_name == "gif":
        with path.open("rb") as file:
            file.seek(-1, 2)
            return "" if file.read(1) == b";" else "the file ends without the end mark of a GIF"
    if format_name == "mpegts":
        return _transport_ending(path, stream_id)
    return ""


def _transport_ending(path: Path, stream_id: int) -> str:
    """Returns what is wrong with the end of an MPEG-TS file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1024)
        for length, offset in ((188, 0), (192, 4), (204, 0)):
            marks = head[offset::length]
            if len(marks) > 2 and set(marks) == {_SYNC_BYTE}:
                break
        else:
            return ""
        if size % length:
            return "the file ends inside a transport packet"
        start = max(size - _TAIL_PACKETS * length, 0)
        file.seek(start)
        tail = file.read()
    packets = [tail[place + offset : place + offset + 188] for place in range(0, len(tail), length)]
    own = [packet for packet in packets if (packet[1] & 0x1F) << 8 | packet[2] == stream_id]
    # Stuffing fills the last packet of a frame. It is missing if the file ends before, or in 1 of 184 cases by chance.
    has_stuffing = not own or own[-1][3] & 0x20
    return "" if has_stuffing else "the last frame is probably cut off"


def lost_start(path: Path, limits: ClipLimits, first_seconds: float) -> bool:
    """Returns whether the index of a Matroska file has a key frame before the first frame that FFmpeg finds.

    FFmpeg looks for the first key frame without a message if that frame's mark is damaged.
    """
    import av

    with open_container(path, limits) as (container, stream):
        try:
            container.seek(0, stream=stream)  # reads the index
        except (av.error.FFmpegError, OSError):
            return False
        first = next((entry.timestamp for entry in stream.index_entries), None)
        return first is not None and float(first * stream.time_base) < first_seconds - 1e-3
