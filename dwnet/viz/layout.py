"""Captions above pictures, and grids of pictures."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from dwnet.core.errors import DWNetError
from dwnet.viz.images import Colour, Image, check_image

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK: Colour = (240, 240, 240)
_PAPER: Colour = (32, 32, 32)


def caption(image: Image, text: str, *, height_px: int = 28) -> Image:
    """Adds a title bar above an image. Long text gets a smaller font, and is cut if it still does not fit.

    Args:
        image: (H, W, 3) uint8 RGB.
        text: one line of text; non-ASCII characters become ``?``.
        height_px: height of the bar in pixels, at least 12.

    Returns:
        (H + height_px, W, 3) uint8 RGB.
    """
    check_image(image)
    if height_px < 12:
        raise DWNetError(f"height_px is {height_px}; allowed are whole numbers from 12")
    bar = np.full((height_px, image.shape[1], 3), _PAPER, np.uint8)
    _put_text(bar, text, left=6, top=0, height_px=height_px)
    return np.concatenate((bar, image))


def grid(tiles: Sequence[Image], columns: int, *, gap_px: int = 4) -> Image:
    """Arranges pictures in a grid. Each one is centred in a cell of the largest picture's size. Empty cells are dark.

    Args:
        tiles: (H, W, 3) uint8 RGB each, at least one.
        columns: pictures per row, at least 1.
        gap_px: width of the dark gaps between cells, in pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if not tiles:
        raise DWNetError("there are no tiles; allowed is at least one picture")
    if columns < 1 or gap_px < 0:
        raise DWNetError(f"columns is {columns} and gap_px {gap_px}; allowed are columns from 1 and gaps from 0")
    for tile in tiles:
        check_image(tile)
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    height = max(tile.shape[0] for tile in tiles)
    width = max(tile.shape[1] for tile in tiles)
    canvas = np.full((rows * (height + gap_px) - gap_px, columns * (width + gap_px) - gap_px, 3), _PAPER, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        top = row * (height + gap_px) + (height - tile.shape[0]) // 2
        left = column * (width + gap_px) + (width - tile.shape[1]) // 2
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return canvas


def _put_text(canvas: Image, text: str, *, left: int, top: int, height_px: int) -> None:
    """Writes one line of text into a bar of the canvas, vertically centred, in the largest font size that fits."""
    # Hershey fonts have ASCII characters only.
    text = text.encode("ascii", "replace").decode()
    room = canvas.shape[1] - left - 2
    scale = 0.022 * height_px
    smallest = min(scale, 0.35)
    width = cv2.getTextSize(text, _FONT, scale, 1)[0][0]
    if width > room:
        scale = max(smallest, scale * room / width)
    shown = text
    while len(text) > 1 and cv2.getTextSize(shown, _FONT, scale, 1)[0][0] > room:
        text = text[:-1]
        shown = text.rstrip() + ".."
    (_, text_height), _ = cv2.getTextSize(shown, _FONT, scale, 1)
    line = np.ascontiguousarray(canvas[top : top + height_px])
    cv2.putText(line, shown, (left, (height_px + text_height) // 2), _FONT, scale, _INK, 1, cv2.LINE_AA)
    canvas[top : top + height_px] = line
