"""Which process of a launch this one is, and what of the machine is its: no launcher is imported for it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dwnet.core.errors import DWNetError


@dataclass(frozen=True)
class Processes:
    """This process among those of a launch."""

    rank: int
    count: int

    @classmethod
    def of_launcher(cls) -> Processes:
        """What `accelerate launch` and `torchrun` say in the environment; alone without them."""
        rank, count = (os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
        if not rank.isdigit() or not count.isdigit() or int(rank) >= int(count):
            raise DWNetError(f"RANK is {rank!r} and WORLD_SIZE {count!r}; allowed are whole numbers, RANK the smaller")
        return cls(int(rank), int(count))


ALONE = Processes(0, 1)


def available_cpus() -> int:
    """How many CPUs this process may use; a container may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(processes: Processes) -> int:
    """CPU threads for each process of a machine."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes.count))
    return max(1, available_cpus() // here)
