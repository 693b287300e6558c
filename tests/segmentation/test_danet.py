"""Both attentions agree with float64 loops, start as the identity, and have correct gradients. DANet has 3 outputs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dwnet.method.specs import method_spec
from dwnet.segmentation import DANet, NetworkSpec
from dwnet.segmentation.danet import ChannelAttention, PositionAttention

Array = NDArray[np.float64]


def softmax(scores: Array) -> Array:
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def position_loop(x: Array, attention: PositionAttention) -> Array:
    """Position by position: y_j = gamma sum over i of softmax_i(q_j . k_i) v_i + x_j."""
    points = x.reshape(len(x), -1).T

    def project(layer: nn.Conv2d) -> Array:
        assert layer.bias is not None
        return points @ layer.weight.detach().numpy()[:, :, 0, 0].T + layer.bias.detach().numpy()

    query, key, value = project(attention.query), project(attention.key), project(attention.value)
    result = np.zeros_like(points)
    for j in range(len(points)):
        weights = softmax(np.array([query[j] @ key[i] for i in range(len(points))]))
        result[j] = attention.gamma.item() * sum(w * v for w, v in zip(weights, value, strict=True)) + points[j]
    return result.T.reshape(x.shape)


def channel_loop(x: Array, gamma: float) -> Array:
    """Channel by channel, as in the authors' code: softmax of (maximum of the row - X X')."""
    rows = x.reshape(len(x), -1)
    result = np.zeros_like(rows)
    for j in range(len(rows)):
        energy = np.array([rows[j] @ rows[i] for i in range(len(rows))])
        weights = softmax(energy.max() - energy)
        result[j] = gamma * sum(w * r for w, r in zip(weights, rows, strict=True)) + rows[j]
    return result.reshape(x.shape)


def test_position_attention_is_the_references() -> None:
    torch.manual_seed(0)
    attention = PositionAttention(16).double()
    nn.init.constant_(attention.gamma, 0.7)
    nn.init.normal_(attention.query.weight)
    x = torch.randn(2, 16, 3, 4, dtype=torch.float64)
    found = attention(x).detach().numpy()
    for image in range(2):
        np.testing.assert_allclose(found[image], position_loop(x[image].numpy(), attention), atol=1e-12)


def test_position_attention_by_hand() -> None:
    """Two positions, Q = K = the first channel, V = the map: the weights of x = (1, 0) are (e, 1) and (1, 1)."""
    attention = PositionAttention(8).double()
    for layer in (attention.query, attention.key, attention.value):
        nn.init.zeros_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    with torch.no_grad():
        attention.query.weight[0, 0] = attention.key.weight[0, 0] = 1
        attention.value.weight[0, 0] = 1
        attention.gamma.fill_(2)
    x = torch.zeros(1, 8, 1, 2, dtype=torch.float64)
    x[0, 0, 0, 0] = 1
    found = attention(x)[0, 0, 0].tolist()
    assert found == pytest.approx([2 * math.e / (math.e + 1) + 1, 2 * 0.5])


def test_channel_attention_is_the_references() -> None:
    torch.manual_seed(0)
    attention = ChannelAttention(5).double()
    nn.init.constant_(attention.gamma, 0.7)
    x = 0.5 * torch.randn(2, 5, 3, 4, dtype=torch.float64)
    found = attention(x).detach().numpy()
    for image in range(2):
        np.testing.assert_allclose(found[image], channel_loop(x[image].numpy(), 0.7), atol=1e-12)


def test_channel_attention_by_hand() -> None:
    """Channels (1, 0) and (0, 2): X X' is (1, 0; 0, 4), the weights (1, e) / (1 + e) and (e^4, 1) / (e^4 + 1)."""
    attention = ChannelAttention(2).double()
    nn.init.ones_(attention.gamma)
    x = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]], dtype=torch.float64)
    e, e4 = math.e, math.exp(4)
    first, second = attention(x)[0, :, 0].tolist()
    assert first == pytest.approx([1 / (1 + e) + 1, 2 * e / (1 + e)])
    assert second == pytest.approx([e4 / (e4 + 1), 2 / (e4 + 1) + 2])


@pytest.mark.parametrize("attention", [PositionAttention(8), ChannelAttention(8)])
def test_an_untrained_attention_is_the_identity_and_gamma_gets_a_gradient(attention: nn.Module) -> None:
    x = torch.randn(1, 8, 4, 5)
    result = attention(x)
    assert torch.equal(result, x)
    result.square().sum().backward()
    gamma = attention.get_parameter("gamma")
    assert gamma.grad is not None
    assert gamma.grad.abs().item() > 0


@pytest.mark.parametrize("attention", [PositionAttention(8), ChannelAttention(8)])
def test_gradients(attention: nn.Module) -> None:
    torch.manual_seed(0)
    attention = attention.double()
    nn.init.ones_(attention.get_parameter("gamma"))
    x = torch.randn(1, 8, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attention, (x,))


def test_channel_attention_keeps_its_sums_out_of_half_precision() -> None:
    """X X' reaches 90 000 here, more than float16 can hold: under autocast the weights stay finite and right."""
    attention = ChannelAttention(4)
    nn.init.ones_(attention.gamma)
    x = 3 + 0.01 * torch.randn(1, 4, 100, 100, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.float16):
        found = attention(x.half())
    expected = channel_loop(x.half()[0].double().numpy(), 1.0)
    assert found.isfinite().all()
    np.testing.assert_allclose(found[0].detach().double().numpy(), expected, rtol=2e-3)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_attention_hands_over_positions_side_by_side(
    memory_format: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA's memory-efficient kernel needs a stride of 1 between channels. Otherwise N x N weights are allocated."""
    strides = []

    def watched(*parts: Tensor, scale: float) -> Tensor:
        strides.extend(part.stride(-1) for part in parts)
        return attend(*parts, scale=scale)

    attend = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    PositionAttention(64)(torch.rand(1, 64, 4, 6).to(memory_format=memory_format))
    assert strides == [1, 1, 1]


def test_weights_in_half_precision() -> None:
    network = NetworkSpec(segmenter="danet", backbone="test_efficientnet", channels=16).build(3).bfloat16().eval()
    assert network(torch.rand(1, 3, 32, 32).bfloat16()).dtype == torch.bfloat16


def test_three_outputs_and_the_auxiliary_head() -> None:
    torch.manual_seed(0)
    network = NetworkSpec(segmenter="danet", backbone="mobilenetv2", channels=16).build(5).eval()
    assert isinstance(network, DANet)
    assert network.auxiliary is not None
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        stages = network.backbone(image)
        position, channel = network.position(stages[-1]), network.channel(stages[-1])
        features, auxiliary = network.features_and_auxiliary(image)
        head, of_position, of_channel = network.auxiliary.children()
        assert torch.equal(features, position + channel)
        assert torch.equal(features, network.features(image))
        expected = (head(stages[-2]), of_position(position), of_channel(channel))
    assert len(auxiliary) == 3
    for found, wanted in zip(auxiliary, expected, strict=True):
        assert torch.equal(found, wanted)
        assert found.shape == (1, 5, 2, 3)
    assert not torch.allclose(auxiliary[1], auxiliary[2])


def test_without_auxiliary_heads_there_are_no_branch_logits() -> None:
    network = NetworkSpec(segmenter="danet", backbone="mobilenetv2", channels=16, auxiliary=False).build(5).eval()
    with torch.no_grad():
        features, auxiliary = network.features_and_auxiliary(torch.rand(1, 3, 32, 32))
    assert auxiliary == ()
    assert features.shape == (1, 16, 2, 2)
    assert not [name for name, _ in network.named_parameters() if name.startswith("auxiliary")]


def test_all_three_auxiliary_losses_are_summed() -> None:
    torch.manual_seed(0)
    network = NetworkSpec(segmenter="danet", backbone="mobilenetv2", channels=16).build(3).eval()
    method = method_spec("baseline").build(network).eval()
    frame, labels = torch.rand(1, 3, 32, 32), torch.randint(0, 3, (1, 32, 32))
    losses = method({"frame": frame, "labels": labels})
    with torch.no_grad():
        _, auxiliary = network.features_and_auxiliary(frame)
    sizes = [nn.functional.interpolate(a, size=(32, 32), mode="bilinear") for a in auxiliary]
    expected = sum(nn.functional.cross_entropy(a, labels) for a in sizes)
    assert losses["auxiliary"].item() == pytest.approx(float(expected), rel=1e-5)


def test_channels_must_be_multiples_of_8() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="channels is 12, allowed are multiples of 8"):
        NetworkSpec(segmenter="danet", backbone="mobilenetv2", channels=12).build(5)
