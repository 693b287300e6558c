"""Which process of a launch this one is; no launcher is imported for it."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Processes:
    """This process among those of a launch."""

    rank: int
    count: int

    @classmethod
    def of_launcher(cls) -> "Processes":
        """What `accelerate launch` and `torchrun` say in the environment; alone without them."""
        rank, count = (os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
        if not rank.isdigit() or not count.isdigit() or int(rank) >= int(count):
            raise ValueError(f"RANK is {rank!r} and WORLD_SIZE {count!r}; allowed are whole numbers, RANK the smaller")
        return cls(int(rank), int(count))


ALONE = Processes(0, 1)
