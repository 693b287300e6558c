"""Writes frames of a video as image files, by number. Training reads frames in random order; videos do not allow it."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.files import atomic_write
from dwnet.data.pairs import DataError
from dwnet.video import DecodedFrame, ExactVideo, VideoError

JPEG_QUALITY = 95
_ALLOWED = "a video file that FFmpeg decodes"


def decode(video: Path, count: int, warn: Callable[[str], None] | None = None) -> Iterator[DecodedFrame]:
    """Yields the first `count` frames of a video in display order, turned upright.

    `warn` is called at the end with what is out of the ordinary in them, for example frames that lack the key frame
    before them. The video is decoded from the start: counting frames is exact in every container, seeking is not.

    Raises:
        DataError: for a file that is no video, or a frame that cannot be decoded.
    """
    try:
        frames = ExactVideo(video, allowed=_ALLOWED, strict=False)
        yield from islice(frames, count)
    except VideoError as error:
        raise DataError(str(error)) from error
    if warn is not None and frames.warning is not None:
        warn(frames.warning)


def extract(video: Path, targets: Mapping[int, Path], warn: Callable[[str], None] | None = None) -> int:
    """Writes frames of a video as JPEG files, each atomically.

    Args:
        video: a video file.
        targets: the file to write for each frame number, counted from 0. The folders must exist.
        warn: called with what is out of the ordinary in the video.

    Returns:
        The number of frames written. Frames beyond the end of the video are skipped.

    Raises:
        DataError: for a file that is no video, or a frame that cannot be decoded or encoded.
    """
    written = 0
    for frame in decode(video, max(targets, default=-1) + 1, warn):
        if frame.index in targets:
            write_jpeg(targets[frame.index], frame.image())
            written += 1
    return written


def write_jpeg(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes (H, W, 3) uint8 RGB as a JPEG file, atomically.

    Raises:
        DataError: if the image cannot be encoded.
    """
    quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    if not encoded:
        raise DataError(f"{path}: the frame of {image.shape[1]} x {image.shape[0]} pixels could not be encoded as JPEG")
    with atomic_write(path) as temporary:
        temporary.write_bytes(data.tobytes())
