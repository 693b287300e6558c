"""Encodes small clips whose pictures show their number, and changes their packets and bytes."""

import functools
import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FRAMES = 96, 64, 24
QUARTER_TURNS = {
    "upright": (1, 0, 0, 1),
    "clockwise": (0, 1, -1, 0),
    "half": (-1, 0, 0, -1),
    "anticlockwise": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside_down": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transversed": (0, -1, -1, 0),
}
"""Display matrices (a, b, c, d): the stored pixel (x, y) is shown at (a x + c y, b x + d y)."""


@functools.cache
def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Returns a picture with a moving square, noise that is fixed, and the index as six black or white bars below."""
    rng = np.random.default_rng(7)
    image = rng.integers(60, 190, (height, width, 3)).astype(np.uint8)
    left = (5 * index) % max(width - 16, 1)
    image[8:24, left : left + 16] = (230, 40, 30)
    bar = width // 6
    for bit in range(6):
        image[-12:, bit * bar : (bit + 1) * bar] = 235 if index >> bit & 1 else 16
    return image


def number_in(image: NDArray[np.uint8]) -> int:
    """Returns the index in a picture at any scale."""
    height, width = image.shape[:2]
    row = image[round(height - 6 * height / HEIGHT)].astype(int).mean(axis=1)
    return sum(int(row[int((bit + 0.5) * (width // 6))] > 125) << bit for bit in range(6))


@dataclass(frozen=True)
class Encoding:
    """How a clip is encoded."""

    codec: str = "libx264"
    pixels: str = "yuv420p"
    size: tuple[int, int] = (WIDTH, HEIGHT)
    frames: int = FRAMES
    first: int = 0
    """Index of the first picture."""
    rate: int = 25
    gop: int = 8
    ticks: Sequence[int] | None = None
    """Times of the frames in units of 1 / 1000 s; None for a constant rate."""
    options: tuple[tuple[str, str], ...] = ()
    format: str | None = None
    muxing: tuple[tuple[str, str], ...] = ()
    audio: bool = False
    shift: int = 0
    """Added to all times, in units of 1 / `rate` s."""
    attributes: tuple[tuple[str, Any], ...] = ()
    """Attributes of the codec context, for example ``color_range``."""


def encode(path: Path, how: Encoding) -> Path:
    """Writes a clip."""
    with av.open(str(path), "w", format=how.format, options=dict(how.muxing)) as container:
        add_video(container, how)
    return path


def add_video(container: Any, *hows: Encoding) -> None:
    streams = []
    for how in hows:
        stream = container.add_stream(how.codec, rate=how.rate)
        stream.width, stream.height, stream.pix_fmt = *how.size, how.pixels
        base = Fraction(1, 1000) if how.ticks else Fraction(1, how.rate)
        stream.time_base = stream.codec_context.time_base = base
        stream.options = dict(how.options) or ({"crf": "10", "threads": "1"} if how.codec == "libx264" else {})
        if how.gop:
            stream.codec_context.gop_size = how.gop
        for name, value in how.attributes:
            setattr(stream.codec_context, name, value)
        streams.append((stream, base, how))
    sound = (
        container.add_stream("aac" if container.format.name != "avi" else "mp2", rate=32000) if hows[0].audio else None
    )
    for index in range(max(how.frames for how in hows)):
        for stream, base, how in streams:
            if index < how.frames:
                image = picture((how.first + index) % 64, *how.size)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = (how.ticks[index] if how.ticks else index) + how.shift
                frame.time_base = base
                container.mux(stream.encode(frame))
        if sound is not None:
            add_sound(container, sound, index, hows[0].rate)
    for stream, _, _ in streams:
        container.mux(stream.encode(None))
    if sound is not None:
        container.mux(sound.encode(None))


def add_sound(container: Any, sound: Any, index: int, rate: int) -> None:
    size = 1152 if sound.codec_context.name == "mp2" else 1024
    for block in range(index * 32000 // rate // size, (index + 1) * 32000 // rate // size):
        layout, kind = "mono", "s16" if size == 1152 else "fltp"
        silence = np.zeros((1, size), np.int16 if size == 1152 else np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format=kind, layout=layout)
        frame.rate, frame.pts = 32000, block * size
        container.mux(sound.encode(frame))


@functools.cache
def encoded(suffix: str, how: Encoding) -> bytes:
    """Returns the bytes of a clip. Each clip is encoded once for each process."""
    with tempfile.TemporaryDirectory() as folder:
        return encode(Path(folder) / f"clip.{suffix}", how).read_bytes()


def remux(
    source: Path,
    target: Path,
    *,
    keep: Callable[[int, Any], bool] = lambda index, packet: True,
    change: Callable[[int, Any], None] = lambda index, packet: None,
    metadata: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
) -> Path:
    """Copies the packets of the first video stream that `keep` accepts, after `change`."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=muxing or {}) as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        copy.metadata.update(metadata or {})
        for index, packet in enumerate(old.demux(stream)):
            if packet.dts is None and packet.pts is None:
                continue
            if keep(index, packet):
                change(index, packet)
                packet.stream = copy
                new.mux(packet)
    return target


def with_matrix(data: bytes, matrix: Sequence[float]) -> bytes:
    """Returns an MP4 or MOV file with another display matrix in the header of its first track."""
    content = bytearray(data)
    start = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(entry * 65536) for entry in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return bytes(content)


def flipped(data: bytes, seed: int, start: float, stop: float, bits: int) -> bytes:
    """Returns the file with `bits` bits flipped between two fractions of its length."""
    rng = np.random.default_rng(seed)
    content = bytearray(data)
    for place in rng.integers(int(start * len(data)), max(int(stop * len(data)), 1), bits):
        content[place] ^= 1 << int(rng.integers(8))
    return bytes(content)
