"""Reading clips: videos and folders of images, frame by frame, in memory that does not depend on their length.

    with open_video("clip.mp4", max_side=480) as video:
        for frame in prefetch(video):
            show(frame.image, frame.pts_seconds)

decord reads where it is exact, PyAV everywhere else: where decord has no wheel, for what it cannot decode (AV1, GIF)
or decodes wrongly (AVI, MPEG-PS, MPEG-TS, open GOPs, edit lists), and for large frames with key frames far apart. The
sample aspect ratio is ignored: pixels are taken as square.
"""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from dwnet.core.errors import DWNetError
from dwnet.video.backends import (
    MIN_SIDE_PX,
    READABLE,
    DecoderError,
    VideoError,
    VideoFrame,
    VideoInfo,
    inspect_container,
    probe_decord,
    probe_images,
    probe_pyav,
    read_decord,
    read_images,
    read_pyav,
)
from dwnet.video.writer import VideoWriter

__all__ = ["VideoError", "VideoFrame", "VideoInfo", "VideoReader", "VideoWriter", "open_video", "prefetch"]

T = TypeVar("T")

_STOP_SECONDS = 5.0
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"<?xml")


class VideoReader:
    """The frames of one clip; made by `open_video`.

    Iterate it as often as you like: each pass opens its own decoder, in the thread that iterates, and closes it.
    """

    def __init__(self, path: Path, info: VideoInfo) -> None:
        self.path = path
        self.info = info
        self.warning: str | None = None
        """Set when a pass ended early because the file is damaged: what happened, after how many good frames."""
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
                    # Counted before it is handed out: whoever stops here has had it.
                    delivered += 1
                    yield VideoFrame(delivered - 1, frame.pts_seconds, frame.image)
                return
            except DecoderError as error:
                if reader == "decord" and _has_pyav():
                    # decord's error throws away good frames that were waiting; PyAV delivers every one up to it.
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
        """Ends a pass that is under way at its next frame (from any thread), and refuses new ones."""
        self._closed.set()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_video(path: str | Path, *, max_side: int | None = None, image_fps: float = 25.0) -> VideoReader:
    """Opens a clip, decodes its first frame to see that it can be read, and says what it is in `.info`.

    Args:
        path: a video file, or a folder of images of one size (read in the order of their names).
        max_side: longest side of the delivered frames in pixels, at least 32; larger frames are reduced, aspect kept.
        image_fps: frames per second of a folder of images.

    Returns:
        A reader to iterate. A clip that is damaged further on delivers its good frames and then ends, with `.warning`
        set.

    Raises:
        VideoError: for a path that does not exist, an empty file, a file that is no video or is damaged from the start,
            has no picture, no frame that can be decoded, or frames with a side below 32 pixels. Later, while iterating:
            an image of a folder that cannot be read or has another size than the first.
    """
    path = Path(path)
    if max_side is not None and max_side < MIN_SIDE_PX:
        raise VideoError(f"max_side is {max_side}; allowed are whole numbers from {MIN_SIDE_PX}, or None")
    if not image_fps > 0:
        raise VideoError(f"image_fps is {image_fps}; allowed are numbers above 0")
    if not path.exists():
        raise VideoError(f"{path}: there is no such file; allowed is {READABLE}")
    if path.is_dir():
        return VideoReader(path, probe_images(path, max_side, image_fps))
    _check_file(path)
    # An absolute path, so that FFmpeg does not take a colon in a name for a protocol.
    path = path.resolve()
    header = inspect_container(path)
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


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise VideoError(f"{path}: is neither a file nor a folder; allowed is {READABLE}")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise VideoError(f"{path}: an empty file (0 bytes); allowed is {READABLE}")
    # A playlist would make FFmpeg open other files, or addresses, that it names.
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(_PLAYLISTS):
        raise VideoError(f"{path}: is a playlist or a text, not a video; allowed is {READABLE}")


def _has_pyav() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def prefetch(iterable: Iterable[T], depth: int = 8) -> Generator[T, None, None]:
    """Iterates in a background thread, at most `depth` items ahead of the consumer.

    The iterator is made, advanced and closed in that thread, so a decoder never changes threads. What it raises is
    raised here, after the items before it. When the consumer stops (break, `close()`, an exception), the thread stops
    after the item it is at.

    Args:
        iterable: what to iterate, for example a `VideoReader`.
        depth: items waiting at most, from 1.

    Raises:
        ValueError: for a depth below 1.
    """
    if depth < 1:
        raise DWNetError(f"depth is {depth}; allowed are whole numbers from 1")
    return _prefetch(iterable, depth)


def _prefetch(iterable: Iterable[T], depth: int) -> Generator[T, None, None]:
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def work() -> None:
        try:
            iterator = iter(iterable)
            try:
                for item in iterator:
                    if stop.is_set():
                        return
                    ready.put(("item", item))
                    if stop.is_set():
                        return
            finally:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()
            ready.put(("end", None))
        except BaseException as error:  # handed on, whatever it is: the consumer raises it
            ready.put(("error", error))

    thread = threading.Thread(target=work, name="dwnet-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if isinstance(value, BaseException) and kind == "error":
                raise value
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        # The thread may be waiting for room; once there is some, it puts at most one item more and sees `stop`.
        with contextlib.suppress(queue.Empty):
            while True:
                ready.get_nowait()
        # Bounded, for an iterable that waits for ever; its thread is a daemon.
        thread.join(_STOP_SECONDS)
