"""Small ONNX networks as other packages export them. Their scores are the frame's colours, so labels are known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "uint16": TensorProto.UINT16,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
COLOURS = np.array([[220, 30, 40], [20, 210, 60], [50, 10, 230]], np.uint8)
"""Red, green, blue: colours whose strongest channel is 0, 1, 2."""


def colour_network(
    path: Path,
    *,
    kind: str = "scores",
    stride: int = 1,
    size: tuple[int, int] | None = None,
    axes: str = "nchw",
    taken: str = "float32",
    given: str = "float32",
    weight: Any = None,
    bias: Any = None,
    activation: str | None = None,
    flat: bool = True,
    strict: int = 1,
    inputs: str = "pixels",
    outputs: str = "out",
    second: bool = False,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Writes weight @ frame + bias, averaged over `stride`: K scores, their ArgMax ("labels") or one score ("binary").

    Args:
        path: the file.
        kind: "scores" (1, K, h, w), "labels" (1, h, w), or "binary" (1, 1, h, w).
        stride: pixels of the frame per pixel of the output.
        size: fixed (H, W) of the input; None leaves it open.
        axes: "nchw" or "nhwc", for the input and the scores.
        taken: type of the input.
        given: type of the output.
        weight: (K, 3); default: the identity.
        bias: (K,); default: zeros.
        activation: a last node such as "Softmax" or "Sigmoid".
        flat: for labels: (1, h, w) if true, else (1, 1, h, w).
        strict: the graph fails unless the sides are multiples of this.
        inputs: name of the input.
        outputs: name of the output.
        second: add an output "aux".
        metadata: entries of the file's metadata.
    """
    kernel = np.eye(3) if weight is None else np.array(weight, np.float32)
    numbers = {
        "weight": kernel.astype(np.float32).reshape(*kernel.shape, 1, 1),
        "bias": np.zeros(len(kernel), np.float32) if bias is None else np.array(bias, np.float32),
    }
    nodes = [helper.make_node("Cast", [inputs], ["float"], to=TensorProto.FLOAT)]
    last = "float"

    def add(operation: str, *more: str, **attributes: Any) -> None:
        nonlocal last
        nodes.append(helper.make_node(operation, [last, *more], [f"{last}_{operation}"], **attributes))
        last = f"{last}_{operation}"

    if axes == "nhwc":
        add("Transpose", perm=[0, 3, 1, 2])
    if strict > 1:  # down and up again, added to itself: sides that are no multiples do not fit
        whole = last
        add("MaxPool", kernel_shape=[strict, strict], strides=[strict, strict])
        numbers["up"] = np.array([1, 1, strict, strict], np.float32)
        add("Resize", "", "up", mode="nearest")
        numbers["zero"] = np.zeros(1, np.float32)
        add("Mul", "zero")
        add("Add", whole)
    add("Conv", "weight", "bias")
    if stride > 1:
        add("AveragePool", kernel_shape=[stride, stride], strides=[stride, stride])
    if activation:
        add(activation, **({"axis": 1} if activation == "Softmax" else {}))
    if kind == "labels":
        add("ArgMax", axis=1, keepdims=int(not flat))
    elif axes == "nhwc":
        add("Transpose", perm=[0, 2, 3, 1])
    nodes.append(helper.make_node("Cast", [last], [outputs], to=TYPES[given]))
    spatial: list[Any] = list(size or ("H", "W"))
    shape = [1, 3, *spatial] if axes == "nchw" else [1, *spatial, 3]
    out = [1, "h", "w"] if kind == "labels" and flat else [1, None, None, None]
    ends = [helper.make_tensor_value_info(outputs, TYPES[given], out)]
    if second:
        nodes.append(helper.make_node("Identity", [outputs], ["aux"]))
        ends.append(helper.make_tensor_value_info("aux", TYPES[given], out))
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(inputs, TYPES[taken], shape)],
        ends,
        [numpy_helper.from_array(value, name) for name, value in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def ultralytics(path: Path, *, names: tuple[str, ...] = ("road", "tree", "sky"), **changes: Any) -> Path:
    """Writes an export of Ultralytics' semantic task: `images` RGB 0..1 in, uint8 ids (1, H, W) out."""
    entries = {
        "description": "Ultralytics YOLO26n-sem model trained on cityscapes.yaml",
        "author": "Ultralytics",
        "version": "8.4.190",
        "stride": "32",
        "task": "semantic",
        "batch": "1",
        "imgsz": "[64, 96]",
        "names": str(dict(enumerate(names))),
        "channels": "3",
    } | changes.pop("metadata", {})
    defaults = {"kind": "labels", "given": "uint8", "inputs": "images", "outputs": "output0", "size": (64, 96)}
    return colour_network(path, metadata=entries, **(defaults | changes))


def dfine_seg(path: Path, **changes: Any) -> Path:
    """Writes a semantic export of D-FINE-seg: `input` RGB 0..1 in, `sem_seg` int32 ids (1, H, W) out."""
    defaults = {"kind": "labels", "given": "int32", "inputs": "input", "outputs": "sem_seg", "size": (64, 96)}
    return colour_network(path, **(defaults | changes))


def class_file(path: Path, *names: str, **more: Any) -> Path:
    """Writes a class file: JSON with the names, and `more` beside them."""
    path.write_text(json.dumps({"name": path.stem, "classes": list(names)} | more), encoding="utf-8")
    return path


def quarters(height: int = 48, width: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Returns a uint8 (H, W, 3) frame of four areas (red, green; blue, red), and its (H, W) strongest channels."""
    labels = np.zeros((height, width), np.uint8)
    labels[: height // 2, width // 2 :] = 1
    labels[height // 2 :, : width // 2] = 2
    return COLOURS[labels], labels
