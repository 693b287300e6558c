"""The tables and the JSON document of `dwnet evaluate`."""

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy
import onnxruntime
import torch

from dwnet import __version__
from dwnet.core.files import code_commit
from dwnet.core.fingerprints import sha256
from dwnet.core.tables import markdown_table, number_cell
from dwnet.evaluation.inference import Inference
from dwnet.evaluation.measure import Evaluation

FORMAT = 2
"""Version of the JSON document. Format 1 was a plain list of the models."""

LIBRARIES = (torch, numpy, cv2, onnxruntime)
HEADINGS = (
    "model",
    "mIoU %",
    "pixel accuracy %",
    "flips %",
    "at boundaries %",
    "inside %",
    "temporal consistency %",
)


@dataclass(frozen=True)
class RunFacts:
    """Settings and circumstances of one run of `dwnet evaluate`."""

    inference: Inference
    """Inference settings of the models."""
    data: Mapping[str, Any]
    """Data set, split, layout, number of frames, and classes."""
    flow: Mapping[str, Any]
    """Flow for measuring flicker, largest gap of consecutive frames, and number of pairs."""
    processes: int
    """Number of processes that shared the frames."""
    device: str
    """Device of the networks from checkpoints."""


def markdown(evaluations: Sequence[Evaluation], classes: Sequence[str]) -> str:
    """Returns two Markdown tables: the scores of each model, and the IoU of each class."""
    names = [e.name for e in evaluations]
    scores = markdown_table(HEADINGS, [[e.name, *map(number_cell, _scores(e))] for e in evaluations])
    per_class = [
        [name, *(number_cell(e.segmentation.per_class_iou_percent[index]) for e in evaluations)]
        for index, name in enumerate(classes)
    ]
    return f"{scores}\n\n{markdown_table(['class IoU %', *names], per_class)}"


def document(evaluations: Sequence[Evaluation], files: Sequence[Path | None], run: RunFacts) -> dict[str, Any]:
    """Returns the scores, settings and versions of a run as values for JSON.

    Args:
        evaluations: the scores of each model.
        files: the file of each model; None for the true labels.
        run: settings of the run.
    """
    inference = run.inference
    return {
        "format": FORMAT,
        "data": dict(run.data),
        "inference": {
            "text": str(inference),
            "window": inference.window,
            "stride": inference.stride,
            "scales": list(inference.scales),
            "flip": inference.flip,
        },
        "flow": dict(run.flow),
        "processes": run.processes,
        "device": run.device,
        "commit": code_commit(),
        "versions": {"dwnet": __version__, "python": platform.python_version()}
        | {library.__name__: library.__version__ for library in LIBRARIES},
        "models": [
            dataclasses.asdict(evaluation)
            | {
                "file": None if file is None else str(file),
                "sha256": None if file is None else sha256(file),
            }
            for evaluation, file in zip(evaluations, files, strict=True)
        ],
    }


def _scores(evaluation: Evaluation) -> list[float | None]:
    """Returns the numbers of one row of the score table."""
    accuracy, flicker = evaluation.segmentation, evaluation.flicker
    steadiness = (
        [None] * 4
        if flicker is None
        else [
            flicker.flips_percent,
            flicker.boundary_percent,
            flicker.interior_percent,
            flicker.temporal_consistency_percent,
        ]
    )
    return [accuracy.miou_percent, accuracy.pixel_accuracy_percent, *steadiness]
