"""Every command that reads clips prints what a clip lacks, and has the limits on pixels and memory."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dwnet.cli.main import main
from dwnet.video import default_limits
from tests.video.odd_structures import odd_clips

LACKS = "3 frames at the start are left out, because the key frame before is missing"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A clip of 96 x 64 pixels that lacks its first key frame; FFmpeg decodes 16 frames."""
    case = next(case for case in odd_clips() if case.name == "no_first_key_frame.mp4")
    path = tmp_path / case.name
    case.write(path)
    return path


def command(kind: str, clip: Path, models: Path) -> list[str]:
    """Returns the arguments of a command that reads the clip, without the limits."""
    folder = clip.parent
    if kind == "compare":
        return ["compare", str(clip), "--models", str(models), "--output", str(folder / "out")]
    if kind == "flicker":
        np.save(folder / "labels.npy", np.zeros((16, 64, 96), np.uint8))
        return ["flicker", str(clip), str(folder / "labels.npy"), "--output", str(folder / "out")]
    clips, labels = folder / "own/train/clips", folder / "own/train/labels" / clip.stem
    clips.mkdir(parents=True)
    labels.mkdir(parents=True)
    (clips / clip.name).write_bytes(clip.read_bytes())
    cv2.imwrite(str(labels / "000003.png"), np.zeros((64, 96), np.uint8))
    (folder / "own/classes.json").write_text(json.dumps([{"name": "road", "id": 0}, {"name": "car", "id": 1}]))
    return ["data", "frames", "--root", str(folder / "own")]


@pytest.mark.parametrize("kind", ["compare", "flicker", "data frames"])
def test_the_warning_is_printed(kind: str, clip: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(kind, clip, models)) == 0
    printed = capsys.readouterr()
    assert LACKS in printed.out + printed.err
    assert f"{clip.name}: " in printed.out + printed.err


def test_the_reports_hold_the_warning(clip: Path, models: Path) -> None:
    assert main(command("compare", clip, models)) == 0
    report = json.loads((clip.parent / "out/no_first_key_frame_comparison.json").read_text())
    assert report["clip"]["warning"].startswith("no_first_key_frame.mp4: ")
    assert LACKS in report["clip"]["warning"]
    assert main(command("flicker", clip, models)) == 0
    assert LACKS in json.loads((clip.parent / "out/flicker.json").read_text())["clips"][0]["warning"]


@pytest.mark.parametrize("kind", ["compare", "flicker", "data frames"])
def test_the_limits_are_options(kind: str, clip: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command(kind, clip, models)
    assert main([*arguments, "--max-pixels", "6143"]) == 1
    error = capsys.readouterr().err
    assert "frames are 96x64 pixels, 6144; allowed are 6143 per frame (--max-pixels sets another limit)" in error
    assert main([*arguments, "--max-memory-mb", "0"]) == 1
    assert "max_memory_mb is 0; allowed are whole numbers from 1" in capsys.readouterr().err
    assert main([*arguments, "--max-pixels", "6144"]) == 0
    assert default_limits().max_pixels == 6144
    assert main([*arguments, "--max-memory-mb", "5000"]) == 0
    assert (default_limits().max_pixels, default_limits().max_memory_mb) == (40_000_000, 5000)
