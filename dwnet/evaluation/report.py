"""The tables and the JSON document of `dwnet evaluate`."""

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy
import onnxruntime
import torch

from dwnet import __version__
from dwnet.core.files import code_commit
from dwnet.core.launch import available_cpus
from dwnet.core.tables import markdown_table, number_cell
from dwnet.evaluation.counts import WINDOWS, Evaluation
from dwnet.evaluation.facts import ModelFacts, processor
from dwnet.evaluation.inference import Inference
from dwnet.evaluation.robustness import CorruptionSettings, Robustness
from dwnet.evaluation.robustness import document as corruption_values

FORMAT = 3
"""Version of the JSON document. Format 1 was a plain list of the models; format 2 had one flow and no VC_n."""

LIBRARIES = (torch, numpy, cv2, onnxruntime)
HEADINGS = (
    "model",
    "mIoU %",
    "pixel accuracy %",
    "flips %",
    "flips %, second flow",
    "at boundaries %",
    "inside %",
    "temporal consistency %",
    *(f"VC{n} %" for n in WINDOWS),
)


@dataclass(frozen=True)
class RunFacts:
    """Settings and circumstances of one run of `dwnet evaluate`."""

    inference: Inference
    """Inference settings of the models."""
    data: Mapping[str, Any]
    """Data set, split, layout, number of frames, and classes."""
    flow: Mapping[str, Any]
    """Flow for measuring flicker, second flow, largest gap of consecutive frames, and number of pairs."""
    processes: int
    """Number of processes that shared the frames."""
    device: str
    """Device of the networks from checkpoints."""
    runtime: Mapping[str, str]
    """Runtime and device of the exported networks."""
    corruptions: CorruptionSettings | None = None
    """The corruptions that were measured; None without."""


def markdown(evaluations: Sequence[Evaluation], classes: Sequence[str]) -> str:
    """Returns two Markdown tables: the scores of each model, and the IoU of each class."""
    names = [e.name for e in evaluations]
    scores = markdown_table(HEADINGS, [[e.name, *map(number_cell, _scores(e))] for e in evaluations])
    per_class = [
        [name, *(number_cell(e.segmentation.per_class_iou_percent[index]) for e in evaluations)]
        for index, name in enumerate(classes)
    ]
    return f"{scores}\n\n{markdown_table(['class IoU %', *names], per_class)}"


def document(
    evaluations: Sequence[Evaluation],
    models: Sequence[ModelFacts],
    run: RunFacts,
    robustness: Sequence[Robustness] = (),
) -> dict[str, Any]:
    """Returns the scores, settings and versions of a run as values for JSON.

    Args:
        evaluations: the scores of each model.
        models: facts about each model, in the same order.
        run: settings of the run.
        robustness: scores under corruptions, by name of the model.
    """
    corrupted = {one.name: corruption_values(one) for one in robustness}
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
        "corruptions": None if run.corruptions is None else dataclasses.asdict(run.corruptions),
        "processes": run.processes,
        "device": run.device,
        "runtime": dict(run.runtime),
        "commit": code_commit(),
        "machine": {"system": platform.platform(), "processor": processor(), "cpus": available_cpus()},
        "versions": {"dwnet": __version__, "python": platform.python_version()}
        | {library.__name__: library.__version__ for library in LIBRARIES},
        "models": [
            dataclasses.asdict(evaluation) | dataclasses.asdict(facts) | {"corruptions": corrupted.get(evaluation.name)}
            for evaluation, facts in zip(evaluations, models, strict=True)
        ],
    }


def _scores(evaluation: Evaluation) -> list[float | None]:
    """Returns the numbers of one row of the score table."""
    accuracy, flicker, second = evaluation.segmentation, evaluation.flicker, evaluation.second_flicker
    steadiness = (
        [None] * 5
        if flicker is None
        else [
            flicker.flips_percent,
            None if second is None else second.flips_percent,
            flicker.boundary_percent,
            flicker.interior_percent,
            flicker.temporal_consistency_percent,
        ]
    )
    consistency = [evaluation.vc_percent(n) for n in WINDOWS]
    return [accuracy.miou_percent, accuracy.pixel_accuracy_percent, *steadiness, *consistency]
