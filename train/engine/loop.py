"""The training loop: train, evaluate, write checkpoints.

All random numbers are functions of the seed and the iteration. No random state is saved, and a resumed run continues
bit for bit.
"""

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from dwnet.data.identity import data_key, left_out
from dwnet.deploy.checkpoint import Checkpoint
from dwnet.method.training import Losses
from train.config.spec import Recipe
from train.engine.batches import EpochOrder, batch_per_process, check_shared_memory, stop_workers, training_loader
from train.engine.build import build_method, unwrapped
from train.engine.data import training_data, validation_data
from train.engine.evaluation import evaluate
from train.engine.optimiser import build_optimiser, gradient_norm, rates, set_rates
from train.engine.stopping import StopRequest
from train.monitoring.pictures import ValPictures
from train.monitoring.progress import Clock, Means
from train.monitoring.run_folder import RunFolder, changes, environment
from train.monitoring.tracking import Tracking

MOST_SKIPPED = 40
"""Largest number of consecutive steps that the fp16 scaler may skip. They halve its initial scale of 2^16 to 2^-24."""


class Interrupted(Exception):  # noqa: N818
    """The run received a stop signal and is saved."""


class TrainingError(RuntimeError):
    """The run cannot continue. The message gives the reason."""


class Trainer:
    """One training run: recipe, data, method, and position (`iteration`, the number of finished optimiser steps).

    Args:
        recipe: the resolved configuration.
        accelerator: device, processes, precision and gradient accumulation, from Accelerate's own configuration.
        resume: continue from OUTPUT/NAME/last.pt.

    Raises:
        ValueError: for data, a network or a checkpoint that does not fit the recipe; no file is written.
    """

    def __init__(self, recipe: Recipe, accelerator: Accelerator, *, resume: bool = False) -> None:
        self.recipe, self.accelerator = recipe, accelerator
        self.accumulation = accelerator.gradient_accumulation_steps
        share = batch_per_process(
            recipe.batch_size, processes=accelerator.num_processes, accumulation=self.accumulation
        )
        self.environment = environment(accelerator)
        self.files = RunFolder(recipe, self.environment)
        checkpoint = self.files.load() if resume else None
        self.train_data, self.val_data = training_data(recipe), validation_data(recipe)
        # `RunFolder` writes this dictionary. Only here are the data sets open.
        self.environment |= {"train": data_key(self.train_data), "val": data_key(self.val_data)}
        self.classes = self.train_data.classes
        self.order = EpochOrder(len(self.train_data), batch_size=recipe.batch_size, seed=recipe.seed)
        self.iterations = self.order.steps * recipe.epochs
        self.iteration, self.metrics = 0, dict[str, Any]()
        self.step_frames: list[str] = []
        """Names of this process's frames in all accumulated batches of the current step."""
        self.skipped = 0
        """Number of consecutive steps, up to the latest, that the fp16 scaler skipped."""
        self.tracking = Tracking(recipe, accelerator, self.iterations)
        self.pictures = ValPictures(recipe) if recipe.pictures else None
        self.stop = StopRequest(accelerator)

        method = build_method(recipe, self.classes, accelerator, checkpoint)
        optimiser = build_optimiser(method, recipe.optimiser)
        self.base_rates = [group["lr"] for group in optimiser.param_groups]
        pin = accelerator.device.type == "cuda"
        check_shared_memory(recipe.data.workers, share, recipe.data.crop)
        loader = training_loader(self.train_data, self.order, batch_size=share, workers=recipe.data.workers, pin=pin)
        self.class_weights = dict(zip(self.classes.classes, method.spec.class_weights, strict=False))
        self.files.configuration["resolved"] = {"class_weights": self.class_weights}
        self.method, self.optimiser, self.loader = accelerator.prepare(method, optimiser, loader)
        self._begun = "" if recipe.start_from is None else f"; starts from {recipe.start_from}"
        if checkpoint is not None:
            self._resume(checkpoint)

    def _resume(self, checkpoint: Checkpoint) -> None:
        self.iteration, self.metrics = checkpoint.iteration, checkpoint.metrics
        if self.iteration > self.iterations:
            raise ValueError(
                f"--resume: {self.files.last} is of iteration {self.iteration}; {len(self.train_data)} train frames "
                f"and {self.recipe.epochs} epochs give {self.iterations}; allowed is data with as many frames as before"
            )
        self.optimiser.load_state_dict(checkpoint.training["optimiser"])
        if self.accelerator.scaler is not None and checkpoint.training.get("scaler"):
            self.accelerator.scaler.load_state_dict(checkpoint.training["scaler"])
        changed = changes(checkpoint.recipe.get("environment", {}), self.environment)
        self._begun = f"; resumed after iteration {self.iteration}" + (
            f", under another environment: {', '.join(changed)}" if changed else ""
        )

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.iteration // self.order.steps

    def summary(self) -> str:
        """Returns a line that describes the run. Lines with frames that are left out and class weights may follow."""
        recipe, accelerator = self.recipe, self.accelerator
        weights = "  ".join(f"{name} {weight:.3g}" for name, weight in self.class_weights.items())
        lost = [
            f"{split}: {text}"
            for split, data in (("train", self.train_data), ("val", self.val_data))
            if (text := left_out(data))
        ]
        return (
            f"{recipe.name}: {len(self.train_data)} frames, {self.iterations} iterations in {recipe.epochs} epochs, "
            f"{accelerator.num_processes} process(es) on {accelerator.device.type}; output in {self.files.path}"
            f"{self._begun}"
        ) + "".join(f"\n{line}" for line in (*lost, *([f"class weights  {weights}"] if weights else [])))

    def run(self) -> dict[str, Any]:
        """Trains to the last epoch; returns the metrics of the last evaluation.

        Raises:
            Interrupted: after SIGTERM or SIGINT, when the run is saved.
            TrainingError: if the loss or its gradient is not finite, or val has no labelled pixel.
            DataError: if a file of the data set is wrong.
        """
        if self.accelerator.is_main_process:
            self.files.begin(self.iteration)
        self.tracking.begin(self.iteration)
        clock, means = Clock(), Means()
        try:
            with self.stop:
                while True:
                    if self._evaluation_is_due():
                        self.evaluate()
                        self.save()
                    if self.iteration == self.iterations:
                        return self.metrics
                    self._train_epoch(clock, means)
        finally:
            stop_workers(self.loader)
            self.accelerator.end_training()

    def _train_epoch(self, clock: Clock, means: Means) -> None:
        """Trains from `iteration` to the end of its epoch."""
        recipe, accelerator, epoch = self.recipe, self.accelerator, self.epoch
        self.begin_epoch()
        clock.start()
        for index, batch in enumerate(self.loader):
            clock.batch_came()
            means.add(self.train_batch(batch, index % self.accumulation))
            clock.step_done(len(batch["name"]) * accelerator.num_processes)
            if not accelerator.sync_gradients:
                continue
            self.iteration += 1
            if self.iteration % recipe.log_every == 0:
                self.tracking.step(self.iteration, epoch, rates(self.optimiser), means, clock)
            stop = self.stop.on_any_process()
            if stop or self.iteration % recipe.checkpoint_every == 0 or self.epoch > epoch:
                self.save()
            if stop:
                raise Interrupted(f"stopped at iteration {self.iteration}, saved to {self.files.last}")
            clock.start()

    def begin_epoch(self) -> None:
        """Prepares method and loader for the rest of the current epoch."""
        self.method.train()
        self.order.begin(self.epoch, self.iteration % self.order.steps)
        self.loader.set_epoch(self.epoch)  # otherwise Accelerate's loader counts the epochs itself

    def train_batch(self, batch: dict[str, Any], accumulated: int) -> Losses:
        """Runs forward and backward on one batch, number `accumulated` (from 0) of its step. The last batch of a step
        also updates the weights.
        """
        recipe, accelerator = self.recipe, self.accelerator
        self.step_frames = [*(self.step_frames if accumulated else []), *batch["name"]]
        # Deviation: a loss is a mean over the pixels of a batch in all processes, and the gradient of a step is a mean
        # over its accumulated batches. Accelerate's guide uses one divisor for all accumulated batches. That must be
        # known before the first backward, but the divisors of Eq. 5 and 6 depend on the refined flow of each forward.
        with accelerator.accumulate(self.method):
            set_rates(self.optimiser, self.base_rates, self.iteration / self.iterations, recipe.optimiser.power)
            self._seed_dropout(accumulated)
            if recipe.channels_last:
                batch["frame"] = batch["frame"].contiguous(memory_format=torch.channels_last)
            losses = self.method(batch)
            accelerator.backward(losses["total"])
            self._check_finite(losses, batch["name"])
            self.optimiser.step()
            self._check_scaler()
            self.optimiser.zero_grad()
        return losses

    def evaluate(self) -> None:
        """Measures class IoU on val over all processes; updates `metrics`, trackers, metrics.jsonl and best.pt."""
        accelerator, recipe = self.accelerator, self.recipe
        result = evaluate(
            self.method,
            self.val_data,
            accelerator,
            workers=recipe.data.workers,
            after_frame=self._stop_evaluation_if_asked,
        )
        if result.miou_percent is None:
            raise TrainingError(f"val of {recipe.data_folder} holds no labelled pixel")
        best = self.metrics.get("best_miou_percent", -1.0)
        ious = dict(zip(self.classes.classes, result.per_class_iou_percent, strict=True))
        self.metrics = {
            "miou_percent": result.miou_percent,
            "pixel_accuracy_percent": result.pixel_accuracy_percent,
            "iou_percent": ious,
            "epoch": self.epoch,
            "best_miou_percent": max(best, result.miou_percent),
        }
        self.tracking.evaluation(self.iteration, self.epoch, result.miou_percent, ious)
        if self.pictures is not None and self.tracking.takes_pictures:
            self.tracking.pictures(self.iteration, self.pictures(unwrapped(self.method, accelerator), accelerator))
        if accelerator.is_main_process:
            self.files.add_metrics(self.iteration, self.metrics)
            if result.miou_percent > best:
                self.checkpoint().save(self.files.best)

    def save(self) -> None:
        """Writes last.pt atomically. Collective: every process must call it."""
        if self.accelerator.is_main_process:
            self.files.save(self.checkpoint())
        self.accelerator.wait_for_everyone()

    def checkpoint(self) -> Checkpoint:
        """Returns everything that a resumed run starts from."""
        scaler, method = self.accelerator.scaler, unwrapped(self.method, self.accelerator)
        return Checkpoint(
            network=self.recipe.network,
            method=method.spec,
            classes=self.classes,
            weights=method.state_dict(),
            recipe=self.files.configuration,
            iteration=self.iteration,
            epoch=self.epoch,
            metrics=self.metrics,
            commit=self.environment["commit"],
            training={"optimiser": self.optimiser.state_dict(), "scaler": scaler.state_dict() if scaler else {}},
        )

    def _evaluation_is_due(self) -> bool:
        done, within = divmod(self.iteration, self.order.steps)
        last = done == self.recipe.epochs
        # A run killed between the checkpoint of an epoch and its evaluation is evaluated when it is resumed.
        missing = self.metrics.get("epoch", 0) != done
        return within == 0 and done > 0 and missing and (last or done % self.recipe.evaluate_every == 0)

    def _seed_dropout(self, accumulated: int) -> None:
        accelerator = self.accelerator
        place = accumulated * accelerator.num_processes + accelerator.process_index
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.iteration) * 4096 + place)

    def _check_finite(self, losses: Losses, frames: list[str]) -> None:
        """Checks loss and gradient before the step, so that no checkpoint holds non-finite weights."""
        loss = losses["total"].isfinite()
        gradient = torch.ones_like(loss)
        if self.accelerator.sync_gradients and self.accelerator.scaler is None:  # a scaler skips such steps
            gradient = gradient_norm(self.optimiser).isfinite()
        if bool(loss & gradient):
            return
        values = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
        # The gradient is equal in all processes, so all reach this line and can gather. The loss differs by process.
        told = frames if gradient else gather_object(self.step_frames)
        names = told if loss else frames
        kept = f"the last checkpoint is {self.files.last}" if self.files.last.exists() else "no checkpoint yet"
        raise TrainingError(
            f"the {'gradient' if loss else 'loss'} is not finite at iteration {self.iteration} ({values}); "
            f"batch: {', '.join(names)}; {kept}"
        )

    def _check_scaler(self) -> None:
        """Raises if the scaler keeps skipping steps: it halves its scale each time the gradient is not finite."""
        if self.accelerator.scaler is None or not self.accelerator.sync_gradients:
            return
        self.skipped = self.skipped + 1 if self.optimiser.step_was_skipped else 0
        if self.skipped > MOST_SKIPPED:
            raise TrainingError(
                f"the gradient was not finite in {self.skipped} steps in a row, up to iteration {self.iteration}, "
                f"whatever its scale; batch: {', '.join(self.step_frames)}"
            )

    def _stop_evaluation_if_asked(self) -> None:
        # The run was saved before the evaluation, and a resumed run repeats it. Several processes do not stop here but
        # after the evaluation.
        if self.stop.stopped and self.accelerator.num_processes == 1:
            raise Interrupted(f"stopped in the evaluation after epoch {self.epoch}, saved to {self.files.last}")
