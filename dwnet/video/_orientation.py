"""Display matrices: how a stored frame is turned and mirrored before it is shown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.video._types import DecoderError

_TOLERANCE = 0.01
"""Largest ratio of the small entries of the matrix to the large ones, to allow for rounding."""


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to turn and mirror a picture by quarter turns: transpose first, then flip."""

    transpose: bool = False
    """Exchange x and y."""
    flip_x: bool = False
    """Exchange left and right."""
    flip_y: bool = False
    """Exchange top and bottom."""

    @classmethod
    def of_frame(cls, frame: Any) -> "Orientation":
        """Returns the orientation of a decoded `av.VideoFrame`; upright if it has no display matrix.

        Raises:
            DecoderError: for a matrix that is not made of quarter turns and mirrorings.
        """
        try:
            matrix = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:
            _accept_all_side_data()
            matrix = frame.side_data.get("DISPLAYMATRIX")
        return UPRIGHT if matrix is None else cls.of_matrix(np.frombuffer(bytes(matrix), np.int32))

    @classmethod
    def of_matrix(cls, matrix: NDArray[np.int32]) -> "Orientation":
        """Returns the orientation of a display matrix, nine numbers in FFmpeg's format.

        The stored pixel (x, y) is shown at (a x + c y, b x + d y). Only the signs are used. Scales are ignored, like
        sample aspect ratios.

        Raises:
            DecoderError: as in `of_frame`.
        """
        a, b, c, d = (float(matrix[place]) for place in (0, 1, 3, 4))
        largest = max(abs(entry) for entry in (a, b, c, d))
        if largest == 0:
            # Some writers leave the matrix at zero. Players show such clips as stored.
            return UPRIGHT
        straight, crossed = min(abs(a), abs(d)), min(abs(b), abs(c))
        if straight > 0 and max(abs(b), abs(c)) <= _TOLERANCE * straight:
            return cls(transpose=False, flip_x=a < 0, flip_y=d < 0)
        if crossed > 0 and max(abs(a), abs(d)) <= _TOLERANCE * crossed:
            return cls(transpose=True, flip_x=c < 0, flip_y=b < 0)
        entries = ", ".join(f"{entry / 65536:.3g}" for entry in (a, b, c, d))
        raise DecoderError(
            f"the display matrix is ({entries}); allowed are turns by 90, 180 and 270 degrees, and mirrorings"
        )

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Returns (width, height) after the turn. The function is its own inverse."""
        return (height, width) if self.transpose else (width, height)

    def apply(self, stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the upright form of a stored picture, (H, W) or (H, W, 3). An upright picture is returned as is."""
        if self == UPRIGHT:
            return stored
        shown = stored.swapaxes(0, 1) if self.transpose else stored
        shown = shown[:, ::-1] if self.flip_x else shown
        shown = shown[::-1] if self.flip_y else shown
        return np.ascontiguousarray(shown)


UPRIGHT = Orientation()


def _accept_all_side_data() -> None:
    """Lets PyAV list the side data of frames that have a kind it has no name for, for example the EXIF data of a JPEG.

    PyAV 18 raises ValueError there, and gives none of the frame's side data.
    """
    from av.sidedata.sidedata import Type

    def unnamed(cls: Any, value: object) -> Any:
        member = object.__new__(cls)
        member._name_, member._value_ = f"UNNAMED_{value}", value
        return member

    Type._missing_ = classmethod(unnamed)  # type: ignore[method-assign, assignment]
