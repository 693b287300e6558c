"""Builds the method that a recipe trains, and the accelerator."""

import ctypes
import os
from dataclasses import asdict, replace

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, ProjectConfiguration, TorchDynamoPlugin
from timm.layers import convert_sync_batchnorm
from torch import nn

from dwnet.core.classes import ClassSet
from dwnet.core.launch import available_cpus
from dwnet.deploy.checkpoint import Checkpoint, CheckpointError, load_checkpoint, load_weights
from dwnet.method.training import Method
from dwnet.segmentation import Segmenter
from train.config.spec import Recipe
from train.engine.class_balance import class_weights
from train.engine.optimiser import freeze_unused
from train.engine.stopping import launched
from train.monitoring.run_folder import changes
from train.monitoring.tracking import tracker_names

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of malloc.h


SUPPORTED = {kind for kind in DistributedType if kind.value == "NO" or kind.value.startswith("MULTI_")}
"""Kinds of distributed training in which each process holds all weights."""


def build_accelerator(recipe: Recipe, *, tracked: bool = True) -> Accelerator:
    """Returns the accelerator: Accelerate's own configuration, with the recipe's precision, compiler and trackers.

    On a CPU the processes share the cores if Accelerate's launcher started them with its default of one thread each.

    Args:
        recipe: with `precision` "no" or `compile` False, Accelerate's configuration decides.
        tracked: whether the recipe's trackers are set up.

    Raises:
        ValueError: for a tracker that is not available, and for a configuration that Accelerate would silently ignore.
    """
    folder = recipe.run_folder
    accelerator = Accelerator(
        mixed_precision=None if recipe.precision == "no" else recipe.precision,
        dynamo_plugin=TorchDynamoPlugin(backend="inductor") if recipe.compile else None,
        log_with=(tracker_names(recipe.trackers) if tracked else []) or None,
        project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "tracked")),
    )
    if accelerator.distributed_type not in SUPPORTED:
        raise ValueError(
            f"Accelerate is configured for {accelerator.distributed_type.value}, which may split the weights, but "
            "checkpoints need all weights; allowed are one process, and several that each have all weights (MULTI_GPU, "
            "MULTI_CPU, ...)"
        )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:
        raise ValueError(
            f"started as {started} processes that Accelerate does not join (it found no accelerators); "
            "for several processes on a CPU set ACCELERATE_USE_CPU=true"
        )
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError("precision fp16 needs a GPU, found the CPU alone; allowed here are no and bf16")
    if accelerator.device.type == "cpu":
        _use_cores(accelerator.num_processes)
        _keep_freed_memory()
    return accelerator


def _use_cores(processes: int) -> None:
    """Shares the cores among the processes if Accelerate's launcher set its default of a single thread for each."""
    if launched() and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(max(1, available_cpus() // processes))


def _keep_freed_memory() -> None:
    """Makes glibc keep memory that PyTorch frees, for the next step.

    Otherwise glibc gets the memory of each large tensor from the kernel, page by page, and returns it in every step
    (`tests/benchmarks/memory.py`).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # no glibc
        return
    for parameter, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28)):
        mallopt(parameter, value)


def build_method(recipe: Recipe, classes: ClassSet, accelerator: Accelerator, checkpoint: Checkpoint | None) -> Method:
    """Returns the method to train, with fresh weights from the recipe's seed or the weights of a checkpoint.

    Args:
        recipe: its method gets the class weights that `class_balance` gives.
        classes: of the data.
        accelerator: of the run.
        checkpoint: to resume from; its method replaces the recipe's. None starts afresh.

    Raises:
        ValueError: if network, method, crop and checkpoint do not fit each other.
    """
    torch.manual_seed(recipe.seed)
    fresh = checkpoint is None
    started = not fresh or recipe.start_from is not None
    segmenter = recipe.network.build(len(classes.classes), weights="none" if started else recipe.backbone_weights)
    if fresh and recipe.start_from is not None:
        found = None
        try:
            found = load_checkpoint(recipe.start_from)
            start_from(segmenter, found, classes)
        except CheckpointError as error:
            unlike = [] if found is None else changes(asdict(found.network), asdict(recipe.network))
            network = f"; network: {', '.join(unlike)}" if unlike else ""
            raise CheckpointError(f"start_from: {error}{network}") from error
    if any(side % segmenter.multiple for side in recipe.data.crop):
        raise ValueError(
            f"data.crop is {recipe.data.crop}, allowed are multiples of {segmenter.multiple} for this network"
        )
    if checkpoint is None:
        spec = replace(recipe.method, class_weights=class_weights(recipe, accelerator))
    else:
        spec = checkpoint.method
    method = spec.build(segmenter, load_flow=fresh)
    if checkpoint is not None:
        load_weights(method, checkpoint.weights, source=checkpoint.source)
    freeze_unused(method)
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":  # PyTorch has none for CPUs
        # timm's conversion: PyTorch's drops the activations in timm's norms (MobileNetV2, EfficientNet)
        method = convert_sync_batchnorm(method)
    return method.to(memory_format=torch.channels_last) if recipe.channels_last else method


def start_from(segmenter: Segmenter, checkpoint: Checkpoint, classes: ClassSet) -> None:
    """Loads the weights of a checkpoint's segmenter.

    If the classes differ, the classifier and the auxiliary head keep their own weights. An auxiliary head that only one
    of the two segmenters has is not loaded.

    Args:
        segmenter: of this library.
        checkpoint: of any method.
        classes: of the segmenter.

    Raises:
        CheckpointError: if the checkpoint has another network.
    """
    own, found = segmenter.state_dict(), checkpoint.build().segmenter.state_dict()
    apart = ("auxiliary.",) if checkpoint.classes.classes == classes.classes else ("auxiliary.", "classifier.")
    same = len(apart) == 1
    weights = {name: own[name] for name in own if name.startswith(apart)}
    weights |= {name: found[name] for name in found if not name.startswith(apart) or (same and name in own)}
    load_weights(segmenter, weights, source=checkpoint.source)


def unwrapped(method: nn.Module, accelerator: Accelerator) -> Method:
    """Returns the method without the compiled and distributed wrappers. Its weight names have no wrapper prefix."""
    return accelerator.unwrap_model(method, keep_torch_compile=False)
