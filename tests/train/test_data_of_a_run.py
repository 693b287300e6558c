"""A run and its data: other data on resume is named, frames that are left out are counted, own data of labelling tools
trains, and a full disk or small shared memory is one line.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import train.engine.batches as batches
from dwnet.cli.main import main as dwnet
from dwnet.core.files import atomic_write
from dwnet.deploy.checkpoint import load_checkpoint
from tests.data.test_own_layouts import LAYOUTS, binary
from tests.train.helpers import TRAIN_NAMES, VAL_NAMES, Command, fails, forget_accelerate, stop_at, tiny_options
from train.main import EXIT_INTERRUPTED, main


def grow(root: Path) -> None:
    """Adds a frame to the train split."""
    for kind in ("images", "labels"):
        folder = root / "train" / kind
        shutil.copy(folder / f"{TRAIN_NAMES[0]}.png", folder / "0006R0_f09990.png")


def test_a_run_resumed_on_other_data_says_so(
    train: Command,
    camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = Path(shutil.copytree(camvid, tmp_path / "data"))
    options = ["--epochs", "2", "--evaluate-every", "2", "--pictures", "0", "--name", "run"]
    with monkeypatch.context() as patch:
        stop_at(patch, 1)
        assert train(*options, root=data) == EXIT_INTERRUPTED
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert train(*options, "--resume", root=moved) == EXIT_INTERRUPTED
    assert "under another environment" not in capsys.readouterr().out  # a copy is the same data
    grow(data)
    assert train(*options, "--resume", root=data) == 0
    printed = capsys.readouterr().out
    assert "resumed after iteration 2, under another environment: train was 13 frames (" in printed
    assert "), now 14 frames (" in printed
    assert "val was" not in printed


def test_less_data_than_the_iterations_of_a_run(
    train: Command, camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(camvid, tmp_path / "data"))
    assert train("--epochs", "1", "--pictures", "0", "--name", "run", root=data) == 0
    for name in TRAIN_NAMES[:8]:
        for kind in ("images", "labels"):
            (data / "train" / kind / f"{name}.png").unlink()
    error = fails(train, capsys, "--epochs", "1", "--pictures", "0", "--name", "run", "--resume", root=data)
    assert "last.pt is of iteration 3; 5 train frames and 1 epochs give 1; allowed is data with as many frames" in error


def test_frames_that_are_left_out_are_counted(
    train: Command, camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(camvid, tmp_path / "data"))
    for kind in ("images", "labels"):  # far from the other val frames
        folder = data / "val" / kind
        (folder / f"{VAL_NAMES[2]}.png").rename(folder / "0016E5_09999.png")
    assert train("--epochs", "1", "--pictures", "0", "--name", "run", method="static_warp", root=data) == 0
    assert "\nval: 1 of 3 labelled frames have no neighbour and are left out\n" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ own data


def own_options(root: Path, output: Path) -> list[str]:
    options = [option for option in tiny_options(root, output) if option not in ("64",)]
    crop = options.index("--data.crop")
    return [
        *options[: crop + 1],
        "32",
        "32",
        *options[crop + 1 :],
        "--dataset",
        "own",
        "--epochs",
        "1",
        "--pictures",
        "0",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cvat", "roboflow", "labelme"])
def test_an_export_of_a_labelling_tool_trains_and_is_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Unpacked for two of the tools, still packed for the third. No file is renamed."""
    root = tmp_path / "project"
    LAYOUTS[name](root)
    if name == "roboflow":
        shutil.make_archive(str(root), "zip", root)
        shutil.rmtree(root)
    assert dwnet(["data", "check", "--dataset", "own", "--root", str(root), "--output", str(tmp_path / "check")]) == 0
    forget_accelerate()
    options = [*own_options(root, tmp_path / "runs"), "--name", "run", "--batch-size", "2"]
    assert main(["--recipe", "camvid_lite0_dwnet", *options]) == 0
    checkpoint = tmp_path / "runs/run/last.pt"
    assert load_checkpoint(checkpoint).classes.classes == ("background", "cat", "dog")
    capsys.readouterr()
    assert dwnet(["evaluate", str(checkpoint), "--dataset", "own", "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "2 frames" in printed
    assert "| dog |" in printed


def test_a_binary_problem_trains_a_network_of_two_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary(tmp_path / "data", ["rest", {"name": "cat", "id": 255}], (0, 255))
    options = [*own_options(tmp_path / "data", tmp_path / "runs"), "--name", "run", "--batch-size", "2"]
    forget_accelerate()
    assert main(["--recipe", "camvid_lite0_baseline", *options]) == 0
    checkpoint = load_checkpoint(tmp_path / "runs/run/last.pt")
    assert checkpoint.classes.classes == ("rest", "cat")
    assert set(checkpoint.metrics["iou_percent"]) == {"rest", "cat"}
    (tmp_path / "data/classes.json").write_text(json.dumps(["rest", "cat"]))
    forget_accelerate()
    assert main(["--recipe", "camvid_lite0_baseline", *options, "--name", "void"]) == 1
    assert "class 'cat' (id 1) has no pixel in 2 label files" in capsys.readouterr().err
    assert not (tmp_path / "runs/void").exists()


# --------------------------------------------------------------------------------------- memory and disk


def test_small_shared_memory_is_named_before_training(
    train: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(batches.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 500_000})())
    error = fails(train, capsys, "--epochs", "1", "--name", "run", "--data.workers", "1")
    # One worker prepares two batches of 4 samples of 64 x 64 pixels, at least 20 bytes each: 655,360 bytes.
    assert "/dev/shm has 0 MB free, the loader's 1 workers need 1 MB; allowed are more shared memory" in error
    assert "--shm-size" in error
    assert "--data.workers 0" in error


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out "
         "of shared memory. Please try to raise your shared memory limit.", True),
        ("Caught RuntimeError in DataLoader worker process 0.\nunable to write to file </torch_7_9_1>: No space", True),
        ("unable to open shared memory object </torch_7_9_1> in read-write mode", True),
        ("out of resource: shared memory, Required: 131072, Hardware limit: 101376", False),
        ("CUDA out of memory", False),
    ],
)  # fmt: skip
def test_errors_of_shared_memory_are_recognised(text: str, named: bool) -> None:
    assert (batches.shared_memory_problem(RuntimeError(text)) is not None) == named


def test_a_full_disk_is_named_whatever_the_writer_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 4096})())
    message = r"no space left on device \(0\.0 MB free\), last\.pt is not written"
    with pytest.raises(OSError, match=message), atomic_write(tmp_path / "last.pt"):
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_a_writer_stay(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unexpected pos"), atomic_write(tmp_path / "last.pt"):
        raise RuntimeError("unexpected pos")
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
