"""Eq. 2-3: FG-Conv against a float64 loop, against `conv2d` where the flow is zero, and against torchvision's
deformable convolution. At the start it is the warp of Eq. 1, and all its gradients are correct.
"""

import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dwnet.method.fgconv import FlowGuidedConv2d
from dwnet.ops.warp import warp
from tests.references import fg_conv_loop

SIZES = (1, 3, 5)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_conv(channels: int, size: int, seed: int = 0) -> FlowGuidedConv2d:
    conv = FlowGuidedConv2d(channels, kernel_size=size).double()
    with torch.no_grad():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator(seed), dtype=torch.float64))
    return conv


def random_input(channels: int, height: int, width: int, taps: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    features = torch.randn(2, channels, height, width, generator=generator(seed), dtype=torch.float64)
    flow = 2 * torch.randn(2, 2 * taps, height, width, generator=generator(seed + 1), dtype=torch.float64)
    return features, flow


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("flows", ["one a tap", "one for all"])
def test_eq_3_tap_by_tap(size: int, flows: str) -> None:
    taps = size**2 if flows == "one a tap" else 1
    conv, (features, flow) = random_conv(2, size), random_input(2, 4, 5, taps)
    result, _ = conv(features, flow)
    for b in range(2):
        per_tap = np.broadcast_to(flow[b].reshape(-1, 2, 4, 5).numpy(), (size**2, 2, 4, 5))
        expected = fg_conv_loop(features[b].numpy(), per_tap, conv.weight.detach().numpy())
        np.testing.assert_allclose(result[b].detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_eq_2_is_the_ordinary_convolution_at_zero_flow(size: int) -> None:
    conv, (features, flow) = random_conv(3, size), random_input(3, 6, 7, 1)
    result, valid = conv(features, torch.zeros_like(flow))
    assert torch.allclose(result, F.conv2d(features, conv.weight, padding=size // 2), atol=1e-11)
    assert valid.all()


@pytest.mark.parametrize("size", SIZES)
def test_torchvisions_deformable_convolution_agrees(size: int) -> None:
    ops = pytest.importorskip("torchvision.ops")
    conv, (features, flow) = random_conv(4, size).float(), random_input(4, 9, 11, size**2)
    features, flow = features.float(), flow.float()
    # DCN reads its offsets as (dy, dx) per tap; ours are (dx, dy).
    offset = flow.reshape(2, size**2, 2, 9, 11).flip(2).reshape(2, -1, 9, 11)
    try:
        expected = ops.deform_conv2d(features, offset, conv.weight, padding=size // 2)
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"torchvision has no operator here: {error}")
    result, _ = conv(features, flow)
    assert (result - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("size", SIZES)
def test_untrained_it_is_the_warp_of_eq_1(size: int) -> None:
    conv = FlowGuidedConv2d(3, kernel_size=size)
    features, flow = (tensor.float() for tensor in random_input(3, 6, 8, 1))
    expected, known = warp(features, flow)
    for given in (flow, flow.repeat(1, size**2, 1, 1)):
        result, valid = conv(features, given)
        assert torch.allclose(result, expected, atol=1e-5)
        assert torch.equal(valid, known)


def test_by_hand_each_tap_has_its_place_and_its_own_flow() -> None:
    conv = FlowGuidedConv2d(1, kernel_size=3).double()
    with torch.no_grad():
        conv.weight.copy_(torch.arange(1.0, 10).reshape(1, 1, 3, 3))
    features = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    features[0, 0, 1, 3] = 1  # one lit pixel: up and right of the centre
    flow = torch.zeros(1, 18, 5, 5, dtype=torch.float64)
    result, _ = conv(features, flow)
    assert result[0, 0, 2, 2].item() == pytest.approx(3)  # the third tap, row -1, column +1
    flow[:, 0:2] = torch.tensor([2.0, 0.0]).reshape(2, 1, 1)  # the first tap looks two pixels further right
    result, _ = conv(features, flow)
    assert result[0, 0, 2, 2].item() == pytest.approx(3 + 1)


def test_validity_is_that_of_the_centre_tap() -> None:
    conv = FlowGuidedConv2d(1, kernel_size=3)
    flow = torch.full((1, 18, 4, 4), 100.0)
    flow[:, 8:10] = 0  # the fifth of nine taps
    assert conv(torch.zeros(1, 1, 4, 4), flow)[1].all()
    flow = torch.zeros(1, 18, 4, 4)
    flow[:, 8] = 1
    assert conv(torch.zeros(1, 1, 4, 4), flow)[1][0, 0].tolist() == [[True, True, True, False]] * 4


@pytest.mark.parametrize("size", [1, 3])
def test_gradients_of_features_flow_and_weight(size: int) -> None:
    conv, (features, _) = random_conv(2, size), random_input(2, 2, 2, 1)
    flow = 0.2 + 0.6 * torch.rand(1, 2 * size**2, 2, 2, generator=generator(5), dtype=torch.float64)  # no kinks
    features, flow = features[:1].requires_grad_(), flow.requires_grad_()

    def result(x: torch.Tensor, offsets: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(conv, {"weight": weight}, (x, offsets))[0]

    weight = conv.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(result, (features, flow, weight))


def test_its_only_parameters_are_the_weights() -> None:
    conv = FlowGuidedConv2d(6, kernel_size=5)
    assert {name: tuple(p.shape) for name, p in conv.named_parameters()} == {"weight": (6, 6, 5, 5)}
    assert conv.weight.sum() == 6  # the identity at the centre tap, zero elsewhere
    assert torch.equal(conv.weight[:, :, 2, 2], torch.eye(6))
    assert "kernel_size=5" in repr(conv)


@pytest.mark.parametrize("size", [0, 2, 4, -1])
def test_even_kernels_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"kernel_size is {size}, allowed are odd numbers"):
        FlowGuidedConv2d(4, kernel_size=size)


def test_features_and_flows_that_do_not_fit_are_refused() -> None:
    conv = FlowGuidedConv2d(4)
    with pytest.raises(ValueError, match="features have 3 channels, this FG-Conv was built for 4"):
        conv(torch.zeros(1, 3, 5, 5), torch.zeros(1, 2, 5, 5))
    for shape in ((1, 4, 5, 5), (1, 50, 5, 5), (1, 18, 5, 4), (2, 18, 5, 5)):
        with pytest.raises(ValueError, match=r"need \(1, 2 or 18, 5, 5\)"):
            conv(torch.zeros(1, 4, 5, 5), torch.zeros(shape))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_is_the_same() -> None:
    """`torch.compile` of the whole layer, in one graph: output, mask and every gradient."""
    torch.manual_seed(0)
    layer = FlowGuidedConv2d(64, kernel_size=3)  # more channels than are sampled at once
    torch.nn.init.normal_(layer.weight)
    features, upstream = torch.randn(2, 64, 9, 11, requires_grad=True), torch.randn(2, 64, 9, 11)
    flow_px = (3 * torch.randn(2, 18, 9, 11)).requires_grad_()

    def results(function: Callable[..., tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
        warped, valid = function(features, flow_px)
        return warped, valid, *torch.autograd.grad(warped, (features, flow_px, layer.weight), upstream)

    for compiled, eager in zip(results(torch.compile(layer, fullgraph=True)), results(layer), strict=True):
        largest = eager.abs().max() if eager.is_floating_point() else 1
        torch.testing.assert_close(compiled / largest, eager / largest, rtol=0, atol=1e-5)
