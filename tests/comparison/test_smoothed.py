"""Smoothed methods in a comparison: their labels, their time with both flows, and their place in the files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dwnet.cli.main import main
from dwnet.comparison import ComparisonFiles, Networks
from dwnet.core.errors import DWNetError
from dwnet.deploy.runtime import load
from dwnet.deploy.smoothing import SmoothedSegmenter
from tests.comparison.colours import FRAMES, coloured, run
from tests.exported import textured_frame, write_clip


@pytest.fixture(scope="module")
def flickering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still texture that is green for one frame only, and red otherwise."""
    path = tmp_path_factory.mktemp("clips") / "flicker.mp4"
    return write_clip(path, [coloured(textured_frame(), int(index == 2)) for index in range(FRAMES)])


def test_a_smoothed_method_stands_beside_its_network(
    flickering: Path, models: Path, networks: Networks, tmp_path: Path
) -> None:
    chosen = networks.smoothed(["baseline=0.6", "static_warp"])
    names = ["baseline", "baseline_smoothed_0.6", "static_warp", "static_warp_smoothed", "dwnet"]
    assert list(chosen.segmenters) == names
    assert list(networks.segmenters) == ["baseline", "static_warp", "dwnet"], "the networks are not changed"
    frames = run(flickering, chosen, tmp_path)
    alone = SmoothedSegmenter(load(models / "baseline.onnx", threads=1), 0.6)
    for frame in frames:
        assert list(frame.methods) == names
        found = frame.methods["baseline_smoothed_0.6"]
        np.testing.assert_array_equal(found.labels, alone.labels(frame.image))
        # The network needs no flow; the average needs two, and both are part of its time.
        assert frame.methods["baseline"].flow_ms == 0
        assert (found.flow_ms > 0) == (frame.index > 0)
        assert found.latency_ms > found.flow_ms
        if frame.index:
            assert found.flow_ms > frame.methods["static_warp"].flow_ms
    last = frames[-1].summaries
    assert [frame.methods["baseline"].flips_percent for frame in frames] == [None, 0, 100, 100, 0, 0]
    assert last["baseline_smoothed_0.6"].flips_percent < 1
    files = ComparisonFiles.beside(tmp_path, flickering)
    report = json.loads(files.json.read_text())
    assert list(report["methods"]) == names
    model = report["models"][1]
    assert (model["method"], model["file"], model["metrics"]) == ("baseline_smoothed_0.6", "baseline.onnx", {})
    with files.csv.open() as table:
        assert "baseline_smoothed_0.6_flips_percent" in next(csv.reader(table))


def test_the_command_smooths(
    flickering: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", str(flickering), "--models", str(models), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--smooth", "dwnet", "baseline=0.25"]) == 0
    printed = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("| ")]
    assert rows == ["method", "baseline", "baseline_smoothed_0.25", "static_warp", "dwnet", "dwnet_smoothed"]
    assert main([*arguments, "--smooth", "gone"]) == 1
    reason = "dwnet: --smooth gone: allowed are baseline, static_warp, dwnet, as NAME or NAME=KEEP\n"
    assert capsys.readouterr().err.endswith(reason)


def test_wrong_methods_are_refused(networks: Networks) -> None:
    with pytest.raises(DWNetError, match="--smooth dwnet=2: keep is 2; allowed are numbers from 0 to below 1"):
        networks.smoothed(["dwnet=2"])
