"""Flips and temporal consistency, against loops in float64, closed forms and hand-computed cases."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwnet.core.classes import IGNORE_LABEL
from dwnet.metrics import (
    FlickerMeter,
    LogitJitterMeter,
    NearestWarp,
    SegmentationMeter,
    VideoConsistencyMeter,
    flicker_error,
    flip_map,
    flip_rate,
    temporal_consistency,
    unchanged_truth,
)
from tests.metrics.loops import C, H, W, blocks, constant_flow, loop_flicker, random_labels, rate


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_meter_equals_the_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    previous, labels = blocks(rng), blocks(rng)
    labels = np.where(rng.random((H, W)) < 0.02, random_labels(rng), labels).astype(np.uint8)
    labels[rng.random((H, W)) < 0.05] = IGNORE_LABEL
    previous[rng.random((H, W)) < 0.05] = IGNORE_LABEL
    flow = rng.normal(0, 3, (2, H, W)).astype(np.float32)
    visible = rng.random((H, W)) < 0.8
    expected = loop_flicker(previous, labels, flow, visible)
    meter = FlickerMeter(C)
    returned = meter.update(previous, labels, flow, visible)
    result = meter.compute()
    assert result.flips_percent == pytest.approx(rate(expected["all"]))
    assert returned == pytest.approx(result.flips_percent)
    assert flip_rate(previous, labels, flow, visible) == pytest.approx(returned)
    assert result.boundary_percent == pytest.approx(rate(expected["boundary"]))
    assert result.interior_percent == pytest.approx(rate(expected["interior"]))
    assert result.per_class_percent == pytest.approx(tuple(rate(expected[str(index)]) for index in range(C)))
    assert result.pixels == expected["all"][1]
    assert result.boundary_pixels == expected["boundary"][1]
    assert result.frames == 1


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (-3, 2), (0, -5)])
def test_a_perfect_prediction_along_exact_flow_never_flips(shift: tuple[int, int]) -> None:
    # The scene moves by `shift` between frames: the point at x was at x - shift in the previous frame.
    world = random_labels(np.random.default_rng(4), 60, 80)
    previous = world[10 : 10 + H, 10 : 10 + W]
    labels = world[10 - shift[1] : 10 - shift[1] + H, 10 - shift[0] : 10 - shift[0] + W]
    flow = constant_flow(-shift[0], -shift[1])
    meter = FlickerMeter(C)
    assert meter.update(previous, labels, flow) == 0
    result = meter.compute()
    assert result.flips_percent == 0
    assert result.temporal_consistency_percent == 100
    assert result.pixels == (H - abs(shift[1])) * (W - abs(shift[0]))
    assert temporal_consistency(previous, labels, flow, num_classes=C) == 100


def test_independent_noise_gives_the_closed_form() -> None:
    # In each frame each pixel has, with probability q, a uniformly drawn class (including 0), and otherwise class 0.
    # Two draws differ with 1 - [(1 - q + q/C)^2 + (C - 1) (q/C)^2].
    rng = np.random.default_rng(5)
    q, size = 0.3, (240, 320)

    def draw() -> np.ndarray:
        return np.where(rng.random(size) < q, rng.integers(0, C, size), 0).astype(np.uint8)

    meter = FlickerMeter(C)
    frames = [draw() for _ in range(9)]
    for previous, labels in itertools.pairwise(frames):
        meter.update(previous, labels, constant_flow(0, 0, *size))
    expected = 1 - ((1 - q + q / C) ** 2 + (C - 1) * (q / C) ** 2)
    sigma = 100 * math.sqrt(expected * (1 - expected) / meter.compute().pixels)
    # Neighbouring pairs share a frame, which increases the deviation by a factor of less than two.
    assert meter.compute().flips_percent == pytest.approx(100 * expected, abs=8 * sigma)


def test_injected_flicker_is_recovered_exactly_and_rises_with_p() -> None:
    rng = np.random.default_rng(6)
    previous, order = blocks(rng), rng.permutation(H * W)
    rates = []
    for flips in (0, 10, 77, 300, H * W):
        labels = previous.ravel().copy()
        labels[order[:flips]] = (labels[order[:flips]] + 1) % C
        rates.append(flip_rate(previous, labels.reshape(H, W), constant_flow(0, 0)))
    assert rates == pytest.approx([100 * flips / (H * W) for flips in (0, 10, 77, 300, H * W)])


def test_flicker_every_nth_frame_is_one_nth() -> None:
    still = np.zeros((H, W), np.uint8)
    meter = FlickerMeter(2)
    for index in range(1, 13):
        # Every third frame is another class; it differs from the frame before and from the one after.
        meter.update(still + ((index - 1) % 3 == 0), still + (index % 3 == 0), constant_flow(0, 0))
    assert meter.compute().flips_percent == pytest.approx(100 * 2 / 3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_classes_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    previous, labels, order = blocks(rng), blocks(rng), rng.permutation(C).astype(np.uint8)
    flow = rng.normal(0, 2, (2, H, W)).astype(np.float32)
    meters = FlickerMeter(C), FlickerMeter(C)
    meters[0].update(previous, labels, flow)
    meters[1].update(order[previous], order[labels], flow)
    first, second = meters[0].compute(), meters[1].compute()
    assert first.flips_percent == second.flips_percent
    assert first.boundary_percent == second.boundary_percent
    assert first.temporal_consistency_percent == pytest.approx(second.temporal_consistency_percent)
    assert first.per_class_percent == tuple(second.per_class_percent[order[index]] for index in range(C))


def test_temporal_consistency_by_hand() -> None:
    previous = np.array([[0, 0, 1, 1]], np.uint8)
    labels = np.array([[0, 1, 1, 2]], np.uint8)
    # Class 0: 1 of 2; class 1: 1 of 3; class 2: 0 of 1; class 3 in neither is left out.
    meter = FlickerMeter(4)
    meter.update(previous, labels, constant_flow(0, 0, 1, 4))
    result = meter.compute()
    assert result.per_class_consistency_percent == pytest.approx((50, 100 / 3, 0, None))
    assert result.temporal_consistency_percent == pytest.approx((50 + 100 / 3) / 3)
    assert result.absent_classes == (3,)
    assert result.per_class_percent == pytest.approx((0, 50, 100, None))


def test_nothing_counted_is_none_not_a_number() -> None:
    empty = FlickerMeter(2)
    assert empty.compute().flips_percent is None
    assert empty.compute().temporal_consistency_percent is None
    labels = np.zeros((H, W), np.uint8)
    assert empty.update(labels, labels, constant_flow(999, 0)) is None
    assert flip_rate(labels, labels, constant_flow(0, 0), np.zeros((H, W), bool)) is None
    assert SegmentationMeter(2).compute().miou_percent is None
    assert LogitJitterMeter().compute() is None
    assert VideoConsistencyMeter(8).compute().constant_percent is None


def test_flip_map_marks_the_pixels() -> None:
    previous = np.zeros((H, W), np.uint8)
    labels = previous.copy()
    labels[3, 4] = 1
    flipped, counted = flip_map(previous, labels, constant_flow(-1, 0))
    assert np.argwhere(flipped).tolist() == [[3, 4]]
    assert not counted[:, 0].any()
    assert counted[:, 1:].all()


def test_flicker_error_counts_only_where_the_truth_stays() -> None:
    flow = constant_flow(0, 0, 1, 6)
    previous_truth = np.array([[0, 0, 0, 1, 1, IGNORE_LABEL]])
    truth = np.array([[0, 0, 1, 1, 1, 0]])
    previous = np.array([[0, 1, 0, 1, 0, 0]])
    labels = np.array([[0, 0, 1, 1, 0, 1]])
    # Pixels 0, 1, 3, 4 keep a known truth; of them only 1 flips (4 is wrong, but steady).
    np.testing.assert_array_equal(unchanged_truth(previous_truth, truth, flow), [[1, 1, 0, 1, 1, 0]])
    assert flicker_error(previous, labels, previous_truth, truth, flow) == 25
    hidden = np.array([[True, False, True, True, True, True]])
    assert flicker_error(previous, labels, previous_truth, truth, flow, hidden) == 0


def test_one_warp_serves_several_meters() -> None:
    rng = np.random.default_rng(14)
    flow = rng.normal(0, 3, (2, H, W)).astype(np.float32)
    visible = rng.random((H, W)) < 0.8
    warp = NearestWarp(flow)
    for _ in range(3):
        previous, labels = blocks(rng), blocks(rng)
        one, other = FlickerMeter(C), FlickerMeter(C)
        assert one.update_warped(warp(previous), labels, visible) == other.update(previous, labels, flow, visible)
        assert one.compute() == other.compute()
