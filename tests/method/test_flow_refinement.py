"""Section 3.2: the refinement module has the paper's layers and inputs, its output is that of a loop over its weights,
and as a residual it starts from the coarse flow.
"""

import numpy as np
import pytest
import torch
from torch import nn

from dwnet.method.flow_refinement import FlowRefinement, centre_tap
from tests.references import frames, resize_loop

MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)


def conv_loop(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """A 3x3 convolution with padding 1, pixel by pixel."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    rows, columns = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    result = np.zeros((len(weight), rows, columns))
    for row in range(rows):
        for column in range(columns):
            patch = padded[:, row * stride : row * stride + 3, column * stride : column * stride + 3]
            result[:, row, column] = np.tensordot(weight, patch, axes=3)
    return result


def trained(size: int, *, residual: bool, seed: int = 0) -> FlowRefinement:
    """Returns a module whose parameters all differ from their initial values."""
    torch.manual_seed(seed)
    module = FlowRefinement(kernel_size=size, residual=residual).double().eval()
    with torch.no_grad():
        nn.init.normal_(module.flow.weight, std=0.05)
        nn.init.normal_(module.flow.bias)  # type: ignore[arg-type]
        for layer in module.layers:
            if isinstance(layer, nn.BatchNorm2d):
                for tensor in (layer.weight, layer.running_var):
                    assert tensor is not None
                    tensor.uniform_(0.5, 1.5)
                for tensor in (layer.bias, layer.running_mean):
                    assert tensor is not None
                    tensor.normal_(std=0.3)
    return module


@pytest.mark.parametrize("residual", [True, False])
def test_the_output_is_that_of_the_papers_four_layers(residual: bool) -> None:
    module = trained(3, residual=residual)
    first, second, flow = (tensor.double() for tensor in frames(1, 19, 24))
    a, b = (first[0].numpy() - MEAN) / STD, (second[0].numpy() - MEAN) / STD
    x = np.concatenate((a, b, a - b, flow[0].numpy() / 8))
    assert len(x) == 11
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    for layer in range(3):
        x = conv_loop(x, state[f"layers.{3 * layer}.weight"], stride=2)
        scale, shift, mean, variance = (
            state[f"layers.{3 * layer + 1}.{name}"][:, None, None]
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        x = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * scale + shift, 0)
    expected = conv_loop(x, state["flow.weight"], stride=1) + state["flow.bias"][:, None, None]
    assert expected.shape == (18, 3, 3)  # ceil(19 / 8), ceil(24 / 8)
    if residual:
        coarse = resize_loop(flow[0].numpy(), (3, 3)) * np.array([3 / 24, 3 / 19]).reshape(2, 1, 1)
        expected = expected + np.tile(coarse, (9, 1, 1))
    result = module(first, second, flow)
    assert result.dtype == torch.float64
    np.testing.assert_allclose(result[0].detach().numpy(), expected, atol=1e-6)  # mean and std are float32 constants


def test_layers_and_their_numbers_are_the_papers() -> None:
    module = FlowRefinement(kernel_size=3)
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in convolutions] == [
        (11, 64, (3, 3), (2, 2)),
        (64, 128, (3, 3), (2, 2)),
        (128, 256, (3, 3), (2, 2)),
        (256, 18, (3, 3), (1, 1)),
    ]
    by_hand = 9 * (11 * 64 + 64 * 128 + 128 * 256 + 256 * 18) + 2 * (64 + 128 + 256) + 18
    assert sum(p.numel() for p in module.parameters()) == by_hand
    assert [type(m).__name__ for m in module.layers] == ["Conv2d", "BatchNorm2d", "ReLU"] * 3


@pytest.mark.parametrize("size", [1, 3, 5])
def test_untrained_and_residual_every_tap_has_the_coarse_flow(size: int) -> None:
    module = FlowRefinement(kernel_size=size)
    first, second, _ = frames(2, 32, 40)
    flow = torch.tensor([8.0, -4.0]).reshape(1, 2, 1, 1).expand(2, 2, 32, 40)
    refined = module(first, second, flow)  # in training mode too
    assert refined.shape == (2, 2 * size**2, 4, 5)
    assert torch.allclose(refined.reshape(2, -1, 2, 4, 5), torch.tensor([1.0, -0.5]).reshape(1, 1, 2, 1, 1))


def test_not_residual_it_regresses_the_flow() -> None:
    torch.manual_seed(0)
    module = FlowRefinement(kernel_size=1, residual=False).eval()
    first, second, _ = frames(1, 32, 40)
    assert module(first, second, torch.full((1, 2, 32, 40), 80.0)).abs().max() < 1  # the coarse flow is an input only
    assert module.flow.weight.abs().max() > 0  # so that the layers before it get a gradient from the start


def test_gradients_of_the_frames_and_of_the_coarse_flow() -> None:
    module = trained(1, residual=True, seed=3)
    first, second, flow = (tensor.double() for tensor in frames(1, 8, 8))
    flow = flow.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: module(first, second, f), (flow,), eps=1e-7, atol=1e-5)
    first = first.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: module(f, second, flow.detach()), (first,), eps=1e-7, atol=1e-5)


def test_under_autocast_the_flow_stays_in_float32() -> None:
    module = FlowRefinement()
    flow = torch.full((2, 2, 32, 40), 3.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refined = module(*frames(2, 32, 40)[:2], flow)
    assert refined.dtype == torch.float32
    assert torch.allclose(refined, torch.tensor(3.3 / 8), atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_centre_tap(size: int) -> None:
    middle = size**2 // 2
    flow = torch.arange(2.0 * size**2).reshape(1, -1, 1, 1)
    assert centre_tap(flow).flatten().tolist() == [2 * middle, 2 * middle + 1]
