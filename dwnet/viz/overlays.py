"""Label maps in class colours, as pictures or over images."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_labels
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.viz.images import Colour, Image, as_uint8, check_image


def overlay(image: Image, labels: Array, palette: Sequence[Sequence[int]] | Array, opacity: float = 0.5) -> Image:
    """Blends class colours over an image: ``(1 - opacity) image + opacity colour``. Ignored pixels keep the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (h, w) integers, class ids; resized to the image with the nearest pixel.
        palette: one RGB colour, 0..255, per class.
        opacity: 0 (image only) to 1 (colours only).

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DWNetError: for an array that is not an image, an opacity outside 0..1, or a label without a colour.
    """
    check_image(image)
    if not 0 <= opacity <= 1:
        raise DWNetError(f"opacity is {opacity}; allowed are 0..1")
    ids = _resize_labels(as_labels(labels), (image.shape[0], image.shape[1]))
    blended = as_uint8(cv2.addWeighted(image, 1 - opacity, colour_labels(ids, palette), opacity, 0))
    np.copyto(blended, image, where=(ids == IGNORE_LABEL)[..., None])
    return blended


def colour_labels(labels: Array, palette: Sequence[Sequence[int]] | Array, *, ignore: Colour = (0, 0, 0)) -> Image:
    """Returns a label map in its class colours.

    Args:
        labels: (H, W) integers, class ids.
        palette: one RGB colour, 0..255, per class.
        ignore: the colour of ignored pixels.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DWNetError: for a label without a colour, or an array that is not a palette.
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


def _resize_labels(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if labels.shape == size:
        return labels
    # INTER_NEAREST_EXACT aligns pixel centres, like the rest of the library. INTER_NEAREST shifts by half a pixel.
    resized = cv2.resize(np.ascontiguousarray(labels), (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return as_uint8(resized)


def _palette(palette: Sequence[Sequence[int]] | Array) -> NDArray[np.uint8]:
    colours = np.asarray(palette)
    if colours.ndim != 2 or colours.shape[1] != 3 or not 1 <= len(colours) <= IGNORE_LABEL:
        raise DWNetError(f"palette has shape {colours.shape}; allowed is (number of classes up to {IGNORE_LABEL}, 3)")
    if colours.dtype.kind not in "iu" or colours.min() < 0 or colours.max() > 255:
        raise DWNetError(f"palette is {colours.dtype} in {colours.min()}..{colours.max()}; allowed are integers 0..255")
    return colours.astype(np.uint8)
