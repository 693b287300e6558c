"""Pictures of what a network sees: class overlays, flow on the colour wheel, captions, grids, legends.

Every picture is (H, W, 3) uint8 RGB; label maps are (H, W) integers with `IGNORE_LABEL`; flows are (2, H, W) pixels.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_labels, as_numpy
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK: Colour = (240, 240, 240)
_PAPER: Colour = (32, 32, 32)


def overlay(image: Image, labels: Array, palette: Sequence[Sequence[int]] | Array, opacity: float = 0.5) -> Image:
    """Class colours over an image: ``(1 - opacity) image + opacity colour``; ignored pixels stay as they are.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (h, w) integers, class ids; brought to the image's size by the nearest pixel.
        palette: one RGB colour, 0..255, per class.
        opacity: 0 (image only) to 1 (colours only).

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: for an image that is no image, an opacity outside 0..1, or a label without a colour.
    """
    _check_image(image)
    if not 0 <= opacity <= 1:
        raise DWNetError(f"opacity is {opacity}; allowed are 0..1")
    ids = _resize_labels(as_labels(labels), (image.shape[0], image.shape[1]))
    blended = _uint8(cv2.addWeighted(image, 1 - opacity, colour_labels(ids, palette), opacity, 0))
    np.copyto(blended, image, where=(ids == IGNORE_LABEL)[..., None])
    return blended


def colour_labels(labels: Array, palette: Sequence[Sequence[int]] | Array, *, ignore: Colour = (0, 0, 0)) -> Image:
    """A label map in its class colours.

    Args:
        labels: (H, W) integers, class ids.
        palette: one RGB colour, 0..255, per class.
        ignore: the colour of ignored pixels.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: for a label without a colour, or a palette that is none.
    """
    ids = as_labels(labels)
    colours = _palette(palette)
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    table[IGNORE_LABEL] = ignore
    highest = int(ids[ids != IGNORE_LABEL].max(initial=0))
    if highest >= len(colours):
        raise DWNetError(
            f"labels hold {highest}, the palette has {len(colours)} colours; "
            f"allowed are 0..{len(colours) - 1} and {IGNORE_LABEL} (ignore)"
        )
    return table.take(ids, axis=0)


def flow_to_rgb(flow_px: Array, *, max_px: float | None = None) -> Image:
    """A flow on the Middlebury colour wheel: hue is direction, saturation is magnitude, white is no motion.

    The wheel of Baker et al., A database and evaluation methodology for optical flow, IJCV 2011: red points right,
    yellow down, cyan-blue left, and the colours between. Motion beyond `max_px` is darkened; unknown motion (not
    finite) is black.

    Args:
        flow_px: (2, H, W), dx right and dy down, in pixels.
        max_px: the magnitude shown at full saturation; give one value to make frames comparable. None takes the
            largest magnitude of this flow.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: for another shape, or a `max_px` not above 0.
    """
    flow = as_numpy(flow_px)
    if flow.ndim != 3 or flow.shape[0] != 2 or flow.size == 0 or flow.dtype.kind not in "fiu":
        raise DWNetError(f"flow_px is {flow.dtype} of shape {flow.shape}; allowed are numbers of shape (2, H, W)")
    if max_px is not None and not max_px > 0:
        raise DWNetError(f"max_px is {max_px}; allowed are numbers above 0, or None")
    flow = flow.astype(np.float32)
    unknown = ~np.isfinite(flow).all(axis=0)
    flow[:, unknown] = 0
    magnitude, degrees = cv2.cartToPolar(flow[0], flow[1], angleInDegrees=True)
    largest = float(max_px) if max_px is not None else float(magnitude.max())
    saturation = (magnitude / largest if largest else magnitude)[..., None]
    wheel = _wheel()
    hue = wheel.take((degrees * (len(wheel) / 360)).astype(np.int32) % len(wheel), axis=0)
    picture = np.where(saturation <= 1, 255 - saturation * (255 - hue), 0.75 * hue)
    picture[unknown] = 0
    return _uint8(picture)


def flow_legend(size: int) -> Image:
    """The colour wheel as a disc: the colour at a point is that of a motion from the centre to it.

    Args:
        size: height and width in pixels, from 3.

    Returns:
        (size, size, 3) uint8 RGB; white outside the disc.
    """
    if size < 3:
        raise DWNetError(f"size is {size}; allowed are whole numbers from 3")
    radius = (size - 1) / 2
    axis = np.arange(size, dtype=np.float32) - np.float32(radius)
    flow = np.stack(np.broadcast_arrays(axis, axis[:, None]))
    picture = flow_to_rgb(flow, max_px=radius)
    picture[np.hypot(flow[0], flow[1]) > radius] = 255
    return picture


def caption(image: Image, text: str, *, height_px: int = 28) -> Image:
    """A title bar above an image; long text is set smaller, and cut where it would become unreadable.

    Args:
        image: (H, W, 3) uint8 RGB.
        text: one line; characters outside ASCII appear as ``?``.
        height_px: height of the bar, from 12.

    Returns:
        (H + height_px, W, 3) uint8 RGB.
    """
    _check_image(image)
    if height_px < 12:
        raise DWNetError(f"height_px is {height_px}; allowed are whole numbers from 12")
    bar = np.full((height_px, image.shape[1], 3), _PAPER, np.uint8)
    _put_text(bar, text, left=6, top=0, height_px=height_px)
    return np.concatenate((bar, image))


def grid(tiles: Sequence[Image], columns: int, *, gap_px: int = 4) -> Image:
    """Pictures in rows of `columns`, each centred in a cell of the largest one's size, the last row filled up dark.

    Args:
        tiles: (H, W, 3) uint8 RGB each, at least one.
        columns: pictures per row, from 1.
        gap_px: dark pixels between cells.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    if not tiles:
        raise DWNetError("there are no tiles; allowed is at least one picture")
    if columns < 1 or gap_px < 0:
        raise DWNetError(f"columns is {columns} and gap_px {gap_px}; allowed are columns from 1 and gaps from 0")
    for tile in tiles:
        _check_image(tile)
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


@lru_cache(maxsize=1)
def _wheel() -> NDArray[np.float32]:
    """The Middlebury wheel, 0..255, by direction: entry i of n is for the angle 360 i/n, clockwise from right.

    Its 55 anchors run through six arcs, along each of which one channel rises or falls: red - yellow in 15 steps,
    yellow - green 6, green - cyan 4, cyan - blue 11, blue - magenta 13, magenta - red 6.
    """
    arcs = (
        # steps, colour at the start, colour at the end
        (15, (255, 0, 0), (255, 255, 0)),
        (6, (255, 255, 0), (0, 255, 0)),
        (4, (0, 255, 0), (0, 255, 255)),
        (11, (0, 255, 255), (0, 0, 255)),
        (13, (0, 0, 255), (255, 0, 255)),
        (6, (255, 0, 255), (255, 0, 0)),
    )
    anchors = np.concatenate(
        [
            # The published wheel rounds its anchors down.
            np.array(start) + np.sign(np.subtract(end, start)) * np.floor(255 * np.arange(steps) / steps)[:, None]
            for steps, start, end in arcs
        ]
    )
    entries = 3600
    # As published, a full turn spans the 54 steps between the 55 anchors: the last step, back to red, is a jump.
    position = np.arange(entries) / entries * (len(anchors) - 1)
    channels = [np.interp(position, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.float32)


def _resize_labels(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if labels.shape == size:
        return labels
    # The exact mode keeps pixel centres, as the whole library does; plain INTER_NEAREST shifts by half a pixel.
    resized = cv2.resize(np.ascontiguousarray(labels), (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return _uint8(resized)


def _palette(palette: Sequence[Sequence[int]] | Array) -> NDArray[np.uint8]:
    colours = np.asarray(palette)
    if colours.ndim != 2 or colours.shape[1] != 3 or not 1 <= len(colours) <= IGNORE_LABEL:
        raise DWNetError(f"palette has shape {colours.shape}; allowed is (number of classes up to {IGNORE_LABEL}, 3)")
    if colours.dtype.kind not in "iu" or colours.min() < 0 or colours.max() > 255:
        raise DWNetError(f"palette is {colours.dtype} in {colours.min()}..{colours.max()}; allowed are integers 0..255")
    return colours.astype(np.uint8)


def _check_image(image: Image) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise DWNetError(f"image is {image.dtype} of shape {image.shape}; allowed is uint8 of shape (H, W, 3)")


def _put_text(canvas: Image, text: str, *, left: int, top: int, height_px: int) -> None:
    """Writes one line into a bar of the canvas, centred in its height, as large as it fits (at least 10 px high)."""
    # Hershey fonts know ASCII only.
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


def _uint8(array: NDArray[np.generic] | cv2.typing.MatLike) -> NDArray[np.uint8]:
    return np.asarray(array).astype(np.uint8, copy=False)
