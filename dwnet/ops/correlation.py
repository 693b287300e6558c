"""FlowNetC's correlation of two feature maps, as matrix products along rows."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dwnet.core.errors import DWNetError

BLOCK = 24
"""Columns of a product, at most. A product computes (b + 2 radius) / (2 radius + 1) times what is kept, and the more
evenly shaped it is, the faster: 16 to 32 columns measured alike on a CPU at radius 10."""


def correlation(first: Tensor, second: Tensor, *, radius: int = 10, stride: int = 2) -> Tensor:
    """Mean over channels of first(x) second(x + d), for every displacement d of a square (FlowNet, section 3).

    FlowNet2's is the default: displacements -20, -18 .. 20 on both axes, 441 maps. Outside, `second` reads as 0.

    A displacement that is a multiple of `stride` stays within one of the stride x stride sub-grids, where it is dense.
    In a sub-grid, one row of `first` times one row of `second` holds all horizontal displacements of one vertical one
    on its diagonals. So 2 radius + 1 batched products do it, instead of (2 radius + 1)^2 passes over both maps, and
    nothing is kept for the gradient but the two maps rearranged.

    Args:
        first: (B, C, H, W) float, of frame t.
        second: (B, C, H, W) float, of its neighbour.
        radius: the farthest displacement, in steps.
        stride: one step, in pixels of the map.

    Returns:
        (B, (2 radius + 1)^2, H, W); channel i (2 radius + 1) + j is d = (dx, dy) = ((j - radius) stride,
        (i - radius) stride).

    Raises:
        ValueError: if the maps differ in shape.
    """
    if first.ndim != 4 or first.shape != second.shape:
        raise DWNetError(
            f"maps to correlate have shapes {tuple(first.shape)} and {tuple(second.shape)}, allowed is one (B, C, H, W)"
        )
    batch, channels, height, width = first.shape
    steps = 2 * radius + 1
    rows, columns = -(-height // stride), -(-width // stride)  # of a sub-grid
    blocks = -(-columns // BLOCK)
    block = -(-columns // blocks)
    bottom, right = rows * stride - height, blocks * block * stride - width
    margin = radius * stride

    # Rows come first, so that shifting vertically is a view; then all that the products are batched over.
    queries = F.pad(first, (0, right, 0, bottom))
    queries = queries.reshape(batch, channels, rows, stride, blocks, block, stride)
    queries = queries.permute(2, 0, 3, 6, 4, 5, 1).reshape(rows, -1, block, channels)
    keys = F.pad(second, (margin, margin + right, margin, margin + bottom))
    keys = keys.reshape(batch, channels, rows + 2 * radius, stride, -1, stride).unfold(4, block + 2 * radius, block)
    keys = keys.permute(2, 0, 3, 5, 4, 1, 6).reshape(rows + 2 * radius, -1, channels, block + 2 * radius)

    queries = queries.flatten(0, 1) / channels
    bands = [_band(queries @ keys[step : step + rows].flatten(0, 1), steps) for step in range(steps)]
    maps = torch.stack(bands).reshape(steps, rows, batch, stride, stride, blocks, block, steps)
    maps = maps.permute(2, 0, 7, 1, 3, 5, 6, 4).reshape(batch, steps**2, rows * stride, -1)
    return maps[..., :height, :width]


def _band(products: Tensor, steps: int) -> Tensor:
    """The diagonals x, x + 1 .. x + steps - 1 of each row x: (N, b, b + steps - 1) to (N, b, steps)."""
    count, block, reach = products.shape
    # In rows one longer than they are, each row starts one further along: its diagonal becomes a column.
    skewed = F.pad(products.flatten(1), (0, block)).view(count, block, reach + 1)
    return skewed[..., :steps]
