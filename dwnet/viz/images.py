"""Types of pictures and colours, and checks of pictures."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
Colour = tuple[int, int, int]
"""RGB, 0..255."""


def check_image(image: Image) -> None:
    """Raises DWNetError for anything but a non-empty uint8 array of shape (H, W, 3)."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise DWNetError(f"image is {image.dtype} of shape {image.shape}; allowed is uint8 of shape (H, W, 3)")


def as_uint8(array: NDArray[np.generic] | cv2.typing.MatLike) -> NDArray[np.uint8]:
    """Returns the array as uint8. Values must lie in 0..255; fractions are truncated."""
    return np.asarray(array).astype(np.uint8, copy=False)
