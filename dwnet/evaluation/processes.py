"""Communication between the processes of one evaluation, which `accelerate launch` or `torchrun` starts.

Each process counts one range of consecutive frames. Only integer counts are summed, so the result does not depend on
the number of processes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from dwnet.core.launch import Processes
from dwnet.data.sources import FramePlace
from dwnet.metrics import State

PATIENCE = timedelta(days=7)
"""Longest time that a process waits for the others. If one process dies, the launcher ends the others."""


@contextmanager
def joined(processes: Processes) -> Iterator[None]:
    """Context in which the launched processes can communicate. The backend is gloo, for counts and messages only."""
    if processes.count == 1:
        yield
        return
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def share(length: int, processes: Processes) -> range:
    """Returns this process's range of the frames 0..`length` - 1. The sizes of the ranges differ by at most one."""
    return range(length * processes.rank // processes.count, length * (processes.rank + 1) // processes.count)


def positions(frames: Sequence[FramePlace], max_gap: int) -> list[int]:
    """Returns, for each frame, the number of earlier frames in its run; 0 for the first frame of a run.

    Args:
        frames: the frames, in running order.
        max_gap: largest distance in raw frames of one sequence at which a frame continues the run.
    """
    found: list[int] = []
    for index, now in enumerate(frames):
        before = frames[index - 1] if index else None
        follows = before is not None and now.sequence == before.sequence and 0 < now.number - before.number <= max_gap
        found.append(found[-1] + 1 if follows else 0)
    return found


def sum_states(state: State, processes: Processes) -> State:
    """Returns the sum of the states of all processes, array by array. Collective: every process must call it."""
    if processes.count == 1:
        return state
    total = {}
    for name, array in state.items():
        tensor = torch.from_numpy(array.copy())
        dist.all_reduce(tensor)
        total[name] = tensor.numpy()
    return total


def raise_on_all_processes(error: Exception | None, processes: Processes) -> None:
    """Raises this process's error, or RuntimeError if another one failed. Collective: every process must call it."""
    if processes.count > 1:
        errors: list[str | None] = [None] * processes.count
        dist.all_gather_object(errors, None if error is None else f"{error}" or type(error).__name__)
        failed = [(rank, text) for rank, text in enumerate(errors) if text is not None]
        if error is None and failed:
            raise RuntimeError("process {}: {}".format(*failed[0]))
    if error is not None:
        raise error


def broadcast_from_first(value: Any, processes: Processes) -> Any:
    """Returns the value of the first process, in every process. Collective: every process must call it."""
    if processes.count == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]
