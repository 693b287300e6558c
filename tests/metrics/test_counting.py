"""Sampling along a flow and occlusion, against loops in float64."""

import numpy as np
import pytest
import torch

from dwnet.core.classes import IGNORE_LABEL
from dwnet.metrics import (
    FlickerMeter,
    near_edge,
    occlusion_mask,
    warp_labels,
)
from tests.metrics.loops import C, H, W, constant_flow, loop_bilinear, loop_warp, random_labels


def test_integer_flow_moves_labels_by_exactly_that_many_pixels() -> None:
    previous = random_labels(np.random.default_rng(0))
    warped, valid = warp_labels(previous, constant_flow(2, -1))
    # warped(x, y) = previous(x + 2, y - 1)
    np.testing.assert_array_equal(warped[1:, : W - 2], previous[: H - 1, 2:])
    assert valid[1:, : W - 2].all()
    assert not valid[0].any()
    assert not valid[:, W - 2 :].any()
    assert (warped[~valid] == IGNORE_LABEL).all()


def test_warp_equals_the_loop_on_any_flow() -> None:
    rng = np.random.default_rng(1)
    previous = random_labels(rng)
    flow = rng.normal(0, 6, (2, H, W)).astype(np.float32)
    flow[0, 3, 4], flow[1, 5, 6], flow[0, 7, 8] = np.nan, np.inf, 1e30
    warped, valid = warp_labels(previous, flow)
    np.testing.assert_array_equal(warped, loop_warp(previous, flow))
    np.testing.assert_array_equal(valid, warped != IGNORE_LABEL)


def test_tensors_give_what_arrays_give() -> None:
    rng = np.random.default_rng(2)
    previous, labels = random_labels(rng), random_labels(rng)
    flow = rng.normal(0, 2, (2, H, W)).astype(np.float32)
    visible = rng.random((H, W)) < 0.7
    meters = FlickerMeter(C), FlickerMeter(C)
    meters[0].update(previous, labels, flow, visible)
    meters[1].update(
        torch.from_numpy(previous).long(),
        torch.from_numpy(labels).int(),
        torch.from_numpy(flow).requires_grad_(),
        torch.from_numpy(visible),
    )
    assert meters[0].compute() == meters[1].compute()


def test_exact_opposite_flows_are_visible_but_for_the_border() -> None:
    visible = occlusion_mask(constant_flow(3, 0), constant_flow(-3, 0))
    assert visible[:, : W - 3].all()
    assert not visible[:, W - 3 :].any()


def test_a_covered_background_is_found() -> None:
    # A square of 8 pixels moves by 5 to the right in the neighbour and covers still background there.
    forward, backward = constant_flow(0, 0), constant_flow(0, 0)
    forward[0, 8:16, 8:16] = 5
    backward[0, 8:16, 13:21] = -5
    visible = occlusion_mask(forward, backward)
    expected = np.ones((H, W), bool)
    expected[8:16, 16:21] = False
    np.testing.assert_array_equal(visible, expected)


def test_occlusion_equals_the_loop_away_from_the_threshold() -> None:
    rng = np.random.default_rng(3)
    forward = rng.normal(0, 2, (2, H, W)).astype(np.float32)
    backward = -forward + rng.normal(0, 0.6, (2, H, W)).astype(np.float32)
    visible = occlusion_mask(forward, backward)
    seen = 0
    for y in range(H):
        for x in range(W):
            w = forward[:, y, x].astype(float)
            u, v = x + w[0], y + w[1]
            if not (0 <= u <= W - 1 and 0 <= v <= H - 1):
                assert not visible[y, x]
                continue
            back = np.array([loop_bilinear(channel.astype(float), u, v) for channel in backward])
            margin = 0.01 * (w @ w + back @ back) + 0.5 - (w + back) @ (w + back)
            # OpenCV 4 samples at 1/32 px.
            if abs(margin) > 1:
                assert visible[y, x] == (margin > 0)
                seen += 1
    assert seen > 200


def test_unknown_flow_is_not_visible() -> None:
    forward, backward = constant_flow(0, 0), constant_flow(0, 0)
    forward[0, 2, 3] = np.nan
    backward[1, 10, 10] = np.nan
    visible = occlusion_mask(forward, backward)
    assert not visible[2, 3]
    assert not visible[10, 10]
    assert visible.sum() >= H * W - 5


def test_boundary_is_three_pixels_and_takes_the_flips_of_a_moving_edge() -> None:
    labels = np.zeros((H, W), np.uint8)
    labels[:, 16:] = 1
    edge = near_edge(labels)
    assert edge[:, 13:19].all()
    assert edge.sum() == H * 6
    previous = np.zeros((H, W), np.uint8)
    previous[:, 18:] = 1
    meter = FlickerMeter(2)
    meter.update(previous, labels, constant_flow(0, 0))
    result = meter.compute()
    assert result.boundary_percent == pytest.approx(100 * 2 / 6)
    assert result.interior_percent == 0
    assert result.per_class_percent == pytest.approx((0, 100 * 2 / 16))


def test_ignored_pixels_make_no_boundary() -> None:
    labels = np.full((H, W), 3, np.uint8)
    labels[10, 10] = IGNORE_LABEL
    assert not near_edge(labels)[labels == 3].any()
