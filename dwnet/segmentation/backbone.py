"""Backbones: timm's feature networks, dilated to an output stride, with constant padding so that they export."""

from pathlib import Path

import timm
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.ops.normalise import ImageNetNormalise
from dwnet.segmentation.pretrained import load_backbone_weights

BACKBONES = {
    "mobilenetv2": "mobilenetv2_100",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "efficientnet_lite0": "tf_efficientnet_lite0",
}
"""Short names, and the timm model each stands for. Any other timm feature network works by its timm name."""


class Backbone(nn.Module):
    """A timm feature network: an image to the maps of its stages.

    Args:
        name: a key of `BACKBONES`, or the name of any timm model that offers `features_only` and dilation.
        output_stride: 8 or 16; later stages are dilated instead of strided.
        weights: "imagenet" (see `dwnet.segmentation.pretrained`), "none", or a weight file.

    Attributes:
        channels: channels of each stage's map.
        strides: image pixels per pixel of each stage's map.

    Raises:
        ValueError: for an unknown name, stride or weight file.
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
        _make_padding_constant(self.network)
        self.normalise = ImageNetNormalise()
        self.channels: tuple[int, ...] = tuple(self.network.feature_info.channels())
        self.strides: tuple[int, ...] = tuple(self.network.feature_info.reduction())

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) RGB 0..1, H and W multiples of the last stride, to one map a stage, first to last."""
        return self.network(self.normalise(image))


class ConstantSameConv2d(nn.Conv2d):
    """TensorFlow's 'same' convolution for inputs whose size is a multiple of the stride, where its padding is constant.

    timm computes that padding from each input's size, in Python, which no dynamic ONNX export survives.
    """

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        pad: list[int] = []
        for axis in (1, 0):  # F.pad counts from the last axis
            total = max((self.kernel_size[axis] - 1) * self.dilation[axis] + 1 - self.stride[axis], 0)
            pad += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pad), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _make_padding_constant(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, Conv2dSame):
            module.__class__ = ConstantSameConv2d
