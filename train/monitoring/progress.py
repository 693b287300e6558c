"""Content of a progress line: mean losses, speed, share of waiting for data, time left."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """Speed of training.

    Attributes:
        images_per_second: since the previous reading.
        wait_share: share of the time, 0..1, spent waiting for data since the previous reading.
        time_left: as H:MM:SS, at the mean speed since the start.
    """

    images_per_second: float
    wait_share: float
    time_left: str


class Clock:
    """Measures training time. Time between `step_done` and `start`, for evaluations and checkpoints, does not count.

    Args:
        now: clock in seconds, from any origin.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now, self._mark = now, now()
        self._waited, self._worked, self._images = 0.0, 0.0, 0
        self._all_seconds, self._all_images = 0.0, 0

    def start(self) -> None:
        """Starts to measure the waiting for a batch."""
        self._mark = self._now()

    def batch_came(self) -> None:
        """Ends the waiting for a batch and starts its step."""
        self._waited += self._lap()

    def step_done(self, images: int) -> None:
        """Ends the step on a batch of `images` images and starts the waiting for the next batch."""
        self._worked += self._lap()
        self._images += images

    def read(self, images_left: int) -> Reading:
        """Returns the speed since the previous reading; `images_left` is the number of images that remain."""
        seconds = max(self._waited + self._worked, 1e-9)
        self._all_seconds += seconds
        self._all_images += self._images
        left = round(images_left * self._all_seconds / max(self._all_images, 1))
        reading = Reading(
            self._images / seconds,
            self._waited / seconds,
            f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}",
        )
        self._waited, self._worked, self._images = 0.0, 0.0, 0
        return reading

    def _lap(self) -> float:
        before, self._mark = self._mark, self._now()
        return self._mark - before


class Means:
    """Means of named scalars since the previous reading. They are summed on their device, without synchronising it."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Adds one set of scalars, with the same names each time."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()
        self._count += 1

    def read(self) -> dict[str, Tensor]:
        """Returns the means and resets them."""
        means = {name: value / self._count for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means
