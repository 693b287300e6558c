"""Middlebury's .flo files, read and written by OpenCV. Imports no PyTorch."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError, first_line
from dwnet.core.files import atomic_write

_TAG = b"PIEH"
_HEADER_BYTES = 12
_ALLOWED = "allowed is Middlebury's format: PIEH, width and height, and (dx, dy) of every pixel as float32"


def read_flo(path: Path) -> NDArray[np.float32]:
    """Returns the flow of a .flo file, (2, H, W) float32, (dx, dy) in pixels.

    Raises:
        DWNetError: for a file that is missing, damaged or of another format.
    """
    _check(path)
    try:
        flow = cv2.readOpticalFlow(str(path))
    except cv2.error as error:
        raise DWNetError(f"{path}: cannot be read ({first_line(error)}); {_ALLOWED}") from error
    if flow is None or flow.size == 0:
        raise DWNetError(f"{path}: OpenCV cannot read it; {_ALLOWED}")
    return np.ascontiguousarray(flow.transpose(2, 0, 1))


def write_flo(path: Path, flow_px: NDArray[np.float32]) -> None:
    """Writes a flow, (2, H, W) float32 in pixels, as a .flo file, atomically.

    Raises:
        DWNetError: if OpenCV cannot write it.
    """
    with atomic_write(path) as temporary:
        if not cv2.writeOpticalFlow(str(temporary), np.ascontiguousarray(flow_px.transpose(1, 2, 0), np.float32)):
            raise DWNetError(f"{path}: OpenCV cannot write the flow of shape {flow_px.shape}")


def _check(path: Path) -> None:
    """Raises DWNetError unless header and file size match. OpenCV crashes on negative sizes and reads longer files."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        found_bytes = path.stat().st_size
    except OSError as error:
        raise DWNetError(f"{path}: cannot be read ({error.strerror}); {_ALLOWED}") from error
    if len(header) < _HEADER_BYTES or not header.startswith(_TAG):
        raise DWNetError(f"{path}: is no .flo file ({found_bytes} bytes); {_ALLOWED}")
    width, height = np.frombuffer(header, "<i4", 2, offset=len(_TAG)).tolist()
    if width < 1 or height < 1:
        raise DWNetError(f"{path}: is damaged, its header says {width} x {height} pixels; {_ALLOWED}")
    expected_bytes = _HEADER_BYTES + 8 * width * height
    if found_bytes != expected_bytes:
        raise DWNetError(
            f"{path}: is damaged, found {found_bytes} bytes; a flow of {width} x {height} has {expected_bytes}"
        )
