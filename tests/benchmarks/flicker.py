"""Speed and memory of `dwnet flicker`, from files to reports.

    python tests/benchmarks/flicker.py

Speed: 480 x 360, H.264, two sets of label PNGs, the whole command in a separate process. Wall time needs an idle
machine. Processor time per frame gives the best speed of two idle CPUs. Memory: peak of the process with 1,000 and with
10,000 small frames. --quick uses a few frames.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import tyro

from dwnet.video import VideoWriter

COMMAND = "import tyro; from dwnet.cli.flicker import flicker; tyro.cli(flicker)"


def make_clip(path: Path, frames: int, width: int, height: int) -> None:
    """Writes a clip of a texture that moves back and forth by 2 px per frame."""
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(0, 256, (height // 6, width // 4, 3)).astype(np.uint8), (width + 400, height))
    with VideoWriter(path, fps=25, size=(width, height)) as writer:
        for index in range(frames):
            left = abs(200 - (2 * index) % 400)
            writer.write(texture[:, left : left + width])


def make_labels(frames: int, width: int, height: int, seed: int) -> np.ndarray:
    """(frames, H, W) uint8: nineteen classes in patches. Some patches change from frame to frame."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 19, (height // 24, width // 24))
    out = np.empty((frames, height, width), np.uint8)
    for ids in out:
        now = np.where(rng.random(patches.shape) < 0.03, rng.integers(0, 19, patches.shape), patches).astype(np.uint8)
        ids[:] = cv2.resize(now, (width, height), interpolation=cv2.INTER_NEAREST)
    return out


def write_labels(folder: Path, labels: np.ndarray) -> Path:
    """Writes one PNG for each frame; returns the folder."""
    folder.mkdir()
    for index, ids in enumerate(labels):
        cv2.imwrite(str(folder / f"{index:06d}.png"), ids)
    return folder


def run(*arguments: object) -> tuple[float, float, float]:
    """Runs the command in a separate process; returns wall seconds, processor seconds and peak memory in MB."""
    start = time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"dwnet flicker ended with {status}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def speed(folder: Path, frames: int) -> None:
    """Prints the frames per second of both DIS presets."""
    make_clip(folder / "clip.mp4", frames, 480, 360)
    for name in ("a", "b"):
        write_labels(folder / name, make_labels(frames, 480, 360, ord(name)))
    empty, empty_cpu, _ = run("--help")
    print(f"480 x 360, {frames} frames, two sets of PNGs; starting Python takes {empty:.1f} s of it\n")
    print("| flow | frames/s, wall | without start | processor ms/frame | at best on 2 CPUs, frames/s |")
    print("|---|---|---|---|---|")
    for flow in ("dis_fast", "dis"):
        wall, cpu, _ = run(
            folder / "clip.mp4", folder / "a", folder / "b", "--flow", flow, "--output", folder / f"out {flow}"
        )
        each = 1000 * (cpu - empty_cpu) / frames
        cells = (frames / wall, frames / (wall - empty), each, 2000 / each)
        print(f"| {flow} | {' | '.join(f'{cell:.1f}' for cell in cells)} |", flush=True)


def memory(folder: Path, counts: tuple[int, ...]) -> None:
    """Prints the peak memory for each number of frames."""
    print("\n| frames of 160 x 120 | peak MB | frames/s |\n|---|---|---|")
    for frames in counts:
        make_clip(folder / f"{frames}.mp4", frames, 160, 120)
        # PNG files instead of one array: pages of a memory-mapped file count as memory of the process.
        sets = [write_labels(folder / f"{frames}_{seed}", make_labels(frames, 160, 120, seed)) for seed in (0, 1)]
        wall, _, peak = run(folder / f"{frames}.mp4", *sets, "--flow", "dis_fast", "--output", folder / f"out {frames}")
        print(f"| {frames:,} | {peak:.0f} | {frames / wall:.0f} |", flush=True)


def main(frames: tyro.conf.Positional[int] = 1500, quick: bool = False) -> None:
    """Prints both tables.

    Args:
        frames: number of frames for the speed.
        quick: use a few frames, to check that the benchmark runs.
    """
    with tempfile.TemporaryDirectory() as folder:
        speed(Path(folder), 10 if quick else frames)
        memory(Path(folder), (10, 20) if quick else (1_000, 10_000))


if __name__ == "__main__":
    tyro.cli(main)
