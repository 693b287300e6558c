"""The three methods compared, each as one training module: a batch in, its losses out; and the logits it predicts."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dwnet.fgconv import FlowGuidedConv2d
from dwnet.flow.estimator import FlowEstimator, build_flow
from dwnet.fusion import StaticWarpSegmenter
from dwnet.losses import (
    Space,
    feature_consistency,
    occlusion_weight,
    prediction_consistency,
    segmentation_loss,
    total_loss,
)
from dwnet.model import DWNet
from dwnet.refine import FlowRefinement
from dwnet.segmentation import Segmenter, pad_to_multiple
from dwnet.warp import resize

MethodName = Literal["baseline", "static_warp", "dwnet"]

Losses = dict[str, Tensor]
"""Scalars by name; "total" is what is minimised."""


@dataclass(frozen=True)
class MethodSpec:
    """Which method trains the segmenter, and its switches (Tables 1 to 4)."""

    name: MethodName = "dwnet"
    """baseline: single frames. static_warp: fusion with the warped previous features. dwnet: the paper's method."""
    flow: str = "dis"
    """Flow estimator: dis."""
    fg_conv: bool = True
    """dwnet: FG-Conv; False is the plain warp of Eq. 1."""
    kernel_size: int = 3
    """dwnet: s of the FG-Conv (Table 2): 1, 3 or 5."""
    refinement: bool = True
    """dwnet: flow refinement module."""
    residual_refinement: bool = True
    """dwnet: FRM adds to the coarse flow; False regresses the flow outright."""
    feature_weight: float = 10.0
    """dwnet: lambda_1 of Eq. 8; 0 leaves the feature consistency loss out."""
    prediction_weight: float = 0.1
    """dwnet: lambda_2 of Eq. 8; 0 leaves the prediction consistency loss out."""
    occlusion_mask: bool = True
    """dwnet: weigh Eq. 6 by Eq. 7 (Table 3)."""
    delta: float = 2.0
    """dwnet: delta of Eq. 7 (Table 3)."""
    prediction_space: Space = "logits"
    """dwnet: what Eq. 6 compares, logits or softmax."""
    detach_target: bool = False
    """dwnet: no gradient into F_t and P_t from the consistency losses."""
    auxiliary_weight: float = 0.4
    """All: weight of the auxiliary heads' cross-entropy."""

    def build(self, segmenter: Segmenter) -> "Method":
        """The training module of this method around a segmenter."""
        if self.name not in METHODS:
            raise ValueError(f"unknown method {self.name!r}, allowed are {', '.join(METHODS)}")
        return METHODS[self.name](segmenter, self)


class Method(nn.Module, ABC):
    """What the trainer sees of a method.

    A batch is a collated `dwnet.data.PairSample`: "frame" and "neighbour" (B, 3, H, W), "labels" (B, H, W).
    """

    needs_neighbour: bool
    """Whether training batches must hold "neighbour"."""
    needs_neighbour_to_predict: bool = False
    """Whether inference needs the neighbouring frame too."""

    def __init__(self, segmenter: Segmenter, spec: MethodSpec) -> None:
        super().__init__()
        self.spec = spec
        self.flow: FlowEstimator | None = None

    @property
    @abstractmethod
    def segmenter(self) -> Segmenter:
        """The per-frame segmenter inside."""

    @abstractmethod
    def forward(self, batch: dict[str, Any]) -> Losses:
        """The losses of a training batch, "total" among them."""

    def predict(self, batch: dict[str, Any]) -> Tensor:
        """Logits (B, K, H, W) of the batch's frames, of any size."""
        return self.segmenter(batch["frame"])

    def _cross_entropy(self, logits: Tensor, auxiliary: tuple[Tensor, ...], labels: Tensor) -> Losses:
        main = segmentation_loss(logits, labels)
        losses = {"segmentation": main, "total": main}
        if auxiliary and self.spec.auxiliary_weight > 0:
            losses["auxiliary"] = torch.stack([segmentation_loss(a, labels) for a in auxiliary]).sum()
            losses["total"] = main + self.spec.auxiliary_weight * losses["auxiliary"]
        return losses


class BaselineMethod(Method):
    """Single frames, cross-entropy."""

    needs_neighbour = False

    def __init__(self, segmenter: Segmenter, spec: MethodSpec) -> None:
        super().__init__(segmenter, spec)
        self.network = segmenter

    @property
    def segmenter(self) -> Segmenter:  # noqa: D102
        return self.network

    def forward(self, batch: dict[str, Any]) -> Losses:  # noqa: D102
        features, auxiliary = self.network.features_and_auxiliary(batch["frame"])
        return self._cross_entropy(self.network.classify(features), auxiliary, batch["labels"])


class StaticWarpMethod(Method):
    """Table 4, "sum": trained and used with the previous frame's features warped by the plain flow."""

    needs_neighbour = True
    needs_neighbour_to_predict = True

    def __init__(self, segmenter: Segmenter, spec: MethodSpec) -> None:
        super().__init__(segmenter, spec)
        self.network = StaticWarpSegmenter(segmenter)
        self.flow = build_flow(spec.flow)

    @property
    def segmenter(self) -> Segmenter:  # noqa: D102
        return self.network.segmenter

    def forward(self, batch: dict[str, Any]) -> Losses:  # noqa: D102
        assert self.flow is not None
        flow = self.flow(batch["frame"], batch["neighbour"])
        logits, auxiliary = self.network(batch["frame"], batch["neighbour"], flow)
        return self._cross_entropy(logits, auxiliary, batch["labels"])

    def predict(self, batch: dict[str, Any]) -> Tensor:  # noqa: D102
        assert self.flow is not None
        height, width = batch["frame"].shape[-2:]
        frame = pad_to_multiple(batch["frame"], self.segmenter.multiple)
        previous = pad_to_multiple(batch["neighbour"], self.segmenter.multiple)
        features, previous_features = self.segmenter.features(torch.cat((frame, previous))).chunk(2)
        logits = self.network.fuse(features, previous_features, self.flow(frame, previous))
        return resize(logits, (frame.shape[-2], frame.shape[-1]))[..., :height, :width]


class DWNetMethod(Method):
    """The paper's method: FRM, FG-Conv and both consistency losses in training, the plain segmenter at inference."""

    needs_neighbour = True

    def __init__(self, segmenter: Segmenter, spec: MethodSpec) -> None:
        super().__init__(segmenter, spec)
        taps = spec.kernel_size if spec.fg_conv else 1
        self.network = DWNet(
            segmenter,
            refinement=FlowRefinement(kernel_size=taps, residual=spec.residual_refinement) if spec.refinement else None,
            fg_conv=FlowGuidedConv2d(segmenter.channels, kernel_size=taps) if spec.fg_conv else None,
        )
        self.flow = build_flow(spec.flow)

    @property
    def segmenter(self) -> Segmenter:  # noqa: D102
        return self.network.segmenter

    def forward(self, batch: dict[str, Any]) -> Losses:  # noqa: D102
        assert self.flow is not None
        spec, frame, neighbour = self.spec, batch["frame"], batch["neighbour"]
        coarse = self.flow(frame, neighbour)
        output = self.network(frame, neighbour, coarse)
        losses = self._cross_entropy(output.logits, output.auxiliary_logits, batch["labels"])

        target, target_logits = output.features, output.logits
        if spec.detach_target:
            target, target_logits = target.detach(), target_logits.detach()
        feature = prediction = torch.zeros_like(losses["total"])
        if spec.feature_weight > 0:
            feature = losses["feature"] = feature_consistency(target, output.warped_features, output.valid)
        if spec.prediction_weight > 0:
            size = (frame.shape[-2], frame.shape[-1])
            weight, image_valid = occlusion_weight(frame, neighbour, coarse, delta=spec.delta)
            prediction = losses["prediction"] = prediction_consistency(
                resize(target_logits.float(), size),
                resize(output.warped_logits.float(), size),
                weight=weight if spec.occlusion_mask else torch.ones_like(weight),
                # Only pixels that no part of the map's margin has been blended into.
                valid=image_valid & (resize(output.valid.float(), size) > 0.999),
                space=spec.prediction_space,
            )
        losses["total"] = total_loss(
            losses["total"],
            feature,
            prediction,
            feature_weight=spec.feature_weight,
            prediction_weight=spec.prediction_weight,
        )
        return losses


METHODS: dict[str, type[Method]] = {
    "baseline": BaselineMethod,
    "static_warp": StaticWarpMethod,
    "dwnet": DWNetMethod,
}
