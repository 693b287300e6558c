"""`dwnet compare` runs the comparison of the page on the command line."""

import csv
import json
from pathlib import Path

import pytest

from dwnet.cli.main import main
from tests.exported import textured_frame, write_clip


def test_writes_the_video_the_table_and_the_report(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    clip = write_clip(tmp_path / "drive.mp4", [textured_frame(index, shift_px=2 * index) for index in range(6)])
    output = tmp_path / "out"
    arguments = ["compare", str(clip), "--models", str(models), "--output", str(output), "--every", "2"]
    assert main(arguments) == 0
    assert not (output / "drive_comparison.mp4").exists()
    assert main([*arguments, "--video", "--no-overlap"]) == 0
    printed = capsys.readouterr().out
    report = json.loads((output / "drive_comparison.json").read_text())
    with (output / "drive_comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["0", "2", "4"]
    assert (output / "drive_comparison.mp4").stat().st_size > 0
    assert "3 frames" in printed
    for method in report["methods"]:
        assert f"| {method} |" in printed


def test_a_clip_that_is_none_is_one_clear_line_and_leaves_nothing(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    clip = tmp_path / "notes.mp4"
    clip.write_text("these are notes")
    output = tmp_path / "out"
    assert main(["compare", str(clip), "--models", str(models), "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("dwnet: ")
    assert "notes.mp4" in error
    assert not output.exists()
