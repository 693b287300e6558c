"""Temporal consistency as published, against loops and PyTorch's sampling."""

import math

import numpy as np
import pytest
import torch

from dwnet.metrics import (
    tc_etc,
    tc_vspw,
    temporal_consistency,
)
from dwnet.metrics.published import VSPWWarp
from tests.metrics.loops import C, H, W, blocks, constant_flow, random_labels


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
