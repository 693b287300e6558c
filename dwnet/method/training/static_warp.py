"""Static warp (Table 4): the previous features, warped by the coarse flow, are fused into F_t."""

from typing import Any

import torch
from torch import Tensor

from dwnet.method.specs import StaticWarpSpec
from dwnet.method.static_warp import FUSIONS, StaticWarpSegmenter
from dwnet.method.training.base import Losses, ReferenceMethod
from dwnet.ops.resize import resize
from dwnet.segmentation import Segmenter, pad_to_multiple


class StaticWarpMethod(ReferenceMethod):
    """Table 4, "sum" and "concatenate": the same fusion of warped previous features in training and at inference."""

    spec: StaticWarpSpec

    def __init__(self, segmenter: Segmenter, spec: StaticWarpSpec) -> None:
        super().__init__(segmenter, spec)
        self.network = StaticWarpSegmenter(segmenter, fusion=FUSIONS[spec.fusion](segmenter.channels))

    @property
    def segmenter(self) -> Segmenter:  # noqa: D102
        return self.network.segmenter

    def forward(self, batch: dict[str, Any]) -> Losses:  # noqa: D102
        self._check(batch)
        flow = self._coarse_flow_px(batch)
        logits, auxiliary = self.network(batch["frame"], batch["neighbour"], flow)
        return self._cross_entropy(logits, auxiliary, batch["labels"])

    def predict(self, batch: dict[str, Any]) -> Tensor:
        """Returns the logits (B, K, H, W) of the batch's frames. The neighbours are the frames before them.

        H and W may be any.
        """
        height, width = batch["frame"].shape[-2:]
        frame = pad_to_multiple(batch["frame"], self.segmenter.multiple)
        previous = pad_to_multiple(batch["neighbour"], self.segmenter.multiple)
        features, previous_features = self.segmenter.features(torch.cat((frame, previous))).chunk(2)
        logits = self.network.fuse(features, previous_features, self._flow_px(frame, previous))
        return resize(logits, (frame.shape[-2], frame.shape[-1]))[..., :height, :width]

    def predict_first(self, image: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        features = self.segmenter.features(image)
        return self.network.classify_first(features), features

    def predict_next(self, image: Tensor, features: Tensor, flow_px: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        own = self.segmenter.features(image)
        return self.network.fuse(own, features, flow_px), own
