"""Bilinear resizing of maps and flows, with `align_corners=False`."""

import torch.nn.functional as F
from torch import Tensor


def resize(source: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns a (B, C, H, W) map resized bilinearly to `size` = (h, w), with `align_corners=False`."""
    if tuple(source.shape[-2:]) == tuple(size):
        return source
    return F.interpolate(source, size=size, mode="bilinear", align_corners=False)


def resize_flow(flow_px: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns a resized flow with its vectors scaled to pixels of the new map.

    Args:
        flow_px: (B, 2n, H, W) float: n flows, each (dx, dy).
        size: (h, w) of the new map.

    Returns:
        (B, 2n, h, w) float.
    """
    height, width = flow_px.shape[-2:]
    scale = flow_px.new_tensor((size[1] / width, size[0] / height)).repeat(flow_px.shape[1] // 2)
    return resize(flow_px, size) * scale[:, None, None]
