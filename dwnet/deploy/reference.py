"""Reference frame: the frame whose features the next frames use. PyTorch and ONNX predictors share it."""

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dwnet.method.reference import ReferencePolicy

Features = TypeVar("Features")


class ReferenceFrame(Generic[Features]):
    """The reference frame of a clip and its features, kept for the number of frames that a policy sets.

    Args:
        policy: policy of the network; its `span` is the number of frames that use one reference.
    """

    def __init__(self, policy: ReferencePolicy) -> None:
        self.policy = policy
        self.clear()

    def clear(self) -> None:
        """Removes the reference: the next frame has none."""
        self._image: NDArray[np.uint8] | None = None
        self._features: Features | None = None
        self._left = 0

    def keep(self, image: NDArray[np.uint8], features: Features) -> None:
        """Makes a frame, (H, W, 3) uint8, the reference of the next frames; does nothing if the span is 0."""
        if self.policy.span:
            self._image, self._features, self._left = image, features, self.policy.span

    def used(self) -> None:
        """Counts a frame that used the reference; removes the reference after `span` frames."""
        self._left -= 1
        if not self._left:
            self.clear()

    @property
    def image(self) -> NDArray[np.uint8] | None:
        """The reference frame, (H, W, 3) uint8; None if there is none."""
        return self._image

    @property
    def features(self) -> Features:
        """Features of the reference frame. There must be one."""
        assert self._features is not None
        return self._features
