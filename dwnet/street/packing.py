"""Lossless compression of frames and motions.

A picture is stored as the JPEG file of the simulated camera, and labels are stored as PNG. A flow is stored as a
homography for each surface and the map of surfaces. This takes a twentieth of the flow's size at 320 x 240.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.street.cache import Arrays
from dwnet.street.render.motion import Motion, flow_of
from dwnet.street.render.sensor import decoded
from dwnet.street.scene import StreetFrame


def pack_frame(frame: StreetFrame) -> Arrays:
    """Returns picture and labels of a frame as encoded files.

    Raises:
        DWNetError: for a frame that was rendered without the sensor.
    """
    if frame.jpeg is None:
        raise DWNetError("a frame without the sensor is not kept: found no compressed picture")
    return {"jpeg": frame.jpeg, "labels": _png(frame.labels)}


def unpack_frame(packed: Arrays) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns ((H, W, 3) uint8 RGB, (H, W) uint8 labels) from `pack_frame`."""
    return decoded(packed["jpeg"]), decoded(packed["labels"])


def pack_motion(motion: Motion) -> Arrays:
    """Returns flow and visibility as encoded files and matrices of the visible surfaces, fewer than 65536."""
    shown = np.bincount(motion.ids.ravel(), minlength=len(motion.carried)) > 0
    places = (np.cumsum(shown) - 1).astype(np.uint16)
    return {
        "ids": _png(places[motion.ids]),
        "carried": motion.carried[shown].astype(np.float32),
        "visible": _png(motion.visible.view(np.uint8)),
    }


def unpack_motion(packed: Arrays) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Returns ((2, H, W) float32 flow_px, (H, W) bool visible) from `pack_motion`."""
    return flow_of(decoded(packed["ids"]), packed["carried"]), decoded(packed["visible"]).astype(bool)


def _png(image: NDArray) -> NDArray[np.uint8]:
    _, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data
