"""Types of clips: errors, frames, facts of a clip, and allowed sizes."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError

MIN_SIDE_PX = 32
"""Smallest height or width that is read. The networks need it, and decoders pad smaller frames wrongly."""
READABLE = "a video that FFmpeg decodes (MP4, MOV, MKV, WebM, AVI, GIF, ...) or a folder of images"


class VideoError(DWNetError):
    """A clip that cannot be read or written. The message names the file, what was found and what is allowed."""


class DecoderError(Exception):
    """An error while decoding. Callers turn it into a VideoError that names the file."""


Decoder = Literal["pyav", "decord"]
"""Who decodes the pixels of a video file. With decord, FFmpeg (PyAV) checks every frame."""


@dataclass(frozen=True)
class VideoInfo:
    """Facts of a clip. Sizes are those of the upright frames."""

    width: int
    """In pixels, after `max_side`."""
    height: int
    """In pixels, after `max_side`."""
    fps: float
    """Average frames per second."""
    frames: int | None
    """Number of frames according to the file, an estimate; None if unknown."""
    duration_seconds: float | None
    """Duration in seconds; None if unknown."""
    reader: Literal["pyav", "decord", "images"]
    """The decoder of the clip."""
    codec: str | None
    """Name of the codec, for example ``h264``; None if unknown."""
    source_width: int
    """In pixels, before `max_side`."""
    source_height: int
    """In pixels, before `max_side`."""


@dataclass(frozen=True)
class VideoFrame:
    """One upright frame of a clip."""

    index: int
    """0, 1, 2, ... in display order."""
    pts_seconds: float
    """Presentation time, in seconds since the first frame. It increases from frame to frame."""
    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""


def target_size(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """Returns (width, height) with the longer side reduced to `max_side`, aspect kept; frames are never enlarged."""
    longest = max(width, height)
    if max_side is None or longest <= max_side:
        return width, height
    return tuple(max(round(side * max_side / longest), 2) for side in (width, height))  # type: ignore[return-value]


def check_side(path: Path, width: int, height: int) -> None:
    """Raises VideoError if a side is shorter than `MIN_SIDE_PX`."""
    if min(width, height) < MIN_SIDE_PX:
        raise VideoError(f"{path}: frames are {width}x{height} pixels; allowed are sides of at least {MIN_SIDE_PX}")


def one_line(error: BaseException) -> str:
    """Returns the first line of a decoder's message, without the position in the decoder's source."""
    message = getattr(error, "strerror", None) or str(error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    text = re.sub(r"^\[[^\]]*\]\s*\S+:\d+:\s*", "", lines[0]) if lines else type(error).__name__
    return text[:200]
