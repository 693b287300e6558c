"""VC_n of VSPW: among pixels of constant truth, the share whose prediction is also constant."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import Array, as_labels
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.metrics.counting import percent
from dwnet.metrics.meter import Meter, counts, sums


@dataclass(frozen=True)
class VideoConsistency:
    """VC_n by three definitions, each in percent; None if no window had a pixel of constant truth."""

    n: int
    """Frames per window."""
    constant_percent: float | None
    """Share of constant predictions, right or wrong, among pixels with constant, known truth; over all windows."""
    correct_percent: float | None
    """Share of constant and correct predictions among the same pixels."""
    published_percent: float | None
    """As in VSPW's script: correctness is ignored, the last window of a video is dropped, ignored truth counts."""
    windows: int
    """Number of windows in the first two means."""


class VideoConsistencyMeter(Meter):
    """VC_n over videos, frame by frame. Memory use does not depend on the length of a video.

    ``VC_n = mean over windows of n frames of |C and P| / |C|``. C is the set of pixels whose true label is the same in
    all n frames, and P the set of pixels whose predicted label is (Miao et al., VSPW, CVPR 2021). The truth of every
    frame is needed. `state` holds only counted windows, and nothing else of a video that is not finished.

    Args:
        n: frames per window, from 2; the papers use 8 and 16.
    """

    def __init__(self, n: int) -> None:
        if n < 2:
            raise DWNetError(f"n is {n}; allowed are whole numbers from 2")
        super().__init__(ratios=sums(3), windows=counts(3))
        self.n = n
        self.end_video()

    def end_video(self) -> None:
        """Ends the current video. The next frame starts a new one."""
        self._last: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._pending: float | None = None

    def update(self, prediction: Array, target: Array) -> tuple[float, float] | None:
        """Counts the next frame of the current video.

        Args:
            prediction: (H, W) integers.
            target: (H, W) integers, `IGNORE_LABEL` where unknown.

        Returns:
            Of the window that ends here, the share of constant predictions, 0..1, and of constant and correct ones;
            None if there are not yet n frames, or no pixel of constant, known truth.

        Raises:
            DWNetError: for arrays that are not label maps, or a change of size within a video.
        """
        predicted, true = as_labels(prediction, "prediction"), as_labels(target, "target")
        if predicted.shape != true.shape:
            raise DWNetError(f"prediction has shape {predicted.shape} and target {true.shape}; allowed is one shape")
        if self._last is None:
            self._true_run = np.ones(true.shape, np.int32)
            self._predicted_run = np.ones(true.shape, np.int32)
        else:
            if self._last[1].shape != true.shape:
                raise DWNetError(
                    f"frame of shape {true.shape} in a video of {self._last[1].shape}; call end_video first"
                )
            # Number of frames for which each pixel has kept its label.
            self._predicted_run = np.where(predicted == self._last[0], self._predicted_run + 1, 1)
            self._true_run = np.where(true == self._last[1], self._true_run + 1, 1)
        self._last = (predicted.copy(), true.copy())
        # The published script drops the last window of a video, so a window counts only when the next frame arrives.
        self._add(2, self._pending)
        constant_truth = self._true_run >= self.n
        constant = self._predicted_run >= self.n
        self._pending = _share(constant, constant_truth)
        known = constant_truth & (true != IGNORE_LABEL)
        steady, correct = (_share(constant & right, known) for right in (predicted != IGNORE_LABEL, predicted == true))
        self._add(0, steady)
        self._add(1, correct)
        return None if steady is None or correct is None else (steady, correct)

    def _add(self, reading: int, ratio: float | None) -> None:
        if ratio is not None:
            self._arrays["ratios"][reading] += ratio
            self._arrays["windows"][reading] += 1

    def compute(self) -> VideoConsistency:
        """Returns the three means over everything counted so far."""
        ratios, windows = self._arrays["ratios"].tolist(), self._arrays["windows"].tolist()
        means = [percent(total, count) for total, count in zip(ratios, windows, strict=True)]
        return VideoConsistency(self.n, means[0], means[1], means[2], windows[0])


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float | None:
    pixels = np.count_nonzero(whole)
    return np.count_nonzero(part & whole) / pixels if pixels else None


def video_consistency(predictions: Iterable[Array], targets: Iterable[Array], *, n: int) -> VideoConsistency:
    """Returns VC_n of one video, with and without the correctness condition, and as published.

    Args:
        predictions: one (H, W) label map per frame.
        targets: as many true label maps, `IGNORE_LABEL` where unknown.
        n: frames per window, from 2.

    Raises:
        DWNetError: for n below 2, maps that do not match, or one sequence that is longer than the other.
    """
    meter = VideoConsistencyMeter(n)
    for prediction, target in itertools.zip_longest(predictions, targets):
        if prediction is None or target is None:
            more, fewer = ("predictions", "targets") if target is None else ("targets", "predictions")
            raise DWNetError(f"there are more {more} than {fewer}; allowed is one target for each prediction")
        meter.update(prediction, target)
    return meter.compute()
