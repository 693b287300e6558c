"""The device of a process."""

import os

import torch

from dwnet.core.launch import Processes


def device(processes: Processes) -> torch.device:
    """Returns the GPU of this process: local rank modulo number of GPUs; the CPU if there is no GPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", processes.rank))
    return torch.device("cuda", local % torch.cuda.device_count())
