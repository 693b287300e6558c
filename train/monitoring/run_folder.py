"""The files of a run, OUTPUT/NAME: recipe.json, last.pt, best.pt, metrics.jsonl, and numbered checkpoints if asked.

Each is there whole or not at all.
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
from train.config.spec import Recipe

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"
"""In a run's folder: an empty file, locked by the process that trains there."""

FREE_TO_CHANGE = {
    "output",
    "log_every",
    "checkpoint_every",
    "evaluate_every",
    "keep_checkpoints",
    "pictures",
    "trackers",
    "data.root",
    "data.workers",
    "data.street_cache_gb",
}
"""Options that a resumed run may change: they do not change what is computed."""


def recipe_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(recipe), default=str))


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keyed as the options are: {"data": {"root": 1}} becomes {"data.root": 1}."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


def environment(accelerator: Accelerator) -> dict[str, Any]:
    """What a run is computed by, beside its recipe: Accelerate's share of the configuration, and versions."""
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


def settings(recorded: dict[str, Any]) -> dict[str, Any]:
    """A recorded recipe, flat; what the code of then did not have yet, it did as the default says."""
    return flat(recipe_dict(Recipe(name="default"))) | flat(recorded)


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two flat configurations, in words. What the code of then did not have is no change."""
    return [f"{key} was {then[key]}, now {now[key]}" for key in now if key in then and then[key] != now[key]]


class RunFolder:
    """Where the files of `recipe` go; `computed_by` is its `environment`."""

    def __init__(self, recipe: Recipe, computed_by: dict[str, Any]) -> None:
        self.recipe = recipe
        self.path = recipe.output / recipe.name
        self.last, self.best = self.path / "last.pt", self.path / "best.pt"
        self.configuration = recipe_dict(recipe) | {"environment": computed_by}
        """What recipe.json and each checkpoint hold."""

    def begin(self, iteration: int) -> None:
        """Makes the folder this process's alone, writes recipe.json, and removes what a killed run left half-written.

        Args:
            iteration: that the run starts or goes on from.

        Raises:
            ValueError: if another process trains there, or has since `load`.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._take()
        written = load_checkpoint(self.last).iteration if self.last.exists() else 0
        if written != iteration:
            raise ValueError(
                f"{self.last} is of iteration {written}, of another process's run since this one was started"
            )
        for pattern in (".last.*.pt", ".best.*.pt", ".iteration_*.pt", ".metrics.*.jsonl", ".recipe.*.json"):
            for leftover in self.path.glob(pattern):
                leftover.unlink(missing_ok=True)
        with atomic_write(self.path / "recipe.json") as path:
            path.write_text(json.dumps(self.configuration, indent=2) + "\n")

    def _take(self) -> None:
        """A lock that ends with this process, however it ends, and that its loader's workers do not inherit."""
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
            # A file system without locks: nobody can be kept out.

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes last.pt; where checkpoints are kept, as a numbered one too, and then removes those too many."""
        keep = self.recipe.keep_checkpoints
        if not keep:
            checkpoint.save(self.last)
            return
        # The numbered one first: a run killed between the two makes this step again, and none is missing.
        numbered = self.path / f"iteration_{checkpoint.iteration:06d}.pt"
        checkpoint.save(numbered)
        with atomic_write(self.last) as path:
            shutil.copyfile(numbered, path)
        for old in self._numbered(checkpoint.iteration)[:-keep]:
            old.unlink(missing_ok=True)

    def _numbered(self, iteration: int) -> list[Path]:
        """Numbered checkpoints up to `iteration`, the oldest first; a killed run may have left later ones."""
        files = [(path.stem.removeprefix("iteration_"), path) for path in self.path.glob("iteration_*.pt")]
        found = {int(number): path for number, path in files if number.isdecimal()}
        return [found[number] for number in sorted(found) if number <= iteration]

    def add_metrics(self, iteration: int, metrics: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl; lines of this iteration or later, of a run killed since, go."""
        target = self.path / "metrics.jsonl"
        lines = target.read_text().splitlines() if target.exists() else []
        kept = [line for line in lines if json.loads(line)["iteration"] < iteration]
        with atomic_write(target) as path:
            path.write_text("\n".join([*kept, json.dumps({"iteration": iteration, **metrics})]) + "\n")

    def load(self) -> Checkpoint:
        """last.pt, to resume from.

        Raises:
            CheckpointError: if there is none, it cannot be read or resumed from, or belongs to another recipe.
        """
        if not self.last.is_file():
            raise CheckpointError(f"--resume: there is no checkpoint {self.last}; start the run without --resume")
        checkpoint = load_checkpoint(self.last)
        if "optimiser" not in checkpoint.training:
            raise CheckpointError(f"--resume: {self.last} holds weights alone, and no state of a training")
        now = flat(recipe_dict(self.recipe))
        changed = changes(
            settings(checkpoint.recipe), {key: value for key, value in now.items() if key not in FREE_TO_CHANGE}
        )
        if changed:
            found = "; ".join(changed[:3])
            raise CheckpointError(f"--resume: {self.last} belongs to another configuration: {found}")
        return checkpoint
