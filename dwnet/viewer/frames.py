"""What a player shows of one frame, and its encoding: JPEG for pictures, lossless PNG for labels, flips and flow."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError

JPEG_QUALITY = 90
PNG_LEVEL = 3
"""Compression of zlib. Level 6 takes several times longer and saves a fifth."""
FLOW_REDUCTION = 2
"""Flow is stored at 1 / `FLOW_REDUCTION` of the height and width."""
FLOW_STEPS = 127
"""The largest component of a flow is stored as this number of steps from the middle, `FLOW_MIDDLE`."""
FLOW_MIDDLE = 128
STEADY, FLIPPED, NOT_COMPARED = 0, 1, 2
"""Values of a stored flip map."""
FLIP_COLOURS = ((225, 225, 225), (255, 40, 90), (30, 60, 110))
"""Colours of these values in the PNG."""


@dataclass(frozen=True)
class PlayerMethod:
    """One method's result on one frame."""

    labels: NDArray[np.uint8]
    """(H, W) class ids; `IGNORE_LABEL` for no class."""
    flips: NDArray[np.uint8] | None
    """(H, W) of `STEADY`, `FLIPPED` and `NOT_COMPARED`; None if the frame is not compared with a previous one."""
    transitions: NDArray[np.int64] | None
    """(2, K, K) counted pixels by zone (0 interior, 1 boundary), warped previous label and current label
    (`metrics.FlickerMeter`), of this frame alone; None if the frame is not compared."""
    latency_ms: float = float("nan")
    """Time from image to labels, with the flow; NaN if it was not measured."""
    flow_ms: float = float("nan")
    """Part of the latency that the flow takes; NaN if it was not measured."""


@dataclass(frozen=True)
class PlayerFrame:
    """One frame of a clip and the results of every method on it."""

    number: int
    """Index of the frame in the clip, from 0."""
    pts_seconds: float
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    methods: Mapping[str, PlayerMethod]
    scene_cut: bool = False
    coarse_flow_px: NDArray[np.float32] | None = None
    """(2, H, W) to the previous compared frame, in pixels; None if there is none."""
    refined_flow_px: NDArray[np.float32] | None = None
    """The same flow after the refinement network; None if there is none."""
    occlusion_weight: NDArray[np.float32] | None = None
    """(H, W), 0..1 (Eq. 7 of the paper); None if there is none."""


def flip_states(flipped: NDArray[np.bool_], counted: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Returns a flip map (H, W) from the flipped and the counted pixels, both (H, W) bool (`metrics.flip_map`)."""
    states: NDArray[np.uint8] = np.where(counted, np.where(flipped, FLIPPED, STEADY), NOT_COMPARED).astype(np.uint8)
    return states


def encode_frame(frame: PlayerFrame, palette: Sequence[Sequence[int]]) -> str:
    """Returns a frame as JSON text; the pictures in it are base64.

    Keys: ``i`` the image, JPEG; ``l`` and ``f`` the labels and flips of each method, PNG; ``c`` and ``r`` the coarse
    and the refined flow, and ``w`` the occlusion weight, or null.
    """
    content: dict[str, Any] = {
        "i": _base64(jpeg(frame.image)),
        "l": [_base64(label_png(one.labels, palette)) for one in frame.methods.values()],
        "f": [
            None if one.flips is None else _base64(label_png(one.flips, FLIP_COLOURS)) for one in frame.methods.values()
        ],
        "c": _flow(frame.coarse_flow_px),
        "r": _flow(frame.refined_flow_px),
        "w": None,
    }
    if frame.occlusion_weight is not None:
        weight = (255 * np.clip(frame.occlusion_weight, 0, 1)).round().astype(np.uint8)
        content["w"] = _base64(jpeg(_reduced(weight)))
    # Base64 has no "<", so that the text can be part of a script.
    return json.dumps(content, separators=(",", ":"))


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """Returns an RGB image (H, W, 3), or a grey one (H, W), as JPEG."""
    picture = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise DWNetError(f"no JPEG could be made of an image of shape {image.shape}")
    return data.tobytes()


def grey_png(image: NDArray[np.uint8]) -> bytes:
    """Returns a grey image (H, W) as an 8-bit PNG."""
    done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not done:
        raise DWNetError(f"no PNG could be made of an image of shape {image.shape}")
    return data.tobytes()


def label_png(labels: NDArray[np.uint8], palette: Sequence[Sequence[int]]) -> bytes:
    """Returns class ids (H, W) as an 8-bit palette PNG. Its palette has the class colours; `IGNORE_LABEL` is white."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    colours[IGNORE_LABEL] = 255
    picture = Image.fromarray(labels)
    picture.putpalette(colours.tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=PNG_LEVEL)
    return stream.getvalue()


def _flow(flow_px: NDArray[np.float32] | None) -> list[Any] | None:
    """Returns [pixels per step, PNG]: dx above dy, in steps from `FLOW_MIDDLE`; 0 where the flow is unknown."""
    if flow_px is None:
        return None
    flow = np.stack([_reduced(part) for part in flow_px])
    known = np.isfinite(flow).all(axis=0)
    largest = float(np.abs(flow[:, known]).max(initial=0.0))
    step_px = max(largest, 1e-6) / FLOW_STEPS
    steps = np.where(known, np.nan_to_num(flow) / step_px, -FLOW_MIDDLE).round() + FLOW_MIDDLE
    return [step_px, _base64(grey_png(np.concatenate(list(steps.astype(np.uint8)))))]


def _reduced(picture: NDArray[Any]) -> NDArray[Any]:
    height, width = picture.shape[:2]
    size = (max(width // FLOW_REDUCTION, 1), max(height // FLOW_REDUCTION, 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
