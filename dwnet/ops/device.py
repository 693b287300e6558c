"""The device that a process computes on."""

import os

import torch

from dwnet.core.launch import Processes


def device(processes: Processes) -> torch.device:
    """A GPU of its own for each process of a machine, as far as there are any; else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", processes.rank))
    return torch.device("cuda", local % torch.cuda.device_count())
