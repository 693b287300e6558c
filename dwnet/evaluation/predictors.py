"""Predictors: exported networks and checkpoints that label the frames of a clip one after another."""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.deploy.checkpoint import load_checkpoint
from dwnet.deploy.reference import ReferenceFrame
from dwnet.deploy.runtime import OnnxSegmenter, load
from dwnet.evaluation.inference import WHOLE, Inference, Logits
from dwnet.method.reference import PER_FRAME, ReferencePolicy
from dwnet.method.training import Method, ReferenceMethod
from dwnet.ops.resize import resize
from dwnet.segmentation import Segmenter, pad_to_multiple


class Predictor(Protocol):
    """Labels the frames of a clip one after another."""

    def reset(self) -> None:
        """Starts another clip with the next frame."""

    @property
    def reference(self) -> NDArray[np.uint8] | None:
        """The frame, as it was given, that the next frame's flow must point to; None if the next one needs no flow."""

    def labels(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:
        """Returns the class ids of the next frame, (H, W) uint8.

        Args:
            image: (H, W, 3) uint8 RGB.
            flow_px: (2, H, W), from the frame to `reference`, in pixels; None where that is None.
        """

    def warmup_frames(self, index: int) -> int:
        """Returns how many raw frames to run before the `index`-th frame of a split, if it follows none of the split's.

        Key frames cycle through 0..n-1, so that frames fall at every distance from a key frame equally often.
        """

    def memory(self, position: int) -> int:
        """Returns how many of the `position` frames since a reset to run again for the same labels of the next one."""


class _PolicyPredictor:
    """What every predictor takes from the reference policy of its network."""

    def __init__(self, policy: ReferencePolicy) -> None:
        self.policy = policy

    def warmup_frames(self, index: int) -> int:
        """As `Predictor.warmup_frames`."""
        return self.policy.warmup_frames(index)

    def memory(self, position: int) -> int:
        """As `Predictor.memory`."""
        return self.policy.memory(position)


class FramePredictor(_PolicyPredictor):
    """A network that sees each frame alone.

    Args:
        logits: the network.
        inference: how it is run on a frame: whole or in windows, at which scales, mirrored.
    """

    reference: None = None

    def __init__(self, logits: Logits, inference: Inference = WHOLE) -> None:
        super().__init__(PER_FRAME)
        self._logits, self.inference = logits, inference

    def reset(self) -> None:  # noqa: D102
        pass

    def labels(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:  # noqa: D102
        scores = self.inference.scores(self._logits, image)
        return scores.argmax(dim=0).to(torch.uint8).cpu().numpy()


class TorchPredictor(_PolicyPredictor):
    """A trained method that uses the features of a frame before, on the device of its weights."""

    def __init__(self, method: ReferenceMethod) -> None:
        super().__init__(method.spec.reference_policy)
        self.method = method.eval()
        self._reference = ReferenceFrame[torch.Tensor](self.policy)

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

    def _logits(self, tensor: torch.Tensor, image: NDArray[np.uint8], flow_px: torch.Tensor | None) -> torch.Tensor:
        """Returns the logits (1, K, h, w) of the next frame, padded."""
        reference = self._reference
        features: torch.Tensor | None
        if reference.image is None:
            logits, features = self.method.predict_first(tensor)
        else:
            assert flow_px is not None
            logits, features = self.method.predict_next(tensor, reference.features, flow_px)
        if features is None:
            reference.used()
        else:
            reference.keep(image, features)
        return logits


class OnnxPredictor(_PolicyPredictor):
    """An exported network that uses the features of a frame before."""

    def __init__(self, network: OnnxSegmenter) -> None:
        super().__init__(network.policy)
        self.network = network

    def reset(self) -> None:  # noqa: D102
        self.network.reset()

    @property
    def reference(self) -> NDArray[np.uint8] | None:  # noqa: D102
        return self.network.reference

    def labels(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:  # noqa: D102
        return self.network.labels(image, flow_px)


def load_predictor(
    path: str | Path,
    inference: Inference = WHOLE,
    *,
    device: torch.device | str = "cpu",
    threads: int | None = None,
) -> tuple[Predictor, tuple[str, ...]]:
    """Returns the predictor of a model file, and its classes.

    Args:
        path: an exported network (.onnx) or a checkpoint of train/main.py.
        inference: how the network is run on a frame.
        device: of a checkpoint's network; exported networks run on the CPU.
        threads: of an exported network; None takes every CPU this process may use.

    Raises:
        DWNetError: for a file that is neither, for a network that labels nothing (flow_refinement), and for a network
            with a reference frame under anything but whole images.
    """
    if Path(path).suffix != ".onnx":
        checkpoint = load_checkpoint(path)
        predictor = method_predictor(checkpoint.build().to(device), inference, source=path)
        return predictor, checkpoint.classes.classes
    network = load(path, threads=threads)
    if not isinstance(network, OnnxSegmenter):
        raise DWNetError(f"{path} is a {network.info.kind} network, allowed are segmenter, static_warp and keyframe")
    if network.info.kind != "segmenter":
        _require_whole(path, network.info.kind, inference)
        return OnnxPredictor(network), network.info.classes
    return FramePredictor(lambda image: torch.from_numpy(network.logits(image)), inference), network.info.classes


def method_predictor(method: Method, inference: Inference = WHOLE, *, source: str | Path = "this method") -> Predictor:
    """Returns the predictor of a trained method, on the device of its weights.

    Args:
        method: put into evaluation mode.
        inference: how the network is run on a frame.
        source: names the method in errors.

    Raises:
        DWNetError: for a method with a reference frame under anything but whole images.
    """
    if isinstance(method, ReferenceMethod):
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
            f"{path} is a {kind} network, found {inference.short}: it takes features of a frame before, and "
            "they are of whole images; allowed for it are whole images. Windows, scales and flip are for networks that "
            "see each frame alone"
        )


def _tensor(image: NDArray[np.uint8], segmenter: Segmenter) -> torch.Tensor:
    """Converts (H, W, 3) uint8 to (1, 3, H, W) float 0..1 on the segmenter's device."""
    device = next(segmenter.parameters()).device
    return torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
