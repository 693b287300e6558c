"""Eq. 2-3: the flow-guided convolution (FG-Conv), a warp with learnable weights."""

import torch
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.ops.warp import inside, pixel_grid, sample


class FlowGuidedConv2d(nn.Module):
    """Eq. 2-3: y[i] = sum over p of w[p] x[i + p + flow_p[i]], an s x s convolution that samples along the flow.

    Deviation: the paper writes `i + p - dp`. Section 3.2 defines x' = x + dx, so with this library's one flow direction
    (from t to t+k) the sample lies at `i + p + flow`.

    The weights start as the identity at the centre tap: an untrained FG-Conv is exactly the warp of Eq. 1.

    Args:
        channels: C, of the input and of the output.
        kernel_size: s, odd. Taps are counted row by row from p = (x, y) = (-(s // 2), -(s // 2)); x changes fastest.

    Raises:
        DWNetError: for a kernel size that is even or below 1.
    """

    def __init__(self, channels: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise DWNetError(f"kernel_size is {kernel_size}, allowed are odd numbers from 1")
        self.channels = channels
        self.kernel_size = kernel_size
        self.weight = nn.Parameter(torch.zeros(channels, channels, kernel_size, kernel_size))
        with torch.no_grad():
            nn.init.eye_(self.weight[:, :, kernel_size // 2, kernel_size // 2])

    def forward(self, features: Tensor, flow_px: Tensor) -> tuple[Tensor, Tensor]:
        """Warps the neighbour's features onto frame t.

        Args:
            features: (B, C, H, W) float, F_{t+k}.
            flow_px: (B, 2 s^2, H, W), a flow (dx, dy) per tap, or (B, 2, H, W), one flow for all taps; in pixels of
                the map.

        Returns:
            F^_t (B, C, H, W), and the validity mask (B, 1, H, W) bool, False where the centre tap lies outside the map.
            Taps outside the map read 0, as in a zero-padded convolution.

        Raises:
            DWNetError: if the shapes do not fit.
        """
        batch, channels, height, width = features.shape
        taps = self.kernel_size**2
        if channels != self.channels:
            raise DWNetError(f"features have {channels} channels, this FG-Conv was built for {self.channels}")
        if flow_px.shape not in ((batch, 2, height, width), (batch, 2 * taps, height, width)):
            raise DWNetError(
                f"flow has shape {tuple(flow_px.shape)}, features of {height} x {width} and s = {self.kernel_size} "
                f"need ({batch}, 2 or {2 * taps}, {height}, {width})"
            )
        reach = self.kernel_size // 2
        # p of Eq. 3: a row (x, y) for each tap, starting at (-reach, -reach).
        p = pixel_grid(self.kernel_size, self.kernel_size, device=features.device).flatten(1).T - reach
        flows = flow_px.reshape(batch, -1, 2, height, width)
        i = pixel_grid(height, width, device=features.device)
        positions = i + p[:, :, None, None] + flows  # (B, s^2, 2, H, W)
        # One sampling and one matrix product for all taps.
        stacked = positions.transpose(1, 2).reshape(batch, 2, taps * height, width)
        sampled = sample(features, stacked).reshape(batch, channels * taps, height * width)
        warped = self.weight.flatten(1).to(sampled.dtype) @ sampled
        valid = inside(positions[:, taps // 2], height, width)
        return warped.reshape(batch, channels, height, width), valid

    def extra_repr(self) -> str:
        """Returns the numbers that `print(module)` shows."""
        return f"{self.channels}, kernel_size={self.kernel_size}"
