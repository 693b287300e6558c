"""The frames of each step: the order of an epoch, and the loader."""

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Sampler

SHARED_MEMORY = Path("/dev/shm")
"""Where PyTorch's workers put their batches."""
_BATCHES_AHEAD = 2
_BYTES_PER_PIXEL = 12 + 8
"""Of a sample, at least: a float32 image and int64 labels. Pairs hold more."""


class EpochOrder(Sampler[int]):
    """A random order of the data set for each epoch, a function of (seed, epoch). It can start at any step.

    Frames after the last full batch are left out, so that an epoch is a whole number of steps for any number of
    processes and accumulated batches.

    Args:
        length: frames in the data set.
        batch_size: frames of a step, over all processes.
        seed: of the order, 0 or above.

    Raises:
        ValueError: if there is no full batch.
    """

    def __init__(self, length: int, *, batch_size: int, seed: int) -> None:
        if batch_size > length:
            raise ValueError(f"batch_size is {batch_size}, allowed are 1 to {length}, the frames of the data set")
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.steps = length // batch_size
        self.epoch, self.first_step = 0, 0

    def begin(self, epoch: int, first_step: int) -> None:
        """Makes the next iteration that of `epoch`, starting at its step `first_step`."""
        self.epoch, self.first_step = epoch, first_step

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        return iter(order[self.first_step * self.batch_size : self.steps * self.batch_size])

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.batch_size


def batch_per_process(batch_size: int, *, processes: int, accumulation: int) -> int:
    """Returns the number of frames in one batch of one process.

    Args:
        batch_size: frames of a step, over all processes and accumulated batches.
        processes: number of processes.
        accumulation: accumulated batches of a step.

    Raises:
        ValueError: if the step does not divide evenly.
    """
    share, rest = divmod(batch_size, processes * accumulation)
    if rest:
        raise ValueError(
            f"batch_size is {batch_size}, allowed are multiples of {processes * accumulation} "
            f"({processes} processes x {accumulation} accumulated batches)"
        )
    return share


def training_loader(data: Any, order: EpochOrder, *, batch_size: int, workers: int, pin: bool) -> DataLoader:
    """Returns the loader of one process: `batch_size` frames at a time, in `order`."""
    return loader_of(data, batch_size=batch_size, sampler=order, workers=workers, pin_memory=pin, drop_last=True)


def check_shared_memory(workers: int, batch: int, crop: tuple[int, int]) -> None:
    """Raises ValueError if the batches that the workers prepare cannot fit into shared memory.

    Each worker prepares two batches. What is seen only later is an error of `shared_memory_problem`.

    Args:
        workers: loader processes of this process.
        batch: samples of a batch.
        crop: height and width of a sample, in pixels.
    """
    if workers == 0 or not SHARED_MEMORY.is_dir():
        return
    needed = workers * _BATCHES_AHEAD * batch * crop[0] * crop[1] * _BYTES_PER_PIXEL
    usage = shutil.disk_usage(SHARED_MEMORY)
    if needed > usage.free:
        raise ValueError(
            f"{SHARED_MEMORY} has {usage.free / 1e6:.0f} MB free, the loader's {workers} workers need "
            f"{needed / 1e6:.0f} MB; allowed are more shared memory (docker run --shm-size 8g), fewer workers, or none "
            "(--data.workers 0)"
        )


def shared_memory_problem(error: RuntimeError) -> str | None:
    """Returns the message for an error of loader workers that ran out of shared memory; None for another error."""
    if re.search(r"out of shared memory|shared memory object|</torch_\S*>", str(error)) is None:
        return None
    size = f", {shutil.disk_usage(SHARED_MEMORY).total / 1e6:.0f} MB" if SHARED_MEMORY.is_dir() else ""
    return (
        f"the loader's workers ran out of shared memory ({SHARED_MEMORY}{size}); allowed are more shared memory "
        "(docker run --shm-size 8g) or no workers (--data.workers 0)"
    )


def loader_of(data: Any, *, workers: int, **options: Any) -> DataLoader:
    """Returns a loader whose workers stay alive between epochs and may use OpenCV.

    Sets OpenCV to one thread, in this process too, because the workers occupy all cores. The workers inherit the
    setting. A worker must not set it itself: it would wait forever for threads that exist only in the parent.

    Args:
        data: a data set.
        workers: loader processes; 0 reads in this process.
        options: of `DataLoader`.
    """
    cv2.setNumThreads(1)
    return DataLoader(
        data,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=leave_signals_to_the_parent,
        **options,
    )


def stop_workers(loader: Any) -> None:
    """Ends the persistent workers of a loader, prepared or not.

    Workers ignore SIGTERM, and a Python process waits for its child processes at exit. The workers must therefore be
    stopped explicitly.
    """
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()


def leave_signals_to_the_parent(_: int) -> None:
    """A loader's `worker_init_fn`: workers ignore SIGTERM and SIGINT.

    Job schedulers, terminals and `accelerate launch` signal whole process groups. The parent needs its workers to
    finish the step and save.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
