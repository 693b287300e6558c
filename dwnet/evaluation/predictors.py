"""Predictors: exported networks and checkpoints that label the frames of a clip in order."""

import os
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.deploy.checkpoint import load_checkpoint
from dwnet.deploy.reference import ReferenceFrame
from dwnet.deploy.runtime import OnnxSegmenter, argmax_labels, load_any
from dwnet.deploy.runtime_names import DEVICE_VARIABLE, RUNTIME_VARIABLE
from dwnet.deploy.smoothing import KEEP, Smoothing, check_smoothable, softmax
from dwnet.evaluation.inference import WHOLE, Inference, Logits
from dwnet.flow import dis_flow
from dwnet.flow.registry import FlowFunction
from dwnet.method.reference import PER_FRAME, ReferencePolicy
from dwnet.method.training import Method, ReferenceMethod
from dwnet.ops.resize import resize
from dwnet.segmentation import Segmenter, pad_to_multiple


class Predictor(Protocol):
    """Labels the frames of a clip in order."""

    def reset(self) -> None:
        """Ends the current clip. The next frame starts a new one."""

    @property
    def reference(self) -> NDArray[np.uint8] | None:
        """The given frame array to which the next frame's flow must point; None if the next frame needs no flow."""

    def labels(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:
        """Returns the class ids of the next frame, (H, W) uint8.

        Args:
            image: (H, W, 3) uint8 RGB.
            flow_px: (2, H, W), from the frame to `reference`, in pixels; None if `reference` is None.
        """

    def warmup_frames(self, index: int) -> int:
        """Returns the number of raw frames to run before frame `index` of a split, if that frame starts a run.

        For a key-frame method with interval n, the number cycles through 0..n-1 with `index`, so that frames fall at
        every distance from a key frame equally often.
        """

    def memory(self, position: int) -> int:
        """Returns how many of the last frames must be run again to predict the next frame with the same labels.

        Args:
            position: number of frames since the last reset.
        """


class ScoringPredictor(Predictor, Protocol):
    """A predictor that also gives class probabilities."""

    policy: ReferencePolicy

    def probabilities(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Returns the class probabilities of the next frame, (K, H, W) float32; the arguments are those of `labels`."""


class _PolicyPredictor:
    """Base class of the predictors. It takes the reference policy from the network."""

    def __init__(self, policy: ReferencePolicy) -> None:
        self.policy = policy

    def warmup_frames(self, index: int) -> int:
        """See `Predictor.warmup_frames`."""
        return self.policy.warmup_frames(index)

    def memory(self, position: int) -> int:
        """See `Predictor.memory`."""
        return self.policy.memory(position)


class FramePredictor(_PolicyPredictor):
    """A network that labels each frame without other frames.

    Args:
        logits: the network.
        inference: inference settings.
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

    def probabilities(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """See `ScoringPredictor.probabilities`."""
        scores = self.inference.scores(self._logits, image).float()
        return (scores if self.inference.augments else scores.softmax(dim=0)).cpu().numpy()


class TorchPredictor(_PolicyPredictor):
    """A trained method that uses the features of an earlier frame. It runs on the device of its weights."""

    def __init__(self, method: ReferenceMethod) -> None:
        super().__init__(method.spec.reference_policy)
        self.method = method.eval()
        self._reference = ReferenceFrame[torch.Tensor](self.policy)

    def reset(self) -> None:  # noqa: D102
        self._reference.clear()

    @property
    def reference(self) -> NDArray[np.uint8] | None:  # noqa: D102
        return self._reference.image

    def labels(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:  # noqa: D102
        return self._scores(image, flow_px).argmax(dim=0).to(torch.uint8).cpu().numpy()

    def probabilities(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """See `ScoringPredictor.probabilities`."""
        return self._scores(image, flow_px).float().softmax(dim=0).cpu().numpy()

    @torch.no_grad()
    def _scores(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> torch.Tensor:
        """Returns the logits of the next frame, (K, H, W)."""
        segmenter = self.method.segmenter
        height, width = image.shape[:2]
        tensor = pad_to_multiple(_tensor(image, segmenter), segmenter.multiple)
        flow = None
        if flow_px is not None:
            flow = pad_to_multiple(torch.from_numpy(flow_px).to(tensor.device)[None], segmenter.multiple)
        logits = self._logits(tensor, image, flow)
        return resize(logits, (tensor.shape[-2], tensor.shape[-1]))[0, :, :height, :width]

    def _logits(self, tensor: torch.Tensor, image: NDArray[np.uint8], flow_px: torch.Tensor | None) -> torch.Tensor:
        """Returns the logits (1, K, h, w) of the next, padded frame."""
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
    """An exported network that uses the features of an earlier frame."""

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

    def probabilities(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """See `ScoringPredictor.probabilities`."""
        return softmax(self.network.logits(image, flow_px))


class SmoothedPredictor(_PolicyPredictor):
    """A predictor whose class probabilities are averaged along the flow (`dwnet.deploy.smoothing.Smoothing`).

    Args:
        predictor: the predictor.
        keep: weight of the past, 0 to below 1.
        flow: computes the flow back, for the visible pixels.
        source: name of the model in error messages.

    Raises:
        DWNetError: for a key-frame network, or a `keep` out of range.
    """

    def __init__(
        self,
        predictor: ScoringPredictor,
        keep: float = KEEP,
        flow: FlowFunction = dis_flow,
        *,
        source: str | Path = "this method",
    ) -> None:
        scored = predictor.network.scored if isinstance(predictor, OnnxPredictor) else True
        check_smoothable(source, predictor.policy, scored=scored)
        self._predictor, self._smoothing = predictor, Smoothing(keep, flow)
        super().__init__(self._smoothing.policy)

    def reset(self) -> None:  # noqa: D102
        self._predictor.reset()
        self._smoothing.reset()

    @property
    def reference(self) -> NDArray[np.uint8] | None:  # noqa: D102
        return self._smoothing.reference

    def labels(self, image: NDArray[np.uint8], flow_px: NDArray[np.float32] | None) -> NDArray[np.uint8]:  # noqa: D102
        probabilities = self._predictor.probabilities(image, flow_px)
        return argmax_labels(self._smoothing.update(image, probabilities, flow_px))


def load_predictor(
    path: str | Path,
    inference: Inference = WHOLE,
    *,
    device: torch.device | str = "cpu",
    threads: int | None = None,
) -> tuple[ScoringPredictor, tuple[str, ...]]:
    """Returns the predictor of a model file, and the names of its classes.

    Args:
        path: an exported network (.onnx) or a checkpoint of train/main.py.
        inference: inference settings.
        device: device of a checkpoint's network.
        threads: CPU threads of an exported network; None uses every CPU that this process may use.

    Raises:
        DWNetError: for a file that is neither, for a network without labels (flow_refinement), and for a network with a
            reference frame if `inference` is not `WHOLE`.
    """
    if Path(path).suffix != ".onnx":
        checkpoint = load_checkpoint(path)
        predictor = method_predictor(checkpoint.build().to(device), inference, source=path)
        return predictor, checkpoint.classes.classes
    # Figures are of float32, unless the environment or the command's options say otherwise.
    runtime, on = os.environ.get(RUNTIME_VARIABLE, "onnxruntime"), os.environ.get(DEVICE_VARIABLE, "cpu")
    network = load_any(path, threads=threads, runtime=runtime, device=on)
    if not isinstance(network, OnnxSegmenter):
        raise DWNetError(f"{path} is a {network.info.kind} network, allowed are segmenter, static_warp and keyframe")
    if network.info.kind != "segmenter":
        _require_whole(path, network.info.kind, inference)
        return OnnxPredictor(network), network.info.classes
    if not network.scored:
        if inference != WHOLE:
            raise DWNetError(f"{path} gives labels without scores, found {inference.short}; allowed are whole images")
        return OnnxPredictor(network), network.info.classes

    def logits(image: NDArray[np.uint8]) -> torch.Tensor:
        scores = network.logits(image)
        if np.isnan(scores).any():
            raise DWNetError(f"{path}: scores are not numbers (NaN)")
        return torch.from_numpy(scores)

    return FramePredictor(logits, inference), network.info.classes


def method_predictor(
    method: Method, inference: Inference = WHOLE, *, source: str | Path = "this method"
) -> ScoringPredictor:
    """Returns the predictor of a trained method, on the device of its weights.

    Args:
        method: the method; it is set to evaluation mode.
        inference: inference settings.
        source: name of the method in error messages.

    Raises:
        DWNetError: for a method with a reference frame if `inference` is not `WHOLE`.
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
            f"{path} is a {kind} network, found {inference.short}; allowed are whole images, because the network uses "
            "features of an earlier whole frame. Windows, scales and flip are for networks that label each frame "
            "without other frames"
        )


def _tensor(image: NDArray[np.uint8], segmenter: Segmenter) -> torch.Tensor:
    """Converts (H, W, 3) uint8 to (1, 3, H, W) float 0..1 on the segmenter's device."""
    device = next(segmenter.parameters()).device
    return torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
