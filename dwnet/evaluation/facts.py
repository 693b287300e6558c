"""Facts about evaluated models and the machine, for the JSON document of `dwnet evaluate`."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from dwnet.core.fingerprints import sha256
from dwnet.deploy.checkpoint import load_checkpoint
from dwnet.deploy.network_info import METADATA_KEY


@dataclass(frozen=True)
class ModelFacts:
    """Where the scores of a model come from. All are None or empty for the true labels."""

    file: str | None = None
    """Path of the model's file."""
    sha256: str | None = None
    keep: float | None = None
    """Weight of the past if the probabilities were smoothed along the flow; None otherwise."""
    method: str | None = None
    """Method by which the model was trained; None if the file does not say it."""
    seed: int | None = None
    """Seed of the training."""
    trained_by: str | None = None
    """Commit of the code that trained the model."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """The training configuration."""


def model_facts(path: Path, keep: float | None = None) -> ModelFacts:
    """Returns the facts about a model file.

    Args:
        path: an ONNX file or a checkpoint.
        keep: weight of the past if its probabilities were smoothed.
    """
    stored = _metadata_of_onnx(path) if path.suffix == ".onnx" else _metadata_of_checkpoint(path)
    recipe = stored.get("recipe") or {}
    seed = recipe.get("seed")
    return ModelFacts(
        file=str(path),
        sha256=sha256(path),
        keep=keep,
        method=stored.get("method"),
        seed=seed if isinstance(seed, int) else None,
        trained_by=stored.get("commit") or None,
        recipe=recipe,
    )


def processor() -> str:
    """Returns the name of the processor; its architecture if the system does not tell the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _metadata_of_onnx(path: Path) -> dict[str, Any]:
    """Returns the metadata that `dwnet export` stores; empty for a file of another program."""
    model = onnx.load(str(path), load_external_data=False)
    entry = next((one.value for one in model.metadata_props if one.key == METADATA_KEY), "{}")
    stored: dict[str, Any] = json.loads(entry)
    return stored


def _metadata_of_checkpoint(path: Path) -> dict[str, Any]:
    checkpoint = load_checkpoint(path)
    return {"method": checkpoint.method.name, "recipe": checkpoint.recipe, "commit": checkpoint.commit}
