"""Section 3.2: the flow refinement module (FRM)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from dwnet.ops.normalise import ImageNetNormalise
from dwnet.ops.resize import resize_flow

STRIDE = 8


class FlowRefinement(nn.Module):
    """Section 3.2: four 3x3 convolutions that turn the coarse flow into one flow per tap of the FG-Conv, at stride 8.

    The input is the paper's: both frames, their difference and the coarse flow (3 + 3 + 3 + 2 = 11 channels). The paper
    does not give the scales of the channels. Here the frames are normalised (ImageNet) and the flow is in pixels of the
    stride-8 output map, so that all channels are of order 1.

    Args:
        kernel_size: s of the FG-Conv; the output has 2 s^2 channels.
        residual: True adds the last layer's output to the coarse flow. That layer starts at zero, so that training
            starts from the coarse flow. False uses the output as the refined flow, as in the paper.
    """

    def __init__(self, *, kernel_size: int = 3, residual: bool = True) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.residual = residual
        self.normalise = ImageNetNormalise()
        widths = (11, 64, 128, 256)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)
        self.flow = nn.Conv2d(widths[-1], 2 * kernel_size**2, 3, padding=1)
        if residual:
            nn.init.zeros_(self.flow.weight)
        else:
            nn.init.normal_(self.flow.weight, std=1e-3)
        nn.init.zeros_(self.flow.bias)  # type: ignore[arg-type]

    def forward(self, frame: Tensor, neighbour: Tensor, flow_px: Tensor) -> Tensor:
        """Refines the coarse flow.

        Args:
            frame: I_t, (B, 3, H, W) float, RGB, 0..1.
            neighbour: I_{t+k}, of the same shape.
            flow_px: the coarse flow O from t to t+k, (B, 2, H, W) float, in pixels of the image.

        Returns:
            (B, 2 s^2, ceil(H / 8), ceil(W / 8)) float32: a flow (dx, dy) per tap, in pixels of this stride-8 map.
        """
        frame, neighbour = self.normalise(frame), self.normalise(neighbour)
        inputs = torch.cat((frame, neighbour, frame - neighbour, flow_px / STRIDE), dim=1)
        refined = self.flow(self.layers(inputs))
        refined = refined.to(torch.promote_types(refined.dtype, torch.float32))
        if self.residual:
            coarse = resize_flow(flow_px.to(refined.dtype), (refined.shape[-2], refined.shape[-1]))
            refined = refined + coarse.repeat(1, self.kernel_size**2, 1, 1)
        return refined


def centre_tap(flow_px: Tensor) -> Tensor:
    """Returns the middle tap (B, 2, H, W) of per-tap flows (B, 2 s^2, H, W), for overlays and end-point errors."""
    middle = flow_px.shape[1] // 4  # s^2 // 2
    return flow_px[:, 2 * middle : 2 * middle + 2]
