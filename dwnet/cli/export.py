"""`dwnet export`."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from dwnet.cli.options import DatasetName
from dwnet.core.errors import DWNetError

LOST_MIOU, EQUAL_PERCENT, FLIPS_PERCENT = 0.5, 98.5, 5.0
"""Expected of int8: most mIoU points lost, least percent of equal labels, largest change of the flips in percent."""


def export(
    checkpoint: tyro.conf.Positional[Path],
    /,
    output: Path | None = None,
    refinement: Path | None = None,
    size: tuple[int, int] | None = None,
    scale: float = 1.0,
    int8: bool = False,
    calibrate: Path | None = None,
    dataset: DatasetName = "own",
    calibration_frames: int = 64,
) -> None:
    """Write a checkpoint's network as an ONNX file, and compare its outputs with PyTorch.

    With `--int8`, the network computes in 8-bit integers. It is calibrated on training frames of a data set, and
    compared with the float32 network on its validation frames.

    Args:
        checkpoint: a checkpoint that train/main.py wrote; with --int8 also an exported network (.onnx).
        output: the file to write; default: the checkpoint's name with the suffix .onnx, or _int8.onnx.
        refinement: also write the flow refinement module of a DWNet to this file, to inspect flows. Inference does not
            use it.
        size: height and width of the one size that the file takes; frames are resized to it. For networks that cannot
            be exported with open sizes; default: any size.
        scale: scale of the frame at which the network is to run; the file carries it.
        int8: write the network with int8 arithmetic.
        calibrate: folder of the data set for --int8.
        dataset: kind of that data set.
        calibration_frames: number of training frames for the calibration, spread over the split.
    """
    if int8 != (calibrate is not None):
        raise DWNetError("--int8 and --calibrate belong together: int8 is calibrated on a data set")
    if calibration_frames < 1:
        raise DWNetError(f"--calibration-frames is {calibration_frames}; allowed are whole numbers from 1")
    if calibrate is None:
        _export(checkpoint, output or checkpoint.with_suffix(".onnx"), refinement, size, scale)
        return
    target = output or checkpoint.with_name(f"{checkpoint.stem}_int8.onnx")
    if checkpoint.suffix == ".onnx":
        if refinement is not None or size is not None or scale != 1:
            raise DWNetError("--refinement, --size and --scale are for checkpoints; an exported network has its own")
        _quantise(checkpoint, target, calibrate, dataset, calibration_frames)
        return
    if target.resolve() == checkpoint.resolve():
        raise DWNetError(f"{target} is the checkpoint itself; allowed is another file")
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, "float32.onnx")
        _export(checkpoint, exported, refinement, size, scale)
        _quantise(exported, target, calibrate, dataset, calibration_frames)


def _export(
    checkpoint: Path, output: Path, refinement: Path | None, size: tuple[int, int] | None, scale: float
) -> None:
    from dwnet.deploy.checkpoint import load_checkpoint
    from dwnet.deploy.export import export_checkpoint

    reports = export_checkpoint(load_checkpoint(checkpoint), output, refinement=refinement, size=size, scale=scale)
    for report in reports:
        exact, stored = f"{report.exact_difference:.1e}", f"{report.stored_difference:.1e}"
        agreement = "" if report.label_agreement is None else f", {report.label_agreement:.2%} of labels agree"
        print(
            f"{report.path}: {report.bytes / 1e6:.1f} MB, {report.nodes} nodes, {report.parameters:,} parameters; "
            f"difference to PyTorch, relative to the largest output: {exact} in float32, "
            f"{stored} with {report.weights}-precision weights"
            f"{agreement}"
        )


def _quantise(source: Path, target: Path, root: Path, dataset: DatasetName, count: int) -> None:
    """Writes the int8 network, compares it with the float32 one, and prints the comparison."""
    from dwnet.data.open import open_data
    from dwnet.deploy.quantise import quantise

    if target.suffix != ".onnx":
        raise DWNetError(f"{target}: the file to write is called {target.name!r}; allowed are names that end in .onnx")
    train, val = open_data(dataset, root, "train"), open_data(dataset, root, "val")
    written = quantise(source, target, _frames(train, count))
    bits = "7 bits, because this processor has no VNNI" if written.reduce_range else "8 bits"
    print(f"{target}: {written.bytes / 1e6:.1f} MB, int8, weights of {bits}; calibrated on {written.frames} frames")
    _compare(source, target, val)


def _frames(data: Any, count: int) -> Iterator[np.ndarray]:
    """Yields up to `count` frames of a split, evenly spread, uint8 (H, W, 3) RGB."""
    for index in sorted({round(place) for place in np.linspace(0, len(data) - 1, min(count, len(data)))}):
        yield (data[index]["frame"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def _compare(source: Path, target: Path, val: Any) -> None:
    from dwnet.core.progress import Progress
    from dwnet.evaluation.measure import evaluate_models
    from dwnet.evaluation.predictors import load_predictor

    predictors = [("float32", load_predictor(source)), ("int8", load_predictor(target))]
    for _, (_, classes) in predictors:
        if classes != val.classes.classes:
            raise DWNetError(
                f"the network knows the classes {', '.join(classes)}; the data has {', '.join(val.classes.classes)}"
            )
    equal: list[float] = []
    progress = Progress("comparison")
    single, whole = evaluate_models(
        [(name, predictor) for name, (predictor, _) in predictors],
        val,
        on_frame=lambda frame, _: equal.append(float((frame.labels[0] == frame.labels[1]).mean())),
        progress=progress,
    )
    progress.close()
    same = 100 * float(np.mean(equal))
    before, after = (one.segmentation.miou_percent or 0.0 for one in (single, whole))
    print(
        f"{len(val)} validation frames: mIoU {before:.2f} % in float32, {after:.2f} % in int8; {same:.2f} % of labels "
        "equal",
        end="",
    )
    missed = [f"{before - after:.2f} points of mIoU are lost"] if before - after > LOST_MIOU else []
    missed += [f"only {same:.2f} % of labels are equal"] if same < EQUAL_PERCENT else []
    if single.flicker is not None and whole.flicker is not None and single.flicker.flips_percent:
        flips = single.flicker.flips_percent, whole.flicker.flips_percent or 0.0
        print(f"; flips {flips[0]:.2f} % in float32, {flips[1]:.2f} % in int8", end="")
        change = 100 * (flips[1] / flips[0] - 1)
        missed += [f"flips change by {change:+.1f} %"] if abs(change) > FLIPS_PERCENT else []
    print()
    if missed:
        print(f"dwnet: warning: {'; '.join(missed)}: int8 does not suit this network", file=sys.stderr)
