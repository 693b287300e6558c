"""Rank, world size and CPU threads of this process, from the launcher's environment variables."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dwnet.core.errors import DWNetError


@dataclass(frozen=True)
class Processes:
    """Rank of this process and number of processes of a launch."""

    rank: int
    """Index of this process, from 0."""
    count: int
    """Number of processes (the world size)."""

    @classmethod
    def of_launcher(cls) -> Processes:
        """Reads RANK and WORLD_SIZE, which `accelerate launch` and `torchrun` set. Defaults: 0 and 1.

        Raises:
            DWNetError: if they are not whole numbers with RANK below WORLD_SIZE.
        """
        rank, count = (os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
        if not rank.isdigit() or not count.isdigit() or int(rank) >= int(count):
            raise DWNetError(f"RANK is {rank!r} and WORLD_SIZE {count!r}; allowed are whole numbers, RANK < WORLD_SIZE")
        return cls(int(rank), int(count))


ALONE = Processes(0, 1)
"""A single process."""


def available_cpus() -> int:
    """Returns the number of CPUs that this process may use. A container can allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(processes: Processes) -> int:
    """Returns the CPU threads for this process: the available CPUs divided by the processes on this machine."""
    here = os.environ.get("LOCAL_WORLD_SIZE", str(processes.count))
    if not here.isdigit() or int(here) < 1:
        raise DWNetError(f"LOCAL_WORLD_SIZE is {here!r}; allowed are whole numbers from 1")
    return max(1, available_cpus() // int(here))
