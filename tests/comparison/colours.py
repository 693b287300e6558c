"""Clips with known labels: the tiny baseline labels each pixel by its strongest colour."""

from pathlib import Path

import numpy as np

from dwnet.comparison import (
    ComparedFrame,
    Networks,
    compare,
)

FRAMES = 6


def coloured(frame: np.ndarray, colour: int) -> np.ndarray:
    """Returns the frame with one channel raised, so that the tiny baseline labels every pixel `colour`."""
    tinted = frame.copy()
    tinted[..., colour] += 20
    return tinted


def run(clip: Path, networks: Networks, folder: Path, **settings: object) -> list[ComparedFrame]:
    return list(compare(clip, networks, output_dir=folder, **settings))  # type: ignore[arg-type]
