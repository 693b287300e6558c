"""The files of a run, OUTPUT/NAME: recipe.json, last.pt, best.pt, metrics.jsonl, and optional numbered checkpoints.

Each file is written atomically.
"""

import dataclasses
import errno
import json
import platform
import shutil
from pathlib import Path
from typing import Any

import accelerate
import torch
from accelerate import Accelerator

from dwnet import __version__
from dwnet.core.files import atomic_write, code_commit
from dwnet.deploy.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from dwnet.method.specs import SPECS
from train.config.spec import Recipe

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"
"""An empty file in a run's folder, locked by the process that trains there."""

FREE_TO_CHANGE = {
    "output",
    "log_every",
    "checkpoint_every",
    "evaluate_every",
    "keep_checkpoints",
    "pictures",
    "trackers",
    "root",
    "data.workers",
    "data.street_cache_gb",
}
"""Options that a resumed run may change: they do not change what is computed."""

RENAMED = {"data.kind": "dataset", "data.root": "root"}
"""Current name of each renamed setting, by its earlier name."""


def recipe_dict(recipe: Recipe) -> dict[str, Any]:
    """Returns the recipe as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(recipe), default=str))


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested dictionaries, with keys joined by dots: {"data": {"crop": 1}} becomes {"data.crop": 1}."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


def environment(accelerator: Accelerator) -> dict[str, Any]:
    """Returns what a run depends on besides its recipe: Accelerate's configuration, and versions."""
    return {
        "processes": accelerator.num_processes,
        "accumulation": accelerator.gradient_accumulation_steps,
        "precision": accelerator.mixed_precision,
        "compiler": str(accelerator.state.dynamo_plugin.backend.value).lower(),
        "device": accelerator.device.type,
        "dwnet": __version__,
        "commit": code_commit(),
        "torch": str(torch.__version__),
        "accelerate": accelerate.__version__,
        "python": platform.python_version(),
    }


def settings(recorded: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Returns a recorded recipe as flat settings with current names.

    Args:
        recorded: recipe written by this version or an earlier one. Settings that it lacks get their defaults.
        recipe: current recipe. Its method determines which method settings are filled in.
    """
    then = {RENAMED.get(key, key): value for key, value in flat(recorded).items()}
    return flat(recipe_dict(Recipe(name="default", method=SPECS[recipe.method.name]()))) | then


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns the differences of two flat configurations, in words. Settings that `then` lacks do not count."""
    return [f"{key} was {then[key]}, now {now[key]}" for key in now if key in then and then[key] != now[key]]


class RunFolder:
    """The folder of a run.

    Args:
        recipe: of the run.
        computed_by: result of `environment`.
    """

    def __init__(self, recipe: Recipe, computed_by: dict[str, Any]) -> None:
        self.recipe = recipe
        self.path = recipe.run_folder
        self.last, self.best = self.path / "last.pt", self.path / "best.pt"
        self.configuration = recipe_dict(recipe) | {"environment": computed_by}
        """Content of recipe.json, and of the recipe in each checkpoint."""

    def begin(self, iteration: int) -> None:
        """Locks the folder, writes recipe.json, and removes unfinished files of a killed run.

        Args:
            iteration: number at which the run starts or continues.

        Raises:
            ValueError: if another process trains in the folder, or has trained there since `load`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._take()
        written = load_checkpoint(self.last).iteration if self.last.exists() else 0
        if written != iteration:
            raise ValueError(
                f"{self.last} is of iteration {written}, expected {iteration}: another process has trained here since "
                "this one was started"
            )
        for pattern in (".last.*.pt", ".best.*.pt", ".iteration_*.pt", ".metrics.*.jsonl", ".recipe.*.json"):
            for leftover in self.path.glob(pattern):
                leftover.unlink(missing_ok=True)
        with atomic_write(self.path / "recipe.json") as path:
            path.write_text(json.dumps(self.configuration, indent=2) + "\n")

    def _take(self) -> None:
        """Takes a file lock. It ends with this process, even if that is killed. Loader workers do not inherit it."""
        if fcntl is None:
            return
        self._lock = (self.path / LOCK).open("a+")  # kept open: closing the file ends the lock
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise ValueError(
                    f"another process trains in {self.path}; choose another --name, or end that one"
                ) from error
            # A file system without locks: other processes cannot be excluded.

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes last.pt and, if `keep_checkpoints` is above 0, a numbered checkpoint; removes old ones."""
        keep = self.recipe.keep_checkpoints
        if not keep:
            checkpoint.save(self.last)
            return
        # The numbered checkpoint is written first. After a kill between the two, the resumed run writes it again.
        numbered = self.path / f"iteration_{checkpoint.iteration:06d}.pt"
        checkpoint.save(numbered)
        with atomic_write(self.last) as path:
            shutil.copyfile(numbered, path)
        for old in self._numbered(checkpoint.iteration)[:-keep]:
            old.unlink(missing_ok=True)

    def _numbered(self, iteration: int) -> list[Path]:
        """Returns the numbered checkpoints up to `iteration`, the oldest first; a killed run may leave later ones."""
        files = [(path.stem.removeprefix("iteration_"), path) for path in self.path.glob("iteration_*.pt")]
        found = {int(number): path for number, path in files if number.isdecimal()}
        return [found[number] for number in sorted(found) if number <= iteration]

    def add_metrics(self, iteration: int, metrics: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl; removes lines of this iteration or later, which a killed run left."""
        target = self.path / "metrics.jsonl"
        lines = target.read_text().splitlines() if target.exists() else []
        kept = [line for line in lines if json.loads(line)["iteration"] < iteration]
        with atomic_write(target) as path:
            path.write_text("\n".join([*kept, json.dumps({"iteration": iteration, **metrics})]) + "\n")

    def load(self) -> Checkpoint:
        """Returns the checkpoint last.pt, from which the run resumes.

        Raises:
            CheckpointError: if there is none, if it cannot be read or resumed from, or if it has another recipe.
        """
        if not self.last.is_file():
            raise CheckpointError(f"--resume: there is no checkpoint {self.last}; start the run without --resume")
        checkpoint = load_checkpoint(self.last)
        if "optimiser" not in checkpoint.training:
            raise CheckpointError(f"--resume: {self.last} holds weights only, and no training state")
        now = flat(recipe_dict(self.recipe))
        changed = changes(
            settings(checkpoint.recipe, self.recipe),
            {key: value for key, value in now.items() if key not in FREE_TO_CHANGE},
        )
        if changed:
            found = "; ".join(changed[:3])
            raise CheckpointError(f"--resume: {self.last} belongs to another configuration: {found}")
        return checkpoint
