"""Run-time smoothing against a float64 loop, and around exported networks."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwnet.core.errors import DWNetError
from dwnet.deploy.runtime import argmax_labels, load
from dwnet.deploy.smoothing import (
    SmoothedSegmenter,
    Smoothing,
    parse_smooth,
    smoothed_name,
    softmax,
)
from dwnet.flow.dis import dis_flow
from dwnet.metrics import occlusion_mask
from tests.exported import textured_frame, write_keyframe, write_segmenter, write_static_warp

CLASSES, HEIGHT, WIDTH = 3, 5, 7


def by_loop(
    average: list[list[list[float]]], probabilities: np.ndarray, flow: np.ndarray, visible: np.ndarray, keep: float
) -> list[list[list[float]]]:
    """The definition, pixel by pixel in Python floats."""
    result = [[[0.0] * WIDTH for _ in range(HEIGHT)] for _ in range(CLASSES)]
    for y in range(HEIGHT):
        for x in range(WIDTH):
            sx, sy = x + float(flow[0, y, x]), y + float(flow[1, y, x])
            seen = bool(visible[y, x]) and 0 <= sx <= WIDTH - 1 and 0 <= sy <= HEIGHT - 1
            for c in range(CLASSES):
                now = float(probabilities[c, y, x])
                if not seen:
                    result[c][y][x] = now
                    continue
                x0, y0 = min(int(sx), WIDTH - 2), min(int(sy), HEIGHT - 2)
                fx, fy = sx - x0, sy - y0
                rows = [(1 - fx) * average[c][row][x0] + fx * average[c][row][x0 + 1] for row in (y0, y0 + 1)]
                result[c][y][x] = keep * ((1 - fy) * rows[0] + fy * rows[1]) + (1 - keep) * now
    return result


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), keep=st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_smoothing_equals_the_definition_in_float64(seed: int, keep: float) -> None:
    rng = np.random.default_rng(seed)
    smoothing = Smoothing(keep)
    expected: list[list[list[float]]] = []
    for frame in range(4):
        probabilities = softmax(rng.normal(size=(CLASSES, HEIGHT, WIDTH)).astype(np.float32))
        # Steps of 1/32 px, which every version of OpenCV samples exactly.
        flow = (rng.integers(-80, 81, (2, HEIGHT, WIDTH)) / 32).astype(np.float32)
        visible = rng.random((HEIGHT, WIDTH)) < 0.8
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        found = smoothing.update(image, probabilities, flow, visible)
        expected = by_loop(expected, probabilities, flow, visible, keep) if frame else probabilities.tolist()
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-6)
        np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
        assert smoothing.reference is image


def test_what_is_not_given_is_computed_and_a_hidden_pixel_starts_anew() -> None:
    """Without flow and mask the result is that of DIS and the forward-backward check."""
    frames = [textured_frame(index, (48, 64), shift_px=3) for index in range(3)]
    frames[2][10:30, 20:44] = 7  # an object that covers the texture
    rng = np.random.default_rng(0)
    maps = [softmax(rng.normal(size=(4, 48, 64)).astype(np.float32)) for _ in frames]
    alone, given_all = Smoothing(), Smoothing()
    for index, (image, probabilities) in enumerate(zip(frames, maps, strict=True)):
        found = alone.update(image, probabilities)
        flow = visible = None
        if index:
            flow = dis_flow(image, frames[index - 1])
            visible = occlusion_mask(flow, dis_flow(frames[index - 1], image))
            assert not visible.all()
            np.testing.assert_array_equal(found[:, ~visible], probabilities[:, ~visible])
            assert (found[:, visible] != probabilities[:, visible]).mean() > 0.9
        np.testing.assert_array_equal(found, given_all.update(image, probabilities, flow, visible))


def test_the_softmax_of_huge_scores_is_finite() -> None:
    probabilities = softmax(np.array([[[1e4, -1e4]], [[1e4 - math.log(3), 0.0]]], np.float64))
    np.testing.assert_allclose(probabilities, [[[0.75, 0.0]], [[0.25, 1.0]]], atol=1e-4)
    assert probabilities.dtype == np.float32


def test_a_smoothed_network_flips_less_and_keeps_still_scenes(tmp_path: Path) -> None:
    """The picture blinks between red and green; the average stays with the first class for a frame longer."""
    network = SmoothedSegmenter(load(write_segmenter(tmp_path / "baseline.onnx")), 0.9)
    red, green = (np.full((32, 48, 3), colour, np.uint8) for colour in ([220, 100, 0], [100, 220, 0]))
    assert set(network.labels(red).ravel()) == {0}
    still, all_visible = np.zeros((2, 32, 48), np.float32), np.ones((32, 48), np.bool_)
    assert set(network.labels(green, still, all_visible).ravel()) == {0}
    assert set(network.labels(green, still, ~all_visible).ravel()) == {1}  # hidden pixels have no past
    network.reset()
    assert network.reference is None
    assert set(network.labels(green).ravel()) == {1}


def test_logits_give_the_probabilities_back(tmp_path: Path) -> None:
    path = write_segmenter(tmp_path / "baseline.onnx")
    first, second = (SmoothedSegmenter(load(path)) for _ in range(2))
    for index in range(2):
        frame = textured_frame(index, (32, 48), shift_px=2)
        probabilities = first.probabilities(frame)
        np.testing.assert_allclose(softmax(second.logits(frame)), probabilities, atol=1e-6)
    again = first.fresh()
    assert again.reference is None
    plain = load(path)
    np.testing.assert_array_equal(again.labels(frame), plain.labels(frame))


def test_a_static_warp_network_gets_the_flow_that_its_average_gets(tmp_path: Path) -> None:
    """With keep 0 the labels are those of the network alone, whose own state goes on."""
    path = write_static_warp(tmp_path / "static_warp.onnx")
    smoothed, plain = SmoothedSegmenter(load(path), 0.0), load(path)
    for index in range(3):
        frame = textured_frame(index, (48, 64), shift_px=3)
        flow = None if plain.reference is None else dis_flow(frame, plain.reference)
        np.testing.assert_array_equal(smoothed.labels(frame), plain.labels(frame, flow))
    expected = softmax(load(path).logits(frame))
    smoothed.reset()
    np.testing.assert_allclose(smoothed.probabilities(frame), expected)


def test_names_and_metadata(tmp_path: Path) -> None:
    network = load(write_segmenter(tmp_path / "dwnet.onnx", "dwnet"))
    smoothed = SmoothedSegmenter(network, 0.7)
    assert smoothed.info.method == "dwnet_smoothed_0.7"
    assert smoothed_name("dwnet", 0.5) == "dwnet_smoothed"
    assert network.info.metrics
    assert smoothed.info.metrics == {}, "the stored metrics are those of the network alone"
    assert smoothed.info.sha256 == network.info.sha256
    assert [smoothed.policy.memory(n) for n in (0, 3, 40)] == [0, 3, 40]
    assert SmoothedSegmenter(network).policy.warmup_frames(0) == 5  # 0.5 ** 5 = 1 / 32
    assert SmoothedSegmenter(network, 0.0).policy.warmup_frames(0) == 0
    assert set(argmax_labels(network.logits(textured_frame())).ravel()) <= {0, 1, 2}


def test_what_cannot_be_smoothed_is_refused(tmp_path: Path) -> None:
    network = load(write_segmenter(tmp_path / "baseline.onnx"))
    for keep in (-0.1, 1.0, math.nan):
        with pytest.raises(DWNetError, match=r"keep is .*; allowed are numbers from 0 to below 1"):
            SmoothedSegmenter(network, keep)
    network.scored = False
    with pytest.raises(DWNetError, match=r"baseline\.onnx gives only labels; smoothing is allowed for networks that g"):
        SmoothedSegmenter(network)
    key = load(write_keyframe(tmp_path / "key.onnx"))
    with pytest.raises(DWNetError, match=r"key\.onnx is a key-frame network, .* smoothing is allowed for networks"):
        SmoothedSegmenter(key)
    smoothing, image = Smoothing(), np.zeros((24, 32, 3), np.uint8)
    with pytest.raises(DWNetError, match=r"shape \(3, 24, 31\) for a frame of .*; allowed is \(K, 24, 32\)"):
        smoothing.update(image, np.zeros((3, 24, 31), np.float32))
    smoothing.update(image, np.zeros((3, 24, 32), np.float32))
    with pytest.raises(DWNetError, match=r"call reset\(\) before a clip of another size"):
        smoothing.update(np.zeros((32, 32, 3), np.uint8), np.zeros((3, 32, 32), np.float32))
    with pytest.raises(DWNetError, match="flow"):
        smoothing.update(image, np.zeros((3, 24, 32), np.float32), np.zeros((2, 24, 31), np.float32))


def test_the_option_is_read() -> None:
    names = ["baseline", "dwnet", "a=b"]
    assert parse_smooth(["baseline", "dwnet=0.7", "a=b", "a=b=0.25"], names) == [
        ("baseline", 0.5),
        ("dwnet", 0.7),
        ("a=b", 0.5),
        ("a=b", 0.25),
    ]
    for text, reason in (
        ("static", "--smooth static: allowed are baseline, dwnet, a=b, as NAME or NAME=KEEP"),
        ("dwnet=1", "--smooth dwnet=1: keep is 1; allowed are numbers from 0 to below 1"),
        ("dwnet=half", "--smooth dwnet=half: keep is half; allowed are numbers from 0 to below 1"),
    ):
        with pytest.raises(DWNetError) as found:
            parse_smooth([text], names)
        assert str(found.value) == reason
    with pytest.raises(DWNetError, match=r"--smooth dwnet=0.5 is given twice; allowed is each value once"):
        parse_smooth(["dwnet", "dwnet=0.5"], names)
