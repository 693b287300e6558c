"""Deep Feature Flow: trained with the neighbour as the key frame."""

from typing import Any

import torch
from torch import Tensor

from dwnet.core.classes import IGNORE_LABEL
from dwnet.method.keyframe import KeyframeSegmenter
from dwnet.method.specs import KeyframeSpec
from dwnet.method.training.base import Losses, ReferenceMethod
from dwnet.ops.resize import resize
from dwnet.ops.warp import inside, pixel_grid
from dwnet.segmentation import Segmenter, pad_to_multiple


class KeyframeMethod(ReferenceMethod):
    """Deep Feature Flow: the neighbour is the key frame. Its warped features are trained with the frame's labels.

    Deviation: DFF also trains on labelled frames that are key frames themselves. Here k is never 0 (section 3.1), and
    all gradients pass through the warp.
    """

    spec: KeyframeSpec

    def __init__(self, segmenter: Segmenter, spec: KeyframeSpec) -> None:
        super().__init__(segmenter, spec)
        self.network = KeyframeSegmenter(segmenter)

    @property
    def segmenter(self) -> Segmenter:  # noqa: D102
        return self.network.segmenter

    def forward(self, batch: dict[str, Any]) -> Losses:
        """Returns the losses. Pixels whose flow leaves the key frame are ignored."""
        self._check(batch)
        labels = batch["labels"]
        flow = self._coarse_flow_px(batch)
        logits, auxiliary = self.network(batch["neighbour"], flow)
        height, width = labels.shape[-2:]
        seen = inside(pixel_grid(height, width, device=flow.device) + flow, height, width)[:, 0]
        return self._cross_entropy(logits, auxiliary, torch.where(seen, labels, IGNORE_LABEL))

    def predict(self, batch: dict[str, Any]) -> Tensor:
        """Returns the logits (B, K, H, W) of the batch's frames. The neighbours are the key frames.

        H and W may be any.
        """
        height, width = batch["frame"].shape[-2:]
        frame = pad_to_multiple(batch["frame"], self.segmenter.multiple)
        key = pad_to_multiple(batch["neighbour"], self.segmenter.multiple)
        logits = self.network.classify(self.segmenter.features(key), self._flow_px(frame, key))
        return resize(logits, (frame.shape[-2], frame.shape[-1]))[..., :height, :width]

    def predict_first(self, image: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        features = self.segmenter.features(image)
        return self.segmenter.classify(features), features

    def predict_next(self, image: Tensor, features: Tensor, flow_px: Tensor) -> tuple[Tensor, None]:
        """Returns the logits from the key frame's features, and None. The frame itself is not used."""
        return self.network.classify(features, flow_px), None
