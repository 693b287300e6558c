"""Metrics against hand-computed cases, closed forms, loops in float64, and torchmetrics."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.classification import MulticlassJaccardIndex

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.metrics import (
    FlickerMeter,
    LogitJitterMeter,
    Meter,
    NearestWarp,
    SegmentationMeter,
    TCETCMeter,
    TCVSPWMeter,
    VideoConsistencyMeter,
    flicker_error,
    flip_map,
    flip_rate,
    logit_jitter,
    miou,
    near_edge,
    occlusion_mask,
    tc_etc,
    tc_vspw,
    temporal_consistency,
    unchanged_truth,
    video_consistency,
    warp_labels,
)
from dwnet.metrics.published import VSPWWarp

H, W, C = 24, 32, 5


def constant_flow(dx: float, dy: float, height: int = H, width: int = W) -> np.ndarray:
    return np.stack((np.full((height, width), dx), np.full((height, width), dy))).astype(np.float32)


def random_labels(rng: np.random.Generator, height: int = H, width: int = W, classes: int = C) -> np.ndarray:
    return rng.integers(0, classes, (height, width)).astype(np.uint8)


def blocks(rng: np.random.Generator, height: int = H, width: int = W, classes: int = C) -> np.ndarray:
    """Labels in 8 x 8 squares, so that there is an interior."""
    coarse = rng.integers(0, classes, (height // 8, width // 8))
    return np.kron(coarse, np.ones((8, 8), int)).astype(np.uint8)


# ------------------------------------------------------------------------------------------------- loops in float64


def loop_warp(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    height, width = labels.shape
    out = np.full((height, width), IGNORE_LABEL)
    for y in range(height):
        for x in range(width):
            u, v = x + float(flow[0, y, x]), y + float(flow[1, y, x])
            if 0 <= u <= width - 1 and 0 <= v <= height - 1:
                out[y, x] = labels[math.floor(v + 0.5), math.floor(u + 0.5)]
    return out


def loop_bilinear(values: np.ndarray, u: float, v: float) -> float:
    height, width = values.shape
    left, top = min(int(u), width - 2), min(int(v), height - 2)
    a, b = u - left, v - top
    return (
        (1 - a) * (1 - b) * values[top, left]
        + a * (1 - b) * values[top, left + 1]
        + (1 - a) * b * values[top + 1, left]
        + a * b * values[top + 1, left + 1]
    )


def loop_flicker(previous: np.ndarray, labels: np.ndarray, flow: np.ndarray, visible: np.ndarray) -> dict[str, list]:
    """[flips, pixels] overall, at boundaries, inside, and per class."""
    warped = loop_warp(previous, flow)
    height, width = labels.shape
    counts: dict[str, list] = {"all": [0, 0], "boundary": [0, 0], "interior": [0, 0]}
    counts.update({str(index): [0, 0] for index in range(C)})
    for y in range(height):
        for x in range(width):
            now, then = int(labels[y, x]), int(warped[y, x])
            if not visible[y, x] or IGNORE_LABEL in (now, then):
                continue
            window = labels[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
            zone = "boundary" if any(other not in (now, IGNORE_LABEL) for other in window.ravel()) else "interior"
            for key in ("all", zone, str(now)):
                counts[key][0] += now != then
                counts[key][1] += 1
    return counts


def rate(counts: list) -> float | None:
    return 100 * counts[0] / counts[1] if counts[1] else None


# ------------------------------------------------------------------------------------------------------------- warp


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


# -------------------------------------------------------------------------------------------------------- occlusion


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


# ---------------------------------------------------------------------------------------------------------- flicker


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
    # The scene moves by `shift` between frames: what is at x now was at x - shift.
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
    # A still class 0; each pixel shows, with probability q, a uniformly drawn class (0 included), anew in each frame.
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
    # Neighbouring pairs share a frame, which widens the spread by less than two.
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


def updates(rng: np.random.Generator) -> list[tuple[Meter, Meter, tuple]]:
    """Two empty meters of every kind, and the arguments of one update."""
    maps, flow = (blocks(rng), blocks(rng)), rng.normal(0, 2, (2, H, W))
    logits = tuple(rng.normal(0, 1, (2, C, H, W)).astype(np.float32))
    return [
        (FlickerMeter(C), FlickerMeter(C), (*maps, flow)),
        (TCETCMeter(C), TCETCMeter(C), (*maps, flow.astype(np.float32))),
        (TCVSPWMeter(C), TCVSPWMeter(C), (*maps, flow.astype(np.float32))),
        (SegmentationMeter(C), SegmentationMeter(C), maps),
        (LogitJitterMeter(), LogitJitterMeter(), (*logits, flow.astype(np.float32))),
        (VideoConsistencyMeter(2), VideoConsistencyMeter(2), maps),
    ]


def test_meters_merge_to_what_one_meter_finds() -> None:
    rng = np.random.default_rng(7)
    whole, parts = FlickerMeter(C), (FlickerMeter(C), FlickerMeter(C))
    for index in range(6):
        pair = blocks(rng), blocks(rng), rng.normal(0, 2, (2, H, W))
        whole.update(*pair)
        parts[index % 2].update(*pair)
    parts[0].merge(parts[1].state())
    assert parts[0].compute() == whole.compute()
    with pytest.raises(ValueError, match="other meter has 3 classes; allowed is 5"):
        whole.merge(FlickerMeter(3).state())


def test_every_state_rebuilds_its_meter_also_from_json() -> None:
    rng = np.random.default_rng(17)
    for meter, empty, arguments in updates(rng):
        for _ in range(3):
            meter.update(*arguments)
        state = meter.state()
        assert all(array.dtype in (np.int64, np.float64) for array in state.values())
        assert any(array.any() for array in state.values())
        nothing = empty.state()
        empty.merge(json.loads(json.dumps({name: array.tolist() for name, array in state.items()})))
        assert empty.compute() == meter.compute(), type(meter).__name__
        # States are copies: neither meter changes through them.
        assert not any(array.any() for array in nothing.values())
        empty.update(*arguments)
        assert all(np.array_equal(array, meter.state()[name]) for name, array in state.items())


def test_the_sum_of_states_is_what_one_meter_finds() -> None:
    """As processes do: each array is added up by itself."""
    rng = np.random.default_rng(18)
    for one, other, arguments in updates(rng):
        one.update(*arguments)
        other.update(*arguments)
        total = {name: array + other.state()[name] for name, array in one.state().items()}
        one.merge(other.state())
        for name, array in one.state().items():
            np.testing.assert_array_equal(array, total[name])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "the state of the other meter has nothing; allowed are confusion, missed"),
        ({"areas": [0]}, "the state of the other meter has areas; allowed are confusion, missed"),
        ({"confusion": [[0]], "missed": [0]}, "the other meter has 1 classes; allowed is 2"),
        (
            {"confusion": [0, 0], "missed": [0, 0]},
            r"confusion of the other meter has shape \(2,\); allowed is \(2, 2\)",
        ),
        (
            {"confusion": np.zeros((2, 2), np.int64), "missed": [0.5, 0]},
            "missed of the other meter is float64; allowed",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_one_clear_error_and_adds_nothing(state: dict, message: str) -> None:
    meter = SegmentationMeter(2)
    meter.update(np.array([[0, 1]]), np.array([[0, 0]]))
    before = meter.state()
    with pytest.raises(DWNetError, match=message):
        meter.merge(state)
    assert all(np.array_equal(array, before[name]) for name, array in meter.state().items())


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


# ----------------------------------------------------------------------------------------------------- segmentation


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
    # It takes an ignore label that is no class only where the prediction is no class either.
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
    """Half of the truth is class 1. Saying nothing there is no better than a wrong answer."""
    truth = np.array([[0, 0, 1, 1, IGNORE_LABEL]])
    wrong, silent = SegmentationMeter(2), SegmentationMeter(1)
    wrong.update(np.zeros_like(truth), truth)
    silent.grow(2)
    silent.update(np.where(truth == 0, 0, IGNORE_LABEL), truth)
    np.testing.assert_array_equal(silent.missed, [0, 2])
    for meter, ious in ((wrong, (50, 0)), (silent, (100, 0))):
        result = meter.compute()
        assert result.per_class_iou_percent == ious  # class 0 has no false pixel where nothing is said
        assert (result.pixel_accuracy_percent, result.pixels) == (50, 4)


# ------------------------------------------------------------------------------------------------------- with truth


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


# -------------------------------------------------------------------------------------------------------- published


def loop_tc_etc(pairs: list, classes: int) -> float:
    intersection, union = [0] * classes, [0] * classes
    for labels, neighbour, flow in pairs:
        height, width = labels.shape
        for y, x in np.ndindex(height, width):
            u, v = x + float(flow[0, y, x]), y + float(flow[1, y, x])
            left, top = math.floor(u), math.floor(v)
            value = 0.0
            for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                weight = (u - left if dx else 1 - u + left) * (v - top if dy else 1 - v + top)
                value += weight * neighbour[min(max(top + dy, 0), height - 1), min(max(left + dx, 0), width - 1)]
            warped, here = int(value), int(labels[y, x])
            if warped == here:
                intersection[here] += 1
                union[here] += 1
            else:
                union[here] += 1
                union[warped] += 1
    return 100 * sum(i / (u + 1e-10) for i, u in zip(intersection, union, strict=True)) / classes


def test_tc_etc_equals_the_loop() -> None:
    rng = np.random.default_rng(8)
    # Quarter pixels, so that float32 and float64 truncate alike.
    pairs = [(blocks(rng), blocks(rng), rng.integers(-12, 13, (2, H, W)) / 4) for _ in range(3)]
    assert tc_etc(pairs, num_classes=C) == pytest.approx(loop_tc_etc(pairs, C))


def test_tc_etc_has_its_published_flaws() -> None:
    # Halfway between ids 1 and 4 it finds 2, which is in neither frame; and absent classes score 0.
    labels = np.array([[1, 1, 4, 4]])
    assert tc_etc([(labels, labels, constant_flow(0, 0, 1, 4))], num_classes=8) == pytest.approx(100 * 2 / 8)
    half = constant_flow(0, 0, 1, 4)
    half[0, 0, 1] = 0.5
    # Class 1: 1 of 2; class 4: 2 of 2; class 2: 0 of 1.
    assert tc_etc([(labels, labels, half)], num_classes=8) == pytest.approx(100 * 1.5 / 8)
    assert tc_etc([], num_classes=3) == 0


def test_tc_vspw_equals_the_loop() -> None:
    rng = np.random.default_rng(9)
    pairs = [(blocks(rng), blocks(rng), rng.normal(0, 4, (2, H, W)).astype(np.float32)) for _ in range(3)]
    confusion = np.zeros((C, C))
    for labels, neighbour, flow in pairs:
        for y, x in np.ndindex(H, W):
            u = (x + float(flow[0, y, x])) * W / (W - 1) - 0.5
            v = (y + float(flow[1, y, x])) * H / (H - 1) - 0.5
            column, row = round(u), round(v)
            inside = 0 <= column < W and 0 <= row < H
            confusion[labels[y, x], neighbour[row, column] if inside else 0] += 1
    present = confusion.sum(1) > 0
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    assert tc_vspw(pairs, num_classes=C) == pytest.approx(
        100 * np.mean((np.diag(confusion) / union)[present]), abs=1e-6
    )


def test_tc_vspw_has_its_published_flaws() -> None:
    # Even size and zero flow: the last row and column read class 0 although nothing moves.
    labels = np.ones((4, 4), np.uint8)
    assert tc_vspw([(labels, labels, constant_flow(0, 0, 4, 4))], num_classes=2) == pytest.approx(100 * 9 / 16)
    assert tc_vspw([], num_classes=2) is None
    # Ours finds nothing wrong.
    assert temporal_consistency(labels, labels, constant_flow(0, 0, 4, 4), num_classes=2) == 100


@pytest.mark.parametrize("size", [(24, 32), (23, 31), (1, 9)])
def test_the_vspw_warp_is_what_pytorch_samples(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(12)
    labels = random_labels(rng, *size)
    for flow in (rng.normal(0, 5, (2, *size)), rng.integers(-20, 21, (2, *size)) / 4, np.zeros((2, *size))):
        flow_px = flow.astype(np.float32)
        x = np.arange(size[1], dtype=np.float32) + flow_px[0]
        y = np.arange(size[0], dtype=np.float32)[:, None] + flow_px[1]
        sides = [np.float32(max(side - 1, 1)) for side in size]
        grid = torch.from_numpy(np.stack((2 * x / sides[1] - 1, 2 * y / sides[0] - 1), axis=-1))[None]
        source = torch.from_numpy(labels.astype(np.float32))[None, None]
        expected = torch.nn.functional.grid_sample(source, grid, mode="nearest", align_corners=False)[0, 0]
        np.testing.assert_array_equal(VSPWWarp(flow_px)(labels), expected.numpy())


def test_meters_grow_without_losing_anything() -> None:
    """Whatever room there was in the beginning, the result is that of a meter with room for all."""
    rng = np.random.default_rng(13)
    few, many = (blocks(rng, classes=2), blocks(rng, classes=2)), (blocks(rng), blocks(rng))
    flow = rng.normal(0, 2, (2, H, W)).astype(np.float32)
    for kind in (FlickerMeter, TCETCMeter, TCVSPWMeter):
        grown, whole = kind(2), kind(C)
        for meter in (grown, whole):
            meter.update(*few, flow)
        grown.grow(C)
        for meter in (grown, whole):
            meter.update(*many, flow)
        assert grown.compute() == whole.compute()
        with pytest.raises(ValueError, match=r"num_classes is 4; allowed are 5\.\.255"):
            grown.grow(4)
    segmentation = SegmentationMeter(2)
    segmentation.update(*few)
    segmentation.grow(C)
    segmentation.update(*many)
    assert segmentation.confusion.shape == (C, C)
    assert segmentation.compute().pixels == 2 * H * W


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


# ----------------------------------------------------------------------------------------------------------- jitter


def test_logit_jitter_equals_the_loop() -> None:
    rng = np.random.default_rng(10)
    previous, logits = rng.normal(0, 2, (2, 3, 8, 9)).astype(np.float32)
    # Steps of 1/32 px, which OpenCV 4 samples exactly too.
    flow = (rng.integers(-64, 65, (2, 8, 9)) / 32).astype(np.float32)
    visible = rng.random((8, 9)) < 0.8

    def softmax(values: np.ndarray) -> np.ndarray:
        return np.exp(values.astype(float)) / np.exp(values.astype(float)).sum(0)

    p, q, changes = softmax(previous), softmax(logits), []
    for y, x in np.ndindex(8, 9):
        u, v = x + flow[0, y, x], y + flow[1, y, x]
        if visible[y, x] and 0 <= u <= 8 and 0 <= v <= 7:
            changes.append(np.mean([abs(loop_bilinear(p[c], u, v) - q[c, y, x]) for c in range(3)]))
    assert logit_jitter(previous, logits, flow, visible) == pytest.approx(np.mean(changes), rel=1e-4)
    meter = LogitJitterMeter()
    meter.update(previous, logits, flow, visible)
    meter.update(logits, logits, np.zeros_like(flow))
    assert meter.compute() == pytest.approx(sum(changes) / (len(changes) + 72), rel=1e-4)


def test_one_hot_jitter_is_the_flip_rate() -> None:
    rng = np.random.default_rng(11)
    previous, labels, flow = random_labels(rng), random_labels(rng), constant_flow(1, -2)
    logits = [1000 * np.moveaxis(np.eye(C)[ids], -1, 0) for ids in (previous, labels)]
    jitter = logit_jitter(*logits, flow)
    assert jitter is not None
    assert 50 * C * jitter == pytest.approx(flip_rate(previous, labels, flow))


# ----------------------------------------------------------------------------------------------------------- errors

LABELS = np.zeros((H, W), np.uint8)
FLOW = constant_flow(0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FlickerMeter(0), "num_classes is 0; allowed are 1..255"),
        (lambda: FlickerMeter(2).update(LABELS + 7, LABELS, FLOW), r"previous_labels holds the labels \[7\]; allowed"),
        (lambda: FlickerMeter(2).update(LABELS, LABELS + 3, FLOW), r"labels holds the labels \[3\]; allowed are 0..1"),
        (lambda: FlickerMeter(2).update(LABELS[1:], LABELS, FLOW), "allowed is one shape"),
        (lambda: flip_map(LABELS[1:], LABELS, FLOW), "allowed is one shape"),
        (lambda: flip_rate(LABELS, LABELS, FLOW[:, 1:]), r"flow_px has shape \(2, 23, 32\); a map of 24x32 needs"),
        (lambda: flip_rate(LABELS, LABELS, FLOW.astype(complex)), "flow_px has dtype complex128"),
        (lambda: flip_rate(LABELS, LABELS, FLOW, LABELS), "visible is uint8"),
        (lambda: warp_labels(LABELS.astype(float), FLOW), "dtype float64; allowed are integers"),
        (lambda: warp_labels(LABELS[0], FLOW), "allowed is a non-empty"),
        (lambda: warp_labels(LABELS.astype(int) - 1, FLOW), "holds the label -1; allowed are 0..255"),
        (lambda: warp_labels(LABELS.astype(int) + 256, FLOW), "holds the label 256; allowed are 0..255"),
        (lambda: near_edge(LABELS, distance_px=0), "distance_px is 0"),
        (lambda: occlusion_mask(FLOW, FLOW[:, 1:]), "flow_backward_px has shape"),
        (lambda: occlusion_mask(FLOW[0, 0], FLOW), "flow_forward_px has shape"),
        (lambda: occlusion_mask(FLOW, FLOW, beta=-1), "beta -1; allowed"),
        (lambda: SegmentationMeter(3).update(LABELS, LABELS[1:]), "allowed is one shape"),
        (
            lambda: SegmentationMeter(3).update(LABELS + 3, LABELS),
            r"prediction holds the labels \[3\]; allowed are 0..2 and",
        ),
        (
            lambda: SegmentationMeter(3).update(LABELS, LABELS + 4),
            r"target holds the labels \[4\]; allowed are 0..2 and",
        ),
        (lambda: VideoConsistencyMeter(1), "n is 1; allowed are whole numbers from 2"),
        (lambda: video_consistency([LABELS, LABELS[1:]], [LABELS, LABELS[1:]], n=2), "call end_video first"),
        (lambda: video_consistency([LABELS], [LABELS[1:]], n=2), "allowed is one shape"),
        (lambda: video_consistency([LABELS], [LABELS] * 2, n=2), "shorter|longer"),
        (lambda: tc_etc([(LABELS, LABELS[1:], FLOW)], num_classes=2), "allowed is one shape"),
        (lambda: tc_etc([(LABELS, LABELS, FLOW * np.nan)], num_classes=2), "not finite"),
        (
            lambda: tc_vspw([(LABELS, LABELS + 255, FLOW)], num_classes=2),
            r"holds the labels \[255\]; allowed are 0..1$",
        ),
        (lambda: logit_jitter(LABELS, LABELS, FLOW), "allowed is a non-empty float"),
        (lambda: logit_jitter(FLOW, FLOW[:1], FLOW), "allowed is one shape"),
        (lambda: logit_jitter(FLOW, FLOW * np.inf, FLOW), "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_wrong_input_is_one_clear_error(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_refused_update_counts_nothing() -> None:
    meter = FlickerMeter(2)
    with pytest.raises(ValueError, match="holds the labels"):
        meter.update(LABELS, LABELS + 2, FLOW)
    assert meter.frames == 0
    assert meter.transitions.sum() == 0
