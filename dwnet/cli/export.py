"""`dwnet export`."""

from pathlib import Path

import tyro


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
    from dwnet.deploy.checkpoint import load_checkpoint
    from dwnet.deploy.export import export_checkpoint

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
