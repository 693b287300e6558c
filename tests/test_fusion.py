"""Static warp at inference: the weighted sum by hand, the plain segmenter where there is nothing to fuse, and the
gradients.
"""

import math

import numpy as np
import pytest
import torch
from references import TinySegmenter, frames, warp_loop

from dwnet.fusion import StaticWarpSegmenter, WeightedSum
from dwnet.warp import resize_flow


def build(weight: float = 0.7) -> StaticWarpSegmenter:
    torch.manual_seed(0)
    network = StaticWarpSegmenter(TinySegmenter()).double()
    with torch.no_grad():
        network.fusion.weight.fill_(weight)
    return network


def test_weighted_sum_by_hand() -> None:
    fusion = WeightedSum()
    features, warped = torch.tensor([[[[1.0, 1.0]]]]), torch.tensor([[[[5.0, 5.0]]]])
    valid = torch.tensor([[[[True, False]]]])
    assert fusion(features, warped, valid).flatten().tolist() == [3, 1]  # half and half at first
    with torch.no_grad():
        fusion.weight.fill_(math.log(3))  # sigmoid = 3/4
    assert fusion(features, warped, valid).flatten().tolist() == pytest.approx([4, 1])


def test_fuse_is_the_papers_static_warp_by_loop() -> None:
    network = build()
    first, second, flow = (tensor.double() for tensor in frames())
    features, previous = network.segmenter.features(first), network.segmenter.features(second)
    logits = network.fuse(features, previous, flow)
    small = resize_flow(flow, (4, 6))
    share = 1 / (1 + math.exp(-0.7))
    weight, bias = (p.detach().numpy() for p in network.segmenter.get_submodule("classifier").parameters())
    for b in range(2):
        warped, known = warp_loop(previous[b].detach().numpy(), small[b].numpy())
        own = features[b].detach().numpy()
        fused = np.where(known, (1 - share) * own + share * warped, own)
        expected = np.einsum("kc,chw->khw", weight[:, :, 0, 0], fused) + bias[:, None, None]
        np.testing.assert_allclose(logits[b].detach().numpy(), expected, atol=1e-7)  # the weight is a float32 number


def test_forward_is_fuse_on_both_frames() -> None:
    network = build()
    first, second, flow = (tensor.double() for tensor in frames())
    logits, auxiliary = network(first, second, flow)
    expected = network.fuse(network.segmenter.features(first), network.segmenter.features(second), flow)
    assert torch.allclose(logits, expected, atol=1e-12)
    assert auxiliary == ()


def test_nothing_to_fuse_is_the_plain_segmenter() -> None:
    network = build(weight=9.0)
    first, second, flow = (tensor.double() for tensor in frames())
    features = network.segmenter.features(first)
    plain = network.segmenter.classify(features)
    outside = torch.full_like(flow, 1e4)
    assert torch.equal(network.fuse(features, torch.zeros_like(features), outside), plain)  # the first frame of a clip
    assert torch.equal(network(first, second, outside)[0], plain)
    assert torch.allclose(network(first, first, torch.zeros_like(flow))[0], plain, atol=1e-12)  # nothing moved


def test_gradients_reach_the_fusion_and_the_segmenter_through_both_frames() -> None:
    network = build()
    first, second, flow = (tensor.double() for tensor in frames())
    first, second = first.requires_grad_(), second.requires_grad_()
    network(first, second, flow)[0].square().sum().backward()
    for tensor in (first, second, *network.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().max() > 0
