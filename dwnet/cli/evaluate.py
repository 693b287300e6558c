"""`dwnet evaluate`. PyTorch is imported only when the command runs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from dwnet.cli.options import DatasetName, FlowName, SplitName
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write
from dwnet.core.launch import Processes, threads
from dwnet.core.progress import Progress

if TYPE_CHECKING:
    from dwnet.data.open import FrameData
    from dwnet.evaluation.inference import Inference
    from dwnet.evaluation.measure import Evaluation
    from dwnet.evaluation.predictors import Predictor
    from dwnet.evaluation.report import RunFacts

TITLES = {"camvid": "CamVid", "cityscapes": "Cityscapes", "street": "Street"}


def evaluate(
    models: tyro.conf.Positional[tuple[Path, ...]],
    /,
    dataset: DatasetName = "camvid",
    root: Path | None = None,
    split: SplitName = "val",
    max_gap: int = 5,
    ground_truth: bool = False,
    flow: FlowName = "dis",
    flow_weights: str = "published",
    window: int | None = None,
    window_overlap: str = "1/3",
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    server_files: Path | None = None,
    output: Path | None = None,
) -> None:
    """Print mIoU, IoU per class, flicker and temporal consistency of models, in Markdown.

    Several processes (`accelerate launch -m dwnet evaluate`, `torchrun -m dwnet evaluate`) share the frames. The result
    is the same as that of one process.

    Args:
        models: exported networks (.onnx) or checkpoints.
        dataset: data set; street is rendered and needs no folder.
        root: folder of the data set; default: data/DATASET.
        split: part of the data set.
        max_gap: largest distance in raw frames between two labelled frames that count as consecutive.
        ground_truth: add a row for the true labels; their flicker is the error of the flow.
        flow: optical flow for measuring flicker and for the methods that warp.
        flow_weights: weights of the flow: published, or a file.
        window: run the network on square windows with this side in pixels, and average the logits of overlapping
            windows.
        window_overlap: overlap of neighbouring windows as a fraction of their side, such as 1/3 or 0.5.
        scales: run the network at each of these scales and average the probabilities.
        flip: also run the network on the mirrored frame and average the probabilities.
        server_files: also write the labels to this folder, in the format of Cityscapes' test server; needs exactly one
            model.
        output: also write all numbers and the settings of the measurement to this JSON file.
    """
    processes = Processes.of_launcher()
    from dwnet.evaluation.inference import Inference

    inference = Inference(window=window, window_overlap=_part(window_overlap), scales=scales, flip=flip)
    if server_files is not None and (len(models) != 1 or ground_truth):
        raise DWNetError(
            f"--server-files: found {len(models) + ground_truth} models; allowed is one, without --ground-truth"
        )
    frames = _open_data(dataset, root, split, server_files)
    predictors = _predictors(models, frames, inference, processes)
    if ground_truth:
        predictors.append(("ground truth", None))
    if not predictors:
        raise DWNetError("no model named: give exported networks or checkpoints, or --ground-truth")
    evaluations = _evaluate_all(predictors, frames, (flow, flow_weights, max_gap), server_files, processes)
    if processes.rank:
        return
    from dwnet.evaluation.report import RunFacts, document
    from dwnet.ops.device import device

    pairs = next((e.flicker.frames for e in evaluations if e.flicker is not None), 0)
    facts = RunFacts(
        inference=inference,
        data={
            "kind": dataset,
            "split": split,
            "layout": frames.layout,
            "frames": len(frames),
            "classes": list(frames.classes.classes),
        },
        flow={"name": flow, "weights": flow_weights, "max_gap": max_gap, "pairs": pairs},
        processes=processes.count,
        device=str(device(processes)),
    )
    _print(evaluations, facts, TITLES.get(dataset, frames.classes.name))
    if server_files is not None:
        print(f"\n{server_files}: {len(frames)} files for the test server")
    if output is not None:
        whole = document(evaluations, [*models, *([None] if ground_truth else [])], facts)
        with atomic_write(output) as temporary:
            temporary.write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _print(evaluations: list[Evaluation], facts: RunFacts, title: str) -> None:
    """Prints the settings of the evaluation and the tables of the models."""
    from dwnet.evaluation.report import markdown

    data, flow = facts.data, facts.flow
    named = "DIS flow (medium)" if flow["name"] == "dis" else f"{flow['name']} flow"
    gap = f"{flow['pairs']} pairs at most {flow['max_gap']} raw frames apart"
    print(f"{title} {data['split']}, {data['frames']} frames, {data['layout']}; {facts.inference};")
    print(f"flicker along {named}, {gap}, occlusions left out.\n")
    print(markdown(evaluations, data["classes"]))
    for found in evaluations:
        if found.without_warmup:
            print(f"\n{found.name} uses previous frames; {found.without_warmup} of {data['frames']} frames have none")


def _part(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise DWNetError(f"--window-overlap is {text!r}; allowed is a part of the window such as 1/3 or 0.5") from error


def _open_data(dataset: DatasetName, root: Path | None, split: SplitName, server_files: Path | None) -> FrameData:
    from dwnet.data.open import open_data
    from dwnet.evaluation.server_files import check_server_folder, without_labels

    folder = Path("data", dataset) if root is None else root
    if dataset == "cityscapes" and server_files is not None and not (folder / "gtFine" / split).exists():
        frames: FrameData = without_labels(folder, split)
    else:
        frames = open_data(dataset, root, split)
    if server_files is not None:
        check_server_folder(server_files, frames)
    return frames


def _predictors(
    models: tuple[Path, ...], frames: FrameData, inference: Inference, processes: Processes
) -> list[tuple[str, Predictor | None]]:
    """Returns the row name and the predictor of each model. The name includes the inference settings."""
    from dwnet.evaluation.predictors import load_predictor
    from dwnet.ops.device import device

    predictors: list[tuple[str, Predictor | None]] = []
    for path in models:
        predictor, classes = load_predictor(path, inference, device=device(processes), threads=threads(processes))
        if classes != frames.classes.classes:
            raise DWNetError(
                f"{path} knows the classes {', '.join(classes)}; the data has {', '.join(frames.classes.classes)}"
            )
        predictors.append((f"{path.stem} ({inference.short})" if inference.short else path.stem, predictor))
    return predictors


def _evaluate_all(
    predictors: list[tuple[str, Predictor | None]],
    frames: FrameData,
    along: tuple[str, str, int],
    server_files: Path | None,
    processes: Processes,
) -> list[Evaluation]:
    """Evaluates every model; `along` is the flow, its weights, and the largest gap of consecutive frames."""
    from dwnet.evaluation.measure import EvaluationSettings
    from dwnet.evaluation.measure import evaluate as run
    from dwnet.evaluation.processes import joined
    from dwnet.evaluation.server_files import server_files as writing
    from dwnet.flow.registry import flow_function

    flow, weights, max_gap = along
    evaluations = []
    with joined(processes):
        settings = EvaluationSettings(flow_function(flow, weights=weights), max_gap, processes)
        for name, predictor in predictors:
            progress = Progress(name)
            with nullcontext() if server_files is None else writing(server_files, frames.names, processes) as on_labels:
                evaluation = run(
                    name,
                    predictor,
                    frames,
                    settings,
                    on_labels=on_labels,
                    progress=None if processes.rank else progress,
                )
            progress.close()
            evaluations.append(evaluation)
    return evaluations
