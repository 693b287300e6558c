"""The paper's method in training: cross-entropy, both consistency losses (Eq. 8) and the losses on the refined flow."""

from typing import Any

import torch
from torch import Tensor

from dwnet.core.errors import DWNetError
from dwnet.method.dwnet import DWNet, DWNetOutput
from dwnet.method.fgconv import FlowGuidedConv2d
from dwnet.method.flow_refinement import FlowRefinement, centre_tap
from dwnet.method.losses import (
    at_least_float32,
    edge_aware_smoothness,
    end_point_error,
    feature_consistency,
    occlusion_weight,
    prediction_consistency,
    total_loss,
    warping_error,
)
from dwnet.method.specs import FLOW_WEIGHTS, DWNetSpec
from dwnet.method.training.base import Losses, Method
from dwnet.ops.resize import resize, resize_flow
from dwnet.ops.warp import inside, pixel_grid
from dwnet.segmentation import Segmenter


class DWNetMethod(Method):
    """The paper's method: FRM, FG-Conv and both consistency losses in training, the plain segmenter at inference."""

    spec: DWNetSpec

    def __init__(self, segmenter: Segmenter, spec: DWNetSpec) -> None:
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

    def forward(self, batch: dict[str, Any]) -> Losses:
        """Returns the losses: cross-entropy, both consistency losses and those on the refined flow.

        A loss with weight 0 is left out.
        """
        self._check(batch)
        spec = self.spec
        coarse = self._coarse_flow_px(batch)
        output = self.network(batch["frame"], batch["neighbour"], coarse)
        losses = self._cross_entropy(output.logits, output.auxiliary_logits, batch["labels"])
        zero = torch.zeros_like(losses["total"])
        losses |= self._consistency_losses(batch, coarse, output)
        losses["total"] = total_loss(
            losses["total"],
            losses.get("feature", zero),
            losses.get("prediction", zero),
            feature_weight=spec.feature_weight,
            prediction_weight=spec.prediction_weight,
        )
        if any(getattr(spec, name) > 0 for name in FLOW_WEIGHTS):
            assert output.refined_flow_px is not None
            for name, loss in self._flow_losses(batch, coarse, centre_tap(output.refined_flow_px)).items():
                losses[name] = loss
                losses["total"] = losses["total"] + getattr(spec, f"{name}_weight") * loss
        return losses

    def _consistency_losses(self, batch: dict[str, Any], coarse: Tensor, output: DWNetOutput) -> Losses:
        """Returns "feature" (Eq. 5) and "prediction" (Eq. 6); a loss with weight 0 is left out."""
        spec, frame, neighbour = self.spec, batch["frame"], batch["neighbour"]
        target, target_logits = output.features, output.logits
        if spec.detach_target:
            target, target_logits = target.detach(), target_logits.detach()
        valid = output.valid
        if "paired" in batch:  # a single frame has no neighbour to be consistent with
            valid = valid & batch["paired"].view(-1, 1, 1, 1)
        losses: Losses = {}
        if spec.feature_weight > 0:
            losses["feature"] = feature_consistency(target, output.warped_features, valid)
        if spec.prediction_weight > 0:
            size = (frame.shape[-2], frame.shape[-1])
            weight, image_valid = occlusion_weight(frame, neighbour, coarse, delta=spec.delta)
            losses["prediction"] = prediction_consistency(
                resize(at_least_float32(target_logits), size),
                resize(at_least_float32(output.warped_logits), size),
                weight=weight if spec.occlusion_mask else torch.ones_like(weight),
                # The resized mask is below 1 where the interpolation of the logits involves an invalid pixel.
                valid=image_valid & (resize(valid.float(), size) > 0.999),
                space=spec.prediction_space,
            )
        return losses

    def _flow_losses(self, batch: dict[str, Any], coarse: Tensor, refined_px: Tensor) -> Losses:
        """Returns the losses on the refined flow (B, 2, H / 8, W / 8); a loss with weight 0 is left out."""
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
