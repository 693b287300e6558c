"""Logit jitter, against a loop in float64 and the flip rate."""

import numpy as np
import pytest

from dwnet.metrics import (
    LogitJitterMeter,
    flip_rate,
    logit_jitter,
)
from tests.metrics.loops import C, constant_flow, loop_bilinear, random_labels


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
