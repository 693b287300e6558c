"""Clips and folders with names that are no usual text: reports are written and can be read."""

import json
from pathlib import Path

import numpy as np
import pytest

from dwnet.cli.main import main
from tests.video.clip_writer import Encoding, encode


@pytest.mark.parametrize("name", ["bytes_\udcff.mp4", "percent%20%03d.mp4", "new\nline.mp4", "x" * 251 + ".mp4"])
def test_reports_of_clips_with_odd_names(name: str, models: Path, tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mp4", Encoding(frames=3)).rename(tmp_path / name)
    compared, flicker = tmp_path / "compared", tmp_path / "flicker"
    assert main(["compare", str(clip), "--models", str(models), "--output", str(compared)]) == 0
    (report,) = compared.glob("*_comparison.json")
    assert json.loads(report.read_text(encoding="utf-8"))["clip"]["name"] == name
    assert {path.suffix for path in compared.iterdir() if path.is_file()} >= {".csv", ".json", ".html"}
    np.save(tmp_path / "labels.npy", np.zeros((3, 64, 96), np.uint8))
    assert main(["flicker", str(clip), f"zeros={tmp_path / 'labels.npy'}", "--output", str(flicker)]) == 0
    found = json.loads((flicker / "flicker.json").read_text(encoding="utf-8"))
    assert found["clips"][0]["path"] == str(clip)
