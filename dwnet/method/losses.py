"""Eq. 4-8: the losses, and three losses on the refined flow that are not in the paper.

All are functions of tensors. They compute in float32 under autocast. With several processes, the average of a loss over
the processes is its mean over the pixels of all processes (`_shared_count`). While gradients are recorded, every loss
with such a mean is a collective call: every process must make it.
"""

from collections.abc import Sequence
from typing import get_args

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.method.specs import Space
from dwnet.ops.normalise import IMAGENET_STD
from dwnet.ops.resize import resize
from dwnet.ops.warp import warp

CHARBONNIER = 1e-3
"""c of the penalty sqrt(x^2 + c^2) - c in the losses on the flow: quadratic below c, linear above, 0 at x = 0."""
EDGE = 1.0
"""In `edge_aware_smoothness`, an edge of this height has the weight exp(-1). Its scale is that of E in Eq. 7."""


def segmentation_loss(
    logits: Tensor, labels: Tensor, *, class_weights: Sequence[float] | Tensor | None = None
) -> Tensor:
    """The pixel-wise cross-entropy l_ce (section 3.5), averaged over the labelled pixels.

    Args:
        logits: (B, K, h, w) float; resized to the size of the labels.
        labels: (B, H, W) uint8 or int64, 0..K-1 or `IGNORE_LABEL`.
        class_weights: weight of each class's pixels in the sum, K numbers; None is 1 for every class, as in the paper.
            The sum is divided by the number of labelled pixels, not by the sum of their weights.

    Returns:
        A scalar; 0 where no pixel is labelled.
    """
    logits = resize(at_least_float32(logits), (labels.shape[-2], labels.shape[-1]))
    weight = None if class_weights is None else torch.as_tensor(class_weights).to(logits)
    summed = F.cross_entropy(logits, labels.long(), weight=weight, ignore_index=IGNORE_LABEL, reduction="sum")
    return summed / _shared_count((labels != IGNORE_LABEL).sum())


def feature_consistency(features: Tensor, warped: Tensor, valid: Tensor | None = None) -> Tensor:
    """Eq. 4-5: mean squared difference of the two cosine self-similarity maps A_t and A^_t.

    The result is exact, and no two nearly equal sums are subtracted. Let X and Y hold the unit vectors of Eq. 4 as
    rows, S = X + Y and D = X - Y. The difference of the maps is A - A^ = 1/2 (S D' + D S'). For N < 2 C this N x N map
    is built. Otherwise its squared norm is computed as 1/2 [tr(S'S D'D) + tr(S'D S'D)] from C x C matrices, in
    O(C^2 + N C) memory.

    Args:
        features: F_t, (B, C, H, W) float.
        warped: F^_t, of the same shape.
        valid: (B, 1, H, W) bool; pixels that are False are left out of all pairs and of N. None: all are valid.

    Returns:
        A scalar: the mean of Eq. 5 over the images of the batch that have valid pixels; 0 if none has.
    """
    with torch.autocast(features.device.type, enabled=False):
        # Eq. 4: with rows of unit length, a_ij is a plain product.
        x = _unit_columns(at_least_float32(features).flatten(2))
        y = _unit_columns(at_least_float32(warped).flatten(2))
        batch, channels, pixels = x.shape
        counts = torch.full((batch,), pixels, device=x.device, dtype=x.dtype)
        images = torch.full((), batch, device=x.device)
        if valid is not None:
            keep = valid.flatten(2).to(x.dtype)
            x, y = x * keep, y * keep
            counts = keep.sum(dim=(1, 2))
            images = (counts > 0).sum()
            counts = counts.clamp(min=1)
        s, d = x + y, x - y  # (B, C, N)
        if pixels < 2 * channels:
            z = s.transpose(1, 2) @ d
            squares = (0.5 * (z + z.transpose(1, 2))).square().sum(dim=(1, 2))
        else:
            st = s.transpose(1, 2)
            sd = s @ d.transpose(1, 2)
            squares = 0.5 * ((s @ st) * (d @ d.transpose(1, 2)) + sd * sd.transpose(1, 2)).sum(dim=(1, 2))
        return (squares / counts.square()).sum() / _shared_count(images)


def _unit_columns(x: Tensor) -> Tensor:
    """Scales the columns of (B, C, N) to length 1. A zero column stays zero and gets no gradient."""
    length = x.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-12, x / length.clamp(min=1e-12), 0)


def at_least_float32(x: Tensor) -> Tensor:
    """Returns the tensor in float32, or in float64 if it is float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _shared_count(count: Tensor) -> Tensor:
    """Returns the divisor of a mean: `count`, or the mean of the counts of all processes; at least 1.

    Collective while gradients are recorded: every process must call it. Without gradients, only the count of this
    process is used.

    Processes average their gradients. With one common divisor, that average is the gradient of one process with the
    whole batch. With a divisor for each process, the pixels of a process with few labels would weigh more.
    """
    count = count.detach().to(torch.float64 if count.dtype == torch.float64 else torch.float32)
    processes = 1
    if torch.is_grad_enabled() and dist.is_available() and dist.is_initialized():
        count, processes = count.clone(), dist.get_world_size()
        dist.all_reduce(count)
    return count.clamp(min=1) / processes


def occlusion_weight(frame: Tensor, neighbour: Tensor, flow_px: Tensor, *, delta: float = 2.0) -> tuple[Tensor, Tensor]:
    """Eq. 7: M = exp(-E / delta), with E = |I_t - I^_t| the error of warping the neighbour's image by the coarse flow.

    E sums the absolute differences over the channels of the *normalised* images: only on that scale do delta = 1, 2, 5
    separate good from bad flow. No gradient passes through M: otherwise a jointly trained flow could lower the loss by
    becoming worse.

    Args:
        frame: I_t, (B, 3, H, W) float, RGB, 0..1.
        neighbour: I_{t+k}, of the same shape.
        flow_px: the coarse flow from t to t+k, (B, 2, H, W), in pixels of the image.
        delta: above 0; a larger one keeps more weight on pixels with an error.

    Returns:
        M (B, 1, H, W) float32 in 0..1, and the validity mask (B, 1, H, W) bool of the warp.

    Raises:
        DWNetError: if delta is not positive.
    """
    if delta <= 0:
        raise DWNetError(f"delta is {delta}, allowed are numbers above 0")
    with torch.no_grad(), torch.autocast(frame.device.type, enabled=False):
        frame, neighbour = at_least_float32(frame), at_least_float32(neighbour)
        warped, valid = warp(neighbour, flow_px.to(frame.dtype))
        error = _over_std(frame - warped).abs().sum(dim=1, keepdim=True)
        return torch.exp(-error / delta), valid


def prediction_consistency(
    logits: Tensor, warped_logits: Tensor, *, weight: Tensor, valid: Tensor, space: Space = "logits"
) -> Tensor:
    """Eq. 6: mean over the valid pixels of M_i ||P_i - P^_i||^2; M enters once, unsquared.

    Args:
        logits: logits of P_t, (B, K, H, W) float.
        warped_logits: logits of P^_t, of the same shape.
        weight: M, (B, 1, H, W) float, 0..1.
        valid: (B, 1, H, W) bool; pixels that are False are left out of the sum and of N.
        space: what P is: "logits" (as in the paper's reference 17, the source of this loss) or "softmax".

    Returns:
        A scalar; 0 if no pixel is valid.

    Raises:
        DWNetError: for another `space`, or a weight or mask whose shape does not fit the logits.
    """
    if space not in get_args(Space):
        raise DWNetError(f"unknown prediction space {space!r}, allowed are {', '.join(get_args(Space))}")
    if not weight.shape == valid.shape == (logits.shape[0], 1, *logits.shape[2:]):
        raise DWNetError(
            f"weight has shape {tuple(weight.shape)} and valid {tuple(valid.shape)}, allowed is (B, 1, H, W) "
            f"for logits of shape {tuple(logits.shape)}"
        )
    p, q = at_least_float32(logits), at_least_float32(warped_logits)
    if space == "softmax":
        p, q = p.softmax(dim=1), q.softmax(dim=1)
    squared = (p - q).square().sum(dim=1, keepdim=True)
    counted = valid.to(squared.dtype)
    return (weight * squared * counted).sum() / _shared_count(counted.sum())


def total_loss(
    segmentation: Tensor,
    feature: Tensor,
    prediction: Tensor,
    *,
    feature_weight: float = 10.0,
    prediction_weight: float = 0.1,
) -> Tensor:
    """Eq. 8: l = l_ce + lambda_1 l_fc + lambda_2 l_pc, with lambda_1 = 10 and lambda_2 = 0.1 (section 4.1.3)."""
    return segmentation + feature_weight * feature + prediction_weight * prediction


def warping_error(frame: Tensor, neighbour: Tensor, flow_px: Tensor, *, counted: Tensor) -> Tensor:
    """Mean difference between the frame and the neighbour's image warped by a flow. It is not in the paper.

    l_w = 1 / 3N sum_i sum_c [sqrt((e_ic / sigma_c)^2 + c^2) - c] over the N pixels that count, with e = I_t - I^_t, the
    sigma of the normalised images and c = `CHARBONNIER`. The loss needs no true flow. Occluded pixels count, because
    they cannot be distinguished from pixels with a wrong flow; their gradient is bounded.

    Args:
        frame: I_t, (B, 3, H, W) float, RGB, 0..1.
        neighbour: I_{t+k}, of the same shape. Positions outside it are black.
        flow_px: from t to t+k, (B, 2, H, W) float, in pixels of the image.
        counted: (B, 1, H, W) bool; pixels that are False do not count. It must not depend on `flow_px`: otherwise the
            flow would learn to leave the neighbour, where nothing counts.

    Returns:
        A scalar; 0 if no pixel counts.

    Raises:
        DWNetError: for a flow or mask whose shape does not fit the images.
    """
    with torch.autocast(frame.device.type, enabled=False):
        frame, neighbour = at_least_float32(frame), at_least_float32(neighbour)
        warped, _ = warp(neighbour, flow_px.to(frame.dtype))
        return _mean(_charbonnier(_over_std(frame - warped)).mean(dim=1, keepdim=True), counted)


def edge_aware_smoothness(flow_px: Tensor, frame: Tensor, *, counted: Tensor) -> Tensor:
    """Mean first difference of a flow, with less weight at edges in the image. It is not in the paper.

    l_s = 1 / N sum_(i,j) exp(-E_ij / d) sum_(dx,dy) [sqrt((f_i - f_j)^2 + c^2) - c] over the N pairs of horizontally or
    vertically adjacent pixels, with E_ij = sum_c |I_ic - I_jc| / sigma_c, d = `EDGE` and c = `CHARBONNIER`. The motion
    may change at edges, so they get less weight.

    Args:
        flow_px: (B, 2, h, w) float, in pixels of this map.
        frame: I_t, (B, 3, H, W) float, RGB, 0..1; averaged over the pixels of the map.
        counted: (B, 1, h, w) bool; pairs with a pixel that is False do not count.

    Returns:
        A scalar; 0 if no pair counts.

    Raises:
        DWNetError: for a mask whose shape does not fit the flow.
    """
    with torch.autocast(frame.device.type, enabled=False):
        flow = at_least_float32(flow_px)
        image = F.adaptive_avg_pool2d(at_least_float32(frame), (flow.shape[-2], flow.shape[-1]))
        image = _over_std(image)
        _require_mask(counted, flow[:, :1])
        summed, pairs = flow.new_zeros(()), flow.new_zeros(())
        for axis in (2, 3):
            edge = image.diff(dim=axis).abs().sum(dim=1, keepdim=True)
            change = _charbonnier(flow.diff(dim=axis)).sum(dim=1, keepdim=True)
            steps = flow.shape[axis] - 1
            both = counted.narrow(axis, 0, steps) & counted.narrow(axis, 1, steps)
            summed = summed + torch.where(both, torch.exp(-edge / EDGE) * change, 0).sum()
            pairs = pairs + both.sum()
        return summed / _shared_count(pairs)


def end_point_error(flow_px: Tensor, true_flow_px: Tensor, *, counted: Tensor) -> Tensor:
    """Mean end-point error of a flow, for data whose exact flow is known. It is not in the paper.

    Args:
        flow_px: (B, 2, H, W) float, in pixels.
        true_flow_px: the exact flow, of the same shape.
        counted: (B, 1, H, W) bool; pixels that are False do not count.

    Returns:
        A scalar, in pixels (quadratic below `CHARBONNIER`); 0 if no pixel counts.

    Raises:
        DWNetError: for a mask whose shape does not fit the flow.
    """
    difference = at_least_float32(flow_px) - at_least_float32(true_flow_px)
    length = (difference.square().sum(dim=1, keepdim=True) + CHARBONNIER**2).sqrt() - CHARBONNIER
    return _mean(length, counted)


def _over_std(difference: Tensor) -> Tensor:
    """Returns a difference of images (B, 3, H, W) divided by the ImageNet deviations; the means cancel in a difference.

    The divisors are Python numbers: a tensor would be copied to the GPU in every step, and the step would wait for it.
    """
    return torch.cat([difference[:, c : c + 1] / std for c, std in enumerate(IMAGENET_STD)], dim=1)


def _charbonnier(x: Tensor) -> Tensor:
    return (x.square() + CHARBONNIER**2).sqrt() - CHARBONNIER


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Returns the mean over the counted pixels of (B, 1, H, W); 0 where none is counted."""
    _require_mask(counted, values)
    return torch.where(counted, values, 0).sum() / _shared_count(counted.sum())


def _require_mask(counted: Tensor, values: Tensor) -> None:
    if counted.shape != values.shape:
        raise DWNetError(f"counted has shape {tuple(counted.shape)}, allowed is {tuple(values.shape)}")
