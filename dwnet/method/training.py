"""The methods compared, each as one training module: a batch in, its losses out; and the logits it predicts."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.flow.base import FlowEstimator
from dwnet.flow.registry import build_flow
from dwnet.method.dwnet import DWNet
from dwnet.method.fgconv import FlowGuidedConv2d
from dwnet.method.flow_refinement import FlowRefinement, centre_tap
from dwnet.method.keyframe import KeyframeSegmenter
from dwnet.method.losses import (
    Space,
    at_least_float32,
    edge_aware_smoothness,
    end_point_error,
    feature_consistency,
    occlusion_weight,
    prediction_consistency,
    segmentation_loss,
    total_loss,
    warping_error,
)
from dwnet.method.static_warp import FUSIONS, FusionName, StaticWarpSegmenter
from dwnet.ops.resize import resize, resize_flow
from dwnet.ops.warp import inside, pixel_grid
from dwnet.segmentation import Segmenter, pad_to_multiple

MethodName = Literal["baseline", "static_warp", "keyframe", "dwnet"]

Losses = dict[str, Tensor]
"""Scalars by name; "total" is what is minimised."""

FLOW_WEIGHTS = ("warping_weight", "smoothness_weight", "flow_supervision_weight")
"""Of `MethodSpec`: the losses on the refined flow itself, none of them the paper's."""


@dataclass(frozen=True)
class MethodSpec:
    """Which method trains the segmenter, and its switches: every row of Tables 1 to 4 (`tests/test_tables.py` has all).

    "Static warp" is two things there. In training (Tables 1 to 3) it is dwnet without FG-Conv: the plainly warped
    features supervise through the losses. At inference (Table 4) it is static_warp: they are fused into F_t.
    """

    name: MethodName = "dwnet"
    """baseline: single frames. static_warp: fusion with the warped previous features. keyframe: the last key frame's
    features, warped. dwnet: the paper's method."""
    flow: str = "dis"
    """Flow estimator: dis, raft_small, raft_large or flownet2."""
    flow_weights: str = "published"
    """Of the flow estimator: published, none (random), or a file; dis has none to load."""
    train_flow: bool = False
    """Train the flow estimator jointly, in a group of its own (section 4.1.3); not with dis, which learns nothing."""
    fusion: FusionName = "weighted_sum"
    """static_warp: how F_t and the warped features become one (Table 4; per_channel is NetWarp's)."""
    key_interval: int = 5
    """keyframe: every n-th frame is a key frame."""
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
    warping_weight: float = 0.0
    """dwnet with FRM: of the error of the neighbour's image, warped by the refined flow (`losses.warping_error`); 0 is
    the paper's."""
    smoothness_weight: float = 0.0
    """dwnet with FRM: of the refined flow's differences away from the image's edges (`losses.edge_aware_smoothness`);
    0 is the paper's."""
    flow_supervision_weight: float = 0.0
    """dwnet with FRM: of the refined flow's end-point error, where the data knows the flow exactly (the street, and
    CamVid's synthetic neighbours); 0 is the paper's."""
    auxiliary_weight: float = 0.4
    """All: weight of the auxiliary heads' cross-entropy."""
    class_weights: tuple[float, ...] = ()
    """All: weight of each class's pixels in the cross-entropy, in the order of the classes; none is the paper's, 1
    each."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", tuple(self.class_weights))  # a list, where JSON has stored it
        if self.fusion not in get_args(FusionName):
            raise DWNetError(f"unknown fusion {self.fusion!r}, allowed are {', '.join(get_args(FusionName))}")
        if self.prediction_space not in get_args(Space):
            allowed = ", ".join(get_args(Space))
            raise DWNetError(f"unknown prediction space {self.prediction_space!r}, allowed are {allowed}")
        for name in ("feature_weight", "prediction_weight", "auxiliary_weight", *FLOW_WEIGHTS):
            if not 0 <= getattr(self, name) < math.inf:
                raise DWNetError(f"{name} is {getattr(self, name)}, allowed are numbers of at least 0")
        if not 0 < self.delta < math.inf:
            raise DWNetError(f"delta is {self.delta}, allowed are numbers above 0")
        if not all(0 < weight < math.inf for weight in self.class_weights):
            raise DWNetError(f"class_weights is {self.class_weights}, allowed are numbers above 0")
        if self.key_interval < 1:
            raise DWNetError(f"key_interval is {self.key_interval}, allowed are whole numbers of at least 1")
        if self.train_flow and self.name == "baseline":
            raise DWNetError("train_flow: method 'baseline' has no flow to train")
        if self.name == "dwnet" and not self.refinement:
            for name in FLOW_WEIGHTS:
                if getattr(self, name) > 0:
                    raise DWNetError(f"{name} is {getattr(self, name)}, allowed without refinement is 0")
        if self.train_flow and self.name == "dwnet" and not self.trains_refinement:
            raise DWNetError(
                "train_flow: feature_weight and prediction_weight are 0, and no other loss reaches the flow"
            )

    @property
    def trains_fg_conv(self) -> bool:
        """dwnet: whether a loss reaches what the features are warped by: a consistency loss does."""
        return self.feature_weight > 0 or self.prediction_weight > 0

    @property
    def trains_refinement(self) -> bool:
        """dwnet: whether a loss reaches the refined flow: a consistency loss, or one of the flow's own."""
        return self.trains_fg_conv or any(getattr(self, name) > 0 for name in FLOW_WEIGHTS)

    def build(self, segmenter: Segmenter, *, load_flow: bool = True) -> "Method":
        """The training module of this method around a segmenter.

        Args:
            segmenter: any `Segmenter`.
            load_flow: False leaves the flow estimator's weights random, for a checkpoint that brings them.

        Raises:
            ValueError: for a name or number that is not allowed.
        """
        if self.name not in METHODS:
            raise DWNetError(f"unknown method {self.name!r}, allowed are {', '.join(METHODS)}")
        if self.class_weights and len(self.class_weights) != segmenter.num_classes:
            raise DWNetError(
                f"class_weights has {len(self.class_weights)} numbers, allowed are {segmenter.num_classes}, one a class"
            )
        method = METHODS[self.name](segmenter, self)
        if method.needs_neighbour:
            weights = self.flow_weights if load_flow else "none"
            method.flow = build_flow(self.flow, weights=weights, trainable=self.train_flow)
        return method


class Method(nn.Module, ABC):
    """What the trainer sees of a method.

    A batch is a collated `dwnet.data.PairSample`: "frame" and "neighbour" (B, 3, H, W), "labels" (B, H, W), and
    possibly "paired" (B,) bool, False where "neighbour" is only the frame itself, and "coarse_flow" (B, 2, H, W), which
    then stands for what `flow` would find.
    """

    needs_neighbour: bool
    """Whether training batches must hold "neighbour", and the method a flow to it."""
    needs_neighbour_to_predict: bool = False
    """Whether inference needs the neighbouring frame too."""

    def __init__(self, segmenter: Segmenter, spec: MethodSpec) -> None:
        super().__init__()
        self.spec = spec
        self.flow: FlowEstimator | None = None
        """From the frame to the neighbour; `MethodSpec.build` sets it where it is needed."""
        # A buffer, so that it lies on the GPU once and for all; the specification keeps the numbers.
        self._class_weights: Tensor | None
        weights = torch.tensor(spec.class_weights) if spec.class_weights else None
        self.register_buffer("_class_weights", weights, persistent=False)

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

    def _flow_px(self, frame: Tensor, neighbour: Tensor) -> Tensor:
        assert self.flow is not None
        return self.flow(frame, neighbour)

    def _coarse_flow_px(self, batch: dict[str, Any]) -> Tensor:
        """Of a training batch; a loader's worker may have estimated it already (`dwnet.data.with_flow`)."""
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
    """Table 4, "sum" and "concatenate": trained and used with the previous features warped by the plain flow."""

    needs_neighbour = True
    needs_neighbour_to_predict = True

    def __init__(self, segmenter: Segmenter, spec: MethodSpec) -> None:
        super().__init__(segmenter, spec)
        self.network = StaticWarpSegmenter(segmenter, fusion=FUSIONS[spec.fusion](segmenter.channels))

    @property
    def segmenter(self) -> Segmenter:  # noqa: D102
        return self.network.segmenter

    def forward(self, batch: dict[str, Any]) -> Losses:  # noqa: D102
        flow = self._coarse_flow_px(batch)
        logits, auxiliary = self.network(batch["frame"], batch["neighbour"], flow)
        return self._cross_entropy(logits, auxiliary, batch["labels"])

    def predict(self, batch: dict[str, Any]) -> Tensor:  # noqa: D102
        height, width = batch["frame"].shape[-2:]
        frame = pad_to_multiple(batch["frame"], self.segmenter.multiple)
        previous = pad_to_multiple(batch["neighbour"], self.segmenter.multiple)
        features, previous_features = self.segmenter.features(torch.cat((frame, previous))).chunk(2)
        logits = self.network.fuse(features, previous_features, self._flow_px(frame, previous))
        return resize(logits, (frame.shape[-2], frame.shape[-1]))[..., :height, :width]


class KeyframeMethod(Method):
    """Deep Feature Flow: the neighbour is the key frame, whose warped features are supervised on the labelled frame.

    Deviation: DFF also trains on labelled frames that are key frames themselves. Here k is never 0 (section 3.1), and
    the network learns through the warp alone.
    """

    needs_neighbour = True
    needs_neighbour_to_predict = True

    def __init__(self, segmenter: Segmenter, spec: MethodSpec) -> None:
        super().__init__(segmenter, spec)
        self.network = KeyframeSegmenter(segmenter)

    @property
    def segmenter(self) -> Segmenter:  # noqa: D102
        return self.network.segmenter

    def forward(self, batch: dict[str, Any]) -> Losses:  # noqa: D102
        labels = batch["labels"]
        flow = self._coarse_flow_px(batch)
        logits, auxiliary = self.network(batch["neighbour"], flow)
        height, width = labels.shape[-2:]
        seen = inside(pixel_grid(height, width, device=flow.device) + flow, height, width)[:, 0]
        return self._cross_entropy(logits, auxiliary, torch.where(seen, labels, IGNORE_LABEL))

    def predict(self, batch: dict[str, Any]) -> Tensor:
        """Logits (B, K, H, W) of the batch's frames, of any size, with its neighbours as key frames."""
        height, width = batch["frame"].shape[-2:]
        frame = pad_to_multiple(batch["frame"], self.segmenter.multiple)
        key = pad_to_multiple(batch["neighbour"], self.segmenter.multiple)
        logits = self.network.classify(self.segmenter.features(key), self._flow_px(frame, key))
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

    @property
    def segmenter(self) -> Segmenter:  # noqa: D102
        return self.network.segmenter

    def forward(self, batch: dict[str, Any]) -> Losses:  # noqa: D102
        spec, frame, neighbour = self.spec, batch["frame"], batch["neighbour"]
        coarse = self._coarse_flow_px(batch)
        output = self.network(frame, neighbour, coarse)
        losses = self._cross_entropy(output.logits, output.auxiliary_logits, batch["labels"])

        target, target_logits = output.features, output.logits
        if spec.detach_target:
            target, target_logits = target.detach(), target_logits.detach()
        valid = output.valid
        if "paired" in batch:  # single frames in the batch: nothing to be consistent with
            valid = valid & batch["paired"].view(-1, 1, 1, 1)
        feature = prediction = torch.zeros_like(losses["total"])
        if spec.feature_weight > 0:
            feature = losses["feature"] = feature_consistency(target, output.warped_features, valid)
        if spec.prediction_weight > 0:
            size = (frame.shape[-2], frame.shape[-1])
            weight, image_valid = occlusion_weight(frame, neighbour, coarse, delta=spec.delta)
            prediction = losses["prediction"] = prediction_consistency(
                resize(at_least_float32(target_logits), size),
                resize(at_least_float32(output.warped_logits), size),
                weight=weight if spec.occlusion_mask else torch.ones_like(weight),
                # Only pixels that no part of the map's margin has been blended into.
                valid=image_valid & (resize(valid.float(), size) > 0.999),
                space=spec.prediction_space,
            )
        losses["total"] = total_loss(
            losses["total"],
            feature,
            prediction,
            feature_weight=spec.feature_weight,
            prediction_weight=spec.prediction_weight,
        )
        if any(getattr(spec, name) > 0 for name in FLOW_WEIGHTS):
            assert output.refined_flow_px is not None
            for name, loss in self._flow_losses(batch, coarse, centre_tap(output.refined_flow_px)).items():
                losses[name] = loss
                losses["total"] = losses["total"] + getattr(spec, f"{name}_weight") * loss
        return losses

    def _flow_losses(self, batch: dict[str, Any], coarse: Tensor, refined_px: Tensor) -> Losses:
        """The losses on the refined flow (B, 2, H / 8, W / 8), of those that have a weight."""
        spec, frame = self.spec, batch["frame"]
        height, width = frame.shape[-2:]
        flow_px = resize_flow(refined_px, (height, width))
        paired = batch.get("paired", torch.ones(len(frame), dtype=torch.bool, device=frame.device)).view(-1, 1, 1, 1)
        losses: Losses = {}
        if spec.warping_weight > 0:
            counted = paired & inside(pixel_grid(height, width, device=frame.device) + coarse, height, width)
            losses["warping"] = warping_error(frame, batch["neighbour"], flow_px, counted=counted)
        if spec.smoothness_weight > 0:
            counted = paired.expand(-1, 1, *refined_px.shape[-2:])
            losses["smoothness"] = edge_aware_smoothness(refined_px, frame, counted=counted)
        if spec.flow_supervision_weight > 0:
            if "flow" not in batch:
                raise DWNetError(
                    "flow_supervision_weight: the batch holds no exact flow; allowed are data whose pairs have one: "
                    "the street, and synthetic neighbours"
                )
            counted = paired & batch["visible"][:, None]
            losses["flow_supervision"] = end_point_error(flow_px, batch["flow"], counted=counted)
        return losses


METHODS: dict[str, type[Method]] = {
    "baseline": BaselineMethod,
    "static_warp": StaticWarpMethod,
    "keyframe": KeyframeMethod,
    "dwnet": DWNetMethod,
}
