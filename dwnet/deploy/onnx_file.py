"""Writes a graph as an ONNX file: traces it, stores its weights in half precision, and compares it with PyTorch.

Batch, height and width are dynamic, unless the export is for one size. Weights are stored in half precision if the
outputs stay close enough, and are used in float32.
"""

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

from dwnet.core.errors import DWNetError, first_line
from dwnet.core.files import atomic_write
from dwnet.deploy.graphs import ExportGraph, Inputs
from dwnet.deploy.network_info import METADATA_KEY, check_metadata

OPSET = 18
HALF_MIN_ELEMENTS = 64
"""Smaller tensors (shapes, scales, biases) stay in float32; their size does not matter."""

MAX_EXACT_DIFFERENCE = 1e-4
"""Largest allowed difference between the float32 graph and PyTorch, relative to the largest output."""
MAX_HALF_DIFFERENCE = 5e-2
"""Largest allowed difference with half-precision weights, relative to the largest output."""
MIN_HALF_AGREEMENT = 0.98
"""Smallest allowed share of pixels whose class stays the same with half-precision weights."""


FIXED_SIZE = "; it may be possible for one fixed size (--size)"


class ExportError(DWNetError):
    """A network that cannot be exported, or whose exported graph differs from PyTorch; no file was written."""


@dataclass(frozen=True)
class ExportReport:
    """Result of an export and of its comparison with PyTorch, on inputs of several sizes.

    Attributes:
        path: the file written.
        bytes: its size.
        parameters: numbers stored in it.
        nodes: nodes of its graph.
        weights: precision of the stored weights: "half", or "single" if half precision changes the outputs too much.
        exact_difference: largest difference between the float32 graph and PyTorch, relative to the largest output.
        stored_difference: the same with the weights as stored.
        label_agreement: share of pixels with the same class, 0..1; None for outputs that are not class scores.
    """

    path: Path
    bytes: int
    parameters: int
    nodes: int
    weights: Literal["half", "single"]
    exact_difference: float
    stored_difference: float
    label_agreement: float | None


def write_onnx(
    graph: ExportGraph, examples: list[Inputs], metadata: dict[str, Any], path: Path, *, fixed: bool = False
) -> ExportReport:
    """Writes a graph as an ONNX file, atomically, after comparing it with PyTorch.

    Args:
        graph: on the CPU.
        examples: inputs for the comparison; the first is traced.
        metadata: JSON-able; in the form that `network_info` reads.
        path: the file to write.
        fixed: export the batch and the size of the first example; the others are ignored.

    Raises:
        ExportError: if the network cannot be exported, or if the graph differs from PyTorch.
        NetworkFileError: if `network_info` could not read the metadata.
    """
    entry = json.dumps(metadata)
    check_metadata(entry, path)
    graph = graph.eval().to(memory_format=torch.contiguous_format)
    examples = examples[:1] if fixed else examples
    try:
        exact = trace(graph, examples[0], fixed=fixed)
    except ModuleNotFoundError:  # the command names the extra to install
        raise
    except Exception as error:  # PyTorch's exporter and other packages' networks raise any exception
        way_out = "" if fixed else FIXED_SIZE
        raise ExportError(f"{path}: the network cannot be exported: {_reason(error)}{way_out}") from error
    try:
        exact_difference, _ = compare(graph, exact, examples)
    except ExportError as error:
        raise ExportError(f"{path}: {error}{'' if fixed else FIXED_SIZE}") from error
    if not exact_difference <= MAX_EXACT_DIFFERENCE:  # also true for NaN
        raise ExportError(
            f"{path}: the ONNX graph differs from PyTorch by {exact_difference:.1e} of the largest output, allowed is "
            f"{MAX_EXACT_DIFFERENCE:.0e}"
        )
    stored = half_weights(exact)
    stored_difference, agreement = compare(graph, stored, examples)
    half = stored_difference <= MAX_HALF_DIFFERENCE and (agreement is None or agreement >= MIN_HALF_AGREEMENT)
    if not half:
        stored = exact
        stored_difference, agreement = compare(graph, stored, examples)
    stored.metadata_props.add(key=METADATA_KEY, value=entry)
    onnx.checker.check_model(stored)
    with atomic_write(path) as temporary:
        onnx.save(stored, temporary)
    return ExportReport(
        path=path,
        bytes=path.stat().st_size,
        parameters=sum(int(np.prod(tensor.dims)) for tensor in stored.graph.initializer),
        nodes=len(stored.graph.node),
        weights="half" if half else "single",
        exact_difference=exact_difference,
        stored_difference=stored_difference,
        label_agreement=agreement,
    )


def trace(graph: ExportGraph, example: Inputs, *, fixed: bool = False) -> onnx.ModelProto:
    """Returns the ONNX model of a graph, without the tracer's annotations.

    Batch, height and width are dynamic, or `fixed` as in the example.
    """
    with _quiet():
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=None if fixed else {name: _dynamic_shape(graph, name) for name in graph.inputs},
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    # Source lines and module paths are a third of a small file.
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input):
        del part.metadata_props[:]
    for output in model.graph.output:
        del output.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    return model


def half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy with large weights in half precision, each behind a Cast that ONNX Runtime folds when loading."""
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


def compare(graph: ExportGraph, model: onnx.ModelProto, examples: list[Inputs]) -> tuple[float, float | None]:
    """Returns the largest difference relative to the largest output, and the share of pixels with equal labels.

    A NaN in an output makes the difference NaN. The share is None if the first output is not logits.
    """
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no other base class
        raise ExportError(f"ONNX Runtime cannot open the exported graph: {first_line(error)}") from error
    difference, equal, pixels = 0.0, 0, 0
    for inputs in examples:
        with torch.no_grad():
            expected = graph(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        try:
            found = session.run(None, {name: tensor.numpy() for name, tensor in zip(graph.inputs, inputs, strict=True)})
        except Exception as error:  # ONNX Runtime's errors have no other base class
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)
            raise ExportError(f"the exported graph does not run on {shapes}: {first_line(error)}") from error
        for want, got in zip(expected, found, strict=True):
            scale = max(want.abs().max().item(), 1e-6)
            difference = float(np.maximum(difference, np.abs(got - want.numpy()).max() / scale))  # keeps a NaN
        if graph.outputs[0] == "logits":
            same = found[0].argmax(axis=1) == expected[0].argmax(dim=1).numpy()
            equal, pixels = equal + int(same.sum()), pixels + same.size
    return difference, equal / pixels if pixels else None


def _dynamic_shape(graph: ExportGraph, name: str) -> dict[int, Any]:
    """Returns the dynamic axes of an input: batch, and sides in multiples of the graph's."""
    prefix = f"{name}_" if name in graph.separate_sizes else ""
    batch = torch.export.Dim(f"{prefix}batch", min=1, max=1024)
    rows, columns = (torch.export.Dim(f"{prefix}{side}", min=2, max=1024) for side in ("rows", "columns"))
    factor = graph.multiple // graph.stride if name.endswith("_features") else graph.multiple
    return {0: batch, 2: factor * rows, 3: factor * columns} if factor > 1 else {0: batch, 2: rows, 3: columns}


def _reason(error: BaseException) -> str:
    """Returns the first line of the exception that the exporter wraps, or of the exporter's own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {first_line(error)}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the exporter's progress and its warnings about internals."""
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
