"""Reports of a run: its progress line, and scalars and pictures for Accelerate's trackers."""

import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from dwnet.core.files import atomic_write
from dwnet.viz import Image
from train.config.spec import Recipe
from train.monitoring.progress import Clock, Means, Reading
from train.monitoring.run_folder import flat, recipe_dict

PROJECT = "dwnet"
"""Project name of all runs in the trackers."""

WAIT_SHARE = 0.05
"""Share of time spent waiting for data, 0..1, above which a hint is printed."""


def tracker_names(asked: tuple[str, ...]) -> list[str]:
    """Returns the names of the trackers to use, without "none".

    Raises:
        ValueError: for a tracker that Accelerate does not know, or whose package is not installed.
    """
    available = [str(name) for name in get_available_trackers()]
    for name in asked:
        if name not in available and name != "none":
            raise ValueError(
                f"unknown tracker {name!r}, allowed are {', '.join([*available, 'none'])} "
                "(other trackers of Accelerate need their packages)"
            )
    return [name for name in dict.fromkeys(asked) if name != "none"]


class Tracking:
    """Prints and tracks the progress of a run.

    `begin`, `step` and `evaluation` are collective: every process must call them.

    Args:
        recipe: of the run.
        accelerator: its main process prints; its trackers record.
        iterations: of the whole run.
    """

    def __init__(self, recipe: Recipe, accelerator: Accelerator, iterations: int) -> None:
        self.recipe, self.accelerator, self.iterations = recipe, accelerator, iterations
        self._readings, self._hinted = 0, False

    def begin(self, iteration: int) -> None:
        """Starts the trackers; `iteration` is above 0 for a resumed run."""
        settings = {key: str(value) for key, value in flat(recipe_dict(self.recipe)).items()}
        folder = self.recipe.run_folder
        wandb = "wandb" in self.recipe.trackers and self.accelerator.is_main_process
        same = {"id": _run_id(folder), "resume": "allow"} if wandb else {}
        self.accelerator.init_trackers(
            PROJECT,
            config=None if iteration else settings,
            init_kwargs={
                "tensorboard": {"purge_step": iteration + 1},  # drop entries that a killed run logged later
                "wandb": {"name": self.recipe.name, "dir": str(folder), **same},
            },
        )

    def step(self, iteration: int, epoch: int, rates: Mapping[str, float], means: Means, clock: Clock) -> None:
        """Reports progress since the last call.

        Args:
            iteration: steps done.
            epoch: current epoch, counted from 0.
            rates: learning rates by part.
            means: mean losses; they are reset.
            clock: speed; it is reset.
        """
        accelerator, recipe = self.accelerator, self.recipe
        values = {name: accelerator.reduce(value, "mean").item() for name, value in means.read().items()}
        read = clock.read((self.iterations - iteration) * recipe.batch_size)
        terms = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        accelerator.print(
            f"epoch {epoch + 1}/{recipe.epochs}  iteration {iteration}/{self.iterations}  {terms}  "
            f"rate {next(iter(rates.values())):.5f}  {read.images_per_second:.1f} images/s  "
            f"data wait {read.wait_share:.0%}  ETA {read.time_left}",
            flush=True,
        )
        self._hint(read)
        scalars = {f"loss/{name}": value for name, value in values.items()}
        speed = {"images_per_second": read.images_per_second, "data_wait": read.wait_share}
        parts = {f"rate/{part}": rate for part, rate in rates.items()}
        accelerator.log({**scalars, **parts, **speed}, step=iteration)

    def evaluation(self, iteration: int, epoch: int, miou_percent: float, ious: Mapping[str, float | None]) -> None:
        """Reports class IoUs in percent on val after `epoch` epochs; None stands for a class that val does not have."""
        present = {name: iou for name, iou in ious.items() if iou is not None}
        named = "  ".join(f"{name} {iou:.1f}" for name, iou in present.items())
        self.accelerator.print(
            f"epoch {epoch}/{self.recipe.epochs}  val mIoU {miou_percent:.2f}  ({named})", flush=True
        )
        scalars = {f"val_iou/{name}": iou for name, iou in present.items()}
        self.accelerator.log({"val/miou": miou_percent, **scalars}, step=iteration)

    @property
    def takes_pictures(self) -> bool:
        """Whether this process has a tracker that takes pictures."""
        return bool(self._picture_takers())

    def pictures(self, iteration: int, pictures: Mapping[str, Image]) -> None:
        """Records pictures (H, W, 3) uint8 RGB by name, in trackers that take them. Only the main process calls it."""
        batches = {f"val/{name}": picture[np.newaxis] for name, picture in pictures.items()}
        for tracker in self._picture_takers():
            layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images(batches, step=iteration, **layout)

    def _picture_takers(self) -> list:
        # Other trackers of Accelerate take other arguments in log_images.
        trackers = self.accelerator.trackers if self.accelerator.is_main_process else []
        return [tracker for tracker in trackers if tracker.name in ("tensorboard", "wandb")]

    def _hint(self, read: Reading) -> None:
        """Prints once that the loader is too slow. The first reading includes the workers' start and does not count."""
        self._readings += 1
        if self._readings > 1 and read.wait_share > WAIT_SHARE and not self._hinted:
            self._hinted = True
            self.accelerator.print(
                f"waiting for data takes {read.wait_share:.1%} of the time, more than {WAIT_SHARE:.0%}: the loader is "
                f"slower than the network (--data.workers is {self.recipe.data.workers} for each process; --dry-run "
                "estimates how many are needed)",
                flush=True,
            )


def _run_id(folder: Path) -> str:
    """Returns the run's id for a tracking service. It is kept in the folder, so that a resumed run has the same id."""
    path = folder / "tracked" / "run_id"
    if not path.exists():
        with atomic_write(path) as temporary:
            temporary.write_text(uuid.uuid4().hex, encoding="utf-8")
    return path.read_text(encoding="utf-8")
