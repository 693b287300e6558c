"""Eq. 1: warping a map along the flow. All other modules sample maps by `sample`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dwnet.core.errors import DWNetError

GROUP_CHANNELS = 32
"""Channels sampled together on a CPU."""


def pixel_grid(height: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Returns the pixel coordinates of an H x W map.

    Returns:
        (2, H, W) float32: channel 0 = x (0 .. W-1), channel 1 = y (0 .. H-1).
    """
    ys = torch.arange(height, device=device, dtype=torch.float32)
    xs = torch.arange(width, device=device, dtype=torch.float32)
    return torch.stack((xs.expand(height, width), ys[:, None].expand(height, width)))


def sample(source: Tensor, positions_px: Tensor) -> Tensor:
    """Returns bilinear samples of a map at real-valued pixel positions; the map is 0 outside.

    Args:
        source: (B, C, H, W) float.
        positions_px: (B, 2, h, w) float, (x, y) in pixels of `source`.

    Returns:
        (B, C, h, w) in the dtype of `source`.
    """
    height, width = source.shape[-2:]
    # Positions stay in float32 (or better) under autocast: bf16 cannot represent pixel 301.
    wide = torch.promote_types(torch.promote_types(positions_px.dtype, source.dtype), torch.float32)
    positions = positions_px.to(wide)
    grid_x = (2 * positions[:, 0] + 1) / width - 1
    grid_y = (2 * positions[:, 1] + 1) / height - 1
    grid = torch.stack((grid_x, grid_y), dim=-1)
    batch, channels = source.shape[:2]
    groups = _channel_groups(source)
    sampled = F.grid_sample(
        _contiguous_on_gpu(source.to(wide)).reshape(batch * groups, channels // groups, height, width),
        grid.repeat_interleave(groups, dim=0) if groups > 1 else grid,
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    return sampled.reshape(batch, channels, *positions.shape[2:]).to(source.dtype)


def _contiguous_on_gpu(source: Tensor) -> Tensor:
    """Returns the map in contiguous order on a GPU: its kernel goes through the channels one by one.

    On a CPU, `reshape` to the channel groups does this. An export must not ask for it: it would fix the map's size.
    """
    return source if source.device.type == "cpu" else source.contiguous()


def _channel_groups(source: Tensor) -> int:
    """Returns the number of channel groups that are sampled as separate images.

    PyTorch's CPU kernel parallelises over images only. An image of many channels would run on one thread, with long
    memory strides.
    """
    channels = source.shape[1]
    alone = source.device.type != "cpu" or torch.compiler.is_exporting()
    return 1 if alone or channels % GROUP_CHANNELS else channels // GROUP_CHANNELS


def inside(positions_px: Tensor, height: int, width: int) -> Tensor:
    """Returns which positions lie within the pixel centres of an H x W map.

    Args:
        positions_px: (B, 2, h, w) float, (x, y) in pixels.
        height: H, in pixels.
        width: W, in pixels.

    Returns:
        (B, 1, h, w) bool.
    """
    x, y = positions_px[:, :1], positions_px[:, 1:]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def warp(source: Tensor, flow_px: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 1: F^_t = warp(F_{t+k}, O). Samples the neighbour's map at the positions that the flow points to.

    Args:
        source: (B, C, H, W) float, the neighbour's map F_{t+k}.
        flow_px: (B, 2, H, W) float, from t to t+k, in pixels of this map; `resize_flow` converts a flow to it.

    Returns:
        The warped map (B, C, H, W), and its validity mask (B, 1, H, W) bool, False where the flow leaves the map. The
        map is 0 outside.

    Raises:
        DWNetError: if the flow and the map differ in batch or size.
    """
    if source.ndim != 4 or flow_px.shape != (source.shape[0], 2, *source.shape[2:]):
        raise DWNetError(
            f"flow has shape {tuple(flow_px.shape)} and the map {tuple(source.shape)}, allowed are (B, 2, H, W) for a "
            "map of (B, C, H, W)"
        )
    height, width = source.shape[-2:]
    positions = pixel_grid(height, width, device=source.device) + flow_px
    return sample(source, positions), inside(positions, height, width)
