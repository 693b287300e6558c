"""Logit jitter: how much the class probabilities change along the flow."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_flow, as_mask, as_numpy
from dwnet.core.errors import DWNetError
from dwnet.metrics.counting import positions_along
from dwnet.metrics.meter import Meter, counts, sums


class LogitJitterMeter(Meter):
    """Accumulates `logit_jitter` over a whole set: the mean over all counted pixels of all pairs."""

    def __init__(self) -> None:
        super().__init__(change=sums(), pixels=counts())

    @property
    def pixels(self) -> int:
        """Number of counted pixels."""
        return int(self._arrays["pixels"])

    def update(
        self, previous_logits: Array, logits: Array, flow_px: Array, visible: Array | None = None
    ) -> float | None:
        """Counts one pair of frames (arguments as in `logit_jitter`) and returns its jitter."""
        current = _probabilities(logits, "logits")
        previous = _probabilities(previous_logits, "previous_logits")
        if previous.shape != current.shape:
            raise DWNetError(
                f"previous_logits has shape {previous.shape} and logits {current.shape}; allowed is one shape"
            )
        shape = (current.shape[1], current.shape[2])
        x, y, inside = positions_along(as_flow(flow_px, shape))
        counted = as_mask(visible, shape) & inside
        change = np.zeros(shape, np.float32)
        for then, now in zip(previous, current, strict=True):
            change += np.abs(cv2.remap(then, x, y, cv2.INTER_LINEAR) - now)
        total = float(change[counted].sum(dtype=np.float64)) / len(current)
        pixels = int(np.count_nonzero(counted))
        self._arrays["change"] += total
        self._arrays["pixels"] += pixels
        return total / pixels if pixels else None

    def compute(self) -> float | None:
        """Returns the mean over everything counted so far, 0 .. 2/C; None if nothing was counted."""
        return float(self._arrays["change"]) / self.pixels if self.pixels else None


def logit_jitter(previous_logits: Array, logits: Array, flow_px: Array, visible: Array | None = None) -> float | None:
    """Returns the mean absolute change of the class probabilities along the flow. It includes changes without a flip.

    ``mean over counted x and classes c of |p_c(x) - p_previous,c(x + flow(x))|``, p = softmax(logits). The
    previous map is sampled bilinearly. The range is 0 .. 2/C. Multiplied by ``50 C``, the jitter is the share of
    probability that moves, in percent. For one-hot probabilities and whole-pixel flow this equals `flip_rate`.

    Args:
        previous_logits: (C, H, W) float, the previous frame's logits.
        logits: (C, H, W) float, the current frame's logits.
        flow_px: (2, H, W), from the current to the previous frame, in pixels.
        visible: (H, W) bool, pixels of the current frame that the previous one shows; None: all.

    Returns:
        The jitter, 0 .. 2/C; None if no pixel counts.

    Raises:
        DWNetError: for maps of different sizes, or logits that are not finite.
    """
    return LogitJitterMeter().update(previous_logits, logits, flow_px, visible)


def _probabilities(logits: Array, name: str) -> NDArray[np.float32]:
    array = as_numpy(logits)
    if array.ndim != 3 or array.size == 0 or array.dtype.kind != "f":
        raise DWNetError(f"{name} is {array.dtype} of shape {array.shape}; allowed is a non-empty float (C, H, W)")
    if not np.isfinite(array).all():
        raise DWNetError(f"{name} holds values that are not finite; allowed are finite numbers")
    shifted = np.exp(array.astype(np.float32) - array.max(axis=0).astype(np.float32))
    probabilities: NDArray[np.float32] = np.ascontiguousarray(shifted / shifted.sum(axis=0))
    return probabilities
