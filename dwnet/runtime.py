"""Runs exported networks (`dwnet.export`) in ONNX Runtime, one video frame at a time, without PyTorch.

A file says what it is in one metadata entry, `dwnet`: kind, method, classes, palette, stride, normalisation (inside
the graph), recipe, metrics and commit. `load` checks that entry against the graph and returns the class for its kind.
Networks take sides in multiples of their `multiple`: frames are padded at the right and at the bottom by repeating the
edge, and what comes back is cropped, so pixel (x, y) stays pixel (x, y).
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

METADATA_KEY = "dwnet"
METADATA_FORMAT = 1

# The inputs and outputs of every kind of exported network, in order.
INTERFACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "segmenter": (("image",), ("logits",)),
    "static_warp": (("image", "previous_features", "flow"), ("logits", "features")),
    "flow_refinement": (("frame", "neighbour", "flow"), ("refined_flow",)),
}


class NetworkFileError(ValueError):
    """A file that is not the exported network it should be; the message names the file and what is allowed."""


@dataclass(frozen=True)
class NetworkInfo:
    """What an exported network says about itself."""

    path: Path
    sha256: str
    """Of the file."""
    kind: str
    """A key of `INTERFACES`."""
    method: str
    """`baseline`, `static_warp` or `dwnet`."""
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """RGB 0..255 per class."""
    stride: int
    """Image pixels per pixel of the feature map."""
    multiple: int
    """Height and width of the graph's inputs are multiples of this, in pixels."""
    channels: int
    """Of the feature map that enters the classifier."""
    recipe: Mapping[str, Any]
    metrics: Mapping[str, Any]
    commit: str


class OnnxNetwork:
    """An ONNX Runtime session and the file's own description."""

    def __init__(self, info: NetworkInfo, session: onnxruntime.InferenceSession) -> None:
        self.info = info
        self.session = session

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run the graph: name -> float32 array in, the outputs in the order of `INTERFACES` out."""
        return self.session.run(list(INTERFACES[self.info.kind][1]), inputs)


class OnnxSegmenter(OnnxNetwork):
    """A per-frame segmenter: `baseline`, or DWNet, which needs nothing more at inference."""

    def logits(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) RGB frame -> float32 (K, H, W) scores."""
        height, width = _frame_size(image)
        (logits,) = self.run({"image": _image_tensor(image, self.info.multiple)})
        return logits[0, :, :height, :width]

    def labels(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) RGB frame -> uint8 (H, W) class ids, 0..K-1."""
        return argmax_labels(self.logits(image))


class OnnxStaticWarp(OnnxNetwork):
    """The static-warp network: it fuses the previous frame's features, warped by the flow, into the current ones.

    It keeps the features of the frame it saw last. `reset()` before another clip, and at a scene cut.
    """

    def __init__(self, info: NetworkInfo, session: onnxruntime.InferenceSession) -> None:
        super().__init__(info, session)
        self._features: np.ndarray | None = None

    def fresh(self) -> "OnnxStaticWarp":
        """The same network with a state of its own, so that several clips can be run at a time."""
        return OnnxStaticWarp(self.info, self.session)

    def reset(self) -> None:
        """Forget the previous frame: the next one fuses nothing."""
        self._features = None

    def logits(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:
        """Scores of the next frame of the clip.

        Args:
            image: uint8 (H, W, 3) RGB.
            flow_px: float32 (2, H, W), from this frame to the one before, in pixels. Needed unless this is the first
                frame after `reset()`, where it is not looked at.

        Returns:
            float32 (K, H, W).

        Raises:
            ValueError: no flow though there is a previous frame, a flow of another size, or a frame of another size
                than the one before.
        """
        height, width = _frame_size(image)
        tensor = _image_tensor(image, self.info.multiple)
        padded_height, padded_width = tensor.shape[2:]
        grid = (padded_height // self.info.stride, padded_width // self.info.stride)
        if self._features is None:
            features = np.zeros((1, self.info.channels, *grid), np.float32)
            # Points outside the image everywhere, so that no previous pixel is valid and nothing is fused.
            flow = np.full((1, 2, padded_height, padded_width), 4.0 * max(padded_height, padded_width), np.float32)
        else:
            features = self._features
            if features.shape[2:] != grid:
                raise ValueError(
                    f"frame of {width}x{height} px after one with a feature map of {features.shape[3]}x"
                    f"{features.shape[2]} (stride {self.info.stride}): call reset() before a clip of another size"
                )
            if flow_px is None:
                raise ValueError("static warp needs the flow to the previous frame; only the first frame goes without")
            flow = _flow_tensor(flow_px, (height, width), self.info.multiple)
        logits, self._features = self.run({"image": tensor, "previous_features": features, "flow": flow})
        return logits[0, :, :height, :width]

    def labels(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:
        """As `logits`, but uint8 (H, W) class ids, 0..K-1."""
        return argmax_labels(self.logits(image, flow_px))


class OnnxFlowRefinement(OnnxNetwork):
    """The flow-refinement branch (section 3.2) of a trained DWNet, for looking at: no method needs it at inference."""

    def refine(self, frame: np.ndarray, neighbour: np.ndarray, flow_px: np.ndarray) -> np.ndarray:
        """Refine a coarse flow.

        Args:
            frame: uint8 (H, W, 3) RGB.
            neighbour: uint8 (H, W, 3) RGB.
            flow_px: float32 (2, H, W) from `frame` to `neighbour`, in pixels.

        Returns:
            float32 (2, H, W), resized to the frame and its vectors scaled with it: pixels of the frame.
        """
        height, width = size = _frame_size(frame)
        if _frame_size(neighbour) != size:
            raise ValueError(
                f"neighbour of shape {neighbour.shape} for a frame of shape {frame.shape}; they must agree"
            )
        multiple = self.info.multiple
        inputs = {
            "frame": _image_tensor(frame, multiple),
            "neighbour": _image_tensor(neighbour, multiple),
            "flow": _flow_tensor(flow_px, size, multiple),
        }
        (refined,) = self.run(inputs)
        padded_height, padded_width = inputs["frame"].shape[2:]
        scale_x, scale_y = padded_width / refined.shape[3], padded_height / refined.shape[2]
        resized = [
            cv2.resize(channel * scale, (padded_width, padded_height), interpolation=cv2.INTER_LINEAR)[:height, :width]
            for channel, scale in zip(refined[0], (np.float32(scale_x), np.float32(scale_y)), strict=True)
        ]
        return np.stack(resized)


def load(path: str | Path, *, kind: str | None = None, threads: int | None = None) -> OnnxNetwork:
    """Open an exported network.

    Args:
        path: an `.onnx` file written by `dwnet export`.
        kind: the kind it has to be (a key of `INTERFACES`); None takes any.
        threads: CPU threads of one run; None takes every CPU this process may use.

    Returns:
        `OnnxSegmenter`, `OnnxStaticWarp` or `OnnxFlowRefinement`, by the file's kind.

    Raises:
        NetworkFileError: no such file, not ONNX, not written by `dwnet export`, or of another kind.
        ValueError: `kind` is unknown or `threads` is not positive.
    """
    path = Path(path)
    if kind is not None and kind not in INTERFACES:
        raise ValueError(f"unknown kind {kind!r}; allowed: {', '.join(INTERFACES)}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, found {threads}")
    if not path.is_file():
        raise NetworkFileError(f"no exported network at {path}; `dwnet export CHECKPOINT` writes one")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cpus()
    # Threads that spin after a run take the CPU from whatever is measured next: the flow, or another network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: an exported graph's unused initialisers are no news
    content = path.read_bytes()
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class but Exception
        raise NetworkFileError(f"{path} is not an ONNX file that ONNX Runtime can open: {error}") from error
    info = _read_info(path, hashlib.sha256(content).hexdigest(), session)
    if kind is not None and info.kind != kind:
        raise NetworkFileError(f"{path} holds a network of kind {info.kind!r}; expected {kind!r}")
    network_class = {
        "segmenter": OnnxSegmenter,
        "static_warp": OnnxStaticWarp,
        "flow_refinement": OnnxFlowRefinement,
    }[info.kind]
    return network_class(info, session)


def check_same_classes(networks: Iterable[OnnxNetwork]) -> None:
    """Raise NetworkFileError, naming both files, unless all networks predict the same classes in the same order."""
    first: OnnxNetwork | None = None
    for network in networks:
        if first is None:
            first = network
        elif network.info.classes != first.info.classes:
            raise NetworkFileError(
                f"{network.info.path} predicts {', '.join(network.info.classes)}; {first.info.path} predicts "
                f"{', '.join(first.info.classes)}. Compared networks need the same classes in the same order"
            )


def argmax_labels(logits: np.ndarray) -> np.ndarray:
    """(K, H, W) scores, K <= 256 -> uint8 (H, W) ids of the highest score, the lowest id where scores tie.

    A running maximum without masked writes: 12 times faster than `np.argmax` over the first axis at 480x272, K = 11.
    """
    best = logits[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    higher = np.empty(best.shape, np.bool_)
    for class_id in range(1, len(logits)):
        np.greater(logits[class_id], best, out=higher)
        # Ids rise, so the larger of the old and the new id is the new one wherever the score is higher.
        np.maximum(labels, higher.view(np.uint8) * np.uint8(class_id), out=labels)
        np.maximum(best, logits[class_id], out=best)
    return labels


def available_cpus() -> int:
    """How many CPUs this process may use; a container may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read_info(path: Path, sha256: str, session: onnxruntime.InferenceSession) -> NetworkInfo:
    entry = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if entry is None:
        raise NetworkFileError(f"{path} is ONNX, but has no {METADATA_KEY!r} metadata; `dwnet export` writes it")
    try:
        meta = json.loads(entry)
        if meta["format"] != METADATA_FORMAT:
            raise NetworkFileError(f"{path} has metadata format {meta['format']!r}; allowed: {METADATA_FORMAT}")
        info = NetworkInfo(
            path=path,
            sha256=sha256,
            kind=str(meta["kind"]),
            method=str(meta["method"]),
            classes=tuple(str(name) for name in meta["classes"]),
            palette=tuple((int(red), int(green), int(blue)) for red, green, blue in meta["palette"]),
            stride=int(meta["stride"]),
            multiple=int(meta.get("multiple", meta["stride"])),
            channels=int(meta["channels"]),
            recipe=meta.get("recipe") or {},
            metrics=meta.get("metrics") or {},
            commit=str(meta.get("commit", "")),
        )
    except NetworkFileError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise NetworkFileError(f"{path} has unreadable {METADATA_KEY!r} metadata: {error!r}") from error
    _check_info(info, session)
    return info


def _check_info(info: NetworkInfo, session: onnxruntime.InferenceSession) -> None:
    if info.kind not in INTERFACES:
        raise NetworkFileError(f"{info.path} is of kind {info.kind!r}; allowed: {', '.join(INTERFACES)}")
    found = (tuple(i.name for i in session.get_inputs()), tuple(o.name for o in session.get_outputs()))
    for direction, found_names, names in zip(("inputs", "outputs"), found, INTERFACES[info.kind], strict=True):
        if sorted(found_names) != sorted(names):
            raise NetworkFileError(
                f"{info.path} has the {direction} {', '.join(found_names)}; a {info.kind} has {', '.join(names)}"
            )
    if not 1 <= len(info.classes) <= 255 or len(info.palette) != len(info.classes):
        raise NetworkFileError(
            f"{info.path} names {len(info.classes)} classes and {len(info.palette)} colours; "
            "allowed: 1 to 255 classes with one colour each"
        )
    if info.stride < 1 or info.channels < 1 or info.multiple < 1 or info.multiple % info.stride:
        raise NetworkFileError(
            f"{info.path} has stride {info.stride}, multiple {info.multiple} and {info.channels} channels; all start "
            "at 1, and the stride divides the multiple"
        )
    outputs = {output.name: output.shape for output in session.get_outputs()}
    if "logits" in outputs:
        scores = outputs["logits"][1]  # an int, or a name where the graph leaves it open
        if isinstance(scores, int) and scores != len(info.classes):
            raise NetworkFileError(f"{info.path} scores {scores} classes, but names {len(info.classes)}")


def _frame_size(image: np.ndarray) -> tuple[int, int]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a frame is uint8 (H, W, 3) RGB, found {image.dtype} {image.shape}")
    return image.shape[0], image.shape[1]


def _pad(array: np.ndarray, multiple: int) -> np.ndarray:
    """(H, W, ...) -> sides in multiples of `multiple`, the right and bottom edge repeated."""
    below, right = -array.shape[0] % multiple, -array.shape[1] % multiple
    return cv2.copyMakeBorder(array, 0, below, 0, right, cv2.BORDER_REPLICATE) if below or right else array


def _image_tensor(image: np.ndarray, multiple: int) -> np.ndarray:
    """uint8 (H, W, 3) -> float32 (1, 3, H', W') in 0..1, padded to the multiple."""
    planes = np.ascontiguousarray(_pad(image, multiple).transpose(2, 0, 1))
    return np.multiply(planes, np.float32(1 / 255), dtype=np.float32)[None]


def _flow_tensor(flow_px: np.ndarray, size: tuple[int, int], multiple: int) -> np.ndarray:
    """float (2, H, W) -> float32 (1, 2, H', W'), padded to the multiple."""
    if flow_px.shape != (2, *size):
        raise ValueError(f"flow of shape {flow_px.shape} for a frame of {size[1]}x{size[0]} px; expected {(2, *size)}")
    return np.stack([_pad(channel.astype(np.float32, copy=False), multiple) for channel in flow_px])[None]
