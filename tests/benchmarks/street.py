"""Speed of rendering the street on one core (RGB, labels and the flow to the previous frame), and of the data set with
its cache, epoch by epoch.

    taskset -c 0 python tests/benchmarks/street.py

The tables have CPU time of the process and wall-clock time. The lowest decile is closest to that of an idle machine.
A pair for training takes two frames and one flow, and shares nothing with other pairs. A sample of the data set is an
augmented pair; it makes three requests to the cache: frame, neighbour and flow. --quick takes seconds.
"""

import os
import tempfile
import time
from collections.abc import Callable

import cv2
import numpy as np
import tyro

from dwnet.data import Augmentation, PairDataset, StreetSource
from dwnet.street import LOOKS, StreetScene
from dwnet.street.cache import ArrayCache


def timed(run: Callable[[int], object], frames: range) -> tuple[list[float], list[float]]:
    """Returns the (CPU, wall-clock) milliseconds of each frame."""
    cpu, wall = [], []
    for t in frames:
        began, began_cpu = time.perf_counter(), time.process_time()
        run(t)
        cpu.append(1000 * (time.process_time() - began_cpu))
        wall.append(1000 * (time.perf_counter() - began))
    return cpu, wall


def row(name: str, cpu: list[float], wall: list[float]) -> str:
    """Returns one line of the table."""
    values = [np.quantile(cpu, 0.1), np.median(cpu), np.median(wall)]
    return f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |"


def cached_epochs(size: tuple[int, int], frames: int, epochs: int) -> None:
    """Prints a row for each epoch of a street, without a cache and with a cache that is empty at the start."""
    crop = (min(224, size[1]), min(224, size[0]))
    print(
        "\n| epoch | samples/s of CPU time, no cache | samples/s, cache | found in it % | its size MB |\n"
        "|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        cache = ArrayCache(folder, limit_bytes=10**10)
        for epoch in range(epochs):
            speeds = []
            hits, misses = cache.hits, cache.misses
            for kept in (None, cache):
                source = StreetSource("train", size=size[::-1], streets=1, frames_per_street=frames, cache=kept)
                augment = Augmentation(scale=(0.94, 1.5), crop=crop)
                data = PairDataset(source, neighbours="video", augment=augment)
                data.set_epoch(epoch)
                source.scene(source.frames[0].seed)
                began = time.process_time()
                for index in range(len(data)):
                    data[index]
                speeds.append(len(data) / (time.process_time() - began))
            hits, misses = cache.hits - hits, cache.misses - misses
            share, megabytes = 100 * hits / (hits + misses), cache.size_bytes() / 1e6
            print(f"| {epoch + 1} | {speeds[0]:.1f} | {speeds[1]:.1f} | {share:.0f} | {megabytes:.1f} |")


def main(
    size: tuple[int, int] = (480, 360),
    frames: int = 60,
    looks: tuple[str, ...] = ("day", "night"),
    cached_size: tuple[int, int] = (320, 240),
    epochs: int = 6,
    quick: bool = False,
) -> None:
    """Prints the tables.

    Args:
        size: width and height, in pixels.
        frames: number of frames to time for each look.
        looks: looks of the street.
        cached_size: width and height of the data set's frames.
        epochs: number of epochs of the data set.
        quick: use three small frames.
    """
    cv2.setNumThreads(1)
    if quick:
        size, frames, looks, cached_size, epochs = (160, 120), 3, ("day",), (160, 120), 3
    print(f"{size[0]} x {size[1]}, load of the machine {os.getloadavg()[0]:.1f}\n")
    print("| what | CPU ms, smallest decile | CPU ms, median | wall-clock ms, median |\n|---|---|---|---|")
    for look in looks:
        if look not in LOOKS:
            raise ValueError(f"no look named {look!r}; there are {', '.join(LOOKS)}")
        scene = StreetScene(1, width=size[0], height=size[1], look=look)
        scene.render(99)

        def frame(t: int, scene: StreetScene = scene) -> None:
            scene.render(t)
            scene.flow(t, -1)

        def pair(t: int, scene: StreetScene = scene) -> None:
            scene.render(7 * t)
            scene.render(7 * t + 3)
            scene.flow(7 * t, 3)
            scene.forget()

        print(row(f"{look}: frame, labels, flow", *timed(frame, range(100, 100 + frames))))
        print(row(f"{look}: pair", *timed(pair, range(10, 10 + frames))))
    began = time.process_time()
    StreetScene(4, width=size[0], height=size[1])
    first = time.process_time() - began
    began = time.process_time()
    StreetScene(8, width=size[0], height=size[1])
    print(f"\nA street: {time.process_time() - began:.2f} s of CPU; the first of its textures {first:.1f} s.")
    cached_epochs(cached_size, frames, epochs)


if __name__ == "__main__":
    tyro.cli(main)
