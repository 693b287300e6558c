"""The five networks inside FlowNet2 (Ilg et al., CVPR 2017): FlowNetC, FlowNetS (twice), FlowNetSD and the fusion.

Tensor names and shapes are those of NVIDIA's published PyTorch checkpoint. Every network is an encoder and a
`_Decoder`, which refines a flow from coarse to fine.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwnet.ops.correlation import correlation

SLOPE = 0.1
"""Negative slope of every leaky ReLU."""

_DECODED = {5: (512, 512), 4: (512, 256), 3: (256, 128), 2: (128, 64)}


def conv(inputs: int, outputs: int, *, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Returns a convolution that divides the size by `stride`, and a leaky ReLU."""
    layer = nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2)
    return nn.Sequential(layer, nn.LeakyReLU(SLOPE, inplace=True))


def deconv(inputs: int, outputs: int) -> nn.Sequential:
    """Returns a transposed convolution that doubles the size, and a leaky ReLU."""
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE, inplace=True))


class _Decoder(nn.Module):
    """The decoder: at each level it upsamples the coarser flow and features and joins them with the encoder's features.

    Args:
        top: channels of the coarsest features.
        levels: from coarse to fine, by level (stride 2^level): channels of the encoder's features and of the upsampled
            features.
        smooth: whether a convolution without activation precedes the flow prediction of each of these levels.
        upsampling_bias: whether the layers that upsample flows have a bias.
    """

    def __init__(self, *, top: int, levels: Mapping[int, tuple[int, int]], smooth: bool, upsampling_bias: bool) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.smooth = smooth
        self.add_module(f"predict_flow{self.levels[0] + 1}", nn.Conv2d(top, 2, 3, padding=1))
        inputs = top
        for level, (skip, upsampled) in levels.items():
            self.add_module(f"deconv{level}", deconv(inputs, upsampled))
            self.add_module(
                f"upsampled_flow{level + 1}_to_{level}", nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=upsampling_bias)
            )
            inputs = skip + upsampled + 2
            if smooth:
                self.add_module(f"inter_conv{level}", nn.Sequential(nn.Conv2d(inputs, upsampled, 3, padding=1)))
            self.add_module(f"predict_flow{level}", nn.Conv2d(upsampled if smooth else inputs, 2, 3, padding=1))

    def decode(self, top: Tensor, skips: Mapping[int, Tensor]) -> Tensor:
        """Returns the flow at the finest level (B, 2, h, w) for the coarsest features and the encoder's by level."""
        part = self.get_submodule
        features, flow = top, part(f"predict_flow{self.levels[0] + 1}")(top)
        for level in self.levels:
            upsampled_flow = part(f"upsampled_flow{level + 1}_to_{level}")(flow)
            features = torch.cat((skips[level], part(f"deconv{level}")(features), upsampled_flow), dim=1)
            smoothed = part(f"inter_conv{level}")(features) if self.smooth else features
            flow = part(f"predict_flow{level}")(smoothed)
        return flow


class _DeepNetwork(_Decoder):
    """The shared part of FlowNetC, FlowNetS and FlowNetSD: strides 16, 32 and 64, and the decoder up to stride 4."""

    def __init__(self, *, smooth: bool, upsampling_bias: bool) -> None:
        super().__init__(top=1024, levels=_DECODED, smooth=smooth, upsampling_bias=upsampling_bias)
        self.conv4 = conv(256, 512, stride=2)
        self.conv4_1 = conv(512, 512)
        self.conv5 = conv(512, 512, stride=2)
        self.conv5_1 = conv(512, 512)
        self.conv6 = conv(512, 1024, stride=2)
        self.conv6_1 = conv(1024, 1024)

    def deep_flow(self, features2: Tensor, features3: Tensor) -> Tensor:
        """Returns the flow at stride 4 for the features at strides 4 and 8."""
        features4 = self.conv4_1(self.conv4(features3))
        features5 = self.conv5_1(self.conv5(features4))
        features6 = self.conv6_1(self.conv6(features5))
        return self.decode(features6, {5: features5, 4: features4, 3: features3, 2: features2})


class FlowNetC(_DeepNetwork):
    """Correlates the features of both frames at stride 8."""

    def __init__(self) -> None:
        super().__init__(smooth=False, upsampling_bias=True)
        self.conv1 = conv(3, 64, kernel_size=7, stride=2)
        self.conv2 = conv(64, 128, kernel_size=5, stride=2)
        self.conv3 = conv(128, 256, kernel_size=5, stride=2)
        self.conv_redir = conv(256, 32, kernel_size=1)
        self.conv3_1 = conv(32 + 441, 256)

    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:
        """Returns the flow (B, 2, H / 4, W / 4) in units of 20 px for two frames (B, 3, H, W)."""
        features2 = self.conv2(self.conv1(torch.cat((frame, neighbour))))
        features3, neighbour3 = self.conv3(features2).chunk(2)
        matches = F.leaky_relu(correlation(features3, neighbour3), SLOPE)
        merged = self.conv3_1(torch.cat((self.conv_redir(features3), matches), dim=1))
        return self.deep_flow(features2.chunk(2)[0], merged)


class FlowNetS(_DeepNetwork):
    """Refines a flow, given both frames, the warped neighbour, the flow and its remaining error."""

    def __init__(self) -> None:
        super().__init__(smooth=False, upsampling_bias=False)
        self.conv1 = conv(12, 64, kernel_size=7, stride=2)
        self.conv2 = conv(64, 128, kernel_size=5, stride=2)
        self.conv3 = conv(128, 256, kernel_size=5, stride=2)
        self.conv3_1 = conv(256, 256)

    def forward(self, stacked: Tensor) -> Tensor:
        """Returns the flow (B, 2, H / 4, W / 4) in units of 20 px for (B, 12, H, W)."""
        features2 = self.conv2(self.conv1(stacked))
        return self.deep_flow(features2, self.conv3_1(self.conv3(features2)))


class FlowNetSD(_DeepNetwork):
    """The network for small displacements: 3x3 kernels only, and smoothed flows."""

    def __init__(self) -> None:
        super().__init__(smooth=True, upsampling_bias=True)
        self.conv0 = conv(6, 64)
        self.conv1 = conv(64, 64, stride=2)
        self.conv1_1 = conv(64, 128)
        self.conv2 = conv(128, 128, stride=2)
        self.conv2_1 = conv(128, 128)
        self.conv3 = conv(128, 256, stride=2)
        self.conv3_1 = conv(256, 256)

    def forward(self, both: Tensor) -> Tensor:
        """Returns the flow (B, 2, H / 4, W / 4) in units of 1/20 px for both frames (B, 6, H, W)."""
        features1 = self.conv1_1(self.conv1(self.conv0(both)))
        features2 = self.conv2_1(self.conv2(features1))
        return self.deep_flow(features2, self.conv3_1(self.conv3(features2)))


class FlowNetFusion(_Decoder):
    """Merges the flows for large and for small displacements, at full resolution."""

    def __init__(self) -> None:
        super().__init__(top=128, levels={1: (128, 32), 0: (64, 16)}, smooth=True, upsampling_bias=True)
        self.conv0 = conv(11, 64)
        self.conv1 = conv(64, 64, stride=2)
        self.conv1_1 = conv(64, 128)
        self.conv2 = conv(128, 128, stride=2)
        self.conv2_1 = conv(128, 128)

    def forward(self, stacked: Tensor) -> Tensor:
        """Returns the flow (B, 2, H, W) in pixels for (B, 11, H, W)."""
        features0 = self.conv0(stacked)
        features1 = self.conv1_1(self.conv1(features0))
        features2 = self.conv2_1(self.conv2(features1))
        return self.decode(features2, {1: features1, 0: features0})
