"""The files of a run, OUTPUT/NAME: recipe.json, last.pt, best.pt, metrics.jsonl. Each whole or not at all."""

import dataclasses
import json
from typing import Any

from dwnet.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from dwnet.files import written_whole
from train.spec import Recipe

FREE_TO_CHANGE = {
    "output",
    "log_every",
    "checkpoint_every",
    "evaluate_every",
    "data.root",
    "data.workers",
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


class RunFolder:
    """Where the files of `recipe` go."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.path = recipe.output / recipe.name
        self.last, self.best = self.path / "last.pt", self.path / "best.pt"

    def begin(self) -> None:
        """Makes the folder, writes recipe.json, and removes what a killed run left half-written."""
        self.path.mkdir(parents=True, exist_ok=True)
        for pattern in (".last.*.pt", ".best.*.pt", ".metrics.*.jsonl", ".recipe.*.json"):
            for leftover in self.path.glob(pattern):
                leftover.unlink(missing_ok=True)
        with written_whole(self.path / "recipe.json") as path:
            path.write_text(json.dumps(recipe_dict(self.recipe), indent=2) + "\n")

    def add_metrics(self, iteration: int, metrics: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl; lines of this iteration or later, of a run killed since, go."""
        target = self.path / "metrics.jsonl"
        lines = target.read_text().splitlines() if target.exists() else []
        kept = [line for line in lines if json.loads(line)["iteration"] < iteration]
        with written_whole(target) as path:
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
        then, now = flat(checkpoint.recipe), flat(recipe_dict(self.recipe))
        # An option that the code of then did not have is no change.
        changed = [key for key in now if key in then and key not in FREE_TO_CHANGE and then[key] != now[key]]
        if changed:
            found = "; ".join(f"{key} was {then[key]}, now {now[key]}" for key in changed[:3])
            raise CheckpointError(f"--resume: {self.last} belongs to another configuration: {found}")
        return checkpoint
