"""Frames of a video file by their numbers, as images on disk: training reads them at random, a video cannot."""

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.data.pairs import DataError

JPEG_QUALITY = 95


def decode(video: Path, count: int) -> Iterator[Any]:
    """Yield the first `count` frames of a video, as `av.VideoFrame`, in order of display.

    From the start, one by one: counting is exact in any container, seeking is not.

    Raises:
        DataError: the file is no video that can be decoded.
    """
    import av

    try:
        with av.open(str(video), metadata_errors="ignore") as container:
            if not container.streams.video:
                raise DataError(f"{video}: found no video stream; allowed is a video file")
            if container.streams.video[0].codec_context is None:
                raise DataError(f"{video}: coded in a way that FFmpeg has no decoder for")
            container.streams.video[0].thread_type = "AUTO"
            yield from islice(container.decode(video=0), count)
    except av.FFmpegError as error:
        raise DataError(f"{video}: cannot be decoded ({error.strerror}); allowed is a video file") from error


def extract(video: Path, targets: Mapping[int, Path]) -> int:
    """Write frames of a video as JPEG files; each file is written whole or not at all.

    Args:
        video: a video file.
        targets: the file of each frame, by its number from 0 on. Their folders exist.

    Returns:
        How many frames were written: those that lie beyond the video's end were not.

    Raises:
        DataError: as `decode`.
    """
    written = 0
    for number, frame in enumerate(decode(video, max(targets, default=-1) + 1)):
        if number in targets:
            write_jpeg(targets[number], frame.to_ndarray(format="rgb24"))
            written += 1
    return written


def write_jpeg(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H,W,3) uint8 RGB as JPEG, whole or not at all; `DataError` where it cannot be encoded."""
    quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    if not encoded:
        raise DataError(f"{path}: the frame of {image.shape[1]} x {image.shape[0]} pixels could not be encoded as JPEG")
    partial = path.with_name(f"{path.name}.partial")  # beside it, and no image by its name
    try:
        partial.write_bytes(data.tobytes())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
