"""One evaluation in several processes, as `accelerate launch` and `torchrun` start them.

Each process takes a run of frames of its own; only counts are summed, and these are whole numbers, so the result does
not depend on the number of processes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from dwnet.core.launch import Processes
from dwnet.data.open import FramePlace

PATIENCE = timedelta(days=7)
"""How long a process waits for the others; the launcher ends all when one of them dies."""


@contextmanager
def joined(processes: Processes) -> Iterator[None]:
    """Joins the launched processes for as long as it lasts, by gloo: only counts and messages are exchanged."""
    if processes.count == 1:
        yield
        return
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def share(length: int, processes: Processes) -> range:
    """Which of `length` frames in a row this process counts; the shares follow each other and differ by one at most."""
    return range(length * processes.rank // processes.count, length * (processes.rank + 1) // processes.count)


def positions(frames: Sequence[FramePlace], max_gap: int) -> list[int]:
    """How many frames before each one lead up to it; 0 for one that starts afresh.

    Args:
        frames: in the order they are run.
        max_gap: in raw frames of one sequence, up to which a frame follows the one before.
    """
    found: list[int] = []
    for index, now in enumerate(frames):
        before = frames[index - 1] if index else None
        follows = before is not None and now.sequence == before.sequence and 0 < now.number - before.number <= max_gap
        found.append(found[-1] + 1 if follows else 0)
    return found


def total(counts: NDArray[np.int64], processes: Processes) -> NDArray[np.int64]:
    """The sum of every process's counts, in each of them."""
    if processes.count == 1:
        return counts
    tensor = torch.from_numpy(counts.copy())
    dist.all_reduce(tensor)
    return tensor.numpy()


def raise_on_all_processes(error: Exception | None, processes: Processes) -> None:
    """Waits until every process is here; raises this process's error, or RuntimeError for another's."""
    if processes.count > 1:
        errors: list[str | None] = [None] * processes.count
        dist.all_gather_object(errors, None if error is None else f"{error}" or type(error).__name__)
        failed = [(rank, text) for rank, text in enumerate(errors) if text is not None]
        if error is None and failed:
            raise RuntimeError("process {}: {}".format(*failed[0]))
    if error is not None:
        raise error


def broadcast_from_first(value: Any, processes: Processes) -> Any:
    """The first process's value, in every process."""
    if processes.count == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]
