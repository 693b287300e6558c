"""The frame before that a network draws on at inference: the same bookkeeping for PyTorch and ONNX Runtime."""

from typing import Generic, TypeVar

import numpy as np

Features = TypeVar("Features")


class ReferenceFrame(Generic[Features]):
    """The frame whose features the next ones draw on.

    Args:
        span: for how many frames after it; 0 for a network that sees each frame alone.
    """

    def __init__(self, span: int) -> None:
        self.span = span
        self.clear()

    def clear(self) -> None:
        """The next frame has none."""
        self._image: np.ndarray | None = None
        self._features: Features | None = None
        self._left = 0

    def keep(self, image: np.ndarray, features: Features) -> None:
        """This frame is the one, from now on."""
        if self.span:
            self._image, self._features, self._left = image, features, self.span

    def used(self) -> None:
        """A frame has drawn on it."""
        self._left -= 1
        if not self._left:
            self.clear()

    @property
    def image(self) -> np.ndarray | None:
        """The frame, (H, W, 3) uint8; None if the next frame has to do without."""
        return self._image

    @property
    def features(self) -> Features:
        """Of that frame; only while there is one."""
        assert self._features is not None
        return self._features
