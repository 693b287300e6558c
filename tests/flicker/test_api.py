"""`dwnet.measure_flicker`: the command's numbers and files, as a function."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import cv2
import numpy as np
import pytest

import dwnet
from dwnet.cli.main import main
from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError
from dwnet.core.opencv_threads import one_opencv_thread
from dwnet.flicker import FlickerReport, Settings
from tests.flicker.short_clip import T, write_clip, write_labels

PngSets = Callable[..., tuple[Path, dict[str, Path]]]
REPOSITORY = Path(__file__).parents[2]

EXAMPLE = """
import dwnet

report = dwnet.measure_flicker("frames", {"calm": "calm", "wild": "wild"})
for name, found in report.sets.items():
    print(f"{name}: {found.flips_percent:.2f} % flips, {found.temporal_consistency_percent:.2f} % consistent")
print(report.table())
"""


def test_two_folders_of_pngs_in_under_ten_lines(png_sets: PngSets, tmp_path: Path) -> None:
    clip, folders = png_sets(calm=0.01, wild=0.2)
    assert len(EXAMPLE.strip().splitlines()) < 10
    found = subprocess.run(
        [sys.executable, "-c", EXAMPLE],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    report = dwnet.measure_flicker(clip, folders)
    calm, wild = report["calm"], report["wild"]
    assert found.stdout.startswith(f"calm: {calm.flips_percent:.2f} % flips, {calm.temporal_consistency_percent:.2f} %")
    assert f"\nwild: {wild.flips_percent:.2f} % flips" in found.stdout
    assert found.stdout.endswith(report.table() + "\n")
    assert not {path.name for path in tmp_path.iterdir()} & {"flicker", "flicker.json", "flicker.csv", "flicker.html"}


def test_the_result_is_typed_and_frozen(png_sets: PngSets) -> None:
    clip, folders = png_sets(calm=0.01, wild=0.2)
    report = dwnet.measure_flicker(clip, folders)
    assert isinstance(report, FlickerReport)
    assert (report.frames, report.scene_cuts, report.output) == (T, 0, None)
    assert list(report.sets) == ["calm", "wild"]
    calm, wild = report.sets.values()
    assert (calm.name, calm.frames, calm.pairs, calm.miou_percent) == ("calm", T, T - 1, None)
    assert calm.flips_percent is not None
    assert wild.flips_percent is not None
    assert calm.flips_percent < wild.flips_percent
    assert calm.figures["flip_rate_percent"] == calm.flips_percent
    assert calm.figures["second_flow_pairs"] == 1
    assert "per_class" in calm.figures
    assert "| set | flips % |" in report.table()
    with pytest.raises(FrozenInstanceError):
        calm.flips_percent = 0.0  # type: ignore[misc]
    with pytest.raises(DWNetError, match="no set is called 'mild'; allowed are calm, wild"):
        report["mild"]


def test_the_command_prints_and_writes_the_same(
    png_sets: PngSets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, folders = png_sets(calm=0.01, wild=0.2)
    (tmp_path / "classes.txt").write_text("left\nright\nnoise\n")
    told: list[tuple[int, int | None]] = []
    report = dwnet.measure_flicker(
        clip,
        list(folders.values()),
        truth=write_labels(tmp_path / "truth.npy", 2, 0),
        classes=tmp_path / "classes.txt",
        flow="dis_fast",
        output=tmp_path / "api",
        progress=lambda done, frames: told.append((done, frames)),
    )
    sets = [str(folder) for folder in folders.values()]
    options = ["--truth", tmp_path / "truth.npy", "--classes", tmp_path / "classes.txt", "--flow", "dis_fast"]
    assert main(["flicker", str(clip), *sets, *map(str, options), "--output", str(tmp_path / "command")]) == 0
    assert capsys.readouterr().out.startswith(report.table() + "\n\n")
    assert report.output == tmp_path / "api"
    assert sorted(path.name for path in report.output.iterdir()) == ["flicker.csv", "flicker.html", "flicker.json"]
    for name in ("flicker.csv", "flicker.json"):
        assert (tmp_path / "api" / name).read_bytes() == (tmp_path / "command" / name).read_bytes(), name
    assert json.loads((tmp_path / "api/flicker.json").read_text(encoding="utf-8")) == report.document
    assert report["calm"].miou_percent == report.document["sets"]["calm"]["miou_percent"]
    assert report["calm"].miou_percent is not None
    assert told == [(index, T) for index in range(1, T + 1)]


def test_predictions_are_named_in_several_ways(tmp_path: Path) -> None:
    clip, labels = write_clip(tmp_path / "clip", 0), write_labels(tmp_path / "labels.npy", 0, 0.1)
    for predictions, names in (
        (labels, ["labels"]),
        (str(labels), ["labels"]),
        (f"mine={labels}", ["mine"]),
        ([labels, f"other={labels}"], ["labels", "other"]),
        ({"a": labels, "b": str(labels)}, ["a", "b"]),
    ):
        assert list(dwnet.measure_flicker(clip, predictions).sets) == names
    # A path may contain an equals sign.
    odd = write_labels(tmp_path / "a=b.npy", 0, 0.1)
    assert list(dwnet.measure_flicker(clip, [odd]).sets) == ["a=b"]


def test_classes_may_be_a_class_set(tmp_path: Path) -> None:
    clip, labels = write_clip(tmp_path / "clip", 0), write_labels(tmp_path / "labels.npy", 0, 0.1)
    classes = ClassSet("mine", ("left", "right", "noise"), ((0, 0, 0), (1, 0, 0), (2, 0, 0)))
    report = dwnet.measure_flicker(clip, labels, classes=classes)
    assert list(report["labels"].figures["per_class"]) == ["left", "right", "noise"]


def test_opencv_keeps_its_threads(tmp_path: Path) -> None:
    before = cv2.getNumThreads()
    clip, labels = write_clip(tmp_path / "clip", 0), write_labels(tmp_path / "labels.npy", 0, 0.1)
    try:
        cv2.setNumThreads(2)
        dwnet.measure_flicker(clip, labels)
        assert cv2.getNumThreads() == 2
        with pytest.raises(DWNetError):
            dwnet.measure_flicker(clip, tmp_path / "nowhere")
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_opencv_keeps_its_threads_when_measurements_overlap() -> None:
    """The first one to enter is the first one to leave: its number must not be restored while the other one works."""
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        first, second = one_opencv_thread(), one_opencv_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert cv2.getNumThreads() == 1
        second.__exit__(None, None, None)
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predictions": []}, "no predictions named; allowed is one set or more"),
        ({"predictions": {"": "labels.npy"}}, "the set has an empty name; allowed is a name for each set"),
        ({"predictions": ["labels.npy", "labels.npy"]}, "two sets are called 'labels'; allowed is one of each name"),
        ({"predictions": "short.npy"}, r"short\.npy: holds 3 label maps"),
        ({"flow": "horn_schunck"}, "unknown flow 'horn_schunck'; allowed are dis, "),
        ({"second_every": 0}, "second_every is 0; allowed are whole numbers from 1"),
        ({"clip": "nowhere.mp4"}, r"nowhere\.mp4"),
        ({"classes": "nowhere.txt"}, r"nowhere\.txt: cannot be read"),
    ],
)
def test_wrong_input_is_one_clear_error_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, message: str
) -> None:
    write_clip(tmp_path / "clip", 0)
    np.save(tmp_path / "short.npy", np.load(write_labels(tmp_path / "labels.npy", 0, 0.1))[:3])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DWNetError, match=message):
        dwnet.measure_flicker(**{"clip": "clip", "predictions": "labels.npy", "output": "out"} | changes)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_weights_belong_to_the_first_flow() -> None:
    settings = Settings(flow="raft_small", flow_weights="mine.pth")
    assert settings.second_flow_weights == "published"
    assert (
        Settings(flow="raft_small", flow_weights="mine.pth", second_flow="raft_small").second_flow_weights == "mine.pth"
    )
