"""Decoding with PyAV, exact in every container. Frames are upright and in display order."""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.video._container import Header, frames_per_second, open_container
from dwnet.video._orientation import Orientation
from dwnet.video._types import (
    READABLE,
    DecoderError,
    VideoError,
    VideoFrame,
    VideoInfo,
    check_side,
    one_line,
    target_size,
)


@dataclass(frozen=True)
class DecodedFrame:
    """One decoded frame whose pixels are converted on request."""

    index: int
    """0, 1, 2, ... in display order."""
    pts_seconds: float
    """Presentation time, in seconds since the first frame."""
    _stored: Any
    _orientation: Orientation

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the stored format, for example ``gray``."""
        return self._stored.format.name

    def image(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Returns the upright frame, (H, W, 3) uint8 RGB, resized to `size` = (width, height) if given."""
        stored = self._stored
        width, height = (stored.width, stored.height) if size is None else self._orientation.size(*size)
        return self._orientation.apply(stored.to_ndarray(format="rgb24", width=width, height=height))

    def plane(self) -> NDArray[np.uint8]:
        """Returns the upright first plane, (H, W) uint8, without colour conversion, for example palette indices.

        A conversion could stretch grey levels from 16..235 to 0..255. The format must have one byte per pixel.
        """
        plane = self._stored.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        return self._orientation.apply(np.ascontiguousarray(rows[: self._stored.height, : self._stored.width]))


class ExactVideo:
    """Iterates over all frames of a video file in which no frame may be missing: label videos, training frames.

    Each pass opens its own decoder. Unlike with `VideoReader`, a pass over a damaged file ends with an error.

    Args:
        path: the video file.
        allowed: description of allowed files, for error messages.

    Raises:
        VideoError: for a file that is not a video. While iterating: for a frame that cannot be decoded, or that has
            another orientation than the first one.
    """

    def __init__(self, path: Path, *, allowed: str = READABLE) -> None:
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise VideoError(f"{path}: reading it needs PyAV, which is not installed (pip install av)") from error
        self.path, self._allowed = path, allowed
        with open_container(path, allowed) as (_, stream):
            self.codec: str = stream.codec.canonical_name
            """FFmpeg's name, for example ``ffv1``."""
            self.pixel_format: str | None = stream.codec_context.pix_fmt
            """FFmpeg's name, for example ``gray``; None if it is known only after decoding."""

    def __iter__(self) -> Iterator[DecodedFrame]:
        decoded = 0
        try:
            for frame in decode(self.path, self._allowed, threads="AUTO"):
                decoded += 1
                yield frame
        except DecoderError as error:
            raise VideoError(
                f"{self.path}: is damaged, frame {decoded} cannot be decoded ({error}); allowed is {self._allowed}"
            ) from error


def decode(path: Path, allowed: str = READABLE, *, threads: str = "SLICE") -> Generator[DecodedFrame, None, None]:
    """Yields every frame of a video file.

    Args:
        path: the file.
        allowed: description of allowed files, for error messages.
        threads: FFmpeg's threading: ``SLICE`` returns each frame without delay, ``AUTO`` is faster.

    Raises:
        VideoError: for a file that is not a video.
        DecoderError: for a frame that cannot be decoded, or that has another orientation than the first one.
    """
    import av

    with open_container(path, allowed) as (container, stream):
        stream.thread_type = threads
        fps, start_seconds = frames_per_second(stream), 0.0
        first: Orientation | None = None
        try:
            for index, frame in enumerate(container.decode(stream)):
                orientation = Orientation.of_frame(frame)
                if first is None:
                    first, start_seconds = orientation, float(frame.time or 0)
                if orientation != first:
                    raise DecoderError(f"frame {index} has another display matrix than the first frame")
                # Raw streams have no times.
                pts_seconds = float(frame.time) - start_seconds if frame.time is not None else index / fps
                yield DecodedFrame(index, round(pts_seconds, 6), frame, orientation)
        except (av.error.FFmpegError, OSError) as error:
            raise DecoderError(one_line(error)) from error


def probe_pyav(path: Path, max_side: int | None, header: Header | None) -> VideoInfo:
    """Returns the facts of a clip that PyAV reads.

    Raises:
        DecoderError: if PyAV is missing or no frame can be decoded.
    """
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
    """Yields the upright frames of a file.

    Args:
        path: the file.
        size: (width, height) to resize to; None keeps the size.
        skip: number of frames at the start that are decoded but not yielded.

    Raises:
        DecoderError: at the first frame that cannot be decoded.
    """
    with contextlib.closing(decode(path)) as frames:
        for frame in frames:
            if frame.index >= skip:
                yield VideoFrame(frame.index, frame.pts_seconds, frame.image(size))
