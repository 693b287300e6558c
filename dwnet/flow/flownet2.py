"""FlowNet2 (Ilg et al., CVPR 2017) in pure PyTorch, for the weights that NVIDIA publishes."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.flow.flownet2_networks import FlowNetC, FlowNetFusion, FlowNetS, FlowNetSD
from dwnet.flow.network import NetworkFlow, load_flow_weights
from dwnet.ops.warp import pixel_grid, sample

FLOW_UNIT = 20.0
"""FlowNetC and FlowNetS return flows in units of 20 px, FlowNetSD in units of 1/20 px."""

NOT_DOWNLOADED = (
    "FlowNet2's published weights cannot be downloaded automatically: NVIDIA distributes FlowNet2_checkpoint.pth.tar "
    "under its own licence, through the Google Drive link in the README of github.com/NVIDIA/flownet2-pytorch. Give "
    "the path of that file"
)


class FlowNet2(nn.Module):
    """The complete network: 162,518,834 parameters in 220 tensors, named as in NVIDIA's checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.flownetc = FlowNetC()
        self.flownets_1 = FlowNetS()
        self.flownets_2 = FlowNetS()
        self.flownets_d = FlowNetSD()
        self.flownetfusion = FlowNetFusion()

    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:
        """Returns the flow from `frame` to `neighbour`.

        Args:
            frame: (B, 3, H, W) float, from `subtract_mean`; H and W are multiples of 64.
            neighbour: of the same shape.

        Returns:
            (B, 2, H, W), (dx, dy) in pixels.
        """
        coarse = _four_times(self.flownetc(frame, neighbour) * FLOW_UNIT, mode="bilinear")
        better = self.flownets_1(_with_error(frame, neighbour, coarse)) * FLOW_UNIT
        # The first two upsamplings are bilinear, the others nearest, as in the training of NVIDIA's weights.
        large = self.flownets_2(_with_error(frame, neighbour, _four_times(better, mode="bilinear"))) * FLOW_UNIT
        large = _four_times(large, mode="nearest")
        small = self.flownets_d(torch.cat((frame, neighbour), dim=1)) / FLOW_UNIT
        small = _four_times(small, mode="nearest")
        lengths = [channel_norm(flow) for flow in (small, large)]
        errors = [channel_norm(frame - resample(neighbour, flow)) for flow in (small, large)]
        return self.flownetfusion(torch.cat((frame, small, large, *lengths, *errors), dim=1))


class FlowNet2Flow(NetworkFlow):
    """FlowNet2 as a flow estimator, for images of any size.

    Args:
        weights: "none" (random), or a file: NVIDIA's FlowNet2_checkpoint.pth.tar, or a state dict with the same names
            (.pth or .safetensors). "published" raises an error that names the source of NVIDIA's file.
        trainable: whether it is trained jointly.

    Raises:
        DWNetError: for "published", or a file that is missing, unreadable or of another network.
    """

    multiple = 64
    min_side_px = 64

    def __init__(self, *, weights: str | Path = "published", trainable: bool = False) -> None:
        if str(weights) == "published":
            raise DWNetError(NOT_DOWNLOADED)
        if str(weights) == "none":
            network = FlowNet2()
        else:
            with torch.device("meta"):  # 620 MB: no random initialisation, no second copy
                network = FlowNet2()
            load_flow_weights(network, weights, name="FlowNet2", words="'none'")
        super().__init__(network, trainable=trainable)

    def normalise(self, frame: Tensor, neighbour: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        return subtract_mean(frame, neighbour)

    def estimate(self, frame: Tensor, neighbour: Tensor) -> Tensor:  # noqa: D102
        return self.network(frame, neighbour)


def subtract_mean(frame: Tensor, neighbour: Tensor) -> tuple[Tensor, Tensor]:
    """Returns FlowNet2's input: both frames minus the mean of each channel over both.

    NVIDIA's code takes images of 0..255 and divides the result by 255. For images of 0..1 both factors cancel.

    Args:
        frame: (B, 3, H, W) float, RGB, 0..1.
        neighbour: of the same shape.
    """
    mean = (frame.mean(dim=(2, 3), keepdim=True) + neighbour.mean(dim=(2, 3), keepdim=True)) / 2
    return frame - mean, neighbour - mean


def resample(source: Tensor, flow_px: Tensor) -> Tensor:
    """Returns bilinear samples of `source` along the flow, as NVIDIA's Resample2d; the border repeats outside.

    Args:
        source: (B, C, H, W) float.
        flow_px: (B, 2, H, W) float, in pixels.

    Returns:
        (B, C, H, W). Flow vectors that leave the image get no gradient.
    """
    height, width = source.shape[-2:]
    positions = pixel_grid(height, width, device=source.device) + flow_px
    x, y = positions[:, :1].clamp(0, width - 1), positions[:, 1:].clamp(0, height - 1)
    # One more row and column on each side, because `sample` interpolates with 0 beyond the border.
    return sample(F.pad(source, (1, 1, 1, 1), mode="replicate"), torch.cat((x, y), dim=1) + 1)


def channel_norm(source: Tensor) -> Tensor:
    """Returns each pixel's L2 norm, (B, C, H, W) to (B, 1, H, W), as NVIDIA's ChannelNorm; its gradient at 0 is 0."""
    return torch.linalg.vector_norm(source, dim=1, keepdim=True)


def _four_times(flow_px: Tensor, *, mode: str) -> Tensor:
    """Returns the flow at four times the size, in the same unit."""
    return F.interpolate(flow_px, scale_factor=4, mode=mode)


def _with_error(frame: Tensor, neighbour: Tensor, flow_px: Tensor) -> Tensor:
    """Returns FlowNetS's input (B, 12, H, W): both frames, the warped neighbour, the flow and its error."""
    warped = resample(neighbour, flow_px)
    return torch.cat((frame, neighbour, warped, flow_px / FLOW_UNIT, channel_norm(frame - warped)), dim=1)
