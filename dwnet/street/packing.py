"""Frames and motions as few bytes, from which the same bytes come back.

A picture is kept as the JPEG that the camera's compression made of it, labels as PNG. A flow is kept as what it is made
of, a homography for each surface and the map of surfaces: a twentieth of its size at 320 x 240.
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
    """Picture and labels of a frame that the sensor recorded; ValueError for one without."""
    if frame.jpeg is None:
        raise DWNetError("a frame without the sensor is not kept: found no compressed picture")
    return {"jpeg": frame.jpeg, "labels": _png(frame.labels)}


def unpack_frame(packed: Arrays) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """((H, W, 3) uint8 RGB, (H, W) uint8 labels) of `pack_frame`."""
    return decoded(packed["jpeg"]), decoded(packed["labels"])


def pack_motion(motion: Motion) -> Arrays:
    """Flow and visibility. Only the surfaces that the frame shows are kept: fewer than 65536, as a raster's are."""
    shown = np.bincount(motion.ids.ravel(), minlength=len(motion.carried)) > 0
    places = (np.cumsum(shown) - 1).astype(np.uint16)
    return {
        "ids": _png(places[motion.ids]),
        "carried": motion.carried[shown].astype(np.float32),
        "visible": _png(motion.visible.view(np.uint8)),
    }


def unpack_motion(packed: Arrays) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """((2, H, W) float32 flow_px, (H, W) bool visible) of `pack_motion`."""
    return flow_of(decoded(packed["ids"]), packed["carried"]), decoded(packed["visible"]).astype(bool)


def _png(image: NDArray) -> NDArray[np.uint8]:
    _, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data
