"""A tiny CamVid and recipes that train on it in seconds; and, run by `accelerate launch`, what test_train.py asks of
several processes."""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from train.loop import Interrupted, Trainer
from train.recipes import RECIPES
from train.spec import Recipe

VOID, ROAD, CAR, SKY = 11, 3, 8, 0
TRAIN_NAMES = tuple(f"0006R0_f{930 + 30 * index:05d}" for index in range(13))
VAL_NAMES = ("0016E5_07959", "0016E5_07961", "0016E5_07963")


def write_camvid(root: Path, *, train: int = 13) -> Path:
    """The 480x360 layout with frames of 96x64 px: a car on a road under a sky, the upper six rows void."""
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (12, 3))
    for split, names in (("train", TRAIN_NAMES[:train]), ("val", VAL_NAMES)):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for name in names:
            labels = np.full((64, 96), SKY, np.uint8)
            left = int(rng.integers(20, 60))
            labels[32:], labels[20:50, left : left + 24], labels[:6] = ROAD, CAR, VOID
            image = (palette[labels] + rng.normal(0, 12, (64, 96, 3))).clip(0, 255).astype(np.uint8)
            assert cv2.imwrite(str(root / split / "images" / f"{name}.png"), image)
            assert cv2.imwrite(str(root / split / "labels" / f"{name}.png"), labels)
    return root


def tiny_options(root: Path, output: Path) -> list[str]:
    """Command line options that make a lite0 recipe tiny."""
    options = f"--data.root {root} --output {output} --data.crop 64 64 --data.workers 0 --network.channels 16"
    return f"{options} --network.backbone mobilenetv2 --backbone-weights none --batch-size 4 --log-every 1".split()


def tiny_recipe(root: Path, output: Path, method: str = "baseline", **changes: Any) -> Recipe:
    """The same as a `Recipe`, of one epoch of three steps, whose 64-px crops all have the same number of labels."""
    recipe = RECIPES[f"camvid_lite0_{method}"]
    data = replace(recipe.data, root=root, crop=(64, 64), scale=(1.0, 1.0), workers=0)
    network = replace(recipe.network, backbone="mobilenetv2", channels=16)
    recipe = replace(
        recipe, data=data, network=network, output=output, backbone_weights="none", batch_size=4, epochs=1, log_every=1
    )
    return replace(recipe, **changes)


def freeze_norms(method: nn.Module) -> None:
    """Batch norm as a fixed affine map: its batch statistics are each process's own, and SyncBatchNorm needs a GPU."""
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]


def comparable_recipes(root: Path, output: Path) -> dict[str, tuple[Recipe, int]]:
    """Recipes whose gradient is a mean over the frames, however they are spread; and the batches to accumulate."""

    def recipe(name: str, method: str, **switches: Any) -> Recipe:
        made = tiny_recipe(root, output, method, name=name)
        # Without batch norm the usual rate diverges, and what diverges multiplies rounding errors.
        slow = replace(made.optimiser, rate=1e-3)
        return replace(made, optimiser=slow, method=replace(made.method, **switches))

    return {
        "baseline": (recipe("baseline", "baseline"), 1),
        "static_warp": (recipe("static_warp", "static_warp"), 1),
        # Eq. 6 is a mean over the valid pixels of a process: not over frames.
        "dwnet": (recipe("dwnet", "dwnet", prediction_weight=0.0), 1),
        "accumulated": (recipe("accumulated", "baseline"), 2),
        "no_auxiliary": (recipe("no_auxiliary", "baseline", auxiliary_weight=0.0), 1),
    }


def run_comparable(recipe: Recipe, accumulation: int) -> Trainer:
    """Trains with frozen norms, in as many processes as there are."""
    accelerator = Accelerator(
        gradient_accumulation_steps=accumulation, log_with="tensorboard", project_dir=str(recipe.output / recipe.name)
    )
    accelerator.end_training = lambda: None  # type: ignore[method-assign]  # it ends the process group
    trainer = Trainer(recipe, accelerator)
    freeze_norms(trainer.method)
    trainer.run()
    return trainer


def several_processes(root: Path, output: Path) -> None:
    """All that several processes are asked in one launch; process 0 writes what it found to OUTPUT/found.json."""
    for recipe, accumulation in comparable_recipes(root, output).values():
        run_comparable(recipe, accumulation)

    # SIGTERM reaches the last process alone: all stop after the same step, and the resumed run is the same.
    found: dict[str, Any] = {}
    for name in ("uninterrupted", "interrupted"):
        recipe = tiny_recipe(root, output, name=name)
        accelerator = Accelerator(log_with="tensorboard", project_dir=str(recipe.output / recipe.name))
        accelerator.end_training = lambda: None  # type: ignore[method-assign]
        trainer = Trainer(recipe, accelerator)
        if name == "uninterrupted":
            trainer.run()
            continue
        log = trainer._log

        def log_and_signal(*args: Any, trainer: Trainer = trainer, log: Any = log) -> None:
            log(*args)
            if trainer.iteration == 1 and trainer.accelerator.is_last_process:
                os.kill(os.getpid(), signal.SIGTERM)

        trainer._log = log_and_signal  # type: ignore[method-assign]
        try:
            trainer.run()
        except Interrupted:
            stopped = accelerator.gather(torch.tensor([trainer.iteration]))
            found["stopped_at"] = stopped.tolist()
        Trainer(recipe, accelerator, resume=True).run()
    found["processes"] = accelerator.num_processes
    if accelerator.is_main_process:
        (output / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    several_processes(Path(sys.argv[1]), Path(sys.argv[2]))
