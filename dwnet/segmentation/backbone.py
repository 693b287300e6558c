"""Backbones: timm's feature networks, dilated to an output stride, with constant padding for dynamic ONNX exports."""

from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.ops.modules import replace_modules
from dwnet.ops.normalise import ImageNetNormalise
from dwnet.segmentation.pretrained import load_backbone_weights

BACKBONES = {
    "mobilenetv2": "mobilenetv2_100",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "efficientnet_lite0": "tf_efficientnet_lite0",
}
"""Short names and their timm models. Other timm feature networks are chosen by their timm name."""


class Backbone(nn.Module):
    """A timm feature network: returns the maps of its stages for an image.

    Args:
        name: a key of `BACKBONES`, or the name of any timm model that offers `features_only` and dilation.
        output_stride: 8 or 16; later stages are dilated instead of strided.
        weights: "imagenet" (see `dwnet.segmentation.pretrained`), "none", or a weight file.

    Attributes:
        channels: channels of each stage's map.
        strides: image pixels per pixel of each stage's map.

    Raises:
        DWNetError: for an unknown name, stride or weight file.
    """

    def __init__(self, name: str, *, output_stride: int = 16, weights: str | Path = "none") -> None:
        super().__init__()
        if output_stride not in (8, 16):
            raise DWNetError(f"output_stride is {output_stride}, allowed are 8 and 16")
        timm_name = BACKBONES.get(name, name)
        if not timm.is_model(timm_name):
            near = ", ".join(timm.list_models(f"*{name[:8]}*")[:5]) or "none"
            raise DWNetError(
                f"unknown backbone {name!r}, allowed are {', '.join(BACKBONES)} and timm models (near: {near})"
            )
        try:
            self.network = timm.create_model(timm_name, features_only=True, output_stride=output_stride)
        except (TypeError, RuntimeError, NotImplementedError, AttributeError, AssertionError) as error:
            raise DWNetError(
                f"timm's {timm_name} gives no features at output stride {output_stride}: {error}"
            ) from error
        load_backbone_weights(self.network, timm_name, weights)
        replace_modules(self.network, _constant_padding)
        self.normalise = ImageNetNormalise()
        self.channels: tuple[int, ...] = tuple(self.network.feature_info.channels())
        self.strides: tuple[int, ...] = tuple(self.network.feature_info.reduction())

    def forward(self, image: Tensor) -> list[Tensor]:
        """Returns one map per stage for (B, 3, H, W) RGB 0..1; H and W are multiples of the last stride."""
        return self.network(self.normalise(image))


class ConstantSameConv2d(nn.Conv2d):
    """TensorFlow's 'same' convolution for inputs whose size is a multiple of the stride: the padding is a constant.

    timm computes the padding from each input's size in Python, which a dynamic ONNX export would freeze.
    """

    @classmethod
    def from_timm(cls, convolution: Conv2dSame) -> "ConstantSameConv2d":
        """Returns the same convolution. It shares the parameters of timm's."""
        with torch.device("meta"):  # draws no random numbers
            constant = cls(
                convolution.in_channels,
                convolution.out_channels,
                convolution.kernel_size,
                convolution.stride,
                dilation=convolution.dilation,
                groups=convolution.groups,
                bias=convolution.bias is not None,
            )
        constant.weight, constant.bias = convolution.weight, convolution.bias
        return constant

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        pad: list[int] = []
        for axis in (1, 0):  # F.pad counts from the last axis
            total = max((self.kernel_size[axis] - 1) * self.dilation[axis] + 1 - self.stride[axis], 0)
            pad += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pad), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _constant_padding(module: nn.Module) -> nn.Module | None:
    return ConstantSameConv2d.from_timm(module) if isinstance(module, Conv2dSame) else None
