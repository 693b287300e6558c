"""Models as predictors: exported networks and checkpoints, those that see each frame alone and those with a memory."""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.deploy.checkpoint import load_checkpoint
from dwnet.deploy.reference import ReferenceFrame
from dwnet.deploy.runtime import OnnxKeyframe, OnnxSegmenter, OnnxStaticWarp, load
from dwnet.evaluation.inference import WHOLE, Inference, Logits
from dwnet.method.training import KeyframeMethod, Method, StaticWarpMethod
from dwnet.ops.resize import resize
from dwnet.segmentation import Segmenter, pad_to_multiple


class Predictor(Protocol):
    """Labels the frames of a clip one after another."""

    def reset(self) -> None:
        """The next frame starts another clip."""

    @property
    def reference(self) -> NDArray[np.uint8] | None:
        """The frame, as it was given, that the next frame's flow must lead to; None if the next one needs no flow."""

    def labels(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, and the flow (2, H, W) to `reference` or None, to (H, W) uint8 class ids."""

    def warmup_frames(self, index: int) -> int:
        """How many raw frames lead up to the split's `index`-th frame, if that follows none of the split's.

        Key frames are so far before such frames as they are before those of a clip: by turns.
        """

    def memory(self, position: int) -> int:
        """How many of the `position` frames since a reset have to be run again for the same labels of the next one."""


class FramePredictor:
    """A network that sees each frame alone.

    Args:
        logits: the network.
        inference: how frames are put to it.
    """

    reference: None = None

    def __init__(self, logits: Logits, inference: Inference = WHOLE) -> None:
        self._logits, self.inference = logits, inference

    def reset(self) -> None:  # noqa: D102
        pass

    def labels(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:  # noqa: D102
        scores = self.inference.scores(self._logits, image)
        return scores.argmax(dim=0).to(torch.uint8).cpu().numpy()

    def warmup_frames(self, index: int) -> int:  # noqa: D102
        return 0

    def memory(self, position: int) -> int:  # noqa: D102
        return 0


class TorchPredictor:
    """A trained method that draws on frames before, on the device its weights are on."""

    def __init__(self, method: StaticWarpMethod | KeyframeMethod) -> None:
        self.method = method.eval()
        span = method.spec.key_interval - 1 if isinstance(method, KeyframeMethod) else 1
        self._reference = ReferenceFrame[torch.Tensor](span)

    def reset(self) -> None:  # noqa: D102
        self._reference.clear()

    @property
    def reference(self) -> NDArray[np.uint8] | None:  # noqa: D102
        return self._reference.image

    @torch.no_grad()
    def labels(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:  # noqa: D102
        segmenter = self.method.segmenter
        height, width = image.shape[:2]
        tensor = pad_to_multiple(_tensor(image, segmenter), segmenter.multiple)
        flow = None
        if flow_px is not None:
            flow = pad_to_multiple(torch.from_numpy(flow_px).to(tensor.device)[None], segmenter.multiple)
        logits = self._logits(tensor, image, flow)
        logits = resize(logits, (tensor.shape[-2], tensor.shape[-1]))[0, :, :height, :width]
        return logits.argmax(dim=0).to(torch.uint8).cpu().numpy()

    def warmup_frames(self, index: int) -> int:  # noqa: D102
        return index % self.method.spec.key_interval if isinstance(self.method, KeyframeMethod) else 1

    def memory(self, position: int) -> int:  # noqa: D102
        spec = self.method.spec
        return position % spec.key_interval if isinstance(self.method, KeyframeMethod) else min(position, 1)

    def _logits(self, tensor: torch.Tensor, image: NDArray[np.uint8], flow_px: torch.Tensor | None) -> torch.Tensor:
        """Logits (1, K, h, w) of the next frame, padded."""
        method, reference = self.method, self._reference
        if isinstance(method, KeyframeMethod) and reference.image is not None:
            assert flow_px is not None
            logits = method.network.classify(reference.features, flow_px)
            reference.used()
            return logits
        features = method.segmenter.features(tensor)
        if isinstance(method, KeyframeMethod):
            logits = method.segmenter.classify(features)
        elif reference.image is None:
            logits = method.network.classify_first(features)
        else:
            assert flow_px is not None
            logits = method.network.fuse(features, reference.features, flow_px)
        reference.keep(image, features)
        return logits


class OnnxPredictor:
    """An exported network that draws on frames before."""

    def __init__(self, network: OnnxStaticWarp | OnnxKeyframe) -> None:
        self.network = network

    def reset(self) -> None:  # noqa: D102
        self.network.reset()

    @property
    def reference(self) -> NDArray[np.uint8] | None:  # noqa: D102
        return self.network.reference

    def labels(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:  # noqa: D102
        return self.network.labels(image, flow_px)

    def warmup_frames(self, index: int) -> int:  # noqa: D102
        network = self.network
        return index % network.info.key_interval if isinstance(network, OnnxKeyframe) else 1

    def memory(self, position: int) -> int:  # noqa: D102
        network = self.network
        return position % network.info.key_interval if isinstance(network, OnnxKeyframe) else min(position, 1)


def load_predictor(
    path: str | Path,
    inference: Inference = WHOLE,
    *,
    device: torch.device | str = "cpu",
    threads: int | None = None,
) -> tuple[Predictor, tuple[str, ...]]:
    """A model file as a predictor, and its classes.

    Args:
        path: an exported network (.onnx) or a checkpoint of train/main.py.
        inference: how frames are put to it.
        device: of a checkpoint's network; exported ones run on the CPU.
        threads: of an exported network; None takes every CPU this process may use.

    Raises:
        ValueError: for a file that is neither, a network that labels nothing (flow_refinement), or one with a memory
            under anything but whole images.
    """
    if Path(path).suffix != ".onnx":
        checkpoint = load_checkpoint(path)
        predictor = method_predictor(checkpoint.build().to(device), inference, source=path)
        return predictor, checkpoint.classes.classes
    network = load(path, threads=threads)
    if not isinstance(network, OnnxSegmenter):
        raise DWNetError(f"{path} is a {network.info.kind} network, allowed are segmenter, static_warp and keyframe")
    if isinstance(network, OnnxStaticWarp | OnnxKeyframe):
        _require_whole(path, network.info.kind, inference)
        return OnnxPredictor(network), network.info.classes
    return FramePredictor(lambda image: torch.from_numpy(network.logits(image)), inference), network.info.classes


def method_predictor(method: Method, inference: Inference = WHOLE, *, source: str | Path = "this method") -> Predictor:
    """A trained method as a predictor, on the device its weights are on.

    Args:
        method: left in evaluation mode.
        inference: how frames are put to it.
        source: what an error calls it.

    Raises:
        ValueError: a method with a memory under anything but whole images.
    """
    if isinstance(method, StaticWarpMethod | KeyframeMethod):
        _require_whole(source, method.spec.name, inference)
        return TorchPredictor(method)
    segmenter = method.eval().segmenter

    @torch.no_grad()
    def logits(image: NDArray[np.uint8]) -> torch.Tensor:
        return segmenter(_tensor(image, segmenter))[0]

    return FramePredictor(logits, inference)


def _require_whole(path: str | Path, kind: str, inference: Inference) -> None:
    if inference != WHOLE:
        raise DWNetError(
            f"{path} is a {kind} network, found {inference.short}: it takes features of a frame before over to the "
            "next one, from one whole image to another; allowed for it are whole images, and windows, scales and flip "
            "for networks that see each frame alone"
        )


def _tensor(image: NDArray[np.uint8], segmenter: Segmenter) -> torch.Tensor:
    """(H, W, 3) uint8 as (1, 3, H, W) float 0..1 on the segmenter's device."""
    device = next(segmenter.parameters()).device
    return torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
