"""Helpers of the trainer's tests: a tiny CamVid, and recipes that train on it in seconds.

As a script under `accelerate launch` it runs the checks that need several processes.
"""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import gather_object
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from dwnet.deploy.checkpoint import Checkpoint, load_checkpoint
from dwnet.method import losses
from dwnet.method.training import BaselineMethod, Losses
from train.config.recipes import RECIPES
from train.config.spec import Recipe
from train.engine.loop import Interrupted, Trainer, TrainingError
from train.main import main
from train.monitoring.tracking import Tracking

REPOSITORY = Path(__file__).parents[2]
METHODS = ("baseline", "static_warp", "keyframe", "dwnet")
VOID, ROAD, CAR, SKY = 11, 3, 8, 0
TRAIN_NAMES = tuple(f"0006R0_f{930 + 30 * index:05d}" for index in range(13))
VAL_NAMES = ("0016E5_07959", "0016E5_07961", "0016E5_07963")

Command = Callable[..., int]


def write_camvid(root: Path, *, train: int = 13, uneven: bool = False) -> Path:
    """The 480x360 layout with frames of 96x64 px: a car on a road under a sky, the upper six rows void.

    `uneven` voids a different number of rows in each frame, so that crops have different numbers of labels.
    """
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (12, 3))
    for split, names in (("train", TRAIN_NAMES[:train]), ("val", VAL_NAMES)):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for index, name in enumerate(names):
            labels = np.full((64, 96), SKY, np.uint8)
            left = int(rng.integers(20, 60))
            labels[32:], labels[20:50, left : left + 24], labels[:6] = ROAD, CAR, VOID
            image = (palette[labels] + rng.normal(0, 12, (64, 96, 3))).clip(0, 255).astype(np.uint8)
            if uneven:
                labels[: 60 - 4 * index] = VOID
            assert cv2.imwrite(str(root / split / "images" / f"{name}.png"), image)
            assert cv2.imwrite(str(root / split / "labels" / f"{name}.png"), labels)
    return root


def tiny_options(root: Path, output: Path) -> list[str]:
    """Command line options that make a lite0 recipe tiny."""
    options = f"--root {root} --output {output} --data.crop 64 64 --data.workers 0 --network.channels 16"
    return (
        f"{options} --network.backbone test_efficientnet --backbone-weights none --batch-size 4 --log-every 1".split()
    )


def tiny_recipe(root: Path, output: Path, method: str = "baseline", **changes: Any) -> Recipe:
    """The same as a `Recipe`, of one epoch of three steps."""
    recipe = RECIPES[f"camvid_lite0_{method}"]
    data = replace(recipe.data, crop=(64, 64), scale=(1.0, 1.0), workers=0)
    network = replace(recipe.network, backbone="test_efficientnet", channels=16)
    recipe = replace(
        recipe,
        root=root,
        data=data,
        network=network,
        output=output,
        backbone_weights="none",
        batch_size=4,
        epochs=1,
        log_every=1,
    )
    return replace(recipe, **changes)


def forget_accelerate() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def fails(train: Command, capsys: pytest.CaptureFixture[str], *options: str, root: Path | None = None) -> str:
    """Runs a command that must fail; returns its one line of error."""
    capsys.readouterr()
    assert train(*options, **({} if root is None else {"root": root})) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("train/main.py: ")
    assert "\n" not in error
    return error


def plain(printed: str) -> str:
    """Removes tyro's boxes and line breaks, which fall within long words too, and all spaces."""
    return re.sub(r"[\s│╭╮╰╯─]+", "", printed)


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Returns the scalars of a run in TensorBoard: (step, value) by name."""
    accumulator = EventAccumulator(str(folder / "tracked/dwnet"))
    accumulator.Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


def assert_same_state(found: Checkpoint, expected: Checkpoint) -> None:
    """Asserts that weights, running statistics and momentum are equal bit for bit."""

    def tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
        state = checkpoint.training["optimiser"]["state"]
        momentum = {f"momentum {key}": value["momentum_buffer"] for key, value in state.items()}
        return checkpoint.weights | momentum

    left, right = tensors(found), tensors(expected)
    assert left.keys() == right.keys()
    assert [key for key in left if not torch.equal(left[key], right[key])] == []
    assert (found.iteration, found.epoch, found.metrics) == (expected.iteration, expected.epoch, expected.metrics)
    groups = [checkpoint.training["optimiser"]["param_groups"] for checkpoint in (found, expected)]
    assert groups[0] == groups[1]


def stop_at(monkeypatch: pytest.MonkeyPatch, iteration: int) -> None:
    """Sends SIGTERM to this process in the step that ends with `iteration` steps done."""
    step = Tracking.step

    def step_and_signal(self: Tracking, done: int, *rest: Any) -> None:
        step(self, done, *rest)
        if done == iteration:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Tracking, "step", step_and_signal)


def poison(monkeypatch: pytest.MonkeyPatch, frame: str, *, gradient_only: bool = False) -> None:
    """Makes the loss of batches with `frame` NaN, or only its gradient non-finite."""

    def poisoned(self: BaselineMethod, batch: dict[str, Any]) -> Losses:
        losses = forward(self, batch)
        if frame in batch["name"]:  # the square root of 0 has an infinite gradient
            zero = (0 * next(self.parameters())).square().sum()
            losses["total"] = losses["total"] + (zero.sqrt() if gradient_only else zero * float("nan"))
        return losses

    forward = BaselineMethod.forward
    monkeypatch.setattr(BaselineMethod, "forward", poisoned)


# Several processes


def launch(*command: str, output: Path) -> str:
    """Runs `accelerate launch` with two processes on the CPU; returns their output."""
    # Its own --cpu starts one process only, or needs MPI.
    options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    options += ["--dynamo_backend", "no", "--main_process_port", "0"]
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HOME": str(output / "hf")}
    launched = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *options, *command],
        cwd=REPOSITORY,
        env=os.environ | environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    return launched.stdout + launched.stderr


def launch_nodes(*command: str, output: Path) -> str:
    """Runs two launchers of one process each, as on two machines; returns their output.

    The processes connect through an address, as on real machines.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "2", "--mixed_precision", "no"]
    options += ["--dynamo_backend", "no", "--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "accelerate.commands.launch", *options, "--machine_rank", str(rank), *command],
            cwd=REPOSITORY,
            env=os.environ | environment | {"PYTHONPATH": str(REPOSITORY), "HF_HOME": str(output / f"hf{rank}")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        printed = [node.communicate(timeout=600)[0] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], printed
    return "".join(printed)


def freeze_norms(method: nn.Module) -> None:
    """Freezes batch norm, because batch statistics differ by process and SyncBatchNorm needs a GPU."""
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]


def gradient(recipe: Recipe, accumulation: int = 1) -> Tensor:
    """Returns the gradient of the first step, with frozen norms, over all processes, as one vector."""
    trainer = Trainer(recipe, Accelerator(gradient_accumulation_steps=accumulation))
    freeze_norms(trainer.method)
    trainer.optimiser.step = trainer.optimiser.zero_grad = lambda: None  # they would use it up
    trainer.begin_epoch()
    for index, batch in enumerate(islice(trainer.loader, accumulation)):
        trainer.train_batch(batch, index)
    gradients = [parameter.grad for parameter in trainer.method.parameters() if parameter.requires_grad]
    assert all(found is not None for found in gradients)
    return torch.cat([found.double().flatten() for found in gradients if found is not None])


def gradients(root: Path, output: Path) -> dict[str, Tensor]:
    """The gradient of each method."""
    return {method: gradient(tiny_recipe(root, output, method)) for method in METHODS}


def several_processes(root: Path, output: Path) -> None:
    """Runs all checks that need several processes. Process 0 writes the results to OUTPUT."""
    found: dict[str, Any] = {"gradients": gradients(root, output)}
    with pytest.MonkeyPatch.context() as patch:  # what a loss would be if each process divided by its own count
        patch.setattr(losses, "_shared_count", lambda count: count.clamp(min=1))
        found["mutated"] = gradients(root, output)

    # SIGTERM reaches the last process alone: all stop after the same step, and the resumed run is the same.
    for name in ("uninterrupted", "interrupted"):
        recipe = tiny_recipe(root, output, name=name)
        accelerator = Accelerator()
        accelerator.end_training = lambda: None  # type: ignore[method-assign]  # it ends the process group
        with pytest.MonkeyPatch.context() as patch:
            if name == "interrupted" and accelerator.is_last_process:
                stop_at(patch, 1)
            trainer = Trainer(recipe, accelerator)
            try:
                trainer.run()
            except Interrupted:
                found["stopped_at"] = accelerator.gather(torch.tensor([trainer.iteration])).tolist()
        if name == "interrupted":
            Trainer(recipe, accelerator, resume=True).run()

    # A frame of one process makes its loss infinite, or the gradient alone: both stop before that step.
    for fault in ("loss", "gradient"):
        trainer = Trainer(tiny_recipe(root, output, name=fault, checkpoint_every=1), accelerator)
        names = [trainer.train_data.frames[index].name for index in list(trainer.order)[4:8]]  # of the second step
        with pytest.MonkeyPatch.context() as patch:
            poison(patch, names[2], gradient_only=fault == "gradient")
            with pytest.raises(TrainingError) as error:
                trainer.run()
        found[fault] = {
            "names": names,
            "errors": gather_object([str(error.value)]),
            "finite": all(parameter.isfinite().all() for parameter in trainer.method.parameters()),
        }
    found["processes"] = accelerator.num_processes
    if accelerator.is_main_process:
        torch.save(found, output / "found.pt")


def run_command(arguments: list[str], log: Path) -> None:
    """Runs the command, with its output in `log`, and ends this process with its status."""
    torch.set_num_threads(1)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(main(arguments))


def save_until(path: Path, limit_bytes: int) -> None:
    """Saves a checkpoint again. The kernel kills this process when a file reaches `limit_bytes`."""
    checkpoint = load_checkpoint(path)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    replace(checkpoint, iteration=checkpoint.iteration + 1).save(path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    several_processes(Path(sys.argv[1]), Path(sys.argv[2]))
