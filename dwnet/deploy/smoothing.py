"""Run-time smoothing: an exponential average of the class probabilities along the optical flow.

It is no part of the paper. It is the plain alternative to a trained steadiness: it needs no training, works around any
network that gives scores, and costs two optical flows per frame. Sources of the idea: a motion-corrected moving average
(arXiv 2403.03120) and temporal smoothing of probabilities at inference (arXiv 2604.17115, which also gates by entropy).
No PyTorch is needed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import as_flow, as_mask
from dwnet.core.errors import DWNetError
from dwnet.deploy.network_info import NetworkFileError
from dwnet.deploy.runtime import OnnxSegmenter, argmax_labels
from dwnet.flow.dis import dis_flow
from dwnet.flow.registry import FlowFunction
from dwnet.method.reference import ReferencePolicy
from dwnet.metrics.counting import occlusion_mask, positions_along

KEEP = 0.5
"""Default weight of the past in the average."""

NEGLIGIBLE = 1 / 32
"""Largest weight of the frames that are not run before the first counted frame of a clip."""


@dataclass(frozen=True)
class AveragePolicy(ReferencePolicy):
    """Policy of an exponential average: each frame uses the average up to the frame before, hence all frames."""

    span: int = 1
    keep: float = KEEP
    """Weight of the past in the average."""

    def warmup_frames(self, index: int) -> int:
        """Returns the number of earlier frames that leave at most `NEGLIGIBLE` to the rest: 5 for a keep of 0.5."""
        return 0 if self.keep <= 0 else math.ceil(math.log(NEGLIGIBLE) / math.log(self.keep))

    def memory(self, position: int) -> int:
        """Returns `position`: all frames since the last reset are in the average."""
        return position


class Smoothing:
    """Exponential average of class probabilities along the flow, frame by frame.

    ``s_t(x) = keep * s_{t-1}(x + w(x)) + (1 - keep) * p_t(x)`` where the pixel is visible in the previous frame, and
    ``s_t(x) = p_t(x)`` elsewhere. w is the flow from frame t to frame t - 1. The average is sampled bilinearly. A pixel
    is visible if it passes the forward-backward check (`dwnet.metrics.occlusion_mask`).

    Args:
        keep: weight of the past, 0 to below 1; 0 gives the probabilities of each frame alone.
        flow: computes the flows that `update` is not given.

    Raises:
        DWNetError: for a `keep` out of range.
    """

    def __init__(self, keep: float = KEEP, flow: FlowFunction = dis_flow) -> None:
        if not 0 <= keep < 1:
            raise DWNetError(f"keep is {keep}; allowed are numbers from 0 to below 1")
        self.keep = keep
        self.policy = AveragePolicy(keep=keep)
        self._flow = flow
        self.reset()

    def reset(self) -> None:
        """Ends the clip: the next frame has no past."""
        self._image: NDArray[np.uint8] | None = None
        self._average: NDArray[np.float32] | None = None

    @property
    def reference(self) -> NDArray[np.uint8] | None:
        """The previous frame, (H, W, 3) uint8; None if the next frame is the first of a clip."""
        return self._image

    def update(
        self,
        image: NDArray[np.uint8],
        probabilities: NDArray[np.float32],
        flow_px: NDArray[np.float32] | None = None,
        visible: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Adds the next frame of the clip and returns its smoothed probabilities.

        Args:
            image: the frame, (H, W, 3) uint8 RGB.
            probabilities: its class probabilities, (K, H, W) float32, 0..1.
            flow_px: (2, H, W) float32 from this frame to `reference`, in pixels; None computes it.
            visible: (H, W) bool, pixels of this frame that `reference` shows; None computes them.

        Returns:
            (K, H, W) float32, 0..1.

        Raises:
            DWNetError: for a frame, probabilities, flow or mask of another size than the frame before.
        """
        if probabilities.ndim != 3 or probabilities.shape[1:] != image.shape[:2]:
            raise DWNetError(
                f"probabilities have shape {probabilities.shape} for a frame of shape {image.shape}; allowed is "
                f"(K, {image.shape[0]}, {image.shape[1]})"
            )
        mixed = probabilities.astype(np.float32)
        if self._image is not None and self._average is not None:
            self._mix(image, mixed, flow_px, visible)
        self._image, self._average = image, mixed
        return mixed

    def _mix(
        self,
        image: NDArray[np.uint8],
        mixed: NDArray[np.float32],
        flow_px: NDArray[np.float32] | None,
        visible: NDArray[np.bool_] | None,
    ) -> None:
        """Mixes the average before into the probabilities of the frame, in place."""
        assert self._image is not None
        assert self._average is not None
        if mixed.shape != self._average.shape:
            raise DWNetError(
                f"probabilities of shape {mixed.shape} after some of shape {self._average.shape}; call reset() before "
                "a clip of another size"
            )
        size = (image.shape[0], image.shape[1])
        flow = self._flow(image, self._image) if flow_px is None else as_flow(flow_px, size)
        if visible is None:
            visible = occlusion_mask(flow, self._flow(self._image, image))
        x, y, inside = positions_along(flow)
        weight = np.float32(self.keep) * (inside & as_mask(visible, size))
        for before, now in zip(self._average, mixed, strict=True):
            now += weight * (cv2.remap(before, x, y, cv2.INTER_LINEAR) - now)


class SmoothedSegmenter(OnnxSegmenter):
    """A network whose class probabilities are smoothed along the flow (`Smoothing`).

    It has the interface of the network. `labels(image)` is enough: flows that are not given are computed.

    Args:
        network: a network that gives scores; its state is this object's own.
        keep: weight of the past, 0 to below 1.
        flow: computes the flows that are not given.

    Raises:
        DWNetError: for a `keep` out of range, a network that gives only labels, or a key-frame network, whose reference
            is another frame.
    """

    def __init__(self, network: OnnxSegmenter, keep: float = KEEP, *, flow: FlowFunction = dis_flow) -> None:
        smoothing = Smoothing(keep, flow)
        check_smoothable(network.info.path, network.policy, scored=network.scored)
        if not network.scored:
            raise DWNetError(f"{network.info.path} gives labels without scores; smoothing needs scores")
        # The stored metrics are those of the network alone.
        info = replace(network.info, method=smoothed_name(network.info.method, keep), metrics={})
        super().__init__(info, network.session, policy=smoothing.policy)
        self.network, self.smoothing, self._flow = network, smoothing, flow

    @property
    def keep(self) -> float:
        """Weight of the past in the average."""
        return self.smoothing.keep

    def fresh(self) -> "SmoothedSegmenter":  # noqa: D102
        return SmoothedSegmenter(self.network.fresh(), self.keep, flow=self._flow)

    def reset(self) -> None:  # noqa: D102
        self.network.reset()
        self.smoothing.reset()

    @property
    def reference(self) -> np.ndarray | None:  # noqa: D102
        return self.smoothing.reference

    def probabilities(
        self, image: np.ndarray, flow_px: np.ndarray | None = None, visible: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns the smoothed probabilities of the next frame of the clip.

        Args:
            image: uint8 (H, W, 3) RGB.
            flow_px: float32 (2, H, W), from this frame to `reference`, in pixels; None computes it.
            visible: bool (H, W), pixels that are visible in `reference`; None computes them.

        Returns:
            float32 (K, H, W), 0..1.
        """
        reference = self.smoothing.reference
        if reference is not None and flow_px is None and self.network.reference is not None:
            flow_px = self._flow(image, reference)
        scores = self.network.logits(image, flow_px)
        return self.smoothing.update(image, softmax(scores), flow_px, visible)

    def logits(
        self, image: np.ndarray, flow_px: np.ndarray | None = None, visible: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns the logarithms of `probabilities`, whose softmax gives them back."""
        return np.log(np.maximum(self.probabilities(image, flow_px, visible), np.finfo(np.float32).tiny))

    def labels(
        self, image: np.ndarray, flow_px: np.ndarray | None = None, visible: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns class ids 0..K-1 of the next frame, uint8 (H, W); the arguments are those of `probabilities`."""
        probabilities = self.probabilities(image, flow_px, visible)
        try:
            return argmax_labels(probabilities)
        except DWNetError as error:
            raise NetworkFileError(f"{self.info.path}: {error}") from error


def check_smoothable(name: object, policy: ReferencePolicy, *, scored: bool = True) -> None:
    """Raises DWNetError for a network that gives only labels, or for the policy of a key-frame network."""
    if not scored:
        raise DWNetError(f"{name} gives only labels; smoothing is allowed for networks that give scores")
    if policy.periodic:
        raise DWNetError(
            f"{name} is a key-frame network, whose reference is not the previous frame; smoothing is allowed for "
            "networks that use each frame alone or the previous frame"
        )


def softmax(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Returns the class probabilities of (K, H, W) scores, float32, 0..1."""
    shifted = np.exp(scores.astype(np.float32) - scores.max(axis=0))
    shifted /= shifted.sum(axis=0)
    return shifted.astype(np.float32, copy=False)


def smoothed_name(name: str, keep: float = KEEP) -> str:
    """Returns the name of a smoothed network: ``NAME_smoothed``, with the keep unless it is the default."""
    return f"{name}_smoothed" if keep == KEEP else f"{name}_smoothed_{keep:g}"


def parse_smooth(texts: Iterable[str], names: Iterable[str]) -> list[tuple[str, float]]:
    """Returns name and keep of each ``NAME`` or ``NAME=KEEP`` of an option ``--smooth``.

    Args:
        texts: the values of the option.
        names: names of the networks that can be smoothed.

    Raises:
        DWNetError: for an unknown name, a keep that is not a number from 0 to below 1, or the same value twice.
    """
    known, found = list(names), list[tuple[str, float]]()
    for text in texts:
        name, _, value = (text, "", str(KEEP)) if text in known else text.rpartition("=")
        if name not in known:
            raise DWNetError(
                f"--smooth {text}: allowed are {', '.join(known) or 'no names here'}, as NAME or NAME=KEEP"
            )
        try:
            keep = float(value)
        except ValueError:
            keep = float("nan")
        if not 0 <= keep < 1:
            raise DWNetError(f"--smooth {text}: keep is {value}; allowed are numbers from 0 to below 1")
        if (name, keep) in found:
            raise DWNetError(f"--smooth {text} is given twice; allowed is each value once")
        found.append((name, keep))
    return found
