"""`dwnet adopt`, and adopted networks in the other commands."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dwnet.cli.main import main
from tests.comparison.colours import coloured
from tests.exported import textured_frame, write_clip, write_segmenter
from tests.foreign import class_file, colour_network, quarters, ultralytics

COLOURS = ("Red", "Green", "Blue")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still texture that changes from red to green before the last of four frames: every pixel flips once."""
    frames = [coloured(textured_frame(), int(index == 3)) for index in range(4)]
    return write_clip(tmp_path_factory.mktemp("clips") / "four.mp4", frames)


def test_adopt_prints_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = colour_network(tmp_path / "theirs.onnx", stride=4)
    classes = class_file(tmp_path / "c.json", *COLOURS)
    assert main(["adopt", str(model), "--classes", str(classes), "--mean", "0.4", "0.4", "0.4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"theirs.onnx: adopted; {tmp_path / 'theirs.dwnet.json'} describes it"
    assert lines[1] == (
        "input pixels float32 (1, 3, ?, ?): RGB 0..1, minus 0.4 0.4 0.4, divided by 1 1 1, at the frame's size, padded "
        "to multiples of 4 px"
    )
    assert lines[2] == "output out float32 (1, 3, ?, ?): one score for each of 3 classes"
    assert lines[3] == "classes: 0 Red, 1 Green, 2 Blue"
    assert len(lines) == 4
    assert main(["adopt", str(model), "--classes", str(classes), "--range", "255", "--bgr", "--size", "64", "96"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("BGR 0..255, not normalised, resized to 64 x 96 px (height x width)")
    assert lines[4].startswith("networks of torchvision, smp and transformers usually need --mean 0.485 0.456 0.406")
    assert main(["adopt", str(model), "--classes", str(class_file(tmp_path / "d.json", "a", "b"))]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"dwnet: {model}: output out (1, 3, ")
    assert error.endswith("scores 3 classes; the class file names 2\n")


def test_compare_and_flicker_of_foreign_networks(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores, ids and our own export of the same function flip the same pixels: those of one pair of three."""
    models = tmp_path / "models"
    write_segmenter(models / "dwnet.onnx", "dwnet")
    classes = class_file(tmp_path / "c.json", *COLOURS)
    for name, kind in (("scores", "scores"), ("ids", "labels")):
        path = colour_network(models / f"{name}.onnx", kind=kind, given="float32" if kind == "scores" else "int64")
        assert main(["adopt", str(path), "--classes", str(classes)]) == 0
    assert main(["compare", str(clip), "--models", str(models), "--output", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "four_comparison.json").read_text())
    assert list(report["methods"]) == ["dwnet", "ids", "scores"]
    flips = {name: method["flips_percent"] for name, method in report["methods"].items()}
    assert flips["dwnet"] == flips["ids"] == flips["scores"] > 30
    capsys.readouterr()
    named = [f"{name}={models / name}.onnx" for name in ("dwnet", "ids", "scores")]
    assert main(["flicker", str(clip), *named, "--output", str(tmp_path / "flicker")]) == 0
    table = capsys.readouterr().out
    rows = {cells[1].strip(): cells[2].strip() for line in table.splitlines() if len(cells := line.split("|")) > 3}
    assert rows["ids"] == rows["dwnet"] == rows["scores"] == f"{flips['ids']:.2f}"


def test_evaluate_of_foreign_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    root = tmp_path / "data"
    for part in ("train", "val"):
        for index in range(2):
            frame, labels = quarters(64, 96)
            for folder, array in (("images", frame[..., ::-1]), ("labels", labels)):
                (root / part / folder).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / part / folder / f"{index:04}.png"), array)
    class_file(root / "classes.json", *COLOURS)
    perfect = colour_network(tmp_path / "ids.onnx", kind="labels", given="uint8")
    swapped = colour_network(tmp_path / "scores.onnx", weight=np.eye(3)[[1, 0, 2]])
    for path in (perfect, swapped):
        assert main(["adopt", str(path), "--classes", str(root / "classes.json")]) == 0
    capsys.readouterr()
    command = ["evaluate", str(perfect), str(swapped), "--dataset", "own", "--root", str(root)]
    assert main([*command, "--output", str(tmp_path / "out.json")]) == 0
    rows = {line.split("|")[1].strip(): line for line in capsys.readouterr().out.splitlines() if line.count("|") > 3}
    assert rows["ids"].split("|")[2].strip() == "100.00"
    # Red and green swapped, blue right: the mean of 0, 0 and 100 %.
    assert rows["scores"].split("|")[2].strip() == "33.33"
    assert main([*command[:2], *command[3:], "--scales", "1.0", "0.5"]) == 1
    assert "ids.onnx gives labels without scores, found" in capsys.readouterr().err


def test_recognised_export_needs_no_command(clip: Path, tmp_path: Path) -> None:
    yolo = ultralytics(tmp_path / "models" / "yolo26n-sem.onnx")
    assert main(["compare", str(clip), "--models", str(yolo.parent), "--output", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "four_comparison.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    report = json.loads((tmp_path / "out" / "four_comparison.json").read_text())
    assert list(report["methods"]) == ["yolo26n-sem"]
