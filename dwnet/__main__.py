"""The command `dwnet` (also `python -m dwnet`): export, evaluate, measure flicker, compare, prepare data, share."""

import sys
from collections.abc import Callable
from pathlib import Path

import tyro

from dwnet.data.command import data_check, data_frames
from dwnet.data.street.command import street
from dwnet.evaluation.command import FlowName, evaluate
from dwnet.flicker.command import flicker
from dwnet.progress import Progress


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
