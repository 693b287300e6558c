"""`dwnet evaluate`. PyTorch is imported only when the command runs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

from dwnet.cli.options import DatasetName, FlowName, SplitName, use_runtime
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write
from dwnet.core.fingerprints import sha256, state_of
from dwnet.core.launch import Processes, threads
from dwnet.core.progress import Progress
from dwnet.deploy.smoothing import parse_smooth, smoothed_name
from dwnet.flicker.predictions import named_path

if TYPE_CHECKING:
    from dwnet.data.open import FrameData
    from dwnet.evaluation.counts import Evaluation
    from dwnet.evaluation.figure import FigureMaker
    from dwnet.evaluation.inference import Inference
    from dwnet.evaluation.measure import EvaluationSettings
    from dwnet.evaluation.predictors import Predictor
    from dwnet.evaluation.report import RunFacts
    from dwnet.evaluation.robustness import CorruptionSettings, Robustness
    from dwnet.flow.registry import FlowFunction

TITLES = {"camvid": "CamVid", "cityscapes": "Cityscapes", "street": "Street"}
FLOW_TITLES = {"dis": "DIS flow (medium)", "farneback": "Farnebäck flow"}
SecondFlow: TypeAlias = FlowName | Literal["none"]


@dataclass(frozen=True)
class _Model:
    """A row of the tables."""

    name: str
    path: Path | None
    """The file; None for the true labels."""
    keep: float | None = None
    """Weight of the past if the probabilities are smoothed."""
    predictor: Predictor | None = None


def evaluate(
    models: tyro.conf.Positional[tuple[str, ...]],
    /,
    dataset: DatasetName = "camvid",
    root: Path | None = None,
    split: SplitName = "val",
    max_gap: int = 5,
    ground_truth: bool = False,
    smooth: tuple[str, ...] = (),
    flow: FlowName = "dis",
    flow_weights: str = "published",
    second_flow: SecondFlow | None = None,
    window: int | None = None,
    window_overlap: str = "1/3",
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    corruptions: bool = False,
    corruption_names: tuple[str, ...] = (),
    severities: tuple[int, ...] = (1, 2, 3, 4, 5),
    corruption_seed: int = 0,
    records: Path = Path("evaluation_records"),
    figure: Path | None = None,
    server_files: Path | None = None,
    output: Path | None = None,
    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime",
    network_device: Annotated[
        Literal["cpu", "cuda", "tensorrt", "coreml", "directml", "gpu"], tyro.conf.arg(name="device")
    ] = "cpu",
) -> None:
    """Print mIoU, IoU per class, flicker, temporal and video consistency of models, in Markdown.

    Several processes (`accelerate launch -m dwnet evaluate`, `torchrun -m dwnet evaluate`) share the frames. The result
    is the same as that of one process.

    Args:
        models: exported networks (.onnx) or checkpoints, each PATH or NAME=PATH.
        dataset: data set; street is rendered and needs no folder.
        root: folder of the data set; default: data/DATASET.
        split: part of the data set.
        max_gap: largest distance in raw frames between two labelled frames that count as consecutive.
        ground_truth: add a row for the true labels; their flicker is the error of the flow.
        smooth: also evaluate these models with their class probabilities averaged along the flow at run time, each
            NAME or NAME=KEEP; KEEP is the weight of the past, 0 to below 1, default 0.5.
        flow: optical flow for measuring flicker and for the methods that warp.
        flow_weights: weights of the flow: published, or a file.
        second_flow: another flow along which flips are measured, since methods that warp run on the first one;
            default: farneback, or dis if the flow is farneback.
        window: run the network on square windows with this side in pixels, and average the logits of overlapping
            windows.
        window_overlap: overlap of neighbouring windows as a fraction of their side, such as 1/3 or 0.5.
        scales: run the network at each of these scales and average the probabilities.
        flip: also run the network on the mirrored frame and average the probabilities.
        corruptions: also measure mIoU under the common corruptions of Hendrycks and Dietterich. An interrupted run
            continues from its records.
        corruption_names: measure only these corruptions; default: all 15.
        severities: measure only these severities, 1 (weak) to 5 (strong).
        corruption_seed: seed of the random numbers of the corruptions.
        records: folder for the finished parts of --corruptions.
        figure: also write a PNG of three consecutive frames, chosen where the first model flips and dwnet, or else
            the last model, does not; in one process only.
        server_files: also write the labels to this folder, in the format of Cityscapes' test server; needs exactly one
            model.
        output: also write all numbers and the settings of the measurement to this JSON file.
        runtime: runtime of exported networks. The default computes in float32 on the CPU.
        network_device: device of exported networks: cpu; cuda, tensorrt, coreml or directml, if the build of ONNX
            Runtime has them; gpu (OpenVINO).
    """
    processes = Processes.of_launcher()
    from dwnet.evaluation.inference import Inference

    inference = Inference(window=window, window_overlap=_part(window_overlap), scales=scales, flip=flip)
    chosen = _corruptions(corruptions, corruption_names, severities, corruption_seed)
    if server_files is not None and (len(models) != 1 or smooth or ground_truth):
        raise DWNetError(
            f"--server-files: found {len(models) + len(smooth) + ground_truth} models; allowed is one, without "
            "--smooth and --ground-truth"
        )
    use_runtime(runtime, network_device)
    if figure is not None and processes.count > 1:
        raise DWNetError(f"--figure: found {processes.count} processes; allowed is one")
    frames = _open_data(dataset, root, split, server_files)
    second = _second_flow(flow, second_flow)
    settings = _settings(flow, flow_weights, second, max_gap, processes)
    rows = _rows(models, smooth, frames, inference, settings)
    if ground_truth:
        rows.append(_Model("ground truth", None))
    if not rows:
        raise DWNetError("no model named: give exported networks or checkpoints, or --ground-truth")
    keys: list[str] = []
    if chosen is not None:
        place = [dataset, split, frames.layout, list(frames.names), _state(dataset, root)]
        measured = [str(inference), place, flow, flow_weights, max_gap, runtime, network_device]
        keys = [json.dumps([sha256(one.path), one.keep, *measured]) for one in rows if one.path is not None]
    maker = None
    if figure is not None:
        from dwnet.evaluation.figure import FigureMaker

        maker = FigureMaker([one.name for one in rows if one.path is not None], frames.classes.palette)
    evaluations, robustness = _evaluate(rows, frames, settings, (server_files, maker), (chosen, keys, records))
    if processes.rank:
        return
    from dwnet.evaluation.facts import ModelFacts, model_facts
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
        flow={"name": flow, "weights": flow_weights, "second": second, "max_gap": max_gap, "pairs": pairs},
        processes=processes.count,
        device=str(device(processes)),
        runtime={"name": runtime, "device": network_device},
        corruptions=chosen,
    )
    if (runtime, network_device) != ("onnxruntime", "cpu"):
        from dwnet.deploy.sessions import runtime_choices

        print(f"Exported networks run in {runtime_choices(runtime, network_device)[0].short}.")
    _print(evaluations, robustness, facts, TITLES.get(dataset, frames.classes.name))
    if maker is not None and figure is not None:
        print(f"\n{maker.write(figure)}")
    if server_files is not None:
        print(f"\n{server_files}: {len(frames)} files for the test server")
    if output is not None:
        models_facts = [ModelFacts() if one.path is None else model_facts(one.path, one.keep) for one in rows]
        whole = document(evaluations, models_facts, facts, robustness)
        with atomic_write(output) as temporary:
            temporary.write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _print(evaluations: list[Evaluation], robustness: list[Robustness], facts: RunFacts, title: str) -> None:
    """Prints the settings of the evaluation and the tables of the models."""
    from dwnet.evaluation.report import markdown
    from dwnet.evaluation.robustness import markdown as corruption_table

    data, flow = facts.data, facts.flow
    named = FLOW_TITLES.get(flow["name"], f"{flow['name']} flow")
    gap = f"{flow['pairs']} pairs at most {flow['max_gap']} raw frames apart"
    print(f"{title} {data['split']}, {data['frames']} frames, {data['layout']}; {facts.inference};")
    print(f"flicker along {named}, {gap}, occlusions left out;")
    second = "no second flow" if flow["second"] == "none" else FLOW_TITLES.get(flow["second"], flow["second"])
    print(f"second flow: {second}.\n")
    print(markdown(evaluations, data["classes"]))
    for found in evaluations:
        if found.without_warmup:
            print(f"\n{found.name} uses previous frames; {found.without_warmup} of {data['frames']} frames have none")
    if robustness and facts.corruptions is not None:
        chosen = facts.corruptions
        severities = ", ".join(map(str, chosen.severities))
        print(f"\nUnder {len(chosen.names)} corruptions, mean over the severities {severities}, seed {chosen.seed}:\n")
        print(corruption_table(robustness, [e for e in evaluations if e.name != "ground truth"], chosen))


def _part(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise DWNetError(f"--window-overlap is {text!r}; allowed is a part of the window such as 1/3 or 0.5") from error


def _corruptions(
    wanted: bool, names: tuple[str, ...], severities: tuple[int, ...], seed: int
) -> CorruptionSettings | None:
    from dwnet.evaluation.corruptions import CORRUPTIONS
    from dwnet.evaluation.robustness import CorruptionSettings

    chosen = CorruptionSettings(names or tuple(CORRUPTIONS), severities, seed)
    if not wanted and chosen != CorruptionSettings():
        raise DWNetError("--corruption-names, --severities and --corruption-seed are allowed with --corruptions only")
    return chosen if wanted else None


def _second_flow(flow: FlowName, second: SecondFlow | None) -> str:
    if second is None:
        return "dis" if flow == "farneback" else "farneback"
    if second == flow:
        raise DWNetError(f"--second-flow is {second}, the first flow; allowed is another one, or none")
    return second


def _settings(flow: FlowName, weights: str, second: str, max_gap: int, processes: Processes) -> EvaluationSettings:
    from dwnet.evaluation.measure import EvaluationSettings, remembered
    from dwnet.flow.registry import flow_function

    other: FlowFunction | None = None if second == "none" else flow_function(second)
    # Smoothed models need the flow back, which is also that of the occlusion mask.
    return EvaluationSettings(remembered(flow_function(flow, weights=weights)), max_gap, processes, other)


def _state(dataset: DatasetName, root: Path | None) -> str | None:
    """Returns a fingerprint of the data; None for the rendered street, which depends on the code alone."""
    return None if dataset == "street" else state_of(Path("data", dataset) if root is None else root)


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


def _rows(
    models: tuple[str, ...],
    smooth: tuple[str, ...],
    frames: FrameData,
    inference: Inference,
    settings: EvaluationSettings,
) -> list[_Model]:
    """Returns the rows of the models, each smoothed one after its model. Names include the inference settings."""
    from dwnet.evaluation.predictors import SmoothedPredictor, load_predictor
    from dwnet.ops.device import device

    processes = settings.processes
    named = [named_path(text) for text in models]
    wanted = parse_smooth(smooth, [name for name, _ in named])
    names = [name for name, _ in named] + [smoothed_name(*one) for one in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DWNetError(f"two models are called {twice[0]!r}; allowed is one of each name (give NAME=PATH)")
    suffix = f" ({inference.short})" if inference.short else ""
    rows = []
    for name, path in named:
        for keep in (None, *(keep for one, keep in wanted if one == name)):
            # Each row has its own predictor, because predictors keep the state of a clip.
            predictor, classes = load_predictor(path, inference, device=device(processes), threads=threads(processes))
            if classes != frames.classes.classes:
                raise DWNetError(
                    f"{path} knows the classes {', '.join(classes)}; the data has {', '.join(frames.classes.classes)}"
                )
            if keep is None:
                rows.append(_Model(f"{name}{suffix}", path, None, predictor))
            else:
                smoothed = SmoothedPredictor(predictor, keep, settings.flow, source=path)
                rows.append(_Model(f"{smoothed_name(name, keep)}{suffix}", path, keep, smoothed))
    return rows


def _evaluate(
    rows: list[_Model],
    frames: FrameData,
    settings: EvaluationSettings,
    outputs: tuple[Path | None, FigureMaker | None],
    corrupted: tuple[CorruptionSettings | None, list[str], Path],
) -> tuple[list[Evaluation], list[Robustness]]:
    """Evaluates every row.

    `outputs` has the folder of the server's files and the maker of the figure, `corrupted` the corruptions, the key of
    each model, and the folder of the records.
    """
    from dwnet.evaluation.measure import evaluate_models
    from dwnet.evaluation.processes import joined
    from dwnet.evaluation.robustness import evaluate_corruptions
    from dwnet.evaluation.server_files import server_files as writing

    processes = settings.processes
    (server_files, maker), (chosen, keys, records) = outputs, corrupted
    robustness: list[Robustness] = []
    with joined(processes):
        progress = Progress(", ".join(one.name for one in rows))
        with nullcontext() if server_files is None else writing(server_files, frames.names, processes) as on_labels:
            evaluations = evaluate_models(
                [(one.name, one.predictor) for one in rows],
                frames,
                settings,
                on_labels=on_labels,
                on_frame=None if maker is None else maker.add,
                progress=None if processes.rank else progress,
            )
        progress.close()
        if chosen is not None:
            progress = Progress("corruptions")
            robustness = evaluate_corruptions(
                [(one.name, one.predictor) for one in rows if one.predictor is not None],
                keys,
                frames,
                settings,
                chosen,
                records,
                progress=None if processes.rank else progress,
            )
            progress.close()
    return evaluations, robustness
