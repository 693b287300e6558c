"""Runs exported networks (`dwnet.deploy.export`) in ONNX Runtime, one video frame at a time, without PyTorch.

`load` validates a file's metadata (`dwnet.deploy.network_info`) and returns the class for its kind. Height and width of
a network's input are multiples of its `multiple`: frames are padded at the right and bottom by repeating the edge, and
the output is cropped, so that pixel (x, y) stays pixel (x, y).
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self, overload

import cv2
import numpy as np
import onnxruntime

from dwnet.core.errors import DWNetError, first_line
from dwnet.core.launch import available_cpus
from dwnet.deploy.network_info import INTERFACES, NetworkFileError, NetworkInfo, read_info
from dwnet.deploy.reference import ReferenceFrame
from dwnet.method.reference import PER_FRAME, PREVIOUS_FRAME, ReferencePolicy, key_frames


class OnnxNetwork:
    """An ONNX Runtime session and the file's metadata."""

    def __init__(self, info: NetworkInfo, session: onnxruntime.InferenceSession) -> None:
        self.info = info
        self.session = session

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Runs the graph on float32 inputs by name and returns the outputs in the order of `INTERFACES`."""
        return self.session.run(list(INTERFACES[self.info.kind][1]), inputs)


class OnnxSegmenter(OnnxNetwork):
    """Labels the frames of a clip one after another. This class runs each frame alone, for `baseline` and `dwnet`.

    Subclasses use the features of an earlier frame, the `reference`, and need the flow to it. Call `reset()` before a
    new clip and at a scene cut.
    """

    def __init__(
        self, info: NetworkInfo, session: onnxruntime.InferenceSession, *, policy: ReferencePolicy = PER_FRAME
    ) -> None:
        super().__init__(info, session)
        self.policy = policy
        """Which earlier frames the network uses."""
        self._reference = ReferenceFrame[np.ndarray](policy)

    def fresh(self) -> Self:
        """Returns the same network with a separate state, to run several clips at a time."""
        return type(self)(self.info, self.session)

    def reset(self) -> None:
        """Clears the state: the next frame is the first of a clip."""
        self._reference.clear()

    @property
    def reference(self) -> np.ndarray | None:
        """The frame that the flow of the next frame must lead to, unpadded; None if the next frame needs no flow."""
        return self._reference.image

    def logits(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:
        """Returns the class scores of the next frame of the clip.

        Args:
            image: uint8 (H, W, 3) RGB.
            flow_px: float32 (2, H, W), from this frame to `reference`, in pixels; ignored if `reference` is None.

        Returns:
            float32 (K, H, W).

        Raises:
            DWNetError: if there is a reference but no flow, or if the size of the flow or of the reference differs from
                the frame's.
        """
        height, width = _frame_size(image)
        (logits,) = self.run({"image": _image_tensor(image, self.info.multiple)})
        return logits[0, :, :height, :width]

    def labels(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:
        """Returns class ids 0..K-1 of the next frame, uint8 (H, W); arguments and errors are those of `logits`."""
        return argmax_labels(self.logits(image, flow_px))

    def _flow_tensor(self, image: np.ndarray, flow_px: np.ndarray | None) -> np.ndarray:
        """Returns the flow to the reference, checked and padded."""
        size = _frame_size(image)
        reference = self._reference.image
        assert reference is not None
        if reference.shape != image.shape:
            raise DWNetError(
                f"frame of {size[1]}x{size[0]} px after one of {reference.shape[1]}x{reference.shape[0]} px: call "
                "reset() before a clip of another size"
            )
        if flow_px is None:
            raise DWNetError(
                f"{self.info.kind} needs the flow to its `reference`; allowed is None only without a reference"
            )
        return _flow_tensor(flow_px, size, self.info.multiple)


class OnnxStaticWarp(OnnxSegmenter):
    """The static-warp network: fuses the previous frame's features, warped by the flow, into the current ones."""

    def __init__(self, info: NetworkInfo, session: onnxruntime.InferenceSession) -> None:
        super().__init__(info, session, policy=PREVIOUS_FRAME)

    def logits(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:  # noqa: D102
        height, width = _frame_size(image)
        tensor = _image_tensor(image, self.info.multiple)
        rows, columns = tensor.shape[2:]
        if self._reference.image is None:
            grid = (rows // self.info.stride, columns // self.info.stride)
            features = np.zeros((1, self.info.channels, *grid), np.float32)
            # This flow leaves the image at every pixel: no previous pixel is valid, and nothing is fused.
            flow = np.full((1, 2, rows, columns), 4.0 * max(rows, columns), np.float32)
        else:
            features, flow = self._reference.features, self._flow_tensor(image, flow_px)
        logits, features = self.run({"image": tensor, "previous_features": features, "flow": flow})
        self._reference.keep(image, features)
        return logits[0, :, :height, :width]


class OnnxKeyframe(OnnxSegmenter):
    """Key-frame propagation: the network runs on every `info.key_interval`-th frame; other frames get warped features.

    `reference` is the last key frame, or None if the next frame is a key frame.

    Args:
        info: metadata of the file.
        session: the part for key frames, `image` to `key_logits` and `features`.
        propagation: the part for other frames, `key_features` and `flow` to `logits`.
    """

    def __init__(
        self, info: NetworkInfo, session: onnxruntime.InferenceSession, propagation: onnxruntime.InferenceSession
    ) -> None:
        super().__init__(info, session, policy=key_frames(info.key_interval))
        self._propagation = propagation

    @classmethod
    def open(cls, info: NetworkInfo, content: bytes, options: onnxruntime.SessionOptions) -> Self:
        """Splits the file's graph into its two parts; ONNX Runtime would run the whole graph for every frame."""
        import onnx.utils  # only key-frame networks need it

        parts = onnx.utils.Extractor(onnx.load_from_string(content))
        whole = (
            parts.extract_model(inputs, outputs)
            for inputs, outputs in ((["image"], ["key_logits", "features"]), (["key_features", "flow"], ["logits"]))
        )
        return cls(info, *(_session(part.SerializeToString(), options) for part in whole))

    def fresh(self) -> Self:  # noqa: D102
        return type(self)(self.info, self.session, self._propagation)

    def logits(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:  # noqa: D102
        height, width = _frame_size(image)
        if self._reference.image is None:
            inputs = {"image": _image_tensor(image, self.info.multiple)}
            logits, features = self.session.run(["key_logits", "features"], inputs)
            self._reference.keep(image, features)
        else:
            flow = self._flow_tensor(image, flow_px)
            inputs = {"key_features": self._reference.features, "flow": flow}
            (logits,) = self._propagation.run(["logits"], inputs)
            self._reference.used()
        return logits[0, :, :height, :width]


class OnnxFlowRefinement(OnnxNetwork):
    """The flow refinement module (section 3.2) of a trained DWNet, to inspect flows. Inference does not need it."""

    def refine(self, frame: np.ndarray, neighbour: np.ndarray, flow_px: np.ndarray) -> np.ndarray:
        """Returns the refined flow of a coarse one.

        Args:
            frame: uint8 (H, W, 3) RGB.
            neighbour: uint8 (H, W, 3) RGB.
            flow_px: float32 (2, H, W) from `frame` to `neighbour`, in pixels.

        Returns:
            float32 (2, H, W), resized to the frame, in pixels of the frame.

        Raises:
            DWNetError: for frames that are not uint8 RGB, or if the sizes differ.
        """
        height, width = size = _frame_size(frame)
        if _frame_size(neighbour) != size:
            raise DWNetError(
                f"neighbour of shape {neighbour.shape} for a frame of shape {frame.shape}; allowed is one shape"
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


@overload
def load(path: str | Path, *, kind: Literal["flow_refinement"], threads: int | None = None) -> OnnxFlowRefinement: ...


@overload
def load(
    path: str | Path, *, kind: Literal["segmenter", "static_warp", "keyframe"] | None = None, threads: int | None = None
) -> OnnxSegmenter: ...


def load(
    path: str | Path, *, kind: str | None = None, threads: int | None = None
) -> OnnxSegmenter | OnnxFlowRefinement:
    """Returns an exported network, ready to run: one that labels frames, unless `kind` says "flow_refinement".

    Args:
        path: an `.onnx` file written by `dwnet export`.
        kind: the required kind (a key of `INTERFACES`); None allows any that labels frames.
        threads: CPU threads of a run; None uses all CPUs of this process.

    Returns:
        `OnnxSegmenter`, `OnnxStaticWarp`, `OnnxKeyframe` or `OnnxFlowRefinement`, by the file's kind.

    Raises:
        NetworkFileError: if the file is missing, not ONNX, not written by `dwnet export`, or of another kind.
        DWNetError: if `kind` is unknown or `threads` is not positive.
    """
    network = load_any(path, kind=kind, threads=threads)
    if kind is None and not isinstance(network, OnnxSegmenter):
        raise NetworkFileError(
            f"{path} holds a network of kind {network.info.kind!r}, which labels no frames; load it with "
            f"kind={network.info.kind!r}"
        )
    return network


def load_any(
    path: str | Path, *, kind: str | None = None, threads: int | None = None
) -> OnnxSegmenter | OnnxFlowRefinement:
    """Returns an exported network of any kind, ready to run.

    Args:
        path: an `.onnx` file written by `dwnet export`.
        kind: the required kind (a key of `INTERFACES`); None allows any.
        threads: CPU threads of a run; None uses all CPUs of this process.

    Returns:
        `OnnxSegmenter`, `OnnxStaticWarp`, `OnnxKeyframe` or `OnnxFlowRefinement`, by the file's kind.

    Raises:
        NetworkFileError: if the file is missing, not ONNX, not written by `dwnet export`, or of another kind.
        DWNetError: if `kind` is unknown or `threads` is not positive.
    """
    path = Path(path)
    if kind is not None and kind not in INTERFACES:
        raise DWNetError(f"unknown kind {kind!r}; allowed: {', '.join(INTERFACES)}")
    if threads is not None and threads < 1:
        raise DWNetError(f"threads must be at least 1, found {threads}")
    if path.is_dir():
        raise NetworkFileError(f"{path} is a folder; allowed is one exported network, an .onnx file")
    if not path.is_file():
        raise NetworkFileError(f"no exported network at {path}; `dwnet export CHECKPOINT` writes one")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cpus()
    # Spinning threads would keep the CPU busy during the next measured step: the flow or another network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: exported graphs have unused initialisers
    content = path.read_bytes()
    try:
        session = _session(content, options)
    except Exception as error:  # ONNX Runtime's errors have no other base class
        raise NetworkFileError(f"{path} is not an ONNX file that ONNX Runtime can open: {first_line(error)}") from error
    info = read_info(path, hashlib.sha256(content).hexdigest(), session)
    if kind is not None and info.kind != kind:
        raise NetworkFileError(f"{path} holds a network of kind {info.kind!r}; expected {kind!r}")
    if info.kind == "keyframe":
        return OnnxKeyframe.open(info, content, options)
    network_class: type[OnnxSegmenter | OnnxFlowRefinement] = {
        "segmenter": OnnxSegmenter,
        "static_warp": OnnxStaticWarp,
        "flow_refinement": OnnxFlowRefinement,
    }[info.kind]
    return network_class(info, session)


def check_same_classes(networks: Iterable[OnnxNetwork]) -> None:
    """Raises NetworkFileError, with both files, unless all networks predict the same classes in the same order."""
    first: OnnxNetwork | None = None
    for network in networks:
        if first is None:
            first = network
        elif network.info.classes != first.info.classes:
            raise NetworkFileError(
                f"{network.info.path} predicts {', '.join(network.info.classes)}; {first.info.path} predicts "
                f"{', '.join(first.info.classes)}; allowed are the same classes in the same order"
            )


def argmax_labels(logits: np.ndarray) -> np.ndarray:
    """Returns uint8 (H, W) ids of the highest score for (K, H, W) scores, K <= 256; the lowest id if scores tie.

    A running maximum without masked writes is 12 times faster than `np.argmax` over the first axis at 480x272, K = 11.
    """
    best = logits[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    higher = np.empty(best.shape, np.bool_)
    for class_id in range(1, len(logits)):
        np.greater(logits[class_id], best, out=higher)
        # Ids increase, so the larger of the old and the new id is the new one if its score is higher.
        np.maximum(labels, higher.view(np.uint8) * np.uint8(class_id), out=labels)
        np.maximum(best, logits[class_id], out=best)
    return labels


def _session(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _frame_size(image: np.ndarray) -> tuple[int, int]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise DWNetError(f"a frame is uint8 (H, W, 3) RGB, found {image.dtype} {image.shape}")
    return image.shape[0], image.shape[1]


def _pad(array: np.ndarray, multiple: int) -> np.ndarray:
    """Pads (H, W, ...) at the right and bottom, by repeating the edge, to multiples of `multiple`."""
    below, right = -array.shape[0] % multiple, -array.shape[1] % multiple
    return cv2.copyMakeBorder(array, 0, below, 0, right, cv2.BORDER_REPLICATE) if below or right else array


def _image_tensor(image: np.ndarray, multiple: int) -> np.ndarray:
    """Returns float32 (1, 3, H', W') in 0..1, padded to the multiple, for uint8 (H, W, 3)."""
    planes = np.ascontiguousarray(_pad(image, multiple).transpose(2, 0, 1))
    return np.multiply(planes, np.float32(1 / 255), dtype=np.float32)[None]


def _flow_tensor(flow_px: np.ndarray, size: tuple[int, int], multiple: int) -> np.ndarray:
    """Returns float32 (1, 2, H', W'), padded to the multiple, for float (2, H, W)."""
    if flow_px.shape != (2, *size):
        raise DWNetError(f"flow of shape {flow_px.shape} for a frame of {size[1]}x{size[0]} px; expected {(2, *size)}")
    return np.stack([_pad(channel.astype(np.float32, copy=False), multiple) for channel in flow_px])[None]
