"""Writes all that is true of a drive through the rendered street: labels, instances, depth, flow, occlusion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write
from dwnet.street.scene import StreetScene

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""

FLO_TAG = np.float32(202021.25)
"""The first four bytes of a .flo file (Middlebury)."""


def write_truth(
    scene: StreetScene, folder: str | Path, *, count: int, start: int = 0, progress: Progress | None = None
) -> int:
    """Write frames `start` .. `start + count - 1`, one file for each thing, named by the frame's number in the scene.

    - ``image/000012.png``: 8-bit RGB, without loss
    - ``labels/000012.png``: 8-bit CamVid class ids 0..10, 255 where none fits
    - ``instances/000012.png``: 16-bit numbers of the objects, the same in every frame; 0 is sky and ground
    - ``depth/000012.npz``: ``depth_m`` (H, W) float32, metres along the optical axis, inf in the sky
    - ``flow_forward/000012.flo``, ``flow_backward/000012.flo``: Middlebury, float32 (dx, dy) in pixels to frames
      t + 1 and t - 1; none beyond the drive's ends
    - ``occluded_forward/000012.png``, ``occluded_backward/000012.png``: 8-bit, 255 where the pixel is hidden or outside
      that frame

    Every file is written whole: an interrupted run leaves fewer files, and no broken one.

    Returns:
        The number of frames.

    Raises:
        ValueError: if the drive has not so many frames, or an object's number does not fit 16 bits.
    """
    if count < 1 or start < 0 or start + count > len(scene):
        raise DWNetError(f"this street has frames 0..{len(scene) - 1}; {count} from {start} on are not in it")
    root = Path(folder)
    for done, t in enumerate(range(start, start + count), 1):
        frame, name = scene.render(t), f"{t:06d}"
        if frame.instances.max() > 65535:
            raise DWNetError(f"frame {t} has object {frame.instances.max()}; allowed are numbers up to 65535")
        _write_png(root / "image" / f"{name}.png", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        _write_png(root / "labels" / f"{name}.png", frame.labels)
        _write_png(root / "instances" / f"{name}.png", frame.instances.astype(np.uint16))
        with atomic_write(root / "depth" / f"{name}.npz") as temporary:
            np.savez_compressed(temporary, depth_m=frame.depth_m)
        for direction, k in (("forward", 1), ("backward", -1)):
            if 0 <= t + k < len(scene):
                flow_px, visible = scene.flow(t, k)
                _write_flo(root / f"flow_{direction}" / f"{name}.flo", flow_px)
                _write_png(root / f"occluded_{direction}" / f"{name}.png", np.where(visible, 0, 255).astype(np.uint8))
        if progress is not None:
            progress(done, count)
    return count


def read_flo(path: str | Path) -> NDArray[np.float32]:
    """(2, H, W) float32 flow of a .flo file.

    Raises:
        ValueError: for a file that is none.
    """
    data = Path(path).read_bytes()
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != FLO_TAG:
        raise DWNetError(f"{path} is no .flo file: it does not begin with {FLO_TAG}")
    width, height = np.frombuffer(data, "<i4", 2, offset=4).tolist()
    if len(data) != 12 + 8 * width * height:
        raise DWNetError(f"{path}: found {len(data)} bytes; a flow of {width} x {height} has {12 + 8 * width * height}")
    flow = np.frombuffer(data, "<f4", 2 * width * height, offset=12).reshape(height, width, 2)
    return np.ascontiguousarray(flow.transpose(2, 0, 1))


def _write_flo(path: Path, flow_px: NDArray[np.float32]) -> None:
    height, width = flow_px.shape[1:]
    header = FLO_TAG.astype("<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    with atomic_write(path) as temporary:
        temporary.write_bytes(header + np.ascontiguousarray(flow_px.transpose(1, 2, 0), "<f4").tobytes())


def _write_png(path: Path, image: NDArray) -> None:
    _, data = cv2.imencode(".png", image)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data.tobytes())
