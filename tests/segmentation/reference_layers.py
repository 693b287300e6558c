"""A convolution block in loops, for the tests of the networks."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

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


def random_norms(module: nn.Module) -> None:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5)
