"""IoU and accuracy, against torchmetrics and hand-computed cases."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.classification import MulticlassJaccardIndex

from dwnet.core.classes import IGNORE_LABEL
from dwnet.metrics import (
    SegmentationMeter,
    miou,
)
from tests.metrics.loops import C


@settings(max_examples=20, deadline=None)
@given(
    target=arrays(np.uint8, (2, 6, 7), elements=st.sampled_from([0, 1, 2, 4, IGNORE_LABEL])), seed=st.integers(0, 99)
)
def test_miou_equals_torchmetrics(target: np.ndarray, seed: int) -> None:
    prediction = np.random.default_rng(seed).choice([0, 1, 2], target.shape).astype(np.uint8)
    meter = SegmentationMeter(C)
    for one, truth in zip(prediction, target, strict=True):
        meter.update(one, truth)
    result = meter.compute()
    labelled = target != IGNORE_LABEL
    assert result.pixels == labelled.sum()
    if not labelled.any():
        assert result.miou_percent is None
        return
    reference = MulticlassJaccardIndex(C, average="macro", ignore_index=IGNORE_LABEL)
    # torchmetrics does not accept the ignore label here, so only labelled pixels are passed.
    expected = reference(torch.from_numpy(prediction[labelled]).long(), torch.from_numpy(target[labelled]).long())
    assert result.miou_percent == pytest.approx(100 * float(expected), rel=1e-5)
    assert result.pixel_accuracy_percent == pytest.approx(100 * (prediction == target)[labelled].mean())
    present = set(prediction[labelled]) | set(target[labelled])
    assert result.absent_classes == tuple(index for index in range(C) if index not in present)
    assert miou(prediction, target, num_classes=C) == result.miou_percent


def test_segmentation_by_hand() -> None:
    meter = SegmentationMeter(3)
    meter.update(np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, IGNORE_LABEL]]))
    np.testing.assert_array_equal(meter.confusion, [[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    result = meter.compute()
    assert result.per_class_iou_percent == (50, 50, None)
    assert result.miou_percent == 50
    assert result.pixel_accuracy_percent == pytest.approx(200 / 3)
    assert result.absent_classes == (2,)
    assert meter.confusion.dtype == np.int64


def test_who_says_nothing_is_wrong() -> None:
    """Half of the truth is class 1. Pixels without a prediction count as errors, like wrong predictions."""
    truth = np.array([[0, 0, 1, 1, IGNORE_LABEL]])
    wrong, silent = SegmentationMeter(2), SegmentationMeter(1)
    wrong.update(np.zeros_like(truth), truth)
    silent.grow(2)
    silent.update(np.where(truth == 0, 0, IGNORE_LABEL), truth)
    np.testing.assert_array_equal(silent.missed, [0, 2])
    for meter, ious in ((wrong, (50, 0)), (silent, (100, 0))):
        result = meter.compute()
        assert result.per_class_iou_percent == ious  # without a prediction there is no false positive of class 0
        assert (result.pixel_accuracy_percent, result.pixels) == (50, 4)
