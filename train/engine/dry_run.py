"""`--dry-run`: runs every part of a run once, to find errors and estimate its time before a long training."""

import math
import tempfile
import time
from itertools import islice
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from dwnet.core.temporary import temporary_folder
from dwnet.deploy.checkpoint import load_checkpoint
from train.engine.batches import stop_workers
from train.engine.evaluation import evaluate
from train.engine.loop import Trainer

STEPS = 2
"""Optimiser steps: the first one warms up, the second one is timed."""

SAMPLES = 4
"""Number of samples that are read in sequence to time a loader's worker, after one warm-up sample."""


def dry_run(trainer: Trainer) -> str:
    """Takes two steps, evaluates a frame for each process, and writes and reads a checkpoint in a temporary folder.

    Returns:
        The report, in lines.

    Raises:
        TrainingError: if the loss is not finite.
        DataError: if a file of the data set is wrong.
    """
    accelerator, recipe = trainer.accelerator, trainer.recipe
    accelerator.print(trainer.summary(), flush=True)
    first, step_seconds, waited = _steps(trainer)
    loader = _loader(trainer, step_seconds - waited)
    for _ in range(2):  # the first one also warms up
        start = time.perf_counter()
        evaluate(
            trainer.method,
            trainer.val_data,
            accelerator,
            workers=0,
            after_frame=lambda: None,
            frames=accelerator.num_processes,
        )
        frame_seconds = time.perf_counter() - start
    size = _checkpoint_mib(trainer) if accelerator.is_main_process else 0.0
    accelerator.wait_for_everyone()

    evaluations = -(-recipe.epochs // recipe.evaluate_every)
    frames = -(-len(trainer.val_data) // accelerator.num_processes)
    hours = (trainer.iterations * step_seconds + evaluations * frames * frame_seconds) / 3600
    return "\n".join(
        [
            f"first step {first:.2f} s, then {step_seconds:.2f} s a step, of which {waited:.2f} s waiting for data",
            loader,
            f"a frame of val {frame_seconds:.2f} s; a checkpoint {size:.0f} MiB, written and read again",
            f"memory {_memory(accelerator.device)}",
            f"the whole run: about {hours:.1f} h, {trainer.iterations} steps and {evaluations} evaluations of "
            f"{len(trainer.val_data)} frames",
            "nothing was left behind",
        ]
    )


def _steps(trainer: Trainer) -> tuple[float, float, float]:
    """Returns the seconds of the first step, of the last step, and of waiting for data in the last step."""
    trainer.begin_epoch()
    seconds: list[float] = []
    waits: list[float] = []
    wait, begin = 0.0, time.perf_counter()
    mark = begin
    for index, batch in enumerate(islice(trainer.loader, STEPS * trainer.accumulation)):
        wait += time.perf_counter() - mark
        trainer.train_batch(batch, index % trainer.accumulation)
        if trainer.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        mark = time.perf_counter()
        if (index + 1) % trainer.accumulation == 0:
            seconds.append(mark - begin)
            waits.append(wait)
            wait, begin = 0.0, mark
    stop_workers(trainer.loader)
    return seconds[0], seconds[-1], waits[-1]


def _loader(trainer: Trainer, network_seconds: float) -> str:
    """Returns a line with the time of a sample and the number of workers that a step of `network_seconds` needs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        indices = [index % len(trainer.train_data) for index in range(SAMPLES + 1)]
        trainer.train_data[indices[0]]
        start = time.perf_counter()
        for index in indices[1:]:
            trainer.train_data[index]
        sample_seconds = (time.perf_counter() - start) / SAMPLES
    finally:
        torch.set_num_threads(threads)
    samples = trainer.recipe.batch_size / trainer.accelerator.num_processes
    needed = math.ceil(sample_seconds * samples / max(network_seconds, 1e-9))
    return (
        f"a sample {1000 * sample_seconds:.1f} ms to read and augment: {needed} loader process(es) keep up with the "
        f"network, --data.workers is {trainer.recipe.data.workers}"
    )


def _checkpoint_mib(trainer: Trainer) -> float:
    """Writes and reads a checkpoint; returns its size in MiB."""
    with temporary_folder(Path(tempfile.gettempdir()), "dry-run") as folder:
        path = folder / "last.pt"
        trainer.checkpoint().save(path)
        load_checkpoint(path).build()
        return path.stat().st_size / 2**20


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB at most, of each GPU"
    return f"{psutil.Process().memory_info().rss / 2**30:.1f} GiB, of each process, without its loader's workers"
