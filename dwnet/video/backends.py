"""The decoders behind `dwnet.video`: decord, PyAV, and folders of images. Users import from `dwnet.video`.

A backend is two functions: `probe_*` opens the clip, decodes its first frame and says what it is; `read_*` yields its
frames. Both open a decoder of their own and use it in the calling thread only: a decord reader used by two threads at
once aborts the process.
"""

import contextlib
import itertools
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.core.files import IMAGE_SUFFIXES, natural_order

MIN_SIDE_PX = 32
"""Smallest height or width that is read: no network here can use less, and decoders pad it wrongly."""
READABLE = "a video that FFmpeg decodes (MP4, MOV, MKV, WebM, AVI, GIF, ...) or a folder of images"

# FFmpeg's names of the formats in which decord delivers the same frames and times as FFmpeg itself. Elsewhere it was
# seen to lose frames (AVI, MPEG-PS), their times (AVI), or to mix them up (MPEG-TS).
_DECORD_FORMATS = {"mp4", "matroska", "flv"}
_GOP_PACKETS = 1500
_FIRST_CHUNK_FRAMES = 16
_CHUNK_BYTES = 64 * 2**20
_CHUNK_FRAMES = 256
_LEAST_FRAME_BYTES = 16
"""A header that counts more frames than could lie in the file is damaged; decord would reserve memory for them all, and
abort the process where there is none."""


class VideoError(DWNetError):
    """A clip that cannot be read or written; the message names the file, what was found, and what is allowed."""


class DecoderError(Exception):
    """This backend cannot read the clip; another may."""


@dataclass(frozen=True)
class VideoInfo:
    """What a clip is, as its frames will be delivered."""

    width: int
    """In pixels, after rotation and `max_side`."""
    height: int
    """In pixels, after rotation and `max_side`."""
    fps: float
    """Average frames per second."""
    frames: int | None
    """How many frames the file says it has: an estimate, None if it says nothing."""
    duration_seconds: float | None
    """None if unknown."""
    reader: Literal["decord", "pyav", "images"]
    """Which backend reads it."""
    codec: str | None
    """For example ``h264``; None if unknown."""
    source_width: int
    """In pixels, after rotation, before `max_side`."""
    source_height: int
    """In pixels, after rotation, before `max_side`."""


@dataclass(frozen=True)
class VideoFrame:
    """One frame of a clip."""

    index: int
    """0, 1, 2, ... in the order of display."""
    pts_seconds: float
    """When it is shown, in seconds since the first frame."""
    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""


def target_size(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """(width, height) with the longer side reduced to `max_side`, aspect kept; never enlarged."""
    longest = max(width, height)
    if max_side is None or longest <= max_side:
        return width, height
    return tuple(max(round(side * max_side / longest), 2) for side in (width, height))  # type: ignore[return-value]


def check_side(path: Path, width: int, height: int) -> None:
    """Raises VideoError if a frame is too small to use."""
    if min(width, height) < MIN_SIDE_PX:
        raise VideoError(f"{path}: frames are {width}x{height} pixels; allowed are sides of at least {MIN_SIDE_PX}")


# ------------------------------------------------------------------------------------------------------------ decord


def _open_decord(path: Path, size: tuple[int, int] | None) -> tuple[Any, NDArray[np.float64]]:
    """A decord reader that resizes to `size` = (width, height), and when each of its frames is shown, in seconds."""
    try:
        import decord
    except (ImportError, OSError) as error:
        raise DecoderError(f"decord is not installed: {error}") from error
    decord.logging.set_level(decord.logging.QUIET)
    width, height = size or (-1, -1)
    try:
        # decord takes text only.
        video = decord.VideoReader(str(path), num_threads=1, width=width, height=height)
        starts_seconds = video.get_frame_timestamp(range(len(video)))[:, 0].astype(np.float64)
    except (RuntimeError, decord.DECORDError, IndexError) as error:
        raise DecoderError(_one_line(error)) from error
    if not len(video):
        raise DecoderError("decord finds no frame")
    if starts_seconds.min() < 0:
        # Frames before time 0, which players never show; after them decord delivers wrong frames for some indices.
        raise DecoderError("the clip has an edit list, which decord does not follow")
    return video, starts_seconds


def probe_decord(path: Path, max_side: int | None, header: "Container | None") -> VideoInfo:
    """Raises DecoderError if decord cannot read the clip well: other formats, padded frames, or too long a GOP."""
    if header is not None and not _DECORD_FORMATS & set(header.format_name.split(",")):
        raise DecoderError(f"decord is not exact in {header.format_name}")
    if header is not None and header.open_gop:
        raise DecoderError("decord delivers wrong frames after a seek into an open GOP")
    if header is not None and header.counted_frames * _LEAST_FRAME_BYTES > path.stat().st_size:
        raise DecoderError(f"the header counts {header.counted_frames} frames, more than the file can hold")
    video, starts_seconds = _open_decord(path, None)
    height, width = _decord_frames(video, [0]).shape[1:3]
    check_side(path, width, height)
    size = target_size(width, height, max_side)
    if size != (width, height):
        video, _ = _open_decord(path, size)
        if _decord_frames(video, [0]).shape[1:3] != (size[1], size[0]):
            raise DecoderError("decord delivers another size than it was asked for")
    keys = [*video.get_key_indices(), len(video)]
    if max(np.diff(keys), default=0) > 4 * _chunk_frames(size):
        # Every chunk starts decoding at the key frame before it: with long GOPs of large frames that costs several
        # times the work (measured: 6.5x at 720p, GOP 250, chunks of 16). PyAV needs no chunks.
        raise DecoderError("key frames are too far apart for decord to read in bounded memory")
    end_seconds = float(video.get_frame_timestamp(len(video) - 1)[1])
    return VideoInfo(
        width=size[0],
        height=size[1],
        fps=float(video.get_avg_fps()),
        frames=len(video),
        duration_seconds=round(end_seconds - float(starts_seconds[0]), 6),
        reader="decord",
        codec=header.codec if header else None,
        source_width=width,
        source_height=height,
    )


def _decord_frames(video: Any, indices: list[int]) -> NDArray[np.uint8]:
    import decord

    try:
        frames: NDArray[np.uint8] = video.get_batch(indices).asnumpy()
    except (RuntimeError, decord.DECORDError, IndexError) as error:
        raise DecoderError(_one_line(error)) from error
    if frames.ndim != 4 or frames.shape[3] != 3:
        # Seen at narrow widths (16, 24, 48): the padding of a line is read as channels.
        raise DecoderError(f"decord delivers frames of shape {frames.shape[1:]}")
    return frames


def _chunk_frames(size: tuple[int, int]) -> int:
    return max(min(_CHUNK_BYTES // (3 * size[0] * size[1]), _CHUNK_FRAMES), _FIRST_CHUNK_FRAMES)


def read_decord(path: Path, size: tuple[int, int]) -> Iterator[VideoFrame]:
    """Frames of `size` = (width, height); raises DecoderError at the first frame that cannot be decoded.

    decord's background thread decodes far past the reader and keeps what it decoded (3 GB on a 24 s clip in 1080p), so
    frames are taken in chunks, and `seek(0)` after each throws the rest away. `seek` to any other frame is broken
    there; indexing after `seek(0)` is exact. Chunks end at key frames where they can, so that little is decoded twice.
    """
    video, starts_seconds = _open_decord(path, size)
    keys = np.asarray(video.get_key_indices())
    position, longest = 0, _FIRST_CHUNK_FRAMES
    while position < len(video):
        stop = min(position + longest, len(video))
        key_ends = keys[(keys > position) & (keys <= stop)]
        if stop < len(video) and key_ends.size:
            stop = int(key_ends.max())
        images = _decord_frames(video, list(range(position, stop)))
        video.seek(0)
        for offset, image in enumerate(images):
            # A copy, so that whoever keeps a frame does not keep its whole chunk.
            pts_seconds = round(float(starts_seconds[position + offset] - starts_seconds[0]), 6)
            yield VideoFrame(position + offset, pts_seconds, image.copy())
        del images
        position, longest = stop, _chunk_frames(size)


# -------------------------------------------------------------------------------------------------------------- PyAV


@dataclass(frozen=True)
class Container:
    """What PyAV reads from a file's header."""

    format_name: str
    codec: str
    fps: float
    frames: int | None
    """Within its duration."""
    counted_frames: int
    """As the header says, however damaged it is; 0 where it says nothing."""
    duration_seconds: float | None
    open_gop: bool
    """Whether frames shown before a key frame are stored after it (HEVC's usual way): they need the GOP before."""


def inspect_container(path: Path) -> Container | None:
    """What the header says; None where PyAV is not installed.

    Raises:
        VideoError: if the file is no video: not a media file, or without a video stream.
    """
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(path), metadata_errors="ignore") as container:  # cameras write names in any encoding
            # FFmpeg shows text files as pictures of text.
            if container.format.name == "tty":
                raise VideoError(f"{path}: is a text file; allowed is {READABLE}")
            stream = _video_stream(container)
            if stream is None:
                found = ["a cover image" if stream.type == "video" else stream.type for stream in container.streams]
                only = f"has {' and '.join(sorted(set(found)))} only" if found else "has no streams"
                raise VideoError(f"{path}: {only}, and no video; allowed is {READABLE}")
            if stream.codec_context is None:
                raise VideoError(f"{path}: coded in a way that FFmpeg has no decoder for; allowed is {READABLE}")
            rate = stream.average_rate or stream.guessed_rate or 25
            if stream.duration is not None and stream.time_base is not None:
                duration: float | None = float(stream.duration * stream.time_base)
            else:
                duration = container.duration / 1e6 if container.duration else None
            # Of the two, the smaller: an edit list hides frames that the header counts.
            counts = [stream.frames or None, round(duration * float(rate)) if duration else None]
            frames = min((count for count in counts if count), default=None)
            return Container(
                format_name=container.format.name,
                codec=stream.codec_context.codec.canonical_name,
                fps=float(rate),
                frames=frames,
                counted_frames=stream.frames,
                duration_seconds=duration,
                open_gop=_has_open_gop(container, stream),
            )
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path}: is not a video, or is damaged ({path.stat().st_size} bytes, {_one_line(error)}); "
            f"allowed is {READABLE}"
        ) from error


def _has_open_gop(container: Any, stream: Any) -> bool:
    """Looks through the first packets, without decoding; an encoder keeps its way."""
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
        # Damaged further on: whoever decodes it will say so.
        return False
    return False


def _video_stream(container: Any) -> Any:
    """The first stream of pictures that is not a cover; None if there is none."""
    import av

    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def probe_pyav(path: Path, max_side: int | None, header: Container | None) -> VideoInfo:
    """Raises DecoderError if PyAV is missing or no frame can be decoded."""
    if header is None:
        raise DecoderError("PyAV is not installed")
    with contextlib.closing(read_pyav(path, None)) as frames:
        first = next(frames, None)
    if first is None:
        raise DecoderError("the stream has no frame")
    height, width = first.image.shape[:2]
    check_side(path, width, height)
    size = target_size(width, height, max_side)
    return VideoInfo(
        *size,
        fps=header.fps,
        frames=header.frames,
        duration_seconds=header.duration_seconds,
        reader="pyav",
        codec=header.codec,
        source_width=width,
        source_height=height,
    )


def read_pyav(path: Path, size: tuple[int, int] | None, *, skip: int = 0) -> Generator[VideoFrame, None, None]:
    """Frames of `size` = (width, height) after rotation; raises DecoderError where decoding fails.

    Args:
        path: the file.
        size: what to resize to; None keeps the size.
        skip: how many frames at the start are decoded, but not delivered.
    """
    import av

    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            stream = _video_stream(container)
            if stream is None:
                raise DecoderError("there is no video stream")
            fps = float(stream.average_rate or stream.guessed_rate or 25)
            start_seconds = 0.0
            for index, frame in enumerate(container.decode(stream)):
                if index == 0:
                    start_seconds = float(frame.time or 0)
                if index < skip:
                    continue
                # Raw streams carry no times.
                pts_seconds = float(frame.time) - start_seconds if frame.time is not None else index / fps
                yield VideoFrame(index, round(pts_seconds, 6), _upright(frame, size))
    except (av.error.FFmpegError, OSError) as error:
        raise DecoderError(_one_line(error)) from error


def _upright(frame: Any, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """A frame as RGB, turned as its display matrix says: PyAV leaves that to us."""
    turns = round(frame.rotation / 90) % 4
    width, height = size or ((frame.width, frame.height) if turns % 2 == 0 else (frame.height, frame.width))
    if turns % 2:
        width, height = height, width
    image = frame.to_ndarray(format="rgb24", width=width, height=height)
    # Degrees and rot90 both count counter-clockwise.
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


# ------------------------------------------------------------------------------------------------------------ images


def image_files(folder: Path) -> list[Path]:
    """The images of a folder by name, numbers in names by value: ``f2.png`` before ``f10.png``."""
    return natural_order(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())


def probe_images(folder: Path, max_side: int | None, fps: float) -> VideoInfo:
    """Raises VideoError for a folder without images, or whose first image cannot be read."""
    files = image_files(folder)
    if not files:
        raise VideoError(f"{folder}: is a folder without images; allowed are {', '.join(IMAGE_SUFFIXES)}")
    height, width = _read_image(files[0]).shape[:2]
    check_side(files[0], width, height)
    size = target_size(width, height, max_side)
    return VideoInfo(
        *size,
        fps=fps,
        frames=len(files),
        duration_seconds=len(files) / fps,
        reader="images",
        codec=files[0].suffix[1:].lower(),
        source_width=width,
        source_height=height,
    )


def read_images(folder: Path, size: tuple[int, int], fps: float) -> Iterator[VideoFrame]:
    """The images of a folder as frames of `size` = (width, height); raises VideoError for one of another size."""
    first_shape: tuple[int, ...] | None = None
    for index, file in enumerate(image_files(folder)):
        image = _read_image(file)
        first_shape = first_shape or image.shape
        if image.shape != first_shape:
            raise VideoError(
                f"{file}: is {image.shape[1]}x{image.shape[0]} pixels; "
                f"allowed is {first_shape[1]}x{first_shape[0]}, the size of the first image of {folder}"
            )
        if size != (image.shape[1], image.shape[0]):
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        yield VideoFrame(index, index / fps, image)


def _read_image(file: Path) -> NDArray[np.uint8]:
    data = np.frombuffer(file.read_bytes(), np.uint8)
    # imread takes no names outside the code page on Windows; imdecode takes bytes.
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise VideoError(f"{file}: is not an image that can be read ({data.size} bytes); allowed are intact images")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _one_line(error: BaseException) -> str:
    """The first line of a decoder's message, without the position in its source."""
    message = getattr(error, "strerror", None) or str(error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    text = re.sub(r"^\[[^\]]*\]\s*\S+:\d+:\s*", "", lines[0]) if lines else type(error).__name__
    return text[:200]
