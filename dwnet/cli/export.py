"""`dwnet export`."""

from pathlib import Path

import tyro


def export(
    checkpoint: tyro.conf.Positional[Path],
    /,
    output: Path | None = None,
    refinement: Path | None = None,
    size: tuple[int, int] | None = None,
    scale: float = 1.0,
) -> None:
    """Write a checkpoint's network as an ONNX file, and compare its outputs with PyTorch.

    Args:
        checkpoint: a checkpoint that train/main.py wrote.
        output: the file to write; default: the checkpoint's name with the suffix .onnx.
        refinement: also write the flow refinement module of a DWNet to this file, to inspect flows. Inference does not
            use it.
        size: height and width of the one size that the file takes; frames are resized to it. For networks that cannot
            be exported with open sizes; default: any size.
        scale: scale of the frame at which the network is to run; the file carries it.
    """
    from dwnet.deploy.checkpoint import load_checkpoint
    from dwnet.deploy.export import export_checkpoint

    reports = export_checkpoint(
        load_checkpoint(checkpoint),
        output or checkpoint.with_suffix(".onnx"),
        refinement=refinement,
        size=size,
        scale=scale,
    )
    for report in reports:
        exact, stored = f"{report.exact_difference:.1e}", f"{report.stored_difference:.1e}"
        agreement = "" if report.label_agreement is None else f", {report.label_agreement:.2%} of labels agree"
        print(
            f"{report.path}: {report.bytes / 1e6:.1f} MB, {report.nodes} nodes, {report.parameters:,} parameters; "
            f"difference to PyTorch, relative to the largest output: {exact} in float32, "
            f"{stored} with {report.weights}-precision weights"
            f"{agreement}"
        )
