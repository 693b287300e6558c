"""VC_n, against a loop."""

import numpy as np
import pytest

from dwnet.core.classes import IGNORE_LABEL
from dwnet.metrics import (
    VideoConsistencyMeter,
    video_consistency,
)


def loop_vc(predictions: list, truths: list, n: int, last: bool, correct: bool, ignore: bool) -> float | None:
    ratios = []
    for start in range(len(truths) - n + last):
        both = whole = 0
        for y, x in np.ndindex(truths[0].shape):
            true = {int(truths[start + step][y, x]) for step in range(n)}
            said = {int(predictions[start + step][y, x]) for step in range(n)}
            if len(true) == 1 and not (ignore and true == {IGNORE_LABEL}):
                whole += 1
                both += said == true if correct else len(said) == 1
        if whole:
            ratios.append(both / whole)
    return 100 * float(np.mean(ratios)) if ratios else None


@pytest.mark.parametrize(("n", "frames"), [(2, 7), (3, 3), (3, 8), (4, 3)])
def test_video_consistency_equals_the_loop(n: int, frames: int) -> None:
    rng = np.random.default_rng(n * 10 + frames)
    truths = [np.where(rng.random((5, 6)) < 0.2, rng.integers(0, 3, (5, 6)), 1) for _ in range(frames)]
    truths = [np.where(np.eye(5, 6) > 0, IGNORE_LABEL, truth).astype(np.uint8) for truth in truths]
    predictions = [np.where(rng.random((5, 6)) < 0.15, rng.integers(0, 3, (5, 6)), 1) for _ in range(frames)]
    result = video_consistency(predictions, truths, n=n)
    assert result.constant_percent == pytest.approx(loop_vc(predictions, truths, n, True, False, True))
    assert result.correct_percent == pytest.approx(loop_vc(predictions, truths, n, True, True, True))
    assert result.published_percent == pytest.approx(loop_vc(predictions, truths, n, False, False, False))
    assert result.windows == max(frames - n + 1, 0)


def test_windows_do_not_cross_videos() -> None:
    still = np.zeros((4, 4), np.uint8)
    meter = VideoConsistencyMeter(3)
    for value in (0, 1):
        for _ in range(3):
            meter.update(still + value, still)
        meter.end_video()
    result = meter.compute()
    assert result.windows == 2
    assert result.constant_percent == 100
    assert result.correct_percent == 50
    assert result.published_percent is None


def test_a_steady_wrong_prediction_is_consistent_but_not_correct() -> None:
    wrong, truth = [np.ones((4, 4), int)] * 5, [np.zeros((4, 4), int)] * 5
    result = video_consistency(wrong, truth, n=3)
    assert (result.constant_percent, result.correct_percent, result.published_percent) == (100, 0, 100)
