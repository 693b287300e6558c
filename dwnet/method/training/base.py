"""Base classes of the training modules: the interface that the trainer and the predictors use."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.flow.base import FlowEstimator
from dwnet.method.losses import segmentation_loss
from dwnet.method.specs import MethodSpec
from dwnet.segmentation import Segmenter

Losses = dict[str, Tensor]
"""Scalar losses by name. Training minimises "total"."""


class Method(nn.Module, ABC):
    """A segmenter with the modules and losses that train it.

    A batch is a collated `dwnet.data.PairSample`: "frame" and "neighbour" (B, 3, H, W) float, RGB, 0..1, and "labels"
    (B, H, W). Optional entries: "paired" (B,) bool, False where "neighbour" is only the frame itself; "coarse_flow"
    (B, 2, H, W) in pixels, which replaces the estimate of `flow`; "flow" (B, 2, H, W) in pixels and "visible" (B, H, W)
    bool, the exact flow and where it is known.

    Args:
        segmenter: any `Segmenter`.
        spec: the method and its switches.
    """

    def __init__(self, segmenter: Segmenter, spec: MethodSpec) -> None:
        super().__init__()
        self.spec = spec
        self.flow: FlowEstimator | None = None
        """Estimator of the flow from the frame to the neighbour. `build_method` sets it; None for the baseline."""
        # A buffer moves to the GPU with the module. The checkpoint keeps the numbers in the specification.
        self._class_weights: Tensor | None
        weights = torch.tensor(spec.class_weights) if spec.class_weights else None
        self.register_buffer("_class_weights", weights, persistent=False)

    @property
    def needs_neighbour(self) -> bool:
        """Whether training needs "neighbour" in its batches."""
        return self.spec.needs_neighbour

    @property
    def needs_neighbour_to_predict(self) -> bool:
        """Whether inference needs an earlier frame and the flow to it."""
        return self.spec.needs_neighbour_to_predict

    @property
    @abstractmethod
    def segmenter(self) -> Segmenter:
        """The per-frame segmenter inside."""

    @abstractmethod
    def forward(self, batch: dict[str, Any]) -> Losses:
        """Returns the losses of a training batch, "total" among them."""

    def _check(self, batch: dict[str, Any]) -> None:
        """Raises DWNetError if an entry of a training batch is missing, or has another shape or dtype."""
        if not isinstance(batch, Mapping):
            raise DWNetError(f"the batch is a {type(batch).__name__}; allowed is a dict with {self._needed()}")
        missing = [name for name in self._needed().split(", ") if name not in batch]
        if missing:
            raise DWNetError(f"the batch has {', '.join(batch)}; {missing[0]} is missing")
        frame, labels = batch["frame"], batch["labels"]
        if frame.ndim != 4 or frame.shape[1] != 3 or not frame.is_floating_point():
            raise DWNetError(
                f"frame is {frame.dtype} of shape {tuple(frame.shape)}; allowed is floating point RGB 0..1 of shape "
                "(B, 3, H, W)"
            )
        if self.needs_neighbour and (batch["neighbour"].shape, batch["neighbour"].dtype) != (frame.shape, frame.dtype):
            neighbour = batch["neighbour"]
            raise DWNetError(
                f"neighbour is {neighbour.dtype} of shape {tuple(neighbour.shape)}; allowed is {frame.dtype} of shape "
                f"{tuple(frame.shape)}, as the frame"
            )
        size = (frame.shape[0], *frame.shape[2:])
        if labels.shape != size or labels.is_floating_point():
            raise DWNetError(
                f"labels are {labels.dtype} of shape {tuple(labels.shape)}; allowed are integers of shape {size}"
            )

    def _needed(self) -> str:
        return "frame, neighbour, labels" if self.needs_neighbour else "frame, labels"

    def predict(self, batch: dict[str, Any]) -> Tensor:
        """Returns the logits (B, K, H, W) of the batch's frames. H and W may be any."""
        return self.segmenter(batch["frame"])

    def _flow_px(self, frame: Tensor, neighbour: Tensor) -> Tensor:
        assert self.flow is not None
        return self.flow(frame, neighbour)

    def _coarse_flow_px(self, batch: dict[str, Any]) -> Tensor:
        """Returns the flow of a training batch. A loader's worker may have estimated it (`dwnet.data.with_flow`)."""
        if "coarse_flow" in batch:
            return batch["coarse_flow"]
        return self._flow_px(batch["frame"], batch["neighbour"])

    def _cross_entropy(self, logits: Tensor, auxiliary: tuple[Tensor, ...], labels: Tensor) -> Losses:
        weights = self._class_weights
        main = segmentation_loss(logits, labels, class_weights=weights)
        losses = {"segmentation": main, "total": main}
        if auxiliary and self.spec.auxiliary_weight > 0:
            losses["auxiliary"] = torch.stack(
                [segmentation_loss(a, labels, class_weights=weights) for a in auxiliary]
            ).sum()
            losses["total"] = main + self.spec.auxiliary_weight * losses["auxiliary"]
        return losses


class ReferenceMethod(Method):
    """A method that uses features of an earlier frame at inference, the reference; see `spec.reference_policy`.

    Images are (1, 3, H, W) float, RGB, 0..1. H and W are multiples of the segmenter's `multiple`. Logits are
    (1, K, h, w).
    """

    @abstractmethod
    def predict_first(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the logits and the features of a frame without a reference. The frame becomes the reference."""

    @abstractmethod
    def predict_next(self, image: Tensor, features: Tensor, flow_px: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the logits and the features of a frame with a reference.

        Args:
            image: the frame.
            features: features of the reference, (1, C, h, w).
            flow_px: from the frame to the reference, (1, 2, H, W), in pixels of the image.

        Returns:
            The logits, and the frame's features if it becomes the new reference; None if the reference does not change.
        """
