"""Class IoU of a method in training, over all processes."""

from collections.abc import Callable
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, send_to_device
from torch.utils.data import Dataset, Subset

from dwnet.data.open import FrameData
from dwnet.metrics import SegmentationMeter, SegmentationResult
from train.engine.batches import loader_of, stop_workers
from train.engine.build import unwrapped


@torch.no_grad()
def evaluate(
    wrapped: torch.nn.Module,
    data: FrameData,
    accelerator: Accelerator,
    *,
    workers: int,
    after_frame: Callable[[], None],
    frames: int | None = None,
) -> SegmentationResult:
    """Returns class IoU over the frames of `data`, each counted once. Collective: every process must call it.

    Args:
        wrapped: `Method` from `accelerator.prepare`. It is put into evaluation mode.
        data: whole frames, of any sizes.
        accelerator: device, processes and precision.
        workers: loader processes.
        after_frame: called after each frame of this process; may raise to stop.
        frames: number of frames, from the first on; None takes all.
    """
    method = unwrapped(wrapped, accelerator).eval()
    for buffer in method.buffers():  # without synchronised batch norm each process has its own statistics
        broadcast(buffer)
    # Each process has its own frames. Their numbers may differ, because only the confusion matrices are summed.
    count = len(data) if frames is None else min(frames, len(data))
    mine: Subset[Any] = Subset(
        cast(Dataset[Any], data), range(accelerator.process_index, count, accelerator.num_processes)
    )
    loader = loader_of(mine, workers=workers, batch_size=1)
    meter = SegmentationMeter(len(data.classes.classes))
    try:
        for batch in loader:
            batch = send_to_device(batch, accelerator.device)
            with accelerator.autocast():
                predicted = method.predict(batch).argmax(dim=1)
            meter.update(predicted.cpu(), batch["labels"].cpu())
            after_frame()
    finally:
        stop_workers(loader)
    counts = {name: torch.from_numpy(array).to(accelerator.device) for name, array in meter.state().items()}
    total = SegmentationMeter(meter.num_classes)
    total.merge({name: array.cpu().numpy() for name, array in accelerator.reduce(counts, "sum").items()})
    return total.compute()
