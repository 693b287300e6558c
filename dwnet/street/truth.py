"""Writes the ground truth of a drive through the rendered street: labels, instances, depth, flow and occlusion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write
from dwnet.core.truth_folder import Direction, TruthFolder
from dwnet.flow.flow_files import write_flo
from dwnet.street.scene import StreetScene

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""

_NEIGHBOURS: tuple[tuple[Direction, int], ...] = (("forward", 1), ("backward", -1))


def write_truth(
    scene: StreetScene, folder: str | Path, *, count: int, start: int = 0, progress: Progress | None = None
) -> int:
    """Writes images and ground truth of frames `start` to `start + count - 1`, in the layout of `TruthFolder`.

    Files are named by the frame's number in the scene. The first frame of the drive has no backward flow, and the last
    one has no forward flow. Files are written atomically: an interrupted run leaves no damaged file.

    Args:
        scene: the street.
        folder: output folder; created if it is missing.
        count: number of frames, at least 1.
        start: number of the first frame.
        progress: called after each frame.

    Returns:
        The number of frames.

    Raises:
        DWNetError: if the drive does not have these frames, or an object's number does not fit 16 bits.
    """
    if count < 1 or start < 0 or start + count > len(scene):
        raise DWNetError(f"this street has frames 0..{len(scene) - 1}; {count} from {start} on are not in it")
    files = TruthFolder(Path(folder))
    for done, t in enumerate(range(start, start + count), 1):
        frame = scene.render(t)
        if frame.instances.max() > 65535:
            raise DWNetError(f"frame {t} has object {frame.instances.max()}; allowed are numbers up to 65535")
        _write_png(files.image(t), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        _write_png(files.labels(t), frame.labels)
        _write_png(files.instances(t), frame.instances.astype(np.uint16))
        with atomic_write(files.depth(t)) as temporary:
            np.savez_compressed(temporary, depth_m=frame.depth_m)
        for direction, k in _NEIGHBOURS:
            if 0 <= t + k < len(scene):
                flow_px, visible = scene.flow(t, k)
                write_flo(files.flow(t, direction), flow_px)
                _write_png(files.occluded(t, direction), np.where(visible, 0, 255).astype(np.uint8))
        if progress is not None:
            progress(done, count)
    return count


def _write_png(path: Path, image: NDArray) -> None:
    written, data = cv2.imencode(".png", image)
    if not written:
        raise DWNetError(f"{path}: an image of shape {image.shape} could not be encoded as PNG")
    with atomic_write(path) as temporary:
        temporary.write_bytes(data.tobytes())
