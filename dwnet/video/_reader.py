"""Reads clips frame by frame. Memory use does not depend on the length of a clip."""

import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType

from dwnet.video._container import check_file, read_header
from dwnet.video._decord import probe_decord, read_decord
from dwnet.video._images import probe_images, read_images
from dwnet.video._pyav import probe_pyav, read_pyav
from dwnet.video._types import MIN_SIDE_PX, READABLE, DecoderError, VideoError, VideoFrame, VideoInfo


class VideoReader:
    """The frames of one clip, returned by `open_video`.

    A reader can be iterated several times. Each pass opens its own decoder in the thread that iterates, and closes it.
    """

    def __init__(self, path: Path, info: VideoInfo) -> None:
        self.path = path
        self.info = info
        self.warning: str | None = None
        """The cause and the number of good frames if a pass ended early because of damage; otherwise None."""
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[VideoFrame]:
        if self._closed.is_set():
            raise VideoError(f"{self.path}: the reader is closed; open the clip again")
        self.warning = None
        return self._frames()

    def _frames(self) -> Iterator[VideoFrame]:
        delivered = 0
        reader = self.info.reader
        while True:
            frames = self._decode(reader, delivered)
            try:
                for frame in frames:
                    if self._closed.is_set():
                        return
                    # Counted before the yield, because a consumer that stops at the yield has received the frame.
                    delivered += 1
                    yield VideoFrame(delivered - 1, frame.pts_seconds, frame.image)
                return
            except DecoderError as error:
                if reader == "decord" and _has_pyav():
                    # With its error decord drops good frames of the chunk. PyAV delivers all of them.
                    reader = "pyav"
                    continue
                self.warning = f"{self.path}: damaged after {delivered} good frames ({error}); the rest is left out"
                return
            finally:
                frames.close()

    def _decode(self, reader: str, skip: int) -> Generator[VideoFrame, None, None]:
        size = (self.info.width, self.info.height)
        if reader == "decord":
            yield from read_decord(self.path, size)
        elif reader == "pyav":
            yield from read_pyav(self.path, size, skip=skip)
        else:
            yield from read_images(self.path, size, self.info.fps)

    def close(self) -> None:
        """Ends a running pass at its next frame, from any thread, and refuses new passes."""
        self._closed.set()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_video(path: str | Path, *, max_side: int | None = None, image_fps: float = 25.0) -> VideoReader:
    """Returns a reader of a clip. The facts of the clip are in `.info`.

    decord reads the clips that it decodes exactly. PyAV reads all others: where decord has no wheel, formats that
    decord cannot decode (AV1, GIF) or decodes wrongly (AVI, MPEG-PS, MPEG-TS, open GOPs, edit lists), turned or
    mirrored frames, and large frames with key frames far apart. The display matrix is applied, so frames are upright.
    The sample aspect ratio is ignored: pixels count as square.

    Args:
        path: a video file, or a folder of images of one size, read in the order of their names.
        max_side: longer side of the reduced frames in pixels, at least 32. Smaller frames keep their size.
        image_fps: frames per second of a folder of images.

    Returns:
        The reader. If a clip is damaged after the first frame, it yields the good frames and sets `.warning`.

    Raises:
        VideoError: for an argument out of range, a path that does not exist, an empty file, a file that is not a video,
            a clip without a frame that can be decoded, a display matrix with other than quarter turns and mirrorings,
            or frames with a side below 32 pixels. While iterating: for an image of a folder that cannot be read or has
            another size than the first one.
    """
    path = Path(path)
    if max_side is not None and max_side < MIN_SIDE_PX:
        raise VideoError(f"max_side is {max_side}; allowed are whole numbers from {MIN_SIDE_PX}, or None")
    if not image_fps > 0:
        raise VideoError(f"image_fps is {image_fps}; allowed are numbers above 0")
    if path.is_dir():
        return VideoReader(path, probe_images(path, max_side, image_fps))
    check_file(path)
    # In a relative path FFmpeg could read a name with a colon as a protocol.
    path = path.resolve()
    header = read_header(path)
    try:
        info = probe_decord(path, max_side, header)
    except DecoderError as decord_error:
        try:
            info = probe_pyav(path, max_side, header)
        except DecoderError as pyav_error:
            raise VideoError(
                f"{path}: no frame can be decoded (decord: {decord_error}; PyAV: {pyav_error}); allowed is {READABLE}"
            ) from pyav_error
    return VideoReader(path, info)


def _has_pyav() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True
