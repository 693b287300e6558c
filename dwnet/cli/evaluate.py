"""`dwnet evaluate`. PyTorch is imported only when it runs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from dwnet.cli.options import DatasetName, FlowName, SplitName
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write
from dwnet.core.launch import Processes, threads
from dwnet.core.progress import Progress
from dwnet.ops.device import device

if TYPE_CHECKING:
    from dwnet.data.open import FrameData
    from dwnet.evaluation.inference import Inference
    from dwnet.evaluation.measure import Evaluation
    from dwnet.evaluation.predictors import Predictor

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

    Also under `accelerate launch -m dwnet evaluate` or `torchrun -m dwnet evaluate`: the processes share the frames,
    and the result is that of one.

    Args:
        models: exported networks (.onnx) or checkpoints.
        dataset: which data set; the street is rendered and needs no folder.
        root: folder of the data set; default: data/DATASET.
        split: which part of it.
        max_gap: raw frames between two labelled frames that still count as consecutive.
        ground_truth: adds a row for the labels themselves: what the flicker metric says of a perfect prediction.
        flow: what flicker is measured along, and methods warp by.
        flow_weights: of that flow: published, or a file.
        window: put frames to the network in square windows of so many pixels, logits averaged where they overlap.
        window_overlap: how much neighbouring windows overlap, as a part of their side: 1/3, or 0.5.
        scales: put frames to the network at each of these scales, probabilities averaged.
        flip: put each frame to the network mirrored too, probabilities averaged.
        server_files: also write the labels of the one model here, as Cityscapes' test server takes them.
        output: also write all numbers to this JSON file, with how they were measured.
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
    along_flow = _Flow(flow, flow_weights, max_gap)
    evaluations = _evaluate_all(predictors, frames, along_flow, server_files, processes)
    if processes.rank:
        return
    from dwnet.evaluation.report import document, markdown

    title = f"{TITLES.get(dataset, frames.classes.name)} {split}"
    print(f"{title}, {len(frames)} frames, {frames.layout}; {inference};")
    named = "DIS flow (medium)" if flow == "dis" else f"{flow} flow"
    pairs = next((e.flicker.frames for e in evaluations if e.flicker is not None), 0)
    print(f"flicker along {named}, {pairs} pairs at most {max_gap} raw frames apart, occlusions left out.\n")
    print(markdown(evaluations, frames.classes.classes))
    for found in evaluations:
        if found.without_warmup:
            print(f"\n{found.name} draws on frames before; {found.without_warmup} of {len(frames)} frames have none")
    if server_files is not None:
        print(f"\n{server_files}: {len(frames)} files for the test server")
    if output is not None:
        whole = document(
            evaluations,
            [*models, *([None] if ground_truth else [])],
            inference,
            data={
                "kind": dataset,
                "split": split,
                "layout": frames.layout,
                "frames": len(frames),
                "classes": list(frames.classes.classes),
            },
            flow=asdict(along_flow) | {"pairs": pairs},
            processes=processes.count,
            device=str(device(processes)),
        )
        with atomic_write(output) as temporary:
            temporary.write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Flow:
    """What flicker is measured along, and between which frames."""

    name: str
    weights: str
    max_gap: int


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
    """Each model by the name of its row, which says how frames are put to it."""
    from dwnet.evaluation.predictors import load_predictor

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
    along: _Flow,
    server_files: Path | None,
    processes: Processes,
) -> list[Evaluation]:
    from dwnet.evaluation.measure import evaluate as run
    from dwnet.evaluation.processes import joined
    from dwnet.evaluation.server_files import server_files as writing
    from dwnet.flow.registry import flow_function

    evaluations = []
    with joined(processes):
        flow = flow_function(along.name, weights=along.weights)
        for name, predictor in predictors:
            progress = Progress(name)
            with nullcontext() if server_files is None else writing(server_files, frames.names, processes) as on_labels:
                evaluation = run(
                    name,
                    predictor,
                    frames,
                    max_gap=along.max_gap,
                    flow=flow,
                    processes=processes,
                    on_labels=on_labels,
                    progress=None if processes.rank else progress,
                )
            progress.close()
            evaluations.append(evaluation)
    return evaluations
