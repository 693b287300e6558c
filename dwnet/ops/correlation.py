"""FlowNetC's correlation of two feature maps, as matrix products along rows."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dwnet.core.errors import DWNetError

BLOCK = 24
"""Maximum number of columns of a product. A product of b columns computes (b + 2 radius) / (2 radius + 1) times as many
values as are kept. 16 to 32 columns are equally fast on a CPU at radius 10."""


def correlation(first: Tensor, second: Tensor, *, radius: int = 10, stride: int = 2) -> Tensor:
    """Returns the mean over channels of first(x) second(x + d), for displacements d in a square (FlowNet, section 3).

    The defaults are FlowNet2's: displacements -20, -18 .. 20 on both axes, 441 maps. `second` is 0 outside.

    Displacements that are multiples of `stride` stay within one of the stride x stride sub-grids and are dense there.
    In a sub-grid, the product of a row of `first` and a row of `second` holds, on its diagonals, all horizontal
    displacements for one vertical displacement. 2 radius + 1 batched products therefore replace (2 radius + 1)^2 passes
    over both maps, and the gradient needs only the two rearranged maps.

    Args:
        first: (B, C, H, W) float, of frame t.
        second: (B, C, H, W) float, of its neighbour.
        radius: largest displacement, in steps.
        stride: length of a step, in pixels of the map.

    Returns:
        (B, (2 radius + 1)^2, H, W); channel i (2 radius + 1) + j is d = (dx, dy) = ((j - radius) stride,
        (i - radius) stride).

    Raises:
        DWNetError: if the maps differ in shape.
    """
    if first.ndim != 4 or first.shape != second.shape:
        raise DWNetError(
            f"maps to correlate have shapes {tuple(first.shape)} and {tuple(second.shape)}, allowed is one (B, C, H, W)"
        )
    batch, channels, height, width = first.shape
    steps = 2 * radius + 1
    rows, columns = -(-height // stride), -(-width // stride)  # size of a sub-grid
    blocks = -(-columns // BLOCK)
    block = -(-columns // blocks)
    bottom, right = rows * stride - height, blocks * block * stride - width
    margin = radius * stride

    # Rows come first, so that a vertical shift is a view; the batch dimensions of the products follow.
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
    """Returns columns x, x + 1 .. x + steps - 1 of each row x: (N, b, b + steps - 1) to (N, b, steps)."""
    count, block, reach = products.shape
    # With rows one element longer, each row starts one element later: diagonals become columns.
    skewed = F.pad(products.flatten(1), (0, block)).view(count, block, reach + 1)
    return skewed[..., :steps]
