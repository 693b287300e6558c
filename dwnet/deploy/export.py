"""Exports networks as ONNX files: a method from its checkpoint, or any per-frame segmenter.

Height and width of the inputs are multiples of a number in the metadata; `dwnet.deploy.runtime` pads and crops. Every
export is compared with PyTorch before its file is written.
"""

import copy
from pathlib import Path

from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError
from dwnet.core.files import code_commit
from dwnet.deploy.checkpoint import Checkpoint
from dwnet.deploy.graphs import (
    PerFrameGraph,
    RefinementGraph,
    exportable_pool,
    method_graph,
    refinement_examples,
    segmenter_examples,
)
from dwnet.deploy.metadata import checkpoint_metadata, interface_metadata
from dwnet.deploy.onnx_file import ExportError, ExportReport, write_onnx
from dwnet.method.flow_refinement import FlowRefinement
from dwnet.method.specs import MethodName
from dwnet.method.training import DWNetMethod, Method
from dwnet.ops.modules import replace_modules
from dwnet.segmentation import Segmenter

__all__ = ["ExportError", "ExportReport", "export_checkpoint", "export_segmenter"]


def export_checkpoint(
    checkpoint: Checkpoint, path: str | Path, *, refinement: str | Path | None = None
) -> list[ExportReport]:
    """Exports a trained method.

    Args:
        checkpoint: of any method.
        path: the ONNX file: for `baseline` and `dwnet` the per-frame segmenter, for `static_warp` and `keyframe` the
            network with its additional inputs.
        refinement: a second file for DWNet's flow refinement module, which serves to inspect flows; None writes none.

    Returns:
        A report for each file.

    Raises:
        CheckpointError: if the weights do not fit the network that the checkpoint names.
        DWNetError: if `refinement` is given for a method without flow refinement, or is the same file as `path`.
        ExportError: if a graph differs from PyTorch.
    """
    if refinement is not None and Path(refinement).resolve() == Path(path).resolve():
        raise DWNetError(f"{path}: the segmenter and its flow refinement cannot be one file")
    method = checkpoint.build()
    module = _refinement(method)
    if refinement is not None and module is None:
        raise DWNetError(
            f"--refinement: method {checkpoint.method.name!r} has no flow refinement module; only dwnet has"
        )
    graph, examples = method_graph(method)
    reports = [write_onnx(graph, examples, checkpoint_metadata(checkpoint, graph), Path(path))]
    if refinement is not None and module is not None:
        flow_graph = RefinementGraph(module, channels=method.segmenter.channels)
        metadata = checkpoint_metadata(checkpoint, flow_graph)
        reports.append(write_onnx(flow_graph, refinement_examples(), metadata, Path(refinement)))
    return reports


def export_segmenter(
    segmenter: Segmenter, path: str | Path, *, classes: ClassSet, method: MethodName = "dwnet"
) -> ExportReport:
    """Exports any per-frame segmenter, such as an adapter around a network of another package (`dwnet.adapters`).

    A copy is exported. The segmenter keeps its device and its mode.

    Args:
        segmenter: the network.
        path: the ONNX file.
        classes: names and palette of its K classes.
        method: the method that trained it.

    Raises:
        DWNetError: if the number of classes differs from the segmenter's.
        ExportError: if the graph differs from PyTorch.
    """
    if len(classes) != segmenter.num_classes:
        raise DWNetError(
            f"class set {classes.name!r} has {len(classes)} classes, the segmenter scores {segmenter.num_classes}; "
            "allowed is the same number"
        )
    own = replace_modules(copy.deepcopy(segmenter).cpu().float(), exportable_pool)
    graph = PerFrameGraph(own)
    metadata = interface_metadata(graph, classes)
    metadata |= {"method": method, "normalisation": {"inside_graph": True}, "commit": code_commit()}
    return write_onnx(graph, segmenter_examples(own), metadata, Path(path))


def _refinement(method: Method) -> FlowRefinement | None:
    """Returns the flow refinement module of a method; None if it has none."""
    return method.network.refinement if isinstance(method, DWNetMethod) else None
