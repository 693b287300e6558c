"""What an ONNX graph says about an output: its last activation, and the number of classes behind a label map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import onnx

Activation = Literal["none", "softmax", "sigmoid"]
"""Last activation of a network's scores."""

# Nodes that keep the meaning of scores: they move, resize or convert them.
_PASSING = {
    "Cast",
    "Identity",
    "Resize",
    "Upsample",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Reshape",
    "Slice",
    "Flatten",
    "Expand",
}


@dataclass(frozen=True)
class OutputFacts:
    """Facts about one output of a graph."""

    activation: Activation
    """The last activation before the output; "none" for logits and log-probabilities."""
    argmax: bool = False
    """Whether the output is the id of the highest score."""
    classes: int | None = None
    """Number of classes that the ArgMax chooses from; None if it is not known."""


def output_facts(path: Path, output: str) -> OutputFacts:
    """Returns the facts about an output of an ONNX file. Its weights are not read if they are in another file."""
    import onnx  # only networks of other packages need it

    graph = onnx.load_model(path, load_external_data=False).graph
    producers = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes = {
        value.name: [side.dim_value or None for side in value.type.tensor_type.shape.dim] for value in graph.value_info
    }
    node = _source(output, producers)
    if node is None:
        return OutputFacts("none")
    if node.op_type == "ArgMax":
        return OutputFacts("none", True, _classes(node, producers, weights, shapes))
    activations: dict[str, Activation] = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
    return OutputFacts(activations.get(node.op_type, "none"))


def _source(name: str, producers: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """Returns the node that computes the values of a tensor, behind nodes that only move or convert them."""
    node = producers.get(name)
    while node is not None and node.op_type in _PASSING:
        node = producers.get(node.input[0])
    return node


def _classes(
    argmax: onnx.NodeProto,
    producers: Mapping[str, onnx.NodeProto],
    weights: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, list[int | None]],
) -> int | None:
    """Returns the number of classes that an ArgMax chooses from."""
    axis = next((attribute.i for attribute in argmax.attribute if attribute.name == "axis"), 0)
    shape = shapes.get(argmax.input[0])
    if shape is not None and shape[axis] is not None:
        return shape[axis]
    source = _source(argmax.input[0], producers)
    # A convolution's weight is (K, C, rows, columns).
    if source is not None and source.op_type == "Conv" and axis in (1, -3) and source.input[1] in weights:
        return weights[source.input[1]][0]
    return None
