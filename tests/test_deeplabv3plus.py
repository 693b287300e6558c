"""ASPP is what a pixel-by-pixel reference computes, the decoder lies at stride 4, rates follow the output stride."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from references import resize_loop
from torch import nn

from dwnet.segmentation import Backbone, DeepLabV3Plus, NetworkSpec
from dwnet.segmentation.deeplabv3plus import ASPP
from dwnet.segmentation.heads import separable_conv_bn_relu

Array = NDArray[np.float64]


def unit(x: Array, layers: nn.Module) -> Array:
    """Convolution (per group), batch norm with its running statistics, ReLU, in loops over pixels and taps."""
    convolution, norm = layers.get_submodule("0"), layers.get_submodule("1")
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    weight = convolution.weight.detach().numpy()
    size, dilation, groups = weight.shape[-1], convolution.dilation[0], convolution.groups
    _, height, width = x.shape
    result = np.zeros((len(weight), height, width))
    for out in range(len(weight)):
        group = out // (len(weight) // groups)
        inputs = x[group * weight.shape[1] : (group + 1) * weight.shape[1]]
        for row in range(height):
            for column in range(width):
                for i in range(size):
                    for j in range(size):
                        y, z = row + (i - size // 2) * dilation, column + (j - size // 2) * dilation
                        if 0 <= y < height and 0 <= z < width:
                            result[out, row, column] += weight[out, :, i, j] @ inputs[:, y, z]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, var, scale, shift = (
        t.detach().numpy()[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return np.maximum((result - mean) / np.sqrt(var + norm.eps) * scale + shift, 0)


def aspp_loop(x: Array, aspp: ASPP) -> Array:
    plain, *atrous = aspp.branches
    maps = [unit(x, plain)]
    maps += [unit(unit(x, branch.get_submodule("0")), branch.get_submodule("1")) for branch in atrous]
    mean = unit(x.mean(axis=(1, 2), keepdims=True), aspp.image_pooling)
    maps.append(np.broadcast_to(mean, (len(mean), *x.shape[1:])))
    return unit(np.concatenate(maps), aspp.project)


def random_norms(module: nn.Module) -> None:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5)


def test_aspp_is_the_references() -> None:
    torch.manual_seed(0)
    aspp = ASPP(5, 4, rates=(1, 2, 3)).double().eval()
    random_norms(aspp)
    x = torch.randn(1, 5, 6, 7, dtype=torch.float64)
    found = aspp(x)[0].detach().numpy()
    np.testing.assert_allclose(found, aspp_loop(x[0].numpy(), aspp), atol=1e-12)
    assert found.std() > 0.01


def test_aspp_by_hand() -> None:
    """All weights 1, norms off: a lone 1 reaches each 3x3 branch where its rate says, and the mean everywhere."""
    aspp = ASPP(1, 1, rates=(2,)).double().eval()
    for module in aspp.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    x = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    x[0, 0, 2, 2] = 1
    expected = np.full((5, 5), 1 / 25)
    expected[::2, ::2] += 1  # the 3x3 at rate 2
    expected[2, 2] += 1  # the 1x1
    np.testing.assert_allclose(aspp(x)[0, 0].detach().numpy(), expected, atol=1e-12)


def test_separable_is_depthwise_then_pointwise() -> None:
    torch.manual_seed(0)
    layers = separable_conv_bn_relu(3, 2, dilation=2).double().eval()
    random_norms(layers)
    depthwise = layers.get_submodule("0.0")
    assert isinstance(depthwise, nn.Conv2d)
    assert depthwise.weight.shape == (3, 1, 3, 3)
    x = torch.randn(1, 3, 5, 6, dtype=torch.float64)
    expected = unit(unit(x[0].numpy(), layers.get_submodule("0")), layers.get_submodule("1"))
    np.testing.assert_allclose(layers(x)[0].detach().numpy(), expected, atol=1e-12)


def test_the_decoder_joins_the_resized_context_and_the_low_level_map() -> None:
    torch.manual_seed(0)
    network = NetworkSpec(segmenter="deeplabv3plus", backbone="mobilenetv2", channels=4).build(3).double().eval()
    assert isinstance(network, DeepLabV3Plus)
    random_norms(network.get_submodule("decoder"))
    image = torch.rand(1, 3, 32, 48, dtype=torch.float64)
    with torch.no_grad():
        stages = network.backbone(image)
        context = resize_loop(network.aspp(stages[-1])[0].numpy(), (8, 12))
        low = unit(stages[1][0].numpy(), network.low_level)
        joined = np.concatenate([context, low])
        for layer in network.decoder:
            joined = unit(unit(joined, layer.get_submodule("0")), layer.get_submodule("1"))
        found = network.features(image)[0].numpy()
    assert low.shape == (48, 8, 12)
    np.testing.assert_allclose(found, joined, atol=1e-9 * joined.max())


@pytest.mark.parametrize(("stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_rates_double_at_output_stride_8(stride: int, rates: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = NetworkSpec(segmenter="deeplabv3plus", backbone="resnet50", output_stride=stride).build(19)
    assert isinstance(network, DeepLabV3Plus)
    assert network.aspp.rates == rates
    dilations = [branch.get_submodule("0.0").dilation for branch in network.aspp.branches[1:]]
    assert dilations == [(rate, rate) for rate in rates]
    assert (network.channels, network.stride, network.multiple) == (256, 4, stride)
    assert network.low_level.get_submodule("0").weight.shape == (48, 256, 1, 1)  # the paper's Conv2, 256 channels


def test_a_backbone_without_a_map_of_stride_4_is_refused() -> None:
    with torch.device("meta"):
        backbone = Backbone("mobilenetv2")
        backbone.strides = (2, 8, 16)
        with pytest.raises(ValueError, match=r"maps have strides \(2, 8, 16\), DeepLabV3\+ needs one of 4"):
            DeepLabV3Plus(backbone, num_classes=3)
