"""States, merging and growth of all meters."""

import json

import numpy as np
import pytest

from dwnet.core.errors import DWNetError
from dwnet.metrics import (
    FlickerMeter,
    LogitJitterMeter,
    Meter,
    SegmentationMeter,
    TCETCMeter,
    TCVSPWMeter,
    VideoConsistencyMeter,
)
from tests.metrics.loops import C, H, W, blocks


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
    """As with several processes, each array of the states is summed separately."""
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


def test_meters_grow_without_losing_anything() -> None:
    """A meter that grows later has the result of a meter that had all classes from the start."""
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
