"""Reads clips frame by frame. Memory use does not depend on the length of a clip."""

import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import get_args

from dwnet.video._container import check_file
from dwnet.video._decord import read_decord
from dwnet.video._findings import Findings
from dwnet.video._images import probe_images, read_images
from dwnet.video._limits import ClipLimits, default_limits
from dwnet.video._pyav import probe_pyav, read_pyav
from dwnet.video._types import MIN_SIDE_PX, READABLE, Decoder, DecoderError, VideoError, VideoFrame, VideoInfo


class VideoReader:
    """The frames of one clip, returned by `open_video`.

    A reader can be iterated several times. Each pass opens its own decoder in the thread that iterates, and closes it.
    """

    def __init__(self, path: Path, info: VideoInfo, limits: ClipLimits | None = None) -> None:
        self.path = path
        self.info = info
        self.limits = limits or default_limits()
        """Limits on pixels and memory."""
        self._findings = Findings(path)
        self._failure = ""
        self._closed = threading.Event()

    @property
    def warning(self) -> str | None:
        """What the last pass found damaged, missing or changed, up to the frame it reached; None if nothing.

        After a whole pass, the frames are those that FFmpeg's command line decodes, in number, order and content. The
        warning names damage that FFmpeg found, frames that the header promises, frames at the start whose key frame is
        missing, times that did not increase, and changes of the frame size.
        """
        found = self._findings.warning
        if not self._failure:
            return found
        return f"{found}; {self._failure}" if found else f"{self.path}: {self._failure}"

    def __iter__(self) -> Iterator[VideoFrame]:
        if self._closed.is_set():
            raise VideoError(f"{self.path}: the reader is closed; open the clip again")
        self._findings, self._failure = Findings(self.path), ""
        return self._frames()

    def _frames(self) -> Iterator[VideoFrame]:
        frames = self._decode()
        delivered = 0
        try:
            for frame in frames:
                if self._closed.is_set():
                    return
                delivered += 1
                yield frame
        except DecoderError as error:
            self._failure = f"damaged after {delivered} good frames ({error}); the rest is left out"
        finally:
            frames.close()

    def _decode(self) -> Generator[VideoFrame, None, None]:
        size = (self.info.width, self.info.height)
        if self.info.reader == "decord":
            yield from read_decord(self.path, size, findings=self._findings, limits=self.limits)
        elif self.info.reader == "pyav":
            yield from read_pyav(self.path, size, findings=self._findings, limits=self.limits)
        else:
            yield from read_images(self.path, size, self.info.fps, self.limits)

    def close(self) -> None:
        """Ends a running pass at its next frame, from any thread, and refuses new passes."""
        self._closed.set()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_video(
    path: str | Path,
    *,
    max_side: int | None = None,
    image_fps: float = 25.0,
    max_pixels: int | None = None,
    max_memory_mb: int | None = None,
    decoder: Decoder | None = None,
) -> VideoReader:
    """Returns a reader of a clip. The facts of the clip are in `.info`.

    The frames are those that FFmpeg's command line decodes: of the same stream, in the same number and order, upright
    by the display matrix, and at the size of the first frame. The sample aspect ratio is ignored: pixels count as
    square. Times increase from frame to frame. A damaged clip gives what can be decoded, and `.warning` says what is
    wrong.

    Args:
        path: a video file, or a folder of images of one size, read in the order of their names.
        max_side: longer side of the reduced frames in pixels, at least 32. Smaller frames keep their size.
        image_fps: frames per second of a folder of images.
        max_pixels: largest number of pixels of a stored frame; None uses 40 million, or what the command's option says.
        max_memory_mb: largest memory in MiB that decoding may need; None uses 4096, or what the command's option says.
        decoder: "pyav", or "decord" for the pixels of clips that decord decodes exactly. FFmpeg then decodes beside it,
            gives the times and the warning, and takes over where decord does not follow. Frames that `max_side` reduces
            differ by some grey levels, because decord resizes by another filter. None uses PyAV, or what the command's
            option says.

    Returns:
        The reader.

    Raises:
        VideoError: for an argument out of range, a path that does not exist, an empty file, a file that is not a video,
            a clip that exceeds a limit, a clip without a frame that can be decoded, a display matrix with other than
            quarter turns and mirrorings, or frames with a side below 32 pixels. While iterating: for an image of a
            folder that cannot be read, exceeds a limit or has another size than the first one.
    """
    path = Path(path)
    if max_side is not None and max_side < MIN_SIDE_PX:
        raise VideoError(f"max_side is {max_side}; allowed are whole numbers from {MIN_SIDE_PX}, or None")
    decoder = _default_decoder if decoder is None else _checked(decoder)
    if not image_fps > 0:
        raise VideoError(f"image_fps is {image_fps}; allowed are numbers above 0")
    default = default_limits()
    limits = ClipLimits(
        default.max_pixels if max_pixels is None else max_pixels,
        default.max_memory_mb if max_memory_mb is None else max_memory_mb,
    )
    if path.is_dir():
        return VideoReader(path, probe_images(path, max_side, image_fps, limits), limits)
    check_file(path)
    # In a relative path FFmpeg could read a name with a colon as a protocol.
    path = path.resolve()
    try:
        info = probe_pyav(path, max_side, limits)
    except DecoderError as error:
        raise VideoError(f"{path}: no frame can be decoded ({error}); allowed is {READABLE}") from error
    return VideoReader(path, replace(info, reader=decoder), limits)


def set_default_decoder(decoder: Decoder) -> None:
    """Sets the decoder of this process for calls that name none.

    Raises:
        VideoError: for another name.
    """
    global _default_decoder
    _default_decoder = _checked(decoder)


_default_decoder: Decoder = "pyav"


def _checked(decoder: Decoder) -> Decoder:
    if decoder not in get_args(Decoder):
        raise VideoError(f"decoder is {decoder!r}; allowed are {', '.join(get_args(Decoder))}")
    return decoder
