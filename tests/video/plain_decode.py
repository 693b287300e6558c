"""Decodes a clip with a plain loop over its packets. It shares no code with `dwnet.video`."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.video.clip_writer import QUARTER_TURNS


@dataclass
class PlainDecode:
    """All frames of a file as a plain loop over its packets gives them."""

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    """Upright RGB, at the size of the first frame."""
    times: list[float | None] = field(default_factory=list)
    """In seconds, as stored."""
    corrupt: int = 0
    """Number of frames that the decoder marks as corrupt."""
    errors: int = 0
    """Number of packets that the decoder refuses, and errors of the demuxer."""


def plain_decode(path: Path, *, turn: str = "upright", stream: int | None = None) -> PlainDecode:
    """Decodes a file packet by packet, and goes on after errors, as FFmpeg's command line does."""
    found = PlainDecode()
    # FFmpeg takes a percent sign in the name of a picture for a pattern.
    source = os.fdopen(os.open(path, os.O_RDONLY), "rb") if "%" in path.name else str(path.resolve())
    with av.open(source, metadata_errors="ignore") as container:
        chosen = container.streams[stream] if stream is not None else container.streams.video[0]
        # What a decoder puts in the place of lost data differs between one thread and several.
        chosen.codec_context.thread_count = 1
        packets = container.demux(chosen)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except (av.error.FFmpegError, OSError):
                found.errors += 1
                packet = None
            found.corrupt += packet is not None and packet.is_corrupt
            try:
                frames = chosen.codec_context.decode(packet)
            except av.error.EOFError:
                frames = []
            except (av.error.FFmpegError, OSError):
                found.errors += 1
                frames = []
            for frame in frames:
                size = (
                    {"width": found_size(found, turn)[0], "height": found_size(found, turn)[1]} if found.images else {}
                )
                found.images.append(_turned(frame.to_ndarray(format="rgb24", **size), turn))
                found.times.append(frame.time)
                found.corrupt += frame.is_corrupt
            if packet is None:
                break
    return found


def found_size(found: PlainDecode, turn: str) -> tuple[int, int]:
    """Returns the stored (width, height) of the first frame."""
    height, width = found.images[0].shape[:2]
    return (height, width) if QUARTER_TURNS[turn][0] == 0 else (width, height)


def _turned(image: NDArray[np.uint8], turn: str) -> NDArray[np.uint8]:
    """Moves every pixel to where the display matrix shows it."""
    a, b, c, d = QUARTER_TURNS[turn]
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    shown_x, shown_y = a * x + c * y, b * x + d * y
    shown_x, shown_y = shown_x - shown_x.min(), shown_y - shown_y.min()
    shown = np.empty((shown_y.max() + 1, shown_x.max() + 1, 3), np.uint8)
    shown[shown_y, shown_x] = image
    return shown
