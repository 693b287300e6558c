"""Exported networks (`dwnet.deploy.export`) that run on one video frame at a time, without PyTorch.

Height and width of a network's input are multiples of its `multiple`: frames are padded at the right and bottom by
repeating the edge, and the output is cropped, so that pixel (x, y) stays pixel (x, y).
"""

from collections.abc import Callable
from typing import Self

import cv2
import numpy as np

from dwnet.core.errors import DWNetError, first_line
from dwnet.deploy.layout import resize_image, resize_maps, scaled
from dwnet.deploy.network_info import INTERFACES, NetworkFileError, NetworkInfo
from dwnet.deploy.reference import ReferenceFrame
from dwnet.deploy.sessions import Session
from dwnet.method.reference import PER_FRAME, PREVIOUS_FRAME, ReferencePolicy, key_frames


class OnnxNetwork:
    """A runtime's session and the file's metadata."""

    def __init__(self, info: NetworkInfo, session: Session) -> None:
        self.info = info
        self.session = session

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Runs the graph on float32 inputs by name and returns the outputs in the order of `INTERFACES`.

        Raises:
            NetworkFileError: if the runtime cannot run the graph on these inputs.
        """
        return self.run_session(self.session, INTERFACES[self.info.kind][1], inputs)

    def run_session(
        self, session: Session, outputs: tuple[str, ...], inputs: dict[str, np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the named outputs of a session of this network; errors are those of `run`."""
        try:
            return session.run(outputs, inputs)
        except Exception as error:  # runtimes' errors have no other base class
            shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in inputs.items())
            raise NetworkFileError(f"{self.info.path} cannot run on {shapes}: {first_line(error)}") from error


class OnnxSegmenter(OnnxNetwork):
    """Labels the frames of a clip one after another. This class runs each frame alone, for `baseline` and `dwnet`.

    Subclasses use the features of an earlier frame, the `reference`, and need the flow to it. Call `reset()` before a
    new clip and at a scene cut.
    """

    def __init__(self, info: NetworkInfo, session: Session, *, policy: ReferencePolicy = PER_FRAME) -> None:
        super().__init__(info, session)
        self.policy = policy
        """Which earlier frames the network uses."""
        self.scored = True
        """Whether the network gives scores (`logits`); False if it gives only labels."""
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
        height, width = size = frame_size(image)
        if self.info.size is not None or self.info.scale != 1:
            height, width = self.info.size or scaled(size, self.info.scale)
            image = resize_image(image, (height, width))
        (logits,) = self.run({"image": image_tensor(image, self.info.multiple)})
        return resize_maps(logits[0, :, :height, :width], size)

    def labels(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:
        """Returns class ids 0..K-1 of the next frame, uint8 (H, W).

        A network that gives only labels may also give `IGNORE_LABEL`. Arguments and errors are those of `logits`.

        Raises:
            NetworkFileError: if scores are not numbers (NaN).
        """
        logits = self.logits(image, flow_px)
        try:
            return argmax_labels(logits)
        except DWNetError as error:
            raise NetworkFileError(f"{self.info.path}: {error}") from error

    def _flow_tensor(self, image: np.ndarray, flow_px: np.ndarray | None) -> np.ndarray:
        """Returns the flow to the reference, checked and padded."""
        size = frame_size(image)
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

    def __init__(self, info: NetworkInfo, session: Session) -> None:
        super().__init__(info, session, policy=PREVIOUS_FRAME)

    def logits(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:  # noqa: D102
        height, width = frame_size(image)
        tensor = image_tensor(image, self.info.multiple)
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

    def __init__(self, info: NetworkInfo, session: Session, propagation: Session) -> None:
        super().__init__(info, session, policy=key_frames(info.key_interval))
        self._propagation = propagation

    @classmethod
    def open(cls, info: NetworkInfo, start: Callable[[bytes], Session]) -> Self:
        """Splits the file's graph into its two parts; a runtime would run the whole graph for every frame.

        Args:
            info: metadata of the file.
            start: returns a session for the content of an ONNX file.
        """
        import onnx.utils  # only key-frame networks need it

        parts = onnx.utils.Extractor(onnx.load_model(info.path))
        whole = (
            parts.extract_model(inputs, outputs)
            for inputs, outputs in ((["image"], ["key_logits", "features"]), (["key_features", "flow"], ["logits"]))
        )
        return cls(info, *(start(part.SerializeToString()) for part in whole))

    def fresh(self) -> Self:  # noqa: D102
        return type(self)(self.info, self.session, self._propagation)

    def logits(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:  # noqa: D102
        height, width = frame_size(image)
        if self._reference.image is None:
            inputs = {"image": image_tensor(image, self.info.multiple)}
            logits, features = self.run_session(self.session, ("key_logits", "features"), inputs)
            self._reference.keep(image, features)
        else:
            flow = self._flow_tensor(image, flow_px)
            inputs = {"key_features": self._reference.features, "flow": flow}
            (logits,) = self.run_session(self._propagation, ("logits",), inputs)
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
        height, width = size = frame_size(frame)
        if frame_size(neighbour) != size:
            raise DWNetError(
                f"neighbour of shape {neighbour.shape} for a frame of shape {frame.shape}; allowed is one shape"
            )
        multiple = self.info.multiple
        inputs = {
            "frame": image_tensor(frame, multiple),
            "neighbour": image_tensor(neighbour, multiple),
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


def argmax_labels(logits: np.ndarray) -> np.ndarray:
    """Returns uint8 (H, W) ids of the highest score for (K, H, W) scores, K <= 256; the lowest id if scores tie.

    A running maximum without masked writes is 12 times faster than `np.argmax` over the first axis at 480x272, K = 11.

    Raises:
        DWNetError: for a score that is not a number (NaN).
    """
    best = logits[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    higher = np.empty(best.shape, np.bool_)
    for class_id in range(1, len(logits)):
        np.greater(logits[class_id], best, out=higher)
        # Ids increase, so the larger of the old and the new id is the new one if its score is higher.
        np.maximum(labels, higher.view(np.uint8) * np.uint8(class_id), out=labels)
        np.maximum(best, logits[class_id], out=best)
    unknown = int(np.count_nonzero(np.isnan(best)))  # the maximum with NaN is NaN
    if unknown:
        raise DWNetError(f"the scores of {unknown} of {best.size} pixels are not numbers (NaN)")
    return labels


def frame_size(image: np.ndarray) -> tuple[int, int]:
    """Returns (H, W) of a frame. Raises DWNetError unless it is uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise DWNetError(f"a frame is uint8 (H, W, 3) RGB, found {image.dtype} {image.shape}")
    return image.shape[0], image.shape[1]


def _pad(array: np.ndarray, multiple: int) -> np.ndarray:
    """Pads (H, W, ...) at the right and bottom, by repeating the edge, to multiples of `multiple`."""
    below, right = -array.shape[0] % multiple, -array.shape[1] % multiple
    return cv2.copyMakeBorder(array, 0, below, 0, right, cv2.BORDER_REPLICATE) if below or right else array


def image_tensor(image: np.ndarray, multiple: int) -> np.ndarray:
    """Returns float32 (1, 3, H', W') in 0..1, padded to the multiple, for uint8 (H, W, 3)."""
    planes = np.ascontiguousarray(_pad(image, multiple).transpose(2, 0, 1))
    return np.multiply(planes, np.float32(1 / 255), dtype=np.float32)[None]


def _flow_tensor(flow_px: np.ndarray, size: tuple[int, int], multiple: int) -> np.ndarray:
    """Returns float32 (1, 2, H', W'), padded to the multiple, for float (2, H, W)."""
    if flow_px.shape != (2, *size):
        raise DWNetError(f"flow of shape {flow_px.shape} for a frame of {size[1]}x{size[0]} px; expected {(2, *size)}")
    return np.stack([_pad(channel.astype(np.float32, copy=False), multiple) for channel in flow_px])[None]
