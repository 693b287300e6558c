"""The light install: without the packages of the extra `train`, commands that do not need them run. Other commands name
the command that installs the extra."""

import subprocess
import sys
from pathlib import Path

import pytest

from dwnet.core.extras import TRAIN_PACKAGES
from tests.exported import write_segmenter, write_static_warp

ROOT = Path(__file__).parents[2]
MISSING = 'which is not installed: pip install "dwnet[train]" (in a clone: pip install -e ".[train]")'
BLOCK = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(TRAIN_PACKAGES)}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""
RUN = f"{BLOCK}\nfrom dwnet.cli.main import main\nsys.exit(main(sys.argv[1:]))\n"


def run(*arguments: object, cwd: Path = ROOT, code: str = RUN) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


def test_a_comparison_and_a_flicker_report_need_no_extra(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    write_segmenter(models / "baseline.onnx", method="baseline")
    write_static_warp(models / "static_warp.onnx")
    clip = ROOT / "assets" / "street_sample.mp4"
    compared = run("compare", clip, "--models", models, "--limit", 3, "--max-side", 128, cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert (tmp_path / "comparison" / "street_sample_comparison.json").is_file()
    measured = run("flicker", clip, models / "baseline.onnx", "--max-side", 64, cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    assert (tmp_path / "flicker" / "flicker.html").is_file()


def test_a_rendered_street_needs_no_extra(tmp_path: Path) -> None:
    rendered = run("street", "clip.mp4", "--seconds", 0.08, "--size", 96, 64, cwd=tmp_path)
    assert rendered.returncode == 0, rendered.stderr
    assert (tmp_path / "clip.mp4").stat().st_size > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "last.pt"),
        ("evaluate", "model.onnx"),
        ("hub", "save", "last.pt", "folder"),
        ("hub", "push", "last.pt", "owner/name"),
        ("data", "check", "--dataset", "own"),
        ("data", "frames"),
        ("data", "camvid-frames", "0016E5.MXF"),
        ("flicker", "assets/street_sample.mp4", "assets/models/baseline.onnx", "--flow", "raft_small"),
    ],
)
def test_commands_that_need_the_extra_say_so_in_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    found = run(*arguments)
    assert found.returncode == 1
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert line.startswith("dwnet: this needs ")
    assert line.endswith(MISSING)


def test_public_names_that_need_the_extra_say_so() -> None:
    found = run(code=f"{BLOCK}\nimport dwnet\ndwnet.load, dwnet.open_video, dwnet.metrics\ndwnet.DWNet\n")
    assert found.returncode == 1
    last = found.stderr.splitlines()[-1]
    assert last == f"dwnet.core.extras.MissingExtraError: this needs torch, {MISSING}"


def test_help_shows_every_command() -> None:
    shown = run("--help")
    assert shown.returncode == 0, shown.stderr
    words = " ".join(shown.stdout.replace("│", " ").split())
    for command in ("demo", "compare", "flicker", "evaluate", "judge-flow", "export", "street"):
        assert f"• {command} " in words
    for command in ("data check", "data frames", "data camvid-frames", "hub save", "hub push"):
        assert f"{command}: " in words


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(("compare", "clip.mp4", "--modls", "x"), "--models"), (("evaluate", "x", "--datset", "own"), "--dataset")],
)
def test_wrong_options_are_answered_with_the_nearest_right_one(arguments: tuple[str, ...], nearest: str) -> None:
    found = run(*arguments)
    assert found.returncode == 2
    assert "Perhaps you meant" in found.stderr
    assert nearest in found.stderr
