"""Pixels from decord, in the clips that it decodes exactly, checked frame by frame against FFmpeg.

decord does not report damage, and is not exact in every container. Therefore FFmpeg decodes the same clip beside it,
without converting pixels: it gives the times and finds damage. From the first frame that is damaged, changed or missing
in decord, pixels are FFmpeg's.

Using a decord reader in two threads at once aborts the process. Therefore each pass opens its own reader.
"""

import contextlib
import itertools
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.video._container import open_container
from dwnet.video._findings import Findings
from dwnet.video._limits import ClipLimits
from dwnet.video._pyav import decode
from dwnet.video._types import DecoderError, VideoFrame, one_line

# FFmpeg's names of the formats in which decord delivers the same frames as FFmpeg itself. In others it loses frames
# (AVI, MPEG-PS) or delivers frames in the wrong order (MPEG-TS).
_FORMATS = {"mp4", "matroska", "flv"}
_FIRST_CHUNK_FRAMES = 16
_CHUNK_BYTES = 64 * 2**20
_CHUNK_FRAMES = 256
_LEAST_FRAME_BYTES = 16
"""A header that counts more frames than the file can hold is damaged. decord would reserve memory for all of them, and
abort the process if there is not enough."""
_GOP_PACKETS = 512
_SAME_TIME_SECONDS = 0.002
"""Frames of both decoders whose times differ by less are the same. Matroska stores whole milliseconds."""


def read_decord(
    path: Path, size: tuple[int, int], *, findings: Findings, limits: ClipLimits
) -> Generator[VideoFrame, None, None]:
    """Yields the upright frames of a file.

    Args:
        path: the file.
        size: (width, height) to resize to.
        findings: collects what is missing, damaged or changed.
        limits: limits on the pixels of a frame.

    Raises:
        DecoderError: for a display matrix or a pixel format that is not supported.
    """
    with (
        contextlib.closing(decode(path, findings, limits)) as frames,
        contextlib.closing(_frames(path, size, limits)) as others,
    ):
        follows = True
        for frame in frames:
            image = None
            if follows and frame.good and frame.upright and frame.own_size == frame.shown_size:
                # An exception of decord ends its generator: from there on, pixels are FFmpeg's.
                with contextlib.suppress(DecoderError):
                    seconds, found = next(others, (None, None))
                    if seconds is not None and abs(seconds - frame.pts_seconds) < _SAME_TIME_SECONDS:
                        image = found
            follows = image is not None
            yield VideoFrame(frame.index, frame.pts_seconds, frame.image(size) if image is None else image)


def _frames(
    path: Path, size: tuple[int, int], limits: ClipLimits
) -> Generator[tuple[float, NDArray[np.uint8]], None, None]:
    """Yields the time in seconds since the first frame, and the pixels, (H, W, 3) uint8 RGB, of each frame of decord.

    decord's background thread decodes far past the reader and keeps the frames (3 GB on a 24 s clip in 1080p).
    Therefore frames are read in chunks, and `seek(0)` after each chunk drops the rest. `seek` to another frame is
    broken in decord; indexing after `seek(0)` is exact. Chunks end at key frames if possible, so that few frames are
    decoded twice.

    Raises:
        DecoderError: if decord is missing, or does not decode this clip exactly.
    """
    _refuse_inexact(path, limits)
    video, starts_seconds = _open(path, size)
    keys = np.asarray(video.get_key_indices())
    chunk = max(min(_CHUNK_BYTES // (3 * size[0] * size[1]), _CHUNK_FRAMES), _FIRST_CHUNK_FRAMES)
    if max(np.diff([*keys, len(video)]), default=0) > 4 * chunk:
        # Decoding of every chunk starts at the key frame before it. With long GOPs of large frames this takes several
        # times as long (measured: 6.5x at 720p, GOP 250, chunks of 16).
        raise DecoderError("key frames are too far apart to read in bounded memory")
    position, longest = 0, _FIRST_CHUNK_FRAMES
    while position < len(video):
        stop = min(position + longest, len(video))
        key_ends = keys[(keys > position) & (keys <= stop)]
        if stop < len(video) and key_ends.size:
            stop = int(key_ends.max())
        images = _batch(video, list(range(position, stop)), size)
        video.seek(0)
        for offset, image in enumerate(images):
            # Copied, so that a frame in use does not keep its whole chunk in memory.
            yield float(starts_seconds[position + offset] - starts_seconds[0]), image.copy()
        del images
        position, longest = stop, chunk


def _refuse_inexact(path: Path, limits: ClipLimits) -> None:
    """Raises DecoderError for a container or a stream in which decord is not exact."""
    with open_container(path, limits) as (container, stream):
        if not _FORMATS & set(container.format.name.split(",")):
            raise DecoderError(f"it is not exact in {container.format.name}")
        if stream.frames * _LEAST_FRAME_BYTES > path.stat().st_size:
            raise DecoderError(f"the header counts {stream.frames} frames, more than the file can hold")
        if len(container.streams.video) > 1:
            raise DecoderError("the file has several video streams")
        if _has_open_gop(container, stream):
            raise DecoderError("it delivers wrong frames after a seek into an open GOP")


def _has_open_gop(container: Any, stream: Any) -> bool:
    """Returns whether the first packets have frames that are shown before a key frame but stored after it.

    They need the frames before the key frame. An encoder uses one structure for the whole clip.
    """
    key_pts: int | None = None
    for packet in itertools.islice(container.demux(stream), _GOP_PACKETS):
        if packet.pts is None:
            continue
        if packet.is_keyframe:
            key_pts = packet.pts
        elif key_pts is not None and packet.pts < key_pts:
            return True
    return False


def _open(path: Path, size: tuple[int, int]) -> tuple[Any, NDArray[np.float64]]:
    """Returns a decord reader that resizes to `size`, and the start time of each frame in seconds."""
    try:
        import decord
    except (ImportError, OSError) as error:
        raise DecoderError(f"decord is not installed: {one_line(error)}") from error
    decord.logging.set_level(decord.logging.QUIET)
    try:
        # decord accepts only str paths.
        video = decord.VideoReader(str(path), num_threads=1, width=size[0], height=size[1])
        starts_seconds = video.get_frame_timestamp(range(len(video)))[:, 0].astype(np.float64)
    except (RuntimeError, decord.DECORDError, IndexError) as error:
        raise DecoderError(one_line(error)) from error
    if not len(video):
        raise DecoderError("it finds no frame")
    if starts_seconds.min() < 0:
        # The clip has frames before time 0, which players do not show. decord delivers wrong frames for some indices.
        raise DecoderError("the clip has an edit list, which it does not follow")
    return video, starts_seconds


def _batch(video: Any, indices: list[int], size: tuple[int, int]) -> NDArray[np.uint8]:
    import decord

    try:
        frames: NDArray[np.uint8] = video.get_batch(indices).asnumpy()
    except (RuntimeError, decord.DECORDError, IndexError) as error:
        raise DecoderError(one_line(error)) from error
    if frames.shape[1:] != (size[1], size[0], 3):
        # Seen at widths of 16, 24 and 48: decord reads line padding as channels.
        raise DecoderError(f"it delivers frames of shape {frames.shape[1:]}")
    return frames
