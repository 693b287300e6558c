"""THE LOOP: train, evaluate, checkpoint. All randomness is a function of the seed and the position, so nothing random
has to be saved: a resumed run continues bit for bit."""

import math
import signal
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from dwnet.checkpoint import Checkpoint, load_weights
from train.batches import EpochOrder, batch_per_process, stop_workers, training_loader
from train.data import training_data, validation_data
from train.evaluation import evaluate
from train.optimiser import build_optimiser, freeze_unused, set_rates
from train.progress import Clock, Means
from train.run_folder import RunFolder, flat, recipe_dict
from train.spec import Recipe


class Interrupted(Exception):  # noqa: N818
    """The run was asked to stop, and is saved."""


class TrainingError(RuntimeError):
    """The run cannot go on; the message says why and with which files."""


class Trainer:
    """One run: a recipe, its data, its method, and where it stands (`iteration`: optimiser steps done).

    Args:
        recipe: the resolved configuration.
        accelerator: device, processes, precision and gradient accumulation, from Accelerate's own configuration.
        resume: continue from OUTPUT/NAME/last.pt.

    Raises:
        ValueError: for data, networks, or a checkpoint that do not fit the recipe. No file was written then.
    """

    def __init__(self, recipe: Recipe, accelerator: Accelerator, *, resume: bool = False) -> None:
        self.recipe, self.accelerator = recipe, accelerator
        self.accumulation = accelerator.gradient_accumulation_steps
        share = batch_per_process(
            recipe.batch_size, processes=accelerator.num_processes, accumulation=self.accumulation
        )
        self.files = RunFolder(recipe)
        checkpoint = self.files.load() if resume else None
        self.train_data, self.val_data = training_data(recipe), validation_data(recipe)
        self.classes = self.train_data.classes
        self.order = EpochOrder(len(self.train_data), batch_size=recipe.batch_size, seed=recipe.seed)
        self.iterations = self.order.steps * recipe.epochs
        self.iteration, self.metrics = 0, dict[str, Any]()
        self._stop_asked = False

        torch.manual_seed(recipe.seed)
        weights = "none" if resume else recipe.backbone_weights
        segmenter = recipe.network.build(len(self.classes.classes), weights=weights)
        if any(side % segmenter.multiple for side in recipe.data.crop):
            raise ValueError(
                f"data.crop is {recipe.data.crop}, allowed are multiples of {segmenter.multiple} for this network"
            )
        method = recipe.method.build(segmenter, load_flow=not resume)
        if checkpoint is not None:
            load_weights(method, checkpoint.weights, source=f"checkpoint {self.files.last}")
        freeze_unused(method)
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":  # torch has none for the CPU
            method = nn.SyncBatchNorm.convert_sync_batchnorm(method)
        if recipe.channels_last:
            method = method.to(memory_format=torch.channels_last)
        optimiser = build_optimiser(method, recipe.optimiser)
        self.base_rates = [group["lr"] for group in optimiser.param_groups]
        pin = accelerator.device.type == "cuda"
        loader = training_loader(self.train_data, self.order, batch_size=share, workers=recipe.data.workers, pin=pin)
        self.method, self.optimiser, self.loader = accelerator.prepare(method, optimiser, loader)
        if checkpoint is not None:
            self.iteration, self.metrics = checkpoint.iteration, checkpoint.metrics
            self.optimiser.load_state_dict(checkpoint.training["optimiser"])
            if accelerator.scaler is not None and checkpoint.training.get("scaler"):
                accelerator.scaler.load_state_dict(checkpoint.training["scaler"])

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.iteration // self.order.steps

    def summary(self) -> str:
        """What will run, in one line."""
        recipe, accelerator = self.recipe, self.accelerator
        return (
            f"{recipe.name}: {len(self.train_data)} frames, {self.iterations} iterations in {recipe.epochs} epochs, "
            f"{accelerator.num_processes} process(es) on {accelerator.device.type}; output in {self.files.path}"
        )

    def run(self) -> dict[str, Any]:
        """Trains to the last epoch, and returns the last evaluation's metrics.

        Raises:
            Interrupted: after SIGTERM or SIGINT, when all is saved.
            TrainingError: when the loss is not finite, or val has no labelled pixel.
            DataError: when a file of the data set is not what it must be.
        """
        if self.accelerator.is_main_process:
            self.files.begin()
        settings = {key: str(value) for key, value in flat(recipe_dict(self.recipe)).items()}
        self.accelerator.init_trackers(
            "tensorboard",
            config=None if self.iteration else settings,
            init_kwargs={"tensorboard": {"purge_step": self.iteration + 1}},  # what a killed run logged beyond it
        )
        handlers = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGINT)}
        clock, losses = Clock(), Means()
        try:
            while True:
                if self._evaluation_is_due():
                    self.evaluate()
                    self.save()
                if self.iteration == self.iterations:
                    return self.metrics
                self._train_epoch(clock, losses)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            stop_workers(self.loader)
            self.accelerator.end_training()

    def _train_epoch(self, clock: Clock, means: Means) -> None:
        """The steps from `iteration` to the end of its epoch."""
        recipe, accelerator, epoch = self.recipe, self.accelerator, self.epoch
        self.method.train()
        self.order.begin(epoch, self.iteration % self.order.steps)
        self.loader.set_epoch(epoch)  # Accelerate's loader hands its own count on to the data set
        clock.start()
        for index, batch in enumerate(self.loader):
            clock.batch_came()
            with accelerator.accumulate(self.method):
                set_rates(self.optimiser, self.base_rates, self.iteration / self.iterations, recipe.optimiser.power)
                self._seed_dropout(index % self.accumulation)
                if recipe.channels_last:
                    batch["frame"] = batch["frame"].contiguous(memory_format=torch.channels_last)
                losses = self.method(batch)
                accelerator.backward(losses["total"])
                self._check_finite(losses, batch)
                self.optimiser.step()
                self.optimiser.zero_grad()
            means.add(losses)
            clock.step_done(len(batch["name"]) * accelerator.num_processes)
            if not accelerator.sync_gradients:
                continue
            self.iteration += 1
            if self.iteration % recipe.log_every == 0:
                self._log(epoch, means, clock)
            stop = self._stop_is_asked()
            if stop or self.iteration % recipe.checkpoint_every == 0 or self.epoch > epoch:
                self.save()
            if stop:
                raise Interrupted(f"stopped at iteration {self.iteration}, saved to {self.files.last}")
            clock.start()

    def evaluate(self) -> None:
        """Class IoU on val, over all processes: into `metrics`, the tracker, metrics.jsonl and the best checkpoint."""
        accelerator = self.accelerator
        result = evaluate(
            self.method,
            self.val_data,
            accelerator,
            workers=self.recipe.data.workers,
            after_frame=self._stop_evaluation_if_asked,
        )
        if result.miou_percent is None:
            raise TrainingError(f"val of {self.recipe.data.folder} holds no labelled pixel")
        best = self.metrics.get("best_miou_percent", -1.0)
        ious = dict(zip(self.classes.classes, result.per_class_iou_percent, strict=True))
        self.metrics = {
            "miou_percent": result.miou_percent,
            "pixel_accuracy_percent": result.pixel_accuracy_percent,
            "iou_percent": ious,
            "epoch": self.epoch,
            "best_miou_percent": max(best, result.miou_percent),
        }
        present = {name: iou for name, iou in ious.items() if iou is not None}
        named = "  ".join(f"{name} {iou:.1f}" for name, iou in present.items())
        accelerator.print(
            f"epoch {self.epoch}/{self.recipe.epochs}  val mIoU {result.miou_percent:.2f}  ({named})", flush=True
        )
        scalars = {f"val_iou/{name}": iou for name, iou in present.items()}
        accelerator.log({"val/miou": result.miou_percent, **scalars}, step=self.iteration)
        if accelerator.is_main_process:
            self.files.add_metrics(self.iteration, self.metrics)
            if result.miou_percent > best:
                self._checkpoint().save(self.files.best)

    def save(self) -> None:
        """Writes last.pt, whole or not at all."""
        if self.accelerator.is_main_process:
            self._checkpoint().save(self.files.last)
        self.accelerator.wait_for_everyone()

    def _checkpoint(self) -> Checkpoint:
        scaler = self.accelerator.scaler
        return Checkpoint(
            network=self.recipe.network,
            method=self.recipe.method,
            classes=self.classes,
            weights=self.accelerator.unwrap_model(self.method).state_dict(),
            recipe=recipe_dict(self.recipe),
            iteration=self.iteration,
            epoch=self.epoch,
            metrics=self.metrics,
            training={"optimiser": self.optimiser.state_dict(), "scaler": scaler.state_dict() if scaler else {}},
        )

    def _evaluation_is_due(self) -> bool:
        done, within = divmod(self.iteration, self.order.steps)
        last = done == self.recipe.epochs
        # One that was killed after the checkpoint of its epoch is made up for when the run is resumed.
        missing = self.metrics.get("epoch", 0) != done
        return within == 0 and done > 0 and missing and (last or done % self.recipe.evaluate_every == 0)

    def _seed_dropout(self, accumulated: int) -> None:
        accelerator = self.accelerator
        place = accumulated * accelerator.num_processes + accelerator.process_index
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.iteration) * 4096 + place)

    def _check_finite(self, losses: dict[str, Tensor], batch: dict[str, Any]) -> None:
        if not math.isfinite(losses["total"].item()):
            values = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
            kept = f"the last checkpoint is {self.files.last}" if self.files.last.exists() else "no checkpoint yet"
            raise TrainingError(
                f"the loss is not finite at iteration {self.iteration} ({values}); batch: {', '.join(batch['name'])}; "
                f"{kept}"
            )

    def _log(self, epoch: int, means: Means, clock: Clock) -> None:
        values = {name: self.accelerator.reduce(value, "mean").item() for name, value in means.read().items()}
        rate = self.optimiser.param_groups[0]["lr"]
        read = clock.read((self.iterations - self.iteration) * self.recipe.batch_size)
        terms = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        self.accelerator.print(
            f"epoch {epoch + 1}/{self.recipe.epochs}  iteration {self.iteration}/{self.iterations}  {terms}  "
            f"rate {rate:.5f}  {read.images_per_second:.1f} images/s  data wait {read.wait_share:.0%}  "
            f"ETA {read.time_left}",
            flush=True,
        )
        scalars = {f"loss/{name}": value for name, value in values.items()}
        speed = {"images_per_second": read.images_per_second, "data_wait": read.wait_share}
        self.accelerator.log({**scalars, "rate": rate, **speed}, step=self.iteration)

    def _ask_to_stop(self, *_: object) -> None:
        self._stop_asked = True

    def _stop_is_asked(self) -> bool:
        """Whether any process was asked: all must stop after the same step."""
        if self._stop_asked:
            self.accelerator.set_trigger()
        return self.accelerator.check_trigger()

    def _stop_evaluation_if_asked(self) -> None:
        # Saved before it began, and made up for on resuming. Several processes cannot agree here: they end it first.
        if self._stop_asked and self.accelerator.num_processes == 1:
            raise Interrupted(f"stopped in the evaluation after epoch {self.epoch}, saved to {self.files.last}")
