"""Limits on the size of frames and on memory. They are checked before anything is decoded."""

import math
from dataclasses import dataclass
from pathlib import Path

from dwnet.core.errors import DWNetError
from dwnet.video._types import VideoError

DELIVERED_FRAMES = 10
"""Frames that wait for the consumer or are in use: eight in `prefetch`, and two in the consumer."""
_REFERENCE_FRAMES = 17
"""Frames that a decoder keeps: at most 16 references in H.264, HEVC and AV1, and the current frame."""
_INTRA_FRAMES = 2
_MB = 2**20


@dataclass(frozen=True)
class ClipLimits:
    """Limits of the clips that are read. A small file can hold huge frames.

    Raises:
        DWNetError: for a limit below 1.
    """

    max_pixels: int = 40_000_000
    """Largest number of pixels of a frame. The default allows 8192 x 4320."""
    max_memory_mb: int = 4096
    """Largest memory in MiB that the decoder and the frames it delivers may need, estimated from the header."""

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_memory_mb"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise DWNetError(f"{name} is {value!r}; allowed are whole numbers from 1")

    def check_pixels(self, path: Path, width: int, height: int) -> None:
        """Raises VideoError if a frame of width x height has too many pixels."""
        if width * height > self.max_pixels:
            raise VideoError(
                f"{path}: frames are {width}x{height} pixels, {_millions(width * height)}; allowed are "
                f"{_millions(self.max_pixels)} per frame (--max-pixels sets another limit)"
            )

    def check_memory(
        self, path: Path, width: int, height: int, *, bits: int, intra: bool, delivered: tuple[int, int]
    ) -> None:
        """Raises VideoError if reading needs too much memory.

        Args:
            path: the file, for the message.
            width: of the stored frames.
            height: of the stored frames.
            bits: bits per pixel of the decoder's frames.
            intra: whether the codec has key frames only, so that the decoder keeps no references.
            delivered: (width, height) of the delivered RGB frames.
        """
        kept = _INTRA_FRAMES if intra else _REFERENCE_FRAMES
        needed = width * height * (bits / 8 * kept + 2 * 3) + 3 * delivered[0] * delivered[1] * DELIVERED_FRAMES
        if needed > self.max_memory_mb * _MB:
            raise VideoError(
                f"{path}: frames of {width}x{height} pixels need about {math.ceil(needed / _MB)} MiB of memory; "
                f"allowed are {self.max_memory_mb} MiB (--max-memory-mb sets another limit; a smaller --max-side needs "
                "less)"
            )


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:.3g} million" if pixels >= 1_000_000 else str(pixels)


_default = ClipLimits()


def default_limits() -> ClipLimits:
    """Returns the limits of this process for calls that give none."""
    return _default


def set_default_limits(limits: ClipLimits) -> None:
    """Sets the limits of this process for calls that give none. Commands call it with the values of their options."""
    global _default
    _default = limits
