"""How fast the street is rendered: RGB, labels and the flow to the frame before, one frame after another, on one core.

    taskset -c 0 python tests/benchmarks/street.py

Process CPU time beside wall-clock time; the smallest decile is nearest to what a quiet machine needs. A pair for
training takes two frames and one flow, and shares nothing with the pair before it. --quick takes seconds.
"""

import os
import time
from collections.abc import Callable

import cv2
import numpy as np
import tyro

from dwnet.data.street import LOOKS, StreetScene


def timed(run: Callable[[int], object], frames: range) -> tuple[list[float], list[float]]:
    """(CPU, wall-clock) milliseconds of each frame."""
    cpu, wall = [], []
    for t in frames:
        began, began_cpu = time.perf_counter(), time.process_time()
        run(t)
        cpu.append(1000 * (time.process_time() - began_cpu))
        wall.append(1000 * (time.perf_counter() - began))
    return cpu, wall


def row(name: str, cpu: list[float], wall: list[float]) -> str:
    """One line of the table."""
    values = [np.quantile(cpu, 0.1), np.median(cpu), np.median(wall)]
    return f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |"


def main(
    size: tuple[int, int] = (480, 360), frames: int = 60, looks: tuple[str, ...] = ("day", "night"), quick: bool = False
) -> None:
    """Print the table.

    Args:
        size: width and height, in pixels.
        frames: how many are timed of each.
        looks: of which looks.
        quick: three small frames.
    """
    cv2.setNumThreads(1)
    if quick:
        size, frames, looks = (160, 120), 3, ("day",)
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
    StreetScene(2, width=size[0], height=size[1])
    first = time.process_time() - began
    began = time.process_time()
    StreetScene(6, width=size[0], height=size[1])
    print(f"\nA street: {time.process_time() - began:.2f} s of CPU; the first of its textures {first:.1f} s.")


if __name__ == "__main__":
    tyro.cli(main)
