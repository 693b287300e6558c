"""THE LOOP: train, evaluate, checkpoint. All randomness is a function of the seed and the position, so nothing random
has to be saved: a resumed run continues bit for bit."""

import dataclasses
import json
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from dwnet.checkpoint import Checkpoint, load_checkpoint, load_weights
from dwnet.data import Augmentation, CamVid
from dwnet.data.camvid import Neighbours
from dwnet.files import written_whole
from dwnet.methods import Method
from dwnet.metrics import SegmentationMeter, SegmentationResult
from train.recipes import OptimiserSpec, Recipe

EXIT_INTERRUPTED = 75
"""Exit status after SIGTERM or SIGINT: the run was saved, `--resume` continues it (EX_TEMPFAIL of sysexits.h)."""


class Interrupted(Exception):  # noqa: N818
    """The run was asked to stop, and has saved itself."""


class TrainingError(RuntimeError):
    """The run cannot go on; the message says why and with which files."""


class EpochOrder(Sampler[int]):
    """A random order of the data set for each epoch, known from (seed, epoch) alone, from any position on."""

    def __init__(self, length: int, *, seed: int) -> None:
        self.length, self.seed, self.epoch, self.start = length, seed, 0, 0

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return iter(torch.randperm(self.length, generator=generator).tolist()[self.start :])

    def __len__(self) -> int:
        return self.length - self.start


class Trainer:
    """One run: a recipe, its data, its method, and where it stands.

    Args:
        recipe: the resolved configuration.
        accelerator: device, processes and precision, from Accelerate's own configuration.
        resume: continue from OUTPUT/NAME/last.pt.

    Raises:
        ValueError: for data, networks, or a checkpoint that do not fit the recipe.
    """

    def __init__(self, recipe: Recipe, accelerator: Accelerator, *, resume: bool = False) -> None:
        if recipe.batch_size % accelerator.num_processes:
            raise ValueError(
                f"batch_size {recipe.batch_size} does not divide over {accelerator.num_processes} processes"
            )
        self.recipe, self.accelerator = recipe, accelerator
        self.folder = recipe.output / recipe.name
        self.epoch, self.batches_done, self.iteration = 0, 0, 0
        self.metrics: dict[str, Any] = {}
        self._stop = False

        checkpoint = self._checkpoint_to_resume() if resume else None
        augmentation = Augmentation(scale=recipe.data.scale, crop=recipe.data.crop)
        torch.manual_seed(recipe.seed)
        self.train_data = CamVid(
            recipe.data.root, "train", augment=augmentation, seed=recipe.seed, **self._neighbours()
        )
        self.classes = self.train_data.classes
        segmenter = recipe.network.build(
            len(self.classes.classes), weights="none" if resume else recipe.backbone_weights
        )
        self._check_crop(segmenter.stride)
        method = recipe.method.build(segmenter)
        if checkpoint is not None:
            load_weights(method, checkpoint.weights, source=f"checkpoint {self.folder / 'last.pt'}")
        if accelerator.num_processes > 1:
            method = nn.SyncBatchNorm.convert_sync_batchnorm(method) if accelerator.device.type == "cuda" else method
        if recipe.channels_last:
            method = method.to(memory_format=torch.channels_last)
        optimiser = torch.optim.SGD(
            parameter_groups(method, recipe.optimiser), lr=recipe.optimiser.rate, momentum=recipe.optimiser.momentum
        )
        self.order = EpochOrder(len(self.train_data), seed=recipe.seed)
        loader = self._loader(self.train_data, recipe.batch_size // accelerator.num_processes, self.order)
        self.method, self.optimiser, self.loader = accelerator.prepare(method, optimiser, loader)
        self.base_rates = [group["lr"] for group in self.optimiser.param_groups]
        self.iterations_per_epoch = len(self.train_data) // recipe.batch_size
        if self.iterations_per_epoch == 0:
            raise ValueError(
                f"batch_size {recipe.batch_size} is larger than the data set of {len(self.train_data)} frames"
            )
        self.iterations = self.iterations_per_epoch * recipe.epochs
        if checkpoint is not None:
            self.epoch, self.iteration = checkpoint.epoch, checkpoint.iteration
            self.batches_done = self.iteration - self.epoch * self.iterations_per_epoch
            self.metrics = checkpoint.metrics
            self.optimiser.load_state_dict(checkpoint.training["optimiser"])
            if accelerator.scaler is not None and checkpoint.training.get("scaler"):
                accelerator.scaler.load_state_dict(checkpoint.training["scaler"])

    def run(self) -> dict[str, Any]:
        """Trains to the last epoch, and returns the last evaluation's metrics.

        Raises:
            Interrupted: after SIGTERM or SIGINT, when all is saved.
            TrainingError: when the loss is not finite.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with written_whole(self.folder / "recipe.json") as path:
            path.write_text(json.dumps(self._recipe_dict(), indent=2) + "\n")
        self.accelerator.init_trackers("tensorboard")
        handlers = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGINT)}
        clock = Clock(self.iteration, self.iterations)
        try:
            while self.epoch < self.recipe.epochs:
                self._train_epoch(clock)
                last = self.epoch == self.recipe.epochs
                if last or self.epoch % self.recipe.evaluate_every == 0:
                    self.evaluate()
                self.save()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.accelerator.end_training()
        return self.metrics

    def _train_epoch(self, clock: "Clock") -> None:
        recipe, accelerator = self.recipe, self.accelerator
        self.method.train()
        self.loader.set_epoch(self.epoch)  # Accelerate's loader hands its own count on to the data set
        self.train_data.set_epoch(self.epoch)
        self.order.epoch, self.order.start = self.epoch, self.batches_done * recipe.batch_size
        clock.waiting()
        for batch in self.loader:
            clock.working()
            set_rates(self.optimiser, self.base_rates, self.iteration / self.iterations, recipe.optimiser.power)
            torch.manual_seed(
                (recipe.seed * 1_000_003 + self.iteration) * 4096 + accelerator.process_index
            )  # dropout's
            if recipe.channels_last:
                batch["frame"] = batch["frame"].contiguous(memory_format=torch.channels_last)
            with accelerator.autocast():
                losses = self.method(batch)
            accelerator.backward(losses["total"])
            self._check_finite(losses, batch)
            self.optimiser.step()
            self.optimiser.zero_grad()
            self.iteration += 1
            self.batches_done += 1
            if self.iteration % recipe.log_every == 0:
                self._log(losses, clock)
            if self._stop or self.iteration % recipe.checkpoint_every == 0:
                self.save()
            if self._stop:
                raise Interrupted(f"stopped at iteration {self.iteration}, saved to {self.folder / 'last.pt'}")
            clock.waiting()
        self.epoch += 1
        self.batches_done = 0

    @torch.no_grad()
    def evaluate(self) -> SegmentationResult:
        """Class IoU on val, over all processes; also kept in `metrics`, the tracker and the best checkpoint."""
        accelerator = self.accelerator
        method: Method = accelerator.unwrap_model(self.method).eval()
        neighbours: Neighbours = "labelled" if method.needs_neighbour_to_predict else "none"
        data = CamVid(self.recipe.data.root, "val", neighbours=neighbours, max_offset=self.recipe.data.max_offset)
        loader = accelerator.prepare(DataLoader(data, batch_size=1, num_workers=self.recipe.data.workers))
        meter = SegmentationMeter(len(self.classes.classes))
        for batch in loader:
            with accelerator.autocast():
                predicted = method.predict(batch).argmax(dim=1)
            predicted, labels = accelerator.gather_for_metrics((predicted, batch["labels"]))
            meter.update(predicted.cpu(), labels.cpu())
        result = meter.compute()
        if result.miou_percent is None:
            raise TrainingError(f"val of {self.recipe.data.root} holds no labelled pixel")
        best = self.metrics.get("best_miou_percent", -1.0)
        self.metrics = {
            "miou_percent": result.miou_percent,
            "pixel_accuracy_percent": result.pixel_accuracy_percent,
            "iou_percent": dict(zip(self.classes.classes, result.per_class_iou_percent, strict=True)),
            "epoch": self.epoch,
            "best_miou_percent": max(best, result.miou_percent),
        }
        named = "  ".join(f"{name} {iou:.1f}" for name, iou in self.metrics["iou_percent"].items() if iou is not None)
        accelerator.print(f"epoch {self.epoch}/{self.recipe.epochs}  val mIoU {result.miou_percent:.2f}  ({named})")
        values = {f"val_iou/{name}": iou for name, iou in self.metrics["iou_percent"].items() if iou is not None}
        accelerator.log({"val/miou": result.miou_percent, **values}, step=self.iteration)
        if accelerator.is_main_process:
            with (self.folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"iteration": self.iteration, **self.metrics}) + "\n")
            if result.miou_percent > best:
                self._checkpoint().save(self.folder / "best.pt")
        return result

    def save(self) -> None:
        """Writes OUTPUT/NAME/last.pt, whole or not at all."""
        if self.accelerator.is_main_process:
            self._checkpoint().save(self.folder / "last.pt")
        self.accelerator.wait_for_everyone()

    def _checkpoint(self) -> Checkpoint:
        scaler = self.accelerator.scaler
        return Checkpoint(
            network=self.recipe.network,
            method=self.recipe.method,
            classes=self.classes,
            weights=self.accelerator.unwrap_model(self.method).state_dict(),
            recipe=self._recipe_dict(),
            iteration=self.iteration,
            epoch=self.epoch,
            metrics=self.metrics,
            training={"optimiser": self.optimiser.state_dict(), "scaler": scaler.state_dict() if scaler else {}},
        )

    def _checkpoint_to_resume(self) -> Checkpoint:
        path = self.folder / "last.pt"
        checkpoint = load_checkpoint(path)
        then, now = checkpoint.recipe, self._recipe_dict()
        free = {"output", "log_every", "checkpoint_every", "evaluate_every"}  # these do not change what is computed
        changed = [key for key in now if key not in free and then.get(key) != now[key]]
        if changed:
            found = "; ".join(f"{key} was {then.get(key)}, now {now[key]}" for key in changed[:2])
            raise ValueError(f"--resume: {path} belongs to another configuration: {found}")
        return checkpoint

    def _recipe_dict(self) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(self.recipe), default=str))

    def _neighbours(self) -> dict[str, Any]:
        if self.recipe.method.name == "baseline":
            return {"neighbours": "none"}
        return {"neighbours": self.recipe.data.neighbours, "max_offset": self.recipe.data.max_offset}

    def _loader(self, data: Dataset, batch_size: int, order: EpochOrder) -> DataLoader:
        workers = self.recipe.data.workers
        return DataLoader(
            data,
            batch_size=batch_size,
            sampler=order,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.accelerator.device.type == "cuda",
            drop_last=True,
        )

    def _check_crop(self, stride: int) -> None:
        if any(side % stride or side < stride for side in self.recipe.data.crop):
            raise ValueError(
                f"data.crop is {self.recipe.data.crop}, allowed are multiples of the output stride {stride}"
            )

    def _check_finite(self, losses: dict[str, Tensor], batch: dict[str, Any]) -> None:
        if not math.isfinite(losses["total"].item()):
            values = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
            raise TrainingError(
                f"the loss is not finite at iteration {self.iteration} ({values}); batch: {', '.join(batch['name'])}; "
                f"the last checkpoint is {self.folder / 'last.pt'}"
            )

    def _log(self, losses: dict[str, Tensor], clock: "Clock") -> None:
        values = {name: self.accelerator.reduce(value.detach(), "mean").item() for name, value in losses.items()}
        rate = self.optimiser.param_groups[0]["lr"]
        speed, wait, eta = clock.read(self.iteration, self.recipe.batch_size)
        terms = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        self.accelerator.print(
            f"epoch {self.epoch + 1}/{self.recipe.epochs}  iteration {self.iteration}/{self.iterations}  {terms}  "
            f"rate {rate:.5f}  {speed:.1f} images/s  data wait {wait:.0%}  ETA {eta}",
            flush=True,
        )
        scalars = {f"loss/{name}": value for name, value in values.items()}
        self.accelerator.log(
            {**scalars, "rate": rate, "images_per_second": speed, "data_wait": wait}, step=self.iteration
        )

    def _ask_to_stop(self, *_: object) -> None:
        self._stop = True


class Clock:
    """Speed, share of time spent waiting for data, and time left, since the previous reading."""

    def __init__(self, iteration: int, iterations: int) -> None:
        self.iterations, self.start_iteration, self.started = iterations, iteration, time.perf_counter()
        self.last_iteration, self.last_time, self.mark, self.waited = iteration, self.started, self.started, 0.0

    def waiting(self) -> None:
        """The loop asks for the next batch."""
        self.mark = time.perf_counter()

    def working(self) -> None:
        """The batch is there."""
        self.waited += time.perf_counter() - self.mark

    def read(self, iteration: int, batch_size: int) -> tuple[float, float, str]:
        """Images per second, share of waiting (0..1), and the time left as H:MM:SS."""
        now = time.perf_counter()
        elapsed = max(now - self.last_time, 1e-9)
        speed = (iteration - self.last_iteration) * batch_size / elapsed
        wait = self.waited / elapsed
        per_iteration = (now - self.started) / max(iteration - self.start_iteration, 1)
        seconds = round(per_iteration * (self.iterations - iteration))
        self.last_iteration, self.last_time, self.waited = iteration, now, 0.0
        return speed, wait, f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def parameter_groups(method: Method, spec: OptimiserSpec) -> list[dict[str, Any]]:
    """Groups by rate and weight decay: the segmenter's head, the flow network, and all the rest (section 4.1.3)."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    head = {id(p) for name, p in method.segmenter.named_parameters() if not name.startswith("backbone.")}
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = spec.rate * (spec.head_rate_factor if id(parameter) in head else 1.0)
        if name.startswith("flow."):
            rate = spec.flow_rate
        decay = spec.weight_decay if parameter.ndim > 1 or spec.decay_norms else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


def set_rates(optimiser: torch.optim.Optimizer, base_rates: list[float], progress: float, power: float) -> None:
    """The poly policy: base rate times (1 - progress) ** power, progress 0..1 (section 4.1.3)."""
    for group, base in zip(optimiser.param_groups, base_rates, strict=True):
        group["lr"] = base * (1 - progress) ** power


def output_folder(recipe: Recipe) -> Path:
    """Where the run's files go."""
    return recipe.output / recipe.name
