"""Static warp: each fusion by hand, F_t where the flow leaves the previous frame, and the gradients."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dwnet.method.static_warp import FUSIONS, Concatenation, FusionName, PerChannel, StaticWarpSegmenter, WeightedSum
from dwnet.ops.resize import resize_flow
from tests.references import TinySegmenter, frames, warp_loop


def build(name: FusionName = "weighted_sum") -> StaticWarpSegmenter:
    """Returns a network whose fusion differs from its initial state."""
    torch.manual_seed(0)
    network = StaticWarpSegmenter(TinySegmenter(), fusion=FUSIONS[name](4)).double()
    with torch.no_grad():
        for parameter in network.fusion.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def by_hand(fusion: nn.Module, own: np.ndarray, warped: np.ndarray) -> np.ndarray:
    """Returns the fused map of F_t and F^_t, (C, h, w), from the formulas of Table 4 and of NetWarp."""
    weights = {name: parameter.detach().numpy() for name, parameter in fusion.named_parameters()}
    if isinstance(fusion, WeightedSum):
        share = 1 / (1 + math.exp(-weights["weight"]))
        return (1 - share) * own + share * warped
    if isinstance(fusion, PerChannel):
        return np.stack(
            [
                w1 * mine + w2 * theirs
                for w1, w2, mine, theirs in zip(
                    weights["own_weight"], weights["warped_weight"], own, warped, strict=True
                )
            ]
        )
    assert isinstance(fusion, Concatenation)
    return np.einsum("oc,chw->ohw", weights["mix.weight"][:, :, 0, 0], np.concatenate((own, warped)))


@pytest.mark.parametrize("name", FUSIONS)
def test_fuse_by_loop_with_f_t_where_the_flow_leaves_the_previous_frame(name: FusionName) -> None:
    network = build(name)
    first, second, flow = (tensor.double() for tensor in frames())
    features, previous = network.segmenter.features(first), network.segmenter.features(second)
    logits = network.fuse(features, previous, flow)
    small = resize_flow(flow, (4, 6))
    weight, bias = (p.detach().numpy() for p in network.segmenter.get_submodule("classifier").parameters())
    for b in range(2):
        warped, known = warp_loop(previous[b].detach().numpy(), small[b].numpy())
        assert 0 < known.sum() < known.size
        own = features[b].detach().numpy()
        fused = by_hand(network.fusion, own, np.where(known, warped, own))
        expected = np.einsum("kc,chw->khw", weight[:, :, 0, 0], fused) + bias[:, None, None]
        np.testing.assert_allclose(logits[b].detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("name", FUSIONS)
def test_training_starts_at_half_and_half(name: FusionName) -> None:
    features, warped = torch.rand(2, 2, 4, 3, 5)
    fused = FUSIONS[name](4)(features, warped)
    assert torch.allclose(fused, (features + warped) / 2, atol=1e-6)


def test_the_fusions_have_the_numbers_they_say() -> None:
    counts = {name: sum(p.numel() for p in build_fusion(6).parameters()) for name, build_fusion in FUSIONS.items()}
    assert counts == {"weighted_sum": 1, "concatenation": 72, "per_channel": 12}


@pytest.mark.parametrize("name", FUSIONS)
def test_forward_is_fuse_on_both_frames(name: FusionName) -> None:
    network = build(name)
    first, second, flow = (tensor.double() for tensor in frames())
    logits, auxiliary = network(first, second, flow)
    expected = network.fuse(network.segmenter.features(first), network.segmenter.features(second), flow)
    assert torch.allclose(logits, expected, atol=1e-12)
    assert auxiliary == ()


@pytest.mark.parametrize("name", FUSIONS)
def test_a_first_frame_is_a_frame_in_which_nothing_moved(name: FusionName) -> None:
    network = build(name)
    first, second, flow = (tensor.double() for tensor in frames())
    outside = torch.full_like(flow, 1e4)
    features = network.segmenter.features(first)
    alone = network.fuse(features, torch.zeros_like(features), outside)  # the first frame of a clip
    assert torch.equal(network(first, second, outside)[0], alone)
    assert torch.equal(network.classify_first(features), alone)
    assert torch.allclose(network(first, first, torch.zeros_like(flow))[0], alone, atol=1e-12)
    if name == "weighted_sum":  # convex: two equal maps are that map
        assert torch.equal(alone, network.segmenter.classify(features))


@pytest.mark.parametrize("name", FUSIONS)
def test_gradients_reach_the_fusion_and_the_segmenter_through_both_frames(name: FusionName) -> None:
    network = build(name)
    first, second, flow = (tensor.double() for tensor in frames())
    tensors = [tensor.requires_grad_() for tensor in (first, second, flow)]
    network(first, second, flow)[0].square().sum().backward()
    for tensor in (*tensors, *network.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().max() > 0


@pytest.mark.parametrize("name", FUSIONS)
def test_fusions_keep_the_precision_of_autocast(name: FusionName) -> None:
    features, warped = torch.rand(2, 2, 4, 3, 5, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert FUSIONS[name](4)(features, warped).dtype == torch.bfloat16
