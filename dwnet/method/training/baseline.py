"""The baseline: cross-entropy on single frames."""

from typing import Any

from dwnet.method.specs import BaselineSpec
from dwnet.method.training.base import Losses, Method
from dwnet.segmentation import Segmenter


class BaselineMethod(Method):
    """The segmenter alone, trained by cross-entropy on single frames."""

    spec: BaselineSpec

    def __init__(self, segmenter: Segmenter, spec: BaselineSpec) -> None:
        super().__init__(segmenter, spec)
        self.network = segmenter

    @property
    def segmenter(self) -> Segmenter:  # noqa: D102
        return self.network

    def forward(self, batch: dict[str, Any]) -> Losses:  # noqa: D102
        self._check(batch)
        features, auxiliary = self.network.features_and_auxiliary(batch["frame"])
        return self._cross_entropy(self.network.classify(features), auxiliary, batch["labels"])
