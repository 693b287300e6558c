"""The occlusion weight of Eq. 7 as a picture, without PyTorch."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.metrics.counting import positions_along

STD = np.array((0.229, 0.224, 0.225))
"""Standard deviation of ImageNet's channels, as in `dwnet.ops.normalise`."""


def occlusion_weight(
    image: NDArray[np.uint8], neighbour: NDArray[np.uint8], flow_px: NDArray[np.float32], *, delta: float = 2.0
) -> NDArray[np.float32]:
    """Returns the weight of each pixel (H, W), 0..1; 0 where the flow leaves the image.

    This is `dwnet.method.losses.occlusion_weight`, which training uses, for one pair of frames. The warp rounds to
    whole grey values, so that weights differ by up to about 0.05.

    Args:
        image: (H, W, 3) RGB.
        neighbour: (H, W, 3) RGB, the other frame.
        flow_px: (2, H, W) from `image` to `neighbour`, in pixels.
        delta: above 0; a larger one keeps more weight on pixels with an error.
    """
    x, y, inside = positions_along(flow_px)
    warped = cv2.remap(neighbour, x, y, cv2.INTER_LINEAR)
    error = cv2.transform(cv2.absdiff(image, warped).astype(np.float32), 1 / (255 * STD)[None])
    weight: NDArray[np.float32] = np.where(inside, np.exp(-error / delta), 0).astype(np.float32)
    return weight
