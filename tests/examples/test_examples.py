"""The scripts of examples/ run on tiny data, as described in their docstrings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dwnet.deploy.checkpoint import load_checkpoint
from dwnet.deploy.runtime import OnnxSegmenter, load
from tests.docs.pages import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name: str, *arguments: object, folder: Path) -> str:
    """Runs an example in a folder and returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def test_there_are_three_examples() -> None:
    assert [path.name for path in EXAMPLES] == [
        "measure_png_predictions.py",
        "steady_smp_network.py",
        "train_on_your_folder.py",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_says_how_to_run_it_and_is_short(path: Path) -> None:
    text = path.read_text()
    assert re.match(rf'"""[A-Z].*\n\n    python examples/{path.name} ', text)
    assert len(text.splitlines()) <= 110


def test_steady_smp_network(tmp_path: Path) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch = pytest.importorskip("torch")
    network = smp.Unet("resnet18", encoder_weights=None, classes=11)
    start = {key: value.clone() for key, value in network.state_dict().items()}
    torch.save(start, tmp_path / "mine.pt")
    arguments = ("--steps", 2, "--size", 128, 96, "--weights", "mine.pt", "--output", "steady")
    printed = run("steady_smp_network.py", *arguments, folder=tmp_path)
    assert re.search(r"step 2: .*total \d", printed)
    saved = torch.load(tmp_path / "steady/network.pt", weights_only=True)
    network.load_state_dict(saved)  # strictly: the keys are those of the U-Net
    moved = {key: (value - start[key]).abs().max() for key, value in saved.items() if value.is_floating_point()}
    weights = [distance for key, distance in moved.items() if "running" not in key]
    # Two steps of AdamW at a rate of 1e-4 move each weight by about 2e-4 at most: training began at mine.pt.
    assert 0 < max(weights) < 1e-3
    assert sum(distance > 0 for distance in weights) > len(weights) / 2
    exported = load(tmp_path / "steady/network.onnx")
    assert isinstance(exported, OnnxSegmenter)
    assert exported.labels(np.zeros((96, 128, 3), np.uint8)).shape == (96, 128)


def test_measure_png_predictions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = np.kron(rng.integers(0, 256, (12, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    still = (np.arange(128) // 32).astype(np.uint8)[None].repeat(96, axis=0)
    for number in range(3):
        write(tmp_path / f"frames/{number:03d}.png", frame)
        write(tmp_path / f"labels/{number:03d}.png", still)
        write(tmp_path / f"still/{number:03d}.png", still)
        # A quarter of the pixels changes its label in every frame.
        write(tmp_path / f"shimmering/{number:03d}.png", np.where(still == 3, 3 * (number % 2), still).astype(np.uint8))
    arguments = ("frames", "shimmering", "still", "--truth", "labels", "--names", "old", "new", "--output", "report")
    printed = run("measure_png_predictions.py", *arguments, folder=tmp_path)
    rows = {cells[0]: cells for line in printed.splitlines() if len(cells := line.strip("| ").split(" | ")) > 2}
    header = next(cells for cells in rows.values() if "flips %" in cells)
    flips = header.index("flips %")
    assert float(rows["old"][flips]) == pytest.approx(25, abs=0.01)
    assert float(rows["new"][flips]) == 0
    assert float(rows["new"][header.index("mIoU %")]) == 100
    assert (tmp_path / "report/flicker.html").is_file()


def test_measure_png_predictions_refuses_equal_names(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="allowed are two different names"):
        run("measure_png_predictions.py", "frames", "a", "b", "--names", "x", "x", folder=tmp_path)


def test_train_on_your_folder(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    arguments = ("data", "--make", 2, "--epochs", 1, "--batch-size", 2, "--crop", 64, 64, "--backbone-weights", "none")
    printed = run("train_on_your_folder.py", *arguments, folder=tmp_path)
    assert re.search(r"done: val mIoU \d", printed)
    checkpoint = load_checkpoint(tmp_path / "runs/your_folder/last.pt")
    assert checkpoint.classes.classes[0] == "Sky"
    assert checkpoint.method.name == "dwnet"


def test_train_on_your_folder_names_what_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    (tmp_path / "data").mkdir()
    with pytest.raises(AssertionError, match=r"classes\.json"):
        run("train_on_your_folder.py", "data", folder=tmp_path)
