"""The baseline: cross-entropy on single frames."""

from typing import Any

import torch
from torch import Tensor

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.method.losses import at_least_float32, segmentation_loss
from dwnet.method.specs import BaselineSpec
from dwnet.method.training.base import Losses, Method
from dwnet.ops.resize import resize
from dwnet.ops.warp import warp
from dwnet.segmentation import Segmenter


class BaselineMethod(Method):
    """The segmenter alone, trained by cross-entropy on single frames.

    With `spec.neighbour_weight`, the neighbour is a second frame to learn from: its logits, warped onto the frame by
    the exact flow, are compared with the frame's labels. Then batches need "neighbour", "flow" and "visible".
    """

    spec: BaselineSpec

    def __init__(self, segmenter: Segmenter, spec: BaselineSpec) -> None:
        super().__init__(segmenter, spec)
        self.network = segmenter

    @property
    def segmenter(self) -> Segmenter:  # noqa: D102
        return self.network

    @property
    def needs_neighbour(self) -> bool:  # noqa: D102
        return self.spec.neighbour_weight > 0

    def forward(self, batch: dict[str, Any]) -> Losses:  # noqa: D102
        self._check(batch)
        features, auxiliary = self.network.features_and_auxiliary(batch["frame"])
        losses = self._cross_entropy(self.network.classify(features), auxiliary, batch["labels"])
        if self.spec.neighbour_weight > 0:
            losses["neighbour"] = self._neighbour_loss(batch)
            losses["total"] = losses["total"] + self.spec.neighbour_weight * losses["neighbour"]
        return losses

    def _neighbour_loss(self, batch: dict[str, Any]) -> Tensor:
        """Returns the cross-entropy of the neighbour at the pixels that the exact flow connects with the frame."""
        if "flow" not in batch:
            raise DWNetError(
                "neighbour_weight: the batch holds no exact flow; allowed are data whose pairs have one: the street, "
                "and synthetic neighbours"
            )
        labels = batch["labels"]
        size = (labels.shape[-2], labels.shape[-1])
        logits = resize(at_least_float32(self.network(batch["neighbour"])), size)
        warped, inside = warp(logits, batch["flow"])
        known = batch["visible"] & inside[:, 0]
        carried = torch.where(known, labels, torch.full_like(labels, IGNORE_LABEL))
        return segmentation_loss(warped, carried, class_weights=self._class_weights)
