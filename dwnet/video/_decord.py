"""Decoding with decord, which is fast and exact in the formats below. It is used for these formats only.

Using a decord reader in two threads at once aborts the process. Therefore each pass opens its own reader.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.video._container import Header
from dwnet.video._orientation import UPRIGHT
from dwnet.video._types import DecoderError, VideoFrame, VideoInfo, check_side, one_line, target_size

# FFmpeg's names of the formats in which decord delivers the same frames and times as FFmpeg itself. In others it loses
# frames (AVI, MPEG-PS) or times (AVI), or delivers frames in the wrong order (MPEG-TS).
_DECORD_FORMATS = {"mp4", "matroska", "flv"}
_FIRST_CHUNK_FRAMES = 16
_CHUNK_BYTES = 64 * 2**20
_CHUNK_FRAMES = 256
_LEAST_FRAME_BYTES = 16
"""A header that counts more frames than the file can hold is damaged. decord would reserve memory for all of them, and
abort the process if there is not enough."""


def _open_decord(path: Path, size: tuple[int, int] | None) -> tuple[Any, NDArray[np.float64]]:
    """Returns a decord reader that resizes to `size` = (width, height), and the start time of each frame in seconds."""
    try:
        import decord
    except (ImportError, OSError) as error:
        raise DecoderError(f"decord is not installed: {error}") from error
    decord.logging.set_level(decord.logging.QUIET)
    width, height = size or (-1, -1)
    try:
        # decord accepts only str paths.
        video = decord.VideoReader(str(path), num_threads=1, width=width, height=height)
        starts_seconds = video.get_frame_timestamp(range(len(video)))[:, 0].astype(np.float64)
    except (RuntimeError, decord.DECORDError, IndexError) as error:
        raise DecoderError(one_line(error)) from error
    if not len(video):
        raise DecoderError("decord finds no frame")
    if starts_seconds.min() < 0:
        # The clip has frames before time 0, which players do not show. decord delivers wrong frames for some indices.
        raise DecoderError("the clip has an edit list, which decord does not follow")
    return video, starts_seconds


def probe_decord(path: Path, max_side: int | None, header: Header | None) -> VideoInfo:
    """Returns the facts of a clip that decord reads exactly.

    Raises:
        DecoderError: for other formats, turned, mirrored or padded frames, open GOPs, key frames too far apart, or if
            decord is missing.
    """
    if header is not None and not _DECORD_FORMATS & set(header.format_name.split(",")):
        raise DecoderError(f"decord is not exact in {header.format_name}")
    if header is not None and header.open_gop:
        raise DecoderError("decord delivers wrong frames after a seek into an open GOP")
    if header is not None and header.orientation not in (None, UPRIGHT):
        raise DecoderError("the clip has turned or mirrored frames, and decord does not mirror frames")
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
        # Decoding of every chunk starts at the key frame before it. With long GOPs of large frames this takes several
        # times as long (measured: 6.5x at 720p, GOP 250, chunks of 16). PyAV needs no chunks.
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
        raise DecoderError(one_line(error)) from error
    if frames.ndim != 4 or frames.shape[3] != 3:
        # Seen at widths of 16, 24 and 48: decord reads line padding as channels.
        raise DecoderError(f"decord delivers frames of shape {frames.shape[1:]}")
    return frames


def _chunk_frames(size: tuple[int, int]) -> int:
    return max(min(_CHUNK_BYTES // (3 * size[0] * size[1]), _CHUNK_FRAMES), _FIRST_CHUNK_FRAMES)


def read_decord(path: Path, size: tuple[int, int]) -> Generator[VideoFrame, None, None]:
    """Yields the frames, resized to `size` = (width, height).

    decord's background thread decodes far past the reader and keeps the frames (3 GB on a 24 s clip in 1080p).
    Therefore frames are read in chunks, and `seek(0)` after each chunk drops the rest. `seek` to another frame is
    broken in decord; indexing after `seek(0)` is exact. Chunks end at key frames if possible, so that few frames are
    decoded twice.

    Raises:
        DecoderError: at the first frame that cannot be decoded.
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
            # Copied, so that a frame in use does not keep its whole chunk in memory.
            pts_seconds = round(float(starts_seconds[position + offset] - starts_seconds[0]), 6)
            yield VideoFrame(position + offset, pts_seconds, image.copy())
        del images
        position, longest = stop, _chunk_frames(size)
