"""Exports the per-frame segmenter as one ONNX file, networks with a memory and the FRM apart; checks each on the spot.

Batch, height and width are dynamic; height and width are multiples of what the metadata says (`dwnet.deploy.runtime`
pads and crops). Weights are stored in half precision where the output bears it, and computed with in float32.
"""

import copy
import dataclasses
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write, code_commit
from dwnet.deploy.checkpoint import Checkpoint
from dwnet.deploy.network_info import METADATA_FORMAT, METADATA_KEY
from dwnet.method.flow_refinement import STRIDE as REFINEMENT_STRIDE
from dwnet.method.flow_refinement import FlowRefinement, centre_tap
from dwnet.method.training import DWNetMethod, KeyframeMethod, Method, MethodName, StaticWarpMethod
from dwnet.ops.normalise import IMAGENET_MEAN, IMAGENET_STD
from dwnet.ops.resize import resize
from dwnet.segmentation import Segmenter
from dwnet.segmentation.pspnet import adaptive_average_pool

OPSET = 18
HALF_MIN_ELEMENTS = 64
"""Smaller tensors (shapes, scales, biases) stay in float32: they are next to nothing in size."""


class ExportError(DWNetError):
    """The exported graph does not compute what PyTorch computes; no file was written."""


@dataclass(frozen=True)
class ExportReport:
    """What the check on the spot found, on inputs of several sizes.

    Attributes:
        path: the file written.
        bytes: its size.
        parameters: numbers stored in it.
        nodes: of its graph.
        weights: the precision they are stored in, "half" or, where that changes the output too much, "single".
        exact_difference: largest difference to PyTorch of the float32 graph, relative to the largest output.
        stored_difference: the same with the weights as stored.
        label_agreement: share of pixels with the same class, 0..1; None where the outputs are no class scores.
    """

    path: Path
    bytes: int
    parameters: int
    nodes: int
    weights: Literal["half", "single"]
    exact_difference: float
    stored_difference: float
    label_agreement: float | None


class PerFrameGraph(nn.Module):
    """`image` (N, 3, H, W) RGB 0..1 to `logits` (N, K, H, W)."""

    inputs, outputs = ("image",), ("logits",)

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> Tensor:  # noqa: D102
        logits = self.segmenter.classify(self.segmenter.features(image))
        return resize(logits, (image.shape[-2], image.shape[-1]))


class StaticWarpGraph(nn.Module):
    """`image`, `previous_features` (N, C, H/s, W/s) and `flow` (N, 2, H, W) px to `logits` and own `features`."""

    inputs, outputs = ("image", "previous_features", "flow"), ("logits", "features")

    def __init__(self, method: StaticWarpMethod) -> None:
        super().__init__()
        self.network = method.network

    def forward(self, image: Tensor, previous_features: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        features = self.network.segmenter.features(image)
        logits = self.network.fuse(features, previous_features, flow)
        return resize(logits, (image.shape[-2], image.shape[-1])), features


class KeyframeGraph(nn.Module):
    """`image` to `key_logits` and own `features`; `key_features` (N, C, H/s, W/s) and `flow` (N, 2, H, W) to `logits`.

    Two graphs in one file, which share the classifier and nothing else, not even sizes: who runs it takes them apart.
    """

    inputs, outputs = ("image", "key_features", "flow"), ("logits", "key_logits", "features")
    of_another_size = ("image",)

    def __init__(self, method: KeyframeMethod) -> None:
        super().__init__()
        self.network = method.network

    def forward(self, image: Tensor, key_features: Tensor, flow: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        segmenter = self.network.segmenter
        features = segmenter.features(image)
        key_logits = resize(segmenter.classify(features), (image.shape[-2], image.shape[-1]))
        logits = resize(self.network.classify(key_features, flow), (flow.shape[-2], flow.shape[-1]))
        return logits, key_logits, features


class RefinementGraph(nn.Module):
    """`frame`, `neighbour` (N, 3, H, W), `flow` (N, 2, H, W) px to `refined_flow` (N, 2, H/8, W/8), the centre tap."""

    inputs, outputs = ("frame", "neighbour", "flow"), ("refined_flow",)

    def __init__(self, refinement: FlowRefinement) -> None:
        super().__init__()
        self.refinement = refinement

    def forward(self, frame: Tensor, neighbour: Tensor, flow: Tensor) -> Tensor:  # noqa: D102
        return centre_tap(self.refinement(frame, neighbour, flow))


class ExportablePool(nn.AdaptiveAvgPool2d):
    """PyTorch's adaptive pooling in a form that exports with dynamic sizes; PyTorch's own bakes the traced size in."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        size = self.output_size
        rows, columns = (size, size) if not isinstance(size, tuple) else size
        if rows is None or rows == 1 or rows != columns:
            return super().forward(x)
        return adaptive_average_pool(x, rows)


def export_checkpoint(
    checkpoint: Checkpoint, path: str | Path, *, refinement: str | Path | None = None
) -> list[ExportReport]:
    """Exports a trained method.

    Args:
        checkpoint: of any method.
        path: the ONNX file: for `baseline` and `dwnet` the per-frame segmenter, for `static_warp` and `keyframe` that
            network with its extra inputs.
        refinement: where to write a DWNet's flow refinement branch, for looking at flows; None leaves it out.

    Returns:
        A report for each file.

    Raises:
        CheckpointError: if the weights do not fit the network that the checkpoint names.
        ValueError: if `refinement` is asked of a method that has none, or names the same file.
        ExportError: if a graph differs from PyTorch.
    """
    if refinement is not None and Path(refinement).resolve() == Path(path).resolve():
        raise DWNetError(f"{path}: the segmenter and its flow refinement cannot be one file")
    method = checkpoint.build()
    segmenter = method.segmenter
    if refinement is not None and not (isinstance(method, DWNetMethod) and method.network.refinement is not None):
        raise DWNetError(
            f"--refinement: method {checkpoint.method.name!r} has no flow refinement module; only dwnet has"
        )

    kind, graph, checks = _graph(method)
    metadata = _metadata(
        checkpoint, kind, stride=segmenter.stride, multiple=segmenter.multiple, channels=segmenter.channels
    )
    reports = [_export(graph, checks[0], checks, metadata, Path(path))]

    if refinement is not None:
        assert isinstance(method, DWNetMethod)
        assert method.network.refinement is not None
        pairs = [_pair_example((64, 96), batch=2), _pair_example((104, 72), batch=1)]
        metadata = _metadata(
            checkpoint,
            "flow_refinement",
            stride=REFINEMENT_STRIDE,
            multiple=REFINEMENT_STRIDE,
            channels=segmenter.channels,
        )
        graph_of_flow = RefinementGraph(method.network.refinement)
        reports.append(_export(graph_of_flow, pairs[0], pairs, metadata, Path(refinement)))
    return reports


def export_segmenter(
    segmenter: Segmenter, path: str | Path, *, classes: ClassSet, method: MethodName = "dwnet"
) -> ExportReport:
    """Exports any per-frame segmenter, such as an adapter around a network of another package (`dwnet.adapters`).

    The segmenter itself stays as it is, on its device and in its mode: a copy is exported.

    Args:
        segmenter: what runs on each frame.
        path: the ONNX file.
        classes: names and palette of its K classes.
        method: what trained it.

    Raises:
        ValueError: if there are not as many classes as the segmenter scores.
        ExportError: if the graph differs from PyTorch.
    """
    if len(classes) != segmenter.num_classes:
        raise DWNetError(
            f"class set {classes.name!r} has {len(classes)} classes, the segmenter scores {segmenter.num_classes}; "
            "allowed is the same number"
        )
    own = copy.deepcopy(segmenter).cpu().float()
    for module in own.modules():
        if isinstance(module, nn.AdaptiveAvgPool2d):
            module.__class__ = ExportablePool
    # Large enough for the deepest map of another package's network to have a few pixels; and far apart, so that no
    # size can have been built into the graph.
    rows = max(6, -(-128 // own.multiple)) * own.multiple
    checks: list[tuple[Tensor, ...]] = [
        (_smooth_noise(2, 3, rows, rows + own.multiple),),
        (_smooth_noise(1, 3, 2 * rows + own.multiple, rows),),
    ]
    metadata = _interface("segmenter", classes, stride=own.stride, multiple=own.multiple, channels=own.channels)
    metadata |= {"method": method, "normalisation": {"inside_graph": True}, "commit": code_commit()}
    return _export(PerFrameGraph(own), checks[0], checks, metadata, Path(path))


def _graph(method: Method) -> tuple[str, nn.Module, list[tuple[Tensor, ...]]]:
    """What is exported of a method: its kind, the graph, and inputs to trace and to check it with."""
    segmenter = method.segmenter
    height, width = 6 * segmenter.multiple, 8 * segmenter.multiple
    if isinstance(method, StaticWarpMethod | KeyframeMethod):
        sizes = ((2, height, width), (1, width, height))
        checks = [_clip_example(segmenter, (rows, columns), batch=batch) for batch, rows, columns in sizes]
        if isinstance(method, StaticWarpMethod):
            return "static_warp", StaticWarpGraph(method), checks
        return "keyframe", KeyframeGraph(method), [(_smooth_noise(3, 3, width, height), *rest) for _, *rest in checks]
    other = (_smooth_noise(1, 3, width + segmenter.multiple, height),)
    return "segmenter", PerFrameGraph(segmenter), [(_smooth_noise(2, 3, height, width),), other]


def _export(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    checks: list[tuple[Tensor, ...]],
    metadata: dict[str, Any],
    path: Path,
) -> ExportReport:
    graph = graph.eval().to(memory_format=torch.contiguous_format)
    exact = _trace(graph, example, stride=metadata["stride"], multiple=metadata["multiple"])
    exact_difference, _ = _compare(graph, exact, checks)
    if not exact_difference <= 1e-4:  # so that NaN fails
        raise ExportError(
            f"{path}: the ONNX graph differs from PyTorch by {exact_difference:.1e} of the largest output"
        )
    stored = _with_half_weights(exact)
    stored_difference, agreement = _compare(graph, stored, checks)
    half = stored_difference <= 5e-2 and (agreement is None or agreement >= 0.98)
    if not half:  # a network whose weights need their precision keeps it, and is twice the size
        stored = exact
        stored_difference, agreement = _compare(graph, stored, checks)
    stored.metadata_props.add(key=METADATA_KEY, value=json.dumps(metadata))
    onnx.checker.check_model(stored)
    with atomic_write(path) as temporary:
        onnx.save(stored, temporary)
    parameters = sum(int(np.prod(tensor.dims)) for tensor in stored.graph.initializer)
    return ExportReport(
        path,
        path.stat().st_size,
        parameters,
        len(stored.graph.node),
        "half" if half else "single",
        exact_difference,
        stored_difference,
        agreement,
    )


def _trace(graph: nn.Module, example: tuple[Tensor, ...], *, stride: int, multiple: int) -> onnx.ModelProto:
    names: tuple[str, ...] = graph.inputs  # type: ignore[assignment]
    shapes = {}
    for name in names:
        prefix = f"{name}_" if name in getattr(graph, "of_another_size", ()) else ""
        batch = torch.export.Dim(f"{prefix}batch", min=1, max=1024)
        rows, columns = (torch.export.Dim(f"{prefix}{side}", min=2, max=1024) for side in ("rows", "columns"))
        factor = multiple // stride if name.endswith("_features") else multiple
        shapes[name] = (
            {0: batch, 2: factor * rows, 3: factor * columns} if factor > 1 else {0: batch, 2: rows, 3: columns}
        )
    with _quiet():
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            input_names=list(names),
            output_names=list(graph.outputs),  # type: ignore[arg-type]
            dynamic_shapes=shapes,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    del model.metadata_props[:]
    for node in model.graph.node:  # source lines and module paths of the tracer: a third of a small file, and of no use
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    return model


def _with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Stores large weights in half precision, each behind a Cast that ONNX Runtime folds when it loads the file."""
    stored = onnx.ModelProto()
    stored.CopyFrom(model)
    casts = []
    for tensor in stored.graph.initializer:
        values = numpy_helper.to_array(tensor)
        fits = values.dtype == np.float32 and values.size >= HALF_MIN_ELEMENTS and np.abs(values).max() < 6e4
        if not fits:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=onnx.TensorProto.FLOAT)
        )
    nodes = casts + list(stored.graph.node)
    del stored.graph.node[:]
    stored.graph.node.extend(nodes)
    return stored


def _compare(graph: nn.Module, model: onnx.ModelProto, checks: list[tuple[Tensor, ...]]) -> tuple[float, float | None]:
    """Largest difference relative to the largest output, and the share of equal labels if the output is logits."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names: tuple[str, ...] = graph.inputs  # type: ignore[assignment]
    difference, equal, pixels = 0.0, 0, 0
    for inputs in checks:
        with torch.no_grad():
            expected = graph(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
        for want, got in zip(expected, found, strict=True):
            scale = max(want.abs().max().item(), 1e-6)
            difference = float(np.maximum(difference, np.abs(got - want.numpy()).max() / scale))  # keeps a NaN
        if graph.outputs[0] == "logits":  # type: ignore[index]
            same = found[0].argmax(axis=1) == expected[0].argmax(dim=1).numpy()
            equal, pixels = equal + int(same.sum()), pixels + same.size
    return difference, equal / pixels if pixels else None


def _metadata(checkpoint: Checkpoint, kind: str, *, stride: int, multiple: int, channels: int) -> dict[str, Any]:
    return {
        **_interface(kind, checkpoint.classes, stride=stride, multiple=multiple, channels=channels),
        "method": checkpoint.method.name,
        "key_interval": checkpoint.method.key_interval if kind == "keyframe" else 1,
        "network": dataclasses.asdict(checkpoint.network),
        "normalisation": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "inside_graph": True},
        "recipe": checkpoint.recipe,
        "iteration": checkpoint.iteration,
        "metrics": checkpoint.metrics,
        "commit": checkpoint.commit,
    }


def _interface(kind: str, classes: ClassSet, *, stride: int, multiple: int, channels: int) -> dict[str, Any]:
    """The part of the metadata that is about the graph alone."""
    return {
        "format": METADATA_FORMAT,
        "kind": kind,
        "classes": list(classes.classes),
        "palette": [list(colour) for colour in classes.palette],
        "stride": stride,
        "multiple": multiple,
        "channels": channels,
    }


def _smooth_noise(batch: int, channels: int, height: int, width: int) -> Tensor:
    """Blobs and grain of 0..1, the same on every call: inputs on which logits differ from place to place."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    blobs = torch.rand(batch, channels, max(height // 16, 1), max(width // 16, 1), generator=generator)
    grain = torch.rand(batch, channels, height, width, generator=generator)
    return 0.85 * resize(blobs, (height, width)) + 0.15 * grain


def _clip_example(segmenter: Segmenter, size: tuple[int, int], *, batch: int) -> tuple[Tensor, ...]:
    with torch.no_grad():
        previous = segmenter.features(_smooth_noise(batch, 3, *size).flip(-1))
    return _smooth_noise(batch, 3, *size), previous, (_smooth_noise(batch, 2, *size) - 0.5) * size[1]


def _pair_example(size: tuple[int, int], *, batch: int) -> tuple[Tensor, ...]:
    frame = _smooth_noise(batch, 3, *size)
    return frame, frame.roll(3, dims=-1), (_smooth_noise(batch, 2, *size) - 0.5) * 16


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's progress and its notes about its own internals off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.utils._sympy.interp")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
