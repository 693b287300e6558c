"""Smoothed networks as sets of `dwnet flicker`."""

import json
from pathlib import Path

import numpy as np
import pytest

import dwnet
from dwnet.cli.main import main
from dwnet.deploy.runtime import load
from dwnet.deploy.smoothing import SmoothedSegmenter
from dwnet.flicker.predictions import PredictionError, open_predictions
from tests.exported import textured_frame, write_clip, write_segmenter


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still texture with noise: the strongest colour changes from frame to frame."""
    rng = np.random.default_rng(0)
    still = textured_frame(size=(48, 64)).astype(int)
    still[..., 0] += 6
    frames = [(still + rng.normal(0, 5, still.shape)).clip(0, 255).astype(np.uint8) for _ in range(6)]
    return write_clip(tmp_path_factory.mktemp("clips") / "noise.mp4", frames)


def test_a_smoothed_set_stands_beside_its_network(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_segmenter(tmp_path / "baseline.onnx")
    output = tmp_path / "out"
    arguments = ["flicker", str(clip), f"plain={model}", "--output", str(output)]
    assert main([*arguments, "--smooth", "plain", "plain=0.8"]) == 0
    document = json.loads((output / "flicker.json").read_text())
    assert list(document["sets"]) == ["plain", "plain_smoothed", "plain_smoothed_0.8"]
    flips = [found["flip_rate_percent"] for found in document["sets"].values()]
    assert flips[0] > 2 * flips[1] > 2 * flips[2] >= 0
    report = dwnet.measure_flicker(clip, {"plain": model}, smooth=["plain"])
    assert report["plain_smoothed"].flips_percent == flips[1]
    assert "| plain_smoothed |" in report.table()
    capsys.readouterr()


def test_the_labels_are_those_of_the_smoothed_network(tmp_path: Path) -> None:
    model = write_segmenter(tmp_path / "baseline.onnx")
    _, found = open_predictions([("one", model)], None, smooth=["one=0.7"])
    expected = SmoothedSegmenter(load(model), 0.7)
    assert found.name == "one_smoothed_0.7"
    assert "smoothed along DIS flow with keep 0.7" in found.kind
    for index in range(4):
        frame = textured_frame(index, (48, 64), shift_px=2)
        if index == 2:
            expected.reset()
        prediction = found.predict(index, frame, follows=index not in (0, 2))
        assert prediction is not None
        assert prediction.logits is not None
        np.testing.assert_array_equal(prediction.labels, expected.labels(frame))


def test_only_networks_can_be_smoothed_and_names_stay_unique(tmp_path: Path) -> None:
    model = write_segmenter(tmp_path / "baseline.onnx")
    np.save(tmp_path / "ids.npy", np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="--smooth ids: allowed are baseline, as NAME or NAME=KEEP"):
        open_predictions([("baseline", model), ("ids", tmp_path / "ids.npy")], None, smooth=["ids"])
    with pytest.raises(PredictionError, match="two sets are called 'a_smoothed'"):
        open_predictions([("a", model), ("a_smoothed", model)], None, smooth=["a"])
