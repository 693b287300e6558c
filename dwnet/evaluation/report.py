"""What `dwnet evaluate` prints and writes."""

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
"""Of the JSON document; format 1 was a plain list of the models."""

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
    """How the models of one run were evaluated."""

    inference: Inference
    """How frames were given to the models."""
    data: Mapping[str, Any]
    """Which frames: data set, split, layout, number of frames, classes."""
    flow: Mapping[str, Any]
    """The flow of the flicker, and which frames are consecutive."""
    processes: int
    """Number of processes that shared the frames."""
    device: str
    """Of the networks of checkpoints."""


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
    """Returns everything about a run of `dwnet evaluate`, ready for JSON.

    Args:
        evaluations: of each model.
        files: of each model; None for the labels themselves.
        run: how the models were evaluated.
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
    """Returns the numbers of a row of the first table."""
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
