"""DeepLabV3+'s decoder (Chen et al., ECCV 2018, Fig. 2): context at stride 4, concatenated with the backbone's map."""

import torch
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.ops.resize import resize
from dwnet.segmentation.backbone import Backbone
from dwnet.segmentation.heads import conv_bn_relu, separable_conv_bn_relu

LOW_LEVEL_STRIDE = 4
"""Image pixels per pixel of F_t and of the backbone's low-level map (the paper's Conv2)."""
LOW_LEVEL_CHANNELS = 48
"""Channels of the reduced low-level map (the paper's Table 1)."""


class Decoder(nn.Module):
    """The context map at stride 4, concatenated with the reduced low-level map, and two separable 3x3 convolutions.

    Args:
        backbone: its map of stride 4 is the low-level map.
        in_channels: channels of the context map.
        out_channels: channels of the result, F_t.

    Raises:
        DWNetError: if the backbone has no map of stride 4.
    """

    def __init__(self, backbone: Backbone, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if LOW_LEVEL_STRIDE not in backbone.strides:
            raise DWNetError(
                f"the backbone's maps have strides {backbone.strides}, a decoder needs stride {LOW_LEVEL_STRIDE}"
            )
        self.low_level_stage = backbone.strides.index(LOW_LEVEL_STRIDE)
        self.low_level = conv_bn_relu(backbone.channels[self.low_level_stage], LOW_LEVEL_CHANNELS, 1)
        self.convolutions = nn.Sequential(
            separable_conv_bn_relu(in_channels + LOW_LEVEL_CHANNELS, out_channels),
            separable_conv_bn_relu(out_channels, out_channels),
        )

    def forward(self, context: Tensor, stages: list[Tensor]) -> Tensor:
        """Returns F_t (B, out_channels, H / 4, W / 4) for the context (B, in_channels, h, w) and the stages."""
        low_level = self.low_level(stages[self.low_level_stage])
        # Autocast resizes in float32. Concatenation would then convert the low-level map too.
        context = resize(context, (low_level.shape[-2], low_level.shape[-1])).to(low_level.dtype)
        return self.convolutions(torch.cat([context, low_level], dim=1))
