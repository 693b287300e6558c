"""OpenCV's Farnebäck flow as a function of arrays."""

import cv2
import numpy as np

from dwnet.flow.dis import check_frames, grey

_PYRAMID_SCALE, _LEVELS, _WINDOW_PX, _ITERATIONS, _NEIGHBOURHOOD_PX, _SIGMA = 0.7, 8, 11, 5, 5, 1.1
"""Settings with which the true labels of CamVid val flip least: 2.60 % along this flow, 2.53 % along DIS."""


def farneback_flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
    """Returns the flow between two frames by polynomial expansion.

    It has another principle than DIS, so its errors are others: it is the second opinion on methods that use DIS.
    Source: Farnebäck, Two-frame motion estimation based on polynomial expansion, SCIA 2003.

    Args:
        frame: I_t, (H, W, 3) RGB or (H, W) grey, uint8.
        neighbour: I_{t+k}, of the same shape.

    Returns:
        (2, H, W) float32, (dx, dy) in pixels, from `frame` to `neighbour`.

    Raises:
        DWNetError: if the frames differ in shape, are not uint8, or are smaller than 24 px.
    """
    check_frames("Farnebäck", frame, neighbour)
    flow = cv2.calcOpticalFlowFarneback(
        grey(frame),
        grey(neighbour),
        None,
        _PYRAMID_SCALE,
        _LEVELS,
        _WINDOW_PX,
        _ITERATIONS,
        _NEIGHBOURHOOD_PX,
        _SIGMA,
        0,
    )
    return np.ascontiguousarray(flow.transpose(2, 0, 1))
