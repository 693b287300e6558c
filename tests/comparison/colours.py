"""Clips whose labels are known: the tiny baseline labels a pixel by its strongest colour."""

from pathlib import Path

import numpy as np

from dwnet.comparison import (
    ComparedFrame,
    Networks,
    compare,
)

FRAMES = 6


def coloured(frame: np.ndarray, colour: int) -> np.ndarray:
    """The frame with one channel raised everywhere: the tiny baseline labels every pixel `colour`."""
    tinted = frame.copy()
    tinted[..., colour] += 20
    return tinted


def run(clip: Path, networks: Networks, folder: Path, **settings: object) -> list[ComparedFrame]:
    return list(compare(clip, networks, output_dir=folder, **settings))  # type: ignore[arg-type]
