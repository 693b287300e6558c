"""What is printed and written of evaluations."""

import dataclasses
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy
import onnxruntime
import torch
import torchmetrics

from dwnet import __version__
from dwnet.core.files import code_commit
from dwnet.core.fingerprints import sha256
from dwnet.evaluation.inference import Inference
from dwnet.evaluation.measure import Evaluation

FORMAT = 2
"""Of the JSON document; 1 was the bare list of its models."""

LIBRARIES = (torch, torchmetrics, numpy, cv2, onnxruntime)


def markdown(evaluations: Sequence[Evaluation], classes: Sequence[str]) -> str:
    """Two Markdown tables: the summary, and IoU per class."""
    lines = [
        "| model | mIoU % | pixel accuracy % | flips % | at boundaries % | inside % | temporal consistency % |",
        "|---|---|---|---|---|---|---|",
    ]
    for e in evaluations:
        f = e.flicker
        steadiness = (
            [None] * 4
            if f is None
            else [f.flips_percent, f.boundary_percent, f.interior_percent, f.temporal_consistency_percent]
        )
        cells = [e.segmentation.miou_percent, e.segmentation.pixel_accuracy_percent, *steadiness]
        lines.append(f"| {e.name} | {' | '.join(map(_cell, cells))} |")
    lines += ["", f"| class IoU % | {' | '.join(e.name for e in evaluations)} |", "|---|" + "---|" * len(evaluations)]
    for index, name in enumerate(classes):
        cells = [e.segmentation.per_class_iou_percent[index] for e in evaluations]
        lines.append(f"| {name} | {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines)


def document(
    evaluations: Sequence[Evaluation],
    files: Sequence[Path | None],
    inference: Inference,
    *,
    data: dict[str, Any],
    flow: dict[str, Any],
    processes: int,
    device: str,
) -> dict[str, Any]:
    """Everything of a run of `dwnet evaluate`, ready for JSON.

    Args:
        evaluations: of each model.
        files: each model's; None for the labels themselves.
        inference: how frames were put to the models.
        data: which frames.
        flow: what flicker was measured along, and between which frames.
        processes: how many shared the frames.
        device: of checkpoints' networks.
    """
    return {
        "format": FORMAT,
        "data": data,
        "inference": {
            "text": str(inference),
            "window": inference.window,
            "stride": inference.stride,
            "scales": list(inference.scales),
            "flip": inference.flip,
        },
        "flow": flow,
        "processes": processes,
        "device": device,
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


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
