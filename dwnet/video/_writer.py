"""Writes clips frame by frame as H.264 for browsers. After a failure no partial file remains."""

from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.core.files import atomic_write
from dwnet.video._types import VideoError

_ENCODER_THREADS = 4
"""The output of x264 depends on the number of its threads. With its own choice it would depend on the machine."""
_MPEG_RANGE = 1
_BT709 = 1
_SMPTE170M = 6


class VideoWriter:
    """Writes an MP4 file: H.264, 4:2:0, with the index at the start for streaming.

    with VideoWriter("out.mp4", fps=25, size=(480, 270)) as writer:
        for image in images:
            writer.write(image)

    The same frames and settings give the same file on every machine. The file gets its name when the writer is
    closed without an error. After an error or `abort()` no part of it remains, and an older file of that name is
    unchanged.

    Args:
        path: ends in ``.mp4``; its folder must exist. An existing file is replaced at the end.
        fps: frames per second, above 0 and below 1000.
        size: (width, height) of the frames. An odd side is padded by repeating the last column or row, because
            H.264 4:2:0 needs even sides.
        preset: preset of libx264; ``ultrafast`` is twice as fast as the default, with twice the file size.
        crf: constant rate factor of libx264, 0..51; lower means better quality.

    Raises:
        VideoError: for an argument that is not allowed, a file that cannot be written, or if PyAV is not installed.
    """

    def __init__(
        self, path: str | Path, *, fps: float, size: tuple[int, int], preset: str = "veryfast", crf: int = 23
    ) -> None:
        self.path = Path(path)
        self.size = (int(size[0]), int(size[1]))
        self.frames = 0
        """Frames written so far."""
        self._container: Any = None
        self._target: AbstractContextManager[Path] | None = None
        if self.path.suffix.lower() != ".mp4":
            raise VideoError(f"{self.path}: ends in {self.path.suffix!r}; allowed is '.mp4'")
        if not self.path.parent.is_dir():
            raise VideoError(f"{self.path}: there is no folder {self.path.parent}; allowed is an existing one")
        if self.path.is_dir():
            raise VideoError(f"{self.path}: is a folder; allowed is the name of a file")
        if not 0 < fps < 1000:
            raise VideoError(f"{self.path}: fps is {fps}; allowed are numbers above 0 and below 1000")
        if min(self.size) < 2:
            raise VideoError(f"{self.path}: size is {self.size[0]}x{self.size[1]}; allowed are sides of at least 2")
        try:
            import av
        except ImportError as error:
            raise VideoError(
                f"{self.path}: writing a video needs PyAV, which is not installed (pip install av)"
            ) from error
        self._av = av
        try:
            target = atomic_write(self.path)
            temporary = target.__enter__()
            self._target = target
            self._container = av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"})
            self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(65535))
            self._stream.width, self._stream.height = (side + side % 2 for side in self.size)
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.thread_count = _ENCODER_THREADS
            self._stream.options = {"preset": preset, "crf": str(crf)}
            # FFmpeg converts RGB with the BT.601 matrix. Without this label, players assume BT.709 for larger frames.
            self._stream.codec_context.color_range = _MPEG_RANGE
            self._stream.codec_context.colorspace = _SMPTE170M
            self._stream.codec_context.color_primaries = _BT709
            self._stream.codec_context.color_trc = _BT709
            self._stream.codec_context.open()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.abort()
            raise VideoError(f"{self.path}: cannot be written ({error}); allowed is a writable folder") from error

    def write(self, image: NDArray[np.uint8]) -> None:
        """Appends one frame, (H, W, 3) uint8 RGB of the writer's size.

        Raises:
            VideoError: for a frame of another type or shape, a closed writer, or a full disk. After a full disk no
                part of the file remains.
        """
        if self._container is None:
            raise VideoError(f"{self.path}: the writer is closed; open another")
        width, height = self.size
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise VideoError(
                f"{self.path}: frame {self.frames} is {image.dtype} of shape {image.shape}; "
                f"allowed is uint8 of shape {(height, width, 3)}"
            )
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts = self.frames
        frame.time_base = 1 / self._stream.codec_context.framerate
        self._mux(frame)
        self.frames += 1

    def _mux(self, frame: Any) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except (self._av.error.FFmpegError, OSError) as error:
            self.abort()
            raise VideoError(
                f"{self.path}: writing failed at frame {self.frames} ({error}); nothing was kept"
            ) from error

    def close(self) -> None:
        """Finishes the file and renames it to `path`. A second call does nothing.

        Raises:
            VideoError: if no frame was written or the disk is full. No part of the file remains in this case.
        """
        if self._container is None:
            return
        if not self.frames:
            self.abort()
            raise VideoError(f"{self.path}: no frame was written; allowed is a clip of at least one")
        self._mux(None)
        try:
            self._container.close()
            self._container = None
            target, self._target = self._target, None
            if target is not None:
                target.__exit__(None, None, None)
        except (self._av.error.FFmpegError, OSError) as error:
            self.abort()
            raise VideoError(f"{self.path}: could not be finished ({error}); nothing was kept") from error

    def abort(self) -> None:
        """Removes the unfinished file. Does nothing after `close`."""
        container, self._container = self._container, None
        try:
            if container is not None:
                container.close()
        except (self._av.error.FFmpegError, OSError):
            # Errors do not matter, because the file is removed.
            pass
        finally:
            target, self._target = self._target, None
            if target is not None:
                failure = VideoError(f"{self.path}: aborted")
                target.__exit__(VideoError, failure, None)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
