"""Key-frame propagation against a loop, its repeated border outside the key frame, and its gradients."""

import numpy as np
import pytest
import torch

from dwnet.method.keyframe import KeyframeSegmenter, propagate
from dwnet.ops.resize import resize_flow
from tests.references import TinySegmenter, bilinear, frames


def build(*, auxiliary: bool = False) -> KeyframeSegmenter:
    torch.manual_seed(0)
    return KeyframeSegmenter(TinySegmenter(auxiliary=auxiliary)).double()


def by_loop(source: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Returns the map (C, h, w) sampled along the flow (2, h, w), clamped to the nearest border pixel."""
    _, height, width = source.shape
    result = np.zeros_like(source)
    for row in range(height):
        for column in range(width):
            x = min(max(column + flow[0, row, column], 0), width - 1)
            y = min(max(row + flow[1, row, column], 0), height - 1)
            result[:, row, column] = bilinear(source, x, y)
    return result


def test_propagation_by_loop() -> None:
    _, key, flow = (tensor.double() for tensor in frames())
    network = build()
    features = network.segmenter.features(key)
    small = resize_flow(3 * flow, (4, 6))
    moved = propagate(features, 3 * flow)
    for b in range(2):
        expected = by_loop(features[b].detach().numpy(), small[b].numpy())
        np.testing.assert_allclose(moved[b].detach().numpy(), expected, atol=1e-12)
    logits = network.classify(features, 3 * flow)
    assert torch.equal(logits, network.segmenter.classify(moved))


def test_beyond_the_key_frame_its_border_goes_on() -> None:
    key = torch.arange(6.0).reshape(1, 1, 2, 3)
    right = torch.tensor([100.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 3)
    assert propagate(key, right).flatten().tolist() == pytest.approx([2, 2, 2, 5, 5, 5], abs=1e-6)
    assert propagate(key, -right).flatten().tolist() == pytest.approx([0, 0, 0, 3, 3, 3], abs=1e-6)
    assert torch.allclose(propagate(key, torch.zeros(1, 2, 2, 3)), key, atol=1e-6)


def test_training_propagates_the_auxiliary_logits_too() -> None:
    network = build(auxiliary=True)
    _, key, flow = (tensor.double() for tensor in frames())
    logits, (auxiliary,) = network(key, flow)
    features, (own,) = network.segmenter.features_and_auxiliary(key)
    assert torch.equal(logits, network.classify(features, flow))
    assert torch.equal(auxiliary, propagate(own, flow))


def test_gradients_reach_the_segmenter_the_key_frame_and_the_flow() -> None:
    network = build(auxiliary=True)
    _, key, flow = (tensor.double() for tensor in frames())
    key, flow = key.requires_grad_(), flow.requires_grad_()
    logits, (auxiliary,) = network(key, flow)
    (logits.square().sum() + auxiliary.square().sum()).backward()
    for tensor in (key, flow, *network.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().max() > 0
