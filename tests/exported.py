"""Tiny exported networks with known answers, and clips, for the tests of the runtime, the comparison and the app.

The scores of the segmenters are the red, green and blue of the image, so a pixel's label is its strongest colour.
Therefore labels and flips are known without running a network.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("Red", "Green", "Blue")
PALETTE = ((200, 40, 40), (40, 200, 40), (40, 40, 200))
STRIDE = 16
FLOAT_IMAGE = ["N", 3, "H", "W"]


def metadata(kind: str, method: str, **changes: Any) -> dict[str, Any]:
    """The metadata that `dwnet export` writes, with `changes`."""
    return {
        "format": 1,
        "kind": kind,
        "method": method,
        "classes": list(CLASSES),
        "palette": [list(colour) for colour in PALETTE],
        "stride": STRIDE,
        "channels": 3,
        "normalisation": {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "inside_graph": True},
        "recipe": {"name": "tiny"},
        "metrics": {"miou_percent": 12.5},
        "commit": "0" * 40,
    } | changes


def _value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _constant(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.float32), name)


def _pool(source: str, target: str) -> onnx.NodeProto:
    return helper.make_node(
        "AveragePool", [source], [target], kernel_shape=[STRIDE, STRIDE], strides=[STRIDE, STRIDE], name=target
    )


def _save(path: Path, graph: onnx.GraphProto, meta: dict[str, Any] | str | None) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if meta is not None:
        helper.set_model_props(model, {"dwnet": meta if isinstance(meta, str) else json.dumps(meta)})
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def write_segmenter(
    path: Path,
    method: str = "baseline",
    *,
    weight: np.ndarray | None = None,
    meta: dict[str, Any] | str | None = "default",
    output: str = "logits",
) -> Path:
    """logits = weight (3, 3) @ RGB. The default is the identity. With zeros the network predicts class 0 everywhere."""
    kernel = (np.eye(3) if weight is None else weight).reshape(3, 3, 1, 1)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight"], [output], name="classifier")],
        "segmenter",
        [_value("image", FLOAT_IMAGE)],
        [_value(output, ["N", 3, "H", "W"])],
        [_constant("weight", kernel)],
    )
    return _save(path, graph, metadata("segmenter", method) if meta == "default" else meta)


def write_static_warp(path: Path) -> Path:
    """logits = image, plus 3 x the previous features wherever the flow is shorter than 200 px; features = pooled image.

    It does not warp. Tests use its state, its interface, and the long flow that stands for a missing previous frame.
    """
    nodes = [
        _pool("image", "features"),
        helper.make_node("Abs", ["flow"], ["length"]),
        helper.make_node("ReduceMax", ["length", "channel"], ["longest"], keepdims=1),
        helper.make_node("Less", ["longest", "limit"], ["inside"]),
        helper.make_node("Cast", ["inside"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Resize", ["previous_features", "", "scales"], ["before"], mode="nearest"),
        helper.make_node("Mul", ["before", "three"], ["weighted"]),
        helper.make_node("Mul", ["weighted", "mask"], ["fused"]),
        helper.make_node("Add", ["image", "fused"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "static_warp",
        [
            _value("image", FLOAT_IMAGE),
            _value("previous_features", ["N", 3, "h", "w"]),
            _value("flow", ["N", 2, "H", "W"]),
        ],
        [_value("logits", ["N", 3, "H", "W"]), _value("features", ["N", 3, "h", "w"])],
        [
            _constant("scales", [1, 1, STRIDE, STRIDE]),
            _constant("limit", 200),
            _constant("three", 3),
            numpy_helper.from_array(np.array([1]), "channel"),
        ],
    )
    return _save(path, graph, metadata("static_warp", "static_warp"))


def write_keyframe(path: Path, key_interval: int = 3) -> Path:
    """Key frames: logits = image, features = pooled image. Others: logits = the key frame's features + dx of the flow.

    It does not warp. From dx the tests know which flow was passed. dx does not change labels.
    """
    nodes = [
        helper.make_node("Identity", ["image"], ["key_logits"]),
        _pool("image", "features"),
        helper.make_node("Resize", ["key_features", "", "scales"], ["before"], mode="nearest"),
        helper.make_node("Slice", ["flow", "zero", "one", "axis"], ["dx"]),
        helper.make_node("Add", ["before", "dx"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "keyframe",
        [
            _value("image", FLOAT_IMAGE),
            _value("key_features", ["M", 3, "h", "w"]),
            _value("flow", ["M", 2, "Y", "X"]),
        ],
        [
            _value("logits", ["M", 3, "Y", "X"]),
            _value("key_logits", FLOAT_IMAGE),
            _value("features", ["N", 3, "i", "j"]),
        ],
        [_constant("scales", [1, 1, STRIDE, STRIDE])]
        + [numpy_helper.from_array(np.array([n]), name) for name, n in (("zero", 0), ("one", 1), ("axis", 1))],
    )
    return _save(path, graph, metadata("keyframe", "keyframe", key_interval=key_interval))


def write_flow_refinement(path: Path) -> Path:
    """refined_flow = the flow at 1/16 of the size, in pixels there, plus (frame - neighbour) of red and green."""
    nodes = [
        helper.make_node("Sub", ["frame", "neighbour"], ["difference"]),
        helper.make_node("Slice", ["difference", "zero", "two", "axis"], ["red_green"]),
        _pool("red_green", "residual"),
        _pool("flow", "small"),
        helper.make_node("Div", ["small", "stride"], ["scaled"]),
        helper.make_node("Add", ["scaled", "residual"], ["refined_flow"]),
    ]
    graph = helper.make_graph(
        nodes,
        "flow_refinement",
        [_value("frame", FLOAT_IMAGE), _value("neighbour", FLOAT_IMAGE), _value("flow", ["N", 2, "H", "W"])],
        [_value("refined_flow", ["N", 2, "h", "w"])],
        [_constant("stride", STRIDE)]
        + [numpy_helper.from_array(np.array([n]), name) for name, n in (("zero", 0), ("two", 2), ("axis", 1))],
    )
    return _save(path, graph, metadata("flow_refinement", "dwnet"))


def write_models(folder: Path) -> Path:
    """Writes baseline (strongest colour), static_warp (see above), dwnet (class 0, no flips) and flow_refinement."""
    write_segmenter(folder / "baseline.onnx", "baseline")
    write_static_warp(folder / "static_warp.onnx")
    write_segmenter(folder / "dwnet.onnx", "dwnet", weight=np.zeros((3, 3)))
    write_flow_refinement(folder / "flow_refinement.onnx")
    return folder


def textured_frame(index: int = 0, size: tuple[int, int] = (64, 128), shift_px: int = 0) -> np.ndarray:
    """uint8 (H, W, 3): a smooth texture that moves right by `shift_px` per frame; no colour channel dominates."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x = x - shift_px * index
    grey = 110 + 40 * np.sin(x / 4) * np.cos(y / 5) + 30 * np.sin((x + 2 * y) / 9)
    return np.repeat(grey[..., None], 3, axis=2).clip(0, 200).astype(np.uint8)


def write_clip(path: Path, frames: list[np.ndarray], fps: int = 10) -> Path:
    """Encodes uint8 (H, W, 3) RGB frames as H.264 with crf 0 and full-resolution chroma."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "0", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path
