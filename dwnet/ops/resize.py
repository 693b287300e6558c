"""Bilinear resizing of maps and flows, with `align_corners=False`."""

import torch
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
    resized = resize(flow_px, size)
    # Python numbers: a tensor of them would be copied to the GPU, and the step would wait for it.
    scaled = (resized[:, 0::2] * (size[1] / width), resized[:, 1::2] * (size[0] / height))
    return torch.stack(scaled, dim=2).flatten(1, 2)
