"""Checkpoints: one file with a method's weights and all data needed to rebuild, resume, evaluate and export it."""

import dataclasses
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError, first_line
from dwnet.core.files import atomic_write, code_commit
from dwnet.method.specs import MethodSpec, from_dict
from dwnet.method.training import Method
from dwnet.ops.weights import NUMPY_SCALARS, state_dict_mismatch, text_instead
from dwnet.segmentation import NetworkSpec

FORMAT = 1


class CheckpointError(DWNetError):
    """A checkpoint that cannot be used; the message names the file, what was found and what is needed."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        network: specification of the segmenter.
        method: specification of the method.
        classes: names and palette of the labels.
        weights: state dict of the `Method`.
        recipe: the resolved training configuration, JSON-able.
        iteration: optimiser steps done.
        epoch: epochs finished.
        metrics: metrics of the last evaluation, by name.
        commit: commit of the code that wrote the file.
        training: state of the trainer (optimiser, gradient scaler); empty in a file that cannot be resumed.
        source: name of the checkpoint in messages; not stored.
        path: the file that it was read from; not stored.
    """

    network: NetworkSpec
    method: MethodSpec
    classes: ClassSet
    weights: dict[str, Tensor]
    recipe: dict[str, Any] = field(default_factory=dict)
    iteration: int = 0
    epoch: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    commit: str = field(default_factory=code_commit)
    training: dict[str, Any] = field(default_factory=dict)
    source: str = "checkpoint"
    path: Path | None = None

    def save(self, path: str | Path) -> None:
        """Writes the file atomically."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("source", "path")}
        for name in ("network", "method", "classes"):
            content[name] = dataclasses.asdict(content[name])
        with atomic_write(path) as temporary:
            torch.save({"format": FORMAT, **content}, temporary)

    def build(self) -> Method:
        """Returns the trained method, on the CPU, in evaluation mode. All weights are the checkpoint's; no download.

        Raises:
            CheckpointError: if the weights belong to another architecture.
        """
        method = self.method.build(self.network.build(len(self.classes.classes)), load_flow=False)
        load_weights(method, self.weights, source=self.source)
        return method.eval()


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint file. No code in it is executed.

    Raises:
        CheckpointError: if the file is missing, unreadable, or not a checkpoint of this library.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path}: no such file")
    reason = text_instead(path)
    if reason is not None:
        raise CheckpointError(f"checkpoint {path}: {reason}")
    try:
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
        with zipfile.ZipFile(path) as archive:  # PyTorch writes check sums, but does not verify them
            damaged = archive.testzip()
        if damaged is not None:
            raise DWNetError(f"{damaged} is damaged: its check sum differs")
    except Exception as error:
        reason = first_line(error).partition(". ")[0]
        raise CheckpointError(f"checkpoint {path}: not a readable PyTorch file ({reason})") from error
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"checkpoint {path}: a PyTorch file, but not one that train/main.py wrote")
    found = content.pop("format")
    if found != FORMAT:
        raise CheckpointError(f"checkpoint {path}: of format {found!r}; this version reads format {FORMAT}")
    try:
        classes = content.pop("classes")
        return Checkpoint(
            network=NetworkSpec(**content.pop("network")),
            method=from_dict(content.pop("method"), ignore_unused=True),
            classes=ClassSet(classes["name"], tuple(classes["classes"]), tuple(tuple(c) for c in classes["palette"])),
            **content,
            source=f"checkpoint {path}",
            path=path,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path}: incomplete or of another version ({error})") from error


def load_weights(module: nn.Module, weights: dict[str, Tensor], *, source: str) -> None:
    """Loads a state dict strictly.

    Raises:
        CheckpointError: if it does not fit; the message has the number of missing, unexpected and differently shaped
            tensors, and the first of each.
    """
    differences = state_dict_mismatch(module.state_dict(), weights)
    if differences:
        raise CheckpointError(f"{source}: weights of another architecture: {differences}")
    module.load_state_dict(weights)
