"""ASPP agrees with a pixel-by-pixel reference, and its rates depend on the output stride."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from dwnet.segmentation import DeepLabV3Plus, NetworkSpec
from dwnet.segmentation.deeplabv3plus import ASPP
from dwnet.segmentation.heads import separable_conv_bn_relu
from tests.segmentation.reference_layers import random_norms, unit

Array = NDArray[np.float64]


def aspp_loop(x: Array, aspp: ASPP) -> Array:
    plain, *atrous = aspp.branches
    maps = [unit(x, plain)]
    maps += [unit(unit(x, branch.get_submodule("0")), branch.get_submodule("1")) for branch in atrous]
    mean = unit(x.mean(axis=(1, 2), keepdims=True), aspp.image_pooling)
    maps.append(np.broadcast_to(mean, (len(mean), *x.shape[1:])))
    return unit(np.concatenate(maps), aspp.project)


def test_aspp_is_the_references() -> None:
    torch.manual_seed(0)
    aspp = ASPP(5, 4, rates=(1, 2, 3)).double().eval()
    random_norms(aspp)
    x = torch.randn(1, 5, 6, 7, dtype=torch.float64)
    found = aspp(x)[0].detach().numpy()
    np.testing.assert_allclose(found, aspp_loop(x[0].numpy(), aspp), atol=1e-12)
    assert found.std() > 0.01


def test_aspp_by_hand() -> None:
    """All weights are 1, without norms: a single 1 spreads by the rate of the 3x3 branch, the mean is everywhere."""
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


@pytest.mark.parametrize(("stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_rates_double_at_output_stride_8(stride: int, rates: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = NetworkSpec(segmenter="deeplabv3plus", backbone="resnet50", output_stride=stride).build(19)
    assert isinstance(network, DeepLabV3Plus)
    assert network.aspp.rates == rates
    dilations = [branch.get_submodule("0.0").dilation for branch in network.aspp.branches[1:]]
    assert dilations == [(rate, rate) for rate in rates]
    assert (network.channels, network.stride, network.multiple) == (256, 4, stride)
