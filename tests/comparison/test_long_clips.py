"""Memory of comparisons of long clips."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dwnet.video import VideoWriter

FRAMES, SHORT = 20_000, 500
MOST_MB = 100

PROGRAM = """
import resource, sys
import dwnet
networks = dwnet.load_networks(sys.argv[1], threads=1)
frames = dwnet.compare(sys.argv[2], networks, output_dir=sys.argv[3], limit=int(sys.argv[4]), player_mb=2)
print(sum(1 for _ in frames), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak_mb(models: Path, clip: Path, output: Path, frames: int) -> float:
    """Returns the peak memory of a process that compares the first frames of a clip."""
    arguments = [sys.executable, "-c", PROGRAM, *map(str, (models, clip, output, frames))]
    printed = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()
    assert int(printed[0]) == frames
    return float(printed[1])


@pytest.mark.slow
def test_a_long_clip_needs_no_more_memory_than_a_short_one(models: Path, tmp_path: Path) -> None:
    """The clip's frames would take 245 MB; its labels, flows and encoded frames several times as much."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64 + FRAMES // 50, 3)).astype(np.uint8)
    with VideoWriter(tmp_path / "long.mp4", fps=25, size=(64, 64), preset="ultrafast") as writer:
        for index in range(FRAMES):
            left = index // 50
            writer.write(noise[:, left : left + 64])
    short, long = (peak_mb(models, tmp_path / "long.mp4", tmp_path / "out", frames) for frames in (SHORT, FRAMES))
    assert long < short + MOST_MB, f"{short:.0f} MB for {SHORT} frames, {long:.0f} MB for {FRAMES}"
