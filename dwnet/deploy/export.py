"""Exports networks as ONNX files: a method from its checkpoint, or any per-frame segmenter.

Height and width of the inputs are multiples of a number in the metadata; `dwnet.deploy.runtime` pads and crops. Every
export is compared with PyTorch before its file is written.
"""

import copy
from pathlib import Path
from typing import Any

from torch import nn

from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError
from dwnet.core.files import code_commit
from dwnet.deploy.checkpoint import Checkpoint
from dwnet.deploy.graphs import (
    ExportGraph,
    PerFrameGraph,
    RefinementGraph,
    exportable_pool,
    method_graph,
    refinement_examples,
    segmenter_examples,
    smooth_noise,
)
from dwnet.deploy.metadata import checkpoint_metadata, interface_metadata
from dwnet.deploy.network_info import MAX_SCALE, MIN_SCALE
from dwnet.deploy.onnx_file import ExportError, ExportReport, write_onnx
from dwnet.method.flow_refinement import FlowRefinement
from dwnet.method.specs import MethodName
from dwnet.method.training import DWNetMethod, Method
from dwnet.ops.modules import replace_modules, unwrapped
from dwnet.segmentation import Segmenter

__all__ = ["ExportError", "ExportReport", "export_checkpoint", "export_segmenter"]


def export_checkpoint(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    refinement: str | Path | None = None,
    size: tuple[int, int] | None = None,
    scale: float = 1.0,
) -> list[ExportReport]:
    """Exports a trained method.

    Args:
        checkpoint: of any method.
        path: the ONNX file: for `baseline` and `dwnet` the per-frame segmenter, for `static_warp` and `keyframe` the
            network with its additional inputs.
        refinement: a second file for DWNet's flow refinement module, which serves to inspect flows; None writes none.
        size: (H, W) in pixels of the one size that the file takes; None exports open sizes.
        scale: scale of the frame at which the network is to run; the file carries it.

    Returns:
        A report for each file.

    Raises:
        CheckpointError: if the weights do not fit the network that the checkpoint names.
        DWNetError: if `refinement` is given for a method without flow refinement, or is the same file as `path`, for a
            file name without `.onnx`, a file that is the checkpoint, or a size or scale that is not allowed.
        ExportError: if a network cannot be exported, or if a graph differs from PyTorch.
    """
    for file in (path, refinement):
        _check_target(file, checkpoint.path)
    if refinement is not None and Path(refinement).resolve() == Path(path).resolve():
        raise DWNetError(f"{path}: the segmenter and its flow refinement cannot be one file")
    method = checkpoint.build()
    module = _refinement(method)
    if refinement is not None and module is None:
        raise DWNetError(
            f"--refinement: method {checkpoint.method.name!r} has no flow refinement module; only dwnet has"
        )
    graph, examples = method_graph(method)
    metadata = checkpoint_metadata(checkpoint, graph) | _run_time(graph, size, scale)
    if size is not None:
        examples = [(smooth_noise(1, 3, *size),)]
    reports = [write_onnx(graph, examples, metadata, Path(path), fixed=size is not None)]
    if refinement is not None and module is not None:
        flow_graph = RefinementGraph(module, channels=method.segmenter.channels)
        metadata = checkpoint_metadata(checkpoint, flow_graph)
        reports.append(write_onnx(flow_graph, refinement_examples(), metadata, Path(refinement)))
    return reports


def export_segmenter(
    segmenter: nn.Module,
    path: str | Path,
    *,
    classes: ClassSet,
    method: MethodName = "dwnet",
    size: tuple[int, int] | None = None,
    scale: float = 1.0,
) -> ExportReport:
    """Exports any per-frame segmenter, such as an adapter around a network of another package (`dwnet.adapters`).

    A copy is exported. The segmenter keeps its device and its mode.

    Args:
        segmenter: the `Segmenter`; `nn.DataParallel`, `DistributedDataParallel` and `torch.compile` around it are taken
            off.
        path: the ONNX file.
        classes: names and palette of its K classes.
        method: the method that trained it.
        size: (H, W) in pixels of the one size that the file takes, for networks that PyTorch cannot export with open
            sizes, such as those with windowed attention; frames are resized to it. None exports open sizes.
        scale: scale of the frame at which the network is to run; the file carries it.

    Raises:
        DWNetError: for another kind of module, a number of classes that differs from the segmenter's, a file name
            without `.onnx`, or a size or scale that is not allowed.
        ExportError: if the network cannot be exported, or if the graph differs from PyTorch.
    """
    segmenter = unwrapped(segmenter)
    if not isinstance(segmenter, Segmenter):
        raise DWNetError(
            f"{type(segmenter).__name__} is no Segmenter; allowed is one, or `dwnet.adapters.adapt(network)` around a "
            "network of another package"
        )
    _check_target(path, None)
    if segmenter.size is not None and size not in (None, segmenter.size):
        raise DWNetError(f"size is {size}; the network takes {segmenter.size} (height, width) only")
    size = size or segmenter.size
    if len(classes) != segmenter.num_classes:
        raise DWNetError(
            f"class set {classes.name!r} has {len(classes)} classes, the segmenter scores {segmenter.num_classes}; "
            "allowed is the same number"
        )
    own = copy.deepcopy(segmenter).cpu().float()
    own.prepare_export()
    own = replace_modules(own, exportable_pool)
    graph = PerFrameGraph(own)
    metadata = interface_metadata(graph, classes) | _run_time(graph, size, scale)
    metadata |= {"method": method, "normalisation": {"inside_graph": True}, "commit": code_commit()}
    examples = segmenter_examples(own)
    if size is not None:
        examples = [(smooth_noise(1, 3, *size),)]
    return write_onnx(graph, examples, metadata, Path(path), fixed=size is not None)


def _check_target(path: str | Path | None, checkpoint: Path | None) -> None:
    """Raises DWNetError for a file to write that is not called .onnx, or that is the checkpoint."""
    if path is None:
        return
    if checkpoint is not None and Path(path).resolve() == checkpoint.resolve():
        raise DWNetError(f"{path} is the checkpoint itself; allowed is another file")
    if Path(path).suffix != ".onnx":
        raise DWNetError(
            f"{path}: the file to write is called {Path(path).name!r}; allowed are names that end in .onnx"
        )


def _run_time(graph: ExportGraph, size: tuple[int, int] | None, scale: float) -> dict[str, Any]:
    """Returns the entries of the metadata about the size at which the network runs."""
    if size is None and scale == 1:
        return {}
    if graph.kind != "segmenter":
        raise DWNetError(
            f"a {graph.kind} network uses features of an earlier frame; --size and --scale are for networks that use "
            "each frame alone"
        )
    if size is not None and scale != 1:
        raise DWNetError("--size and --scale: allowed is one of them")
    if not MIN_SCALE <= scale <= MAX_SCALE:
        raise DWNetError(f"--scale is {scale:g}; allowed are {MIN_SCALE:g} to {MAX_SCALE:g}")
    if size is None:
        return {"scale": float(scale)}
    if min(size) < 1 or size[0] % graph.multiple or size[1] % graph.multiple:
        raise DWNetError(
            f"--size is {size[0]} x {size[1]} (height x width); allowed are multiples of {graph.multiple} pixels"
        )
    return {"size": list(size)}


def _refinement(method: Method) -> FlowRefinement | None:
    """Returns the flow refinement module of a method; None if it has none."""
    return method.network.refinement if isinstance(method, DWNetMethod) else None
