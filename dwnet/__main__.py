"""The command `dwnet` (also `python -m dwnet`): export, evaluate, and data preparation."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dwnet.data.command import data_check, data_frames
from dwnet.data.street.command import street
from dwnet.files import written_whole
from dwnet.flicker.command import flicker
from dwnet.progress import Progress

TITLES = {"camvid": "CamVid", "cityscapes": "Cityscapes", "street": "Street"}
FlowName = Literal["dis", "raft_small", "raft_large", "flownet2"]


def export(
    checkpoint: tyro.conf.Positional[Path],
    /,
    output: Path | None = None,
    refinement: Path | None = None,
) -> None:
    """Write a checkpoint's network as one ONNX file, checked against PyTorch.

    Args:
        checkpoint: a checkpoint that train/main.py wrote.
        output: the file to write; default: the checkpoint's name with .onnx.
        refinement: also write a DWNet's flow refinement branch here (for looking at flows; inference needs none).
    """
    from dwnet.checkpoint import load_checkpoint
    from dwnet.export import export_checkpoint

    reports = export_checkpoint(
        load_checkpoint(checkpoint), output or checkpoint.with_suffix(".onnx"), refinement=refinement
    )
    for report in reports:
        agreement = "" if report.label_agreement is None else f", {report.label_agreement:.2%} of labels agree"
        print(
            f"{report.path}: {report.bytes / 1e6:.1f} MB, {report.nodes} nodes, {report.parameters:,} parameters; "
            f"against PyTorch: float32 graph differs by {report.exact_difference:.1e}, "
            f"with {report.weights}-precision weights by {report.stored_difference:.1e} of the largest output"
            f"{agreement}"
        )


def evaluate(
    models: tyro.conf.Positional[tuple[Path, ...]],
    /,
    data: Path | None = None,
    kind: Literal["camvid", "cityscapes", "own", "street"] = "camvid",
    split: Literal["train", "val", "test"] = "val",
    max_gap: int = 5,
    ground_truth: bool = False,
    along: FlowName = "dis",
    flow_weights: str = "published",
    flow: bool = False,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Print mIoU, IoU per class, flicker and temporal consistency of models, in Markdown.

    Args:
        models: exported networks (.onnx) or checkpoints.
        data: folder of the data set; by default data/KIND.
        kind: which data set; the street is rendered and has no folder.
        split: which part of it.
        max_gap: raw frames between two labelled frames that still count as consecutive.
        ground_truth: adds a row for the labels themselves: what the flicker metric says of a perfect prediction.
        along: the flow that flicker is measured along, and methods warp by.
        flow_weights: of that flow: published, or a file.
        flow: instead, judge the flow that DWNet's exported refinements (the models) make of DIS, and DIS itself,
            against the exact flow of rendered streets.
        json_file: also write all numbers here.
    """
    from dwnet.data.open import open_data
    from dwnet.evaluate import GroundTruth, Predictor, load_predictor, markdown
    from dwnet.evaluate import evaluate as run
    from dwnet.flow.arrays import flow_function

    if flow:
        _judge_flows(models)
        return
    along_flow = flow_function(along, weights=flow_weights)
    frames = open_data(kind, data, split)
    predictors: list[tuple[str, Predictor]] = []
    for path in models:
        predictor, classes = load_predictor(path)
        if classes != frames.classes.classes:
            raise ValueError(
                f"{path} knows the classes {', '.join(classes)}; the data has {', '.join(frames.classes.classes)}"
            )
        predictors.append((path.stem, predictor))
    if ground_truth:
        predictors.append(("ground truth", GroundTruth(frames)))
    if not predictors:
        raise ValueError("no model named: give exported networks or checkpoints, or --ground-truth")
    evaluations = []
    for name, predictor in predictors:
        progress = Progress(name)
        evaluations.append(run(name, predictor, frames, max_gap=max_gap, flow=along_flow, progress=progress))
        progress.close()
    print(
        f"{TITLES.get(kind, frames.classes.name)} {split}, {len(frames)} frames, {frames.layout}; whole images, "
        "no test-time augmentation;"
    )
    named = "DIS flow (medium)" if along == "dis" else f"{along} flow"
    pairs = next((e.flicker.frames for e in evaluations if e.flicker is not None), 0)
    print(f"flicker along {named}, {pairs} pairs at most {max_gap} raw frames apart, occlusions left out.\n")
    print(markdown(evaluations, frames.classes.classes))
    if json_file is not None:
        with written_whole(json_file) as temporary:
            temporary.write_text(json.dumps([dataclasses.asdict(e) for e in evaluations], indent=2) + "\n")


def _judge_flows(refinements: tuple[Path, ...]) -> None:
    from dwnet.data.street import StreetScene
    from dwnet.data.street_pairs import first_seed
    from dwnet.flow_error import flows_to_judge, judge_flow, markdown
    from dwnet.runtime import OnnxFlowRefinement, load

    flows = flows_to_judge()
    for path in refinements:
        refiner = load(path, kind="flow_refinement")
        assert isinstance(refiner, OnnxFlowRefinement)
        flows[f"DIS, refined by {path.stem}"] = flows_to_judge(refiner)["DIS, refined"]
    scenes = [StreetScene(first_seed("test") + street) for street in range(8)]
    progress = Progress("flow")
    judged = judge_flow(scenes, flows, frames_per_scene=4, progress=progress)
    progress.close()
    print("Flow against the exact flow of 8 test streets, 4 frames of each:\n")
    print(markdown(judged))


def compare(
    clip: tyro.conf.Positional[Path],
    /,
    models: Path = Path("assets/models"),
    output: Path = Path("comparison"),
    max_side: int = 480,
    every: int = 1,
    limit: int | None = None,
    flow: FlowName = "dis",
    flow_weights: str = "published",
) -> None:
    """Compare exported networks on a clip, as the page does: side-by-side MP4, CSV a frame, JSON report.

    Args:
        clip: a video file, or a folder of images.
        models: folder of exported networks, one a method, the baseline among them.
        output: folder for the files.
        max_side: the frames' longer side is reduced to this, in pixels.
        every: takes every n-th frame.
        limit: at most so many frames.
        flow: what flicker is measured along, and methods warp by.
        flow_weights: of the flow: published, or a file.
    """
    from dwnet.compare import ComparisonFiles, load_networks
    from dwnet.compare import compare as run

    progress, frame = Progress(clip.name), None
    networks = load_networks(models)
    for frame in run(
        clip,
        networks,
        output_dir=output,
        flow=flow,
        flow_weights=flow_weights,
        max_side=max_side,
        every=every,
        limit=limit,
    ):
        progress(frame.compared, frame.expected or frame.compared)
    progress.close()
    assert frame is not None  # `run` refuses a clip without frames
    print("| method | flips % | temporal consistency % | median ms per frame | mean ms |\n|---|---|---|---|---|")
    for method, summary in frame.summaries.items():
        cells = [summary.flips_percent, summary.temporal_consistency_percent]
        cells += [summary.latency_ms_median, summary.latency_ms_mean]
        print(f"| {method} | {' | '.join('-' if cell is None else f'{cell:.2f}' for cell in cells)} |")
    files = ComparisonFiles.beside(output, Path(clip.name))
    print(f"\n{frame.compared} frames; {files.video}, {files.csv}, {files.json}")


def camvid_frames(
    video: tyro.conf.Positional[Path],
    /,
    data: Path = Path("data/camvid"),
    max_offset: int = 5,
) -> None:
    """Extract the neighbours of CamVid's labelled frames from a raw CamVid video, for `--data.neighbours video`.

    Args:
        video: one of the raw videos: 01TP_extract.avi, 0006R0.MXF, 0016E5.MXF, 0005VD.MXF.
        data: folder of the data set; frames go to its video_frames/.
        max_offset: raw frames before and after each labelled frame.
    """
    from dwnet.data.camvid_video import extract_neighbours

    done = extract_neighbours(video, data, max_offset=max_offset)
    fit = ""
    if done.still_difference is not None:
        fit = f"; the labelled stills differ from their frames by {done.still_difference:.1f} grey levels"
    print(
        f"{done.sequence}: {done.written} frames written, {done.present} were there, {done.outside} lie outside the "
        f"video{fit} (a few are usual; tens mean another video)"
    )


def hub_save(checkpoint: tyro.conf.Positional[Path], folder: tyro.conf.Positional[Path], /) -> None:
    """Write what inference needs of a checkpoint as a folder for the Hugging Face hub.

    Args:
        checkpoint: a file that training wrote.
        folder: new, empty, or written by this command before.
    """
    from dwnet.checkpoint import load_checkpoint
    from dwnet.hub import PretrainedSegmenter

    PretrainedSegmenter.from_checkpoint(load_checkpoint(checkpoint)).save_pretrained(folder)
    print(f"{folder}: written")


def hub_push(
    checkpoint: tyro.conf.Positional[Path], repository: tyro.conf.Positional[str], /, private: bool = False
) -> None:
    """Push what inference needs of a checkpoint to the Hugging Face hub.

    Args:
        checkpoint: a file that training wrote.
        repository: owner/name; made if it is missing.
        private: of a repository that this command makes.
    """
    from dwnet.checkpoint import load_checkpoint
    from dwnet.hub import PretrainedSegmenter

    print(PretrainedSegmenter.from_checkpoint(load_checkpoint(checkpoint)).push_to_hub(repository, private=private))


COMMANDS: dict[str, Callable[..., None]] = {
    "export": export,
    "evaluate": evaluate,
    "compare": compare,
    "flicker": flicker,
    "street": street,
    "camvid-frames": camvid_frames,
}

GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "data": {"check": data_check, "frames": data_frames},
    "hub": {"save": hub_save, "push": hub_push},
}
"""Commands of two words."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; a clear error ends it with status 1."""
    try:
        arguments = sys.argv[1:] if arguments is None else arguments
        if arguments and arguments[0] in GROUPS:
            group, *arguments = arguments
            tyro.extras.subcommand_cli_from_dict(GROUPS[group], args=arguments, prog=f"dwnet {group}")
        else:
            words = ", ".join(f"`{group} {name}`" for group, names in GROUPS.items() for name in names)
            tyro.extras.subcommand_cli_from_dict(
                COMMANDS, args=arguments, prog="dwnet", description=f"{__doc__} Also: {words}."
            )
    except (ValueError, RuntimeError, OSError) as error:
        print(f"dwnet: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dwnet: interrupted; nothing half-written remains", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
