"""A resumed run ends with the same state as an uninterrupted one. Its folder records how it was made."""

import json
import os
import platform
import signal
from pathlib import Path

import accelerate
import pytest
import torch

import dwnet
from dwnet.core.files import code_commit
from dwnet.deploy.checkpoint import Checkpoint, load_checkpoint
from tests.method.test_specs import FORMAT_1
from tests.train.helpers import METHODS, Command, assert_same_state, fails, stop_at
from train.engine.loop import Trainer
from train.main import EXIT_INTERRUPTED


def rewrite_as_before_specs(path: Path) -> None:
    """Rewrites a checkpoint as the code wrote it before each method had a specification of its own.

    `data` held kind and root, and `method` the fields of all methods, with those of the recipe's base.
    """
    content = torch.load(path, weights_only=True)
    base = {**FORMAT_1, "prediction_space": "softmax", "prediction_weight": 1.0}
    recipe = content["recipe"]
    recipe["data"] = {"kind": recipe.pop("dataset"), "root": recipe.pop("root"), **recipe["data"]}
    recipe["method"] = {**base, **recipe["method"]}
    content["method"] = {**base, **content["method"]}
    for fields in (recipe["method"], content["method"]):
        fields.pop("neighbour_weight", None)  # a later field of the baseline
    assert list(recipe["data"])[:3] == ["kind", "root", "neighbours"]
    assert set(content["method"]) == set(recipe["method"]) == set(FORMAT_1)
    assert content["format"] == 1
    torch.save(content, path)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_of_before_specs_is_resumed_bit_for_bit(
    train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    options = ["--epochs", "2", "--evaluate-every", "2", "--pictures", "0", "--name", "old"]
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert train(*options, method=method) == EXIT_INTERRUPTED
    last = tmp_path / "runs/old/last.pt"
    rewrite_as_before_specs(last)
    assert "dataset was camvid, now street" in fails(
        train, capsys, *options, "--recipe", f"camvid_lite0_{method}", "--resume", "--dataset", "street"
    )
    assert train(*options, "--resume", method=method) == 0
    assert train(*options[:-1], "whole", method=method) == 0
    assert_same_state(load_checkpoint(last), load_checkpoint(tmp_path / "runs/whole/last.pt"))
    assert json.loads((tmp_path / "runs/old/recipe.json").read_text())["dataset"] == "camvid"


@pytest.mark.parametrize(
    ("method", "workers", "iteration"), [("dwnet", 0, 4), ("baseline", 0, 3), ("static_warp", 2, 2)]
)
def test_resumed_run_is_bit_equal(
    train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, workers: int, iteration: int
) -> None:
    # 3 steps an epoch: stopped within the second epoch, exactly between two, and with loader workers ahead.
    options = ["--epochs", "2", "--evaluate-every", "1", "--network.dropout", "0.3", "--data.workers", str(workers)]
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        stop_at(patch, iteration)
        assert train(*options, "--name", "run", method=method) == EXIT_INTERRUPTED == 75
    assert signal.getsignal(signal.SIGTERM) is before
    assert load_checkpoint(tmp_path / "runs/run/last.pt").iteration == iteration
    assert train(*options, "--name", "run", "--resume", method=method) == 0
    assert train(*options, "--name", "whole", "--data.workers", "0", method=method) == 0
    resumed, whole = (load_checkpoint(tmp_path / "runs" / name / "last.pt") for name in ("run", "whole"))
    assert_same_state(resumed, whole)
    lines = [(tmp_path / "runs" / name / "metrics.jsonl").read_text() for name in ("run", "whole")]
    assert lines[0] == lines[1]


def test_stopped_in_the_evaluation(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Saved before it, and made up for when resumed.
    started = Trainer.evaluate

    def signalled(self: Trainer) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        started(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", signalled)
        assert train("--epochs", "1") == EXIT_INTERRUPTED
    folder = tmp_path / "runs/camvid_lite0_baseline"
    assert not (folder / "metrics.jsonl").exists()
    assert load_checkpoint(folder / "last.pt").iteration == 3
    assert train("--epochs", "1", "--resume") == 0
    assert "miou_percent" in load_checkpoint(folder / "last.pt").metrics


def test_existing_and_unusable_runs(train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--epochs", "1") == 0
    last = tmp_path / "runs/camvid_lite0_baseline/last.pt"
    written = last.read_bytes()
    assert "holds a run already: add --resume" in fails(train, capsys, "--epochs", "1")
    changed = fails(train, capsys, "--epochs", "1", "--resume", "--optimiser.rate", "0.5", "--network.channels", "32")
    assert "another configuration: network.channels was 16, now 32; optimiser.rate was 0.01, now 0.5" in changed
    assert last.read_bytes() == written

    # What does not change what is computed may change.
    assert train("--epochs", "1", "--resume", "--log-every", "7", "--data.workers", "1", "--evaluate-every", "3") == 0

    content = torch.load(last, weights_only=True)
    torch.save(content | {"training": {}}, last)
    assert "holds weights only" in fails(train, capsys, "--epochs", "1", "--resume")
    other = {"classifier.weight": torch.zeros(1)}
    torch.save(content | {"weights": other}, last)
    assert "weights of another architecture" in fails(train, capsys, "--epochs", "1", "--resume")
    last.write_bytes(written[:5000])
    assert "not a readable PyTorch file" in fails(train, capsys, "--epochs", "1", "--resume")


def test_kept_checkpoints(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 3 steps an epoch, and a checkpoint at each and at every second step: 2, 3, 4, 6, 8, 9.
    folder = tmp_path / "runs/run"
    options = ["--epochs", "3", "--checkpoint-every", "2", "--keep-checkpoints", "2", "--name", "run"]
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        assert train(*options) == EXIT_INTERRUPTED
    assert sorted(path.name for path in folder.glob("iter*")) == ["iteration_000004.pt", "iteration_000005.pt"]
    # Not ours, and later ones of a run that was killed since: they stay until the run comes there.
    (folder / "iteration_best.pt").write_bytes(b"mine")
    (folder / "iteration_000008.pt").write_bytes(b"half of it is lost")
    assert train(*options, "--resume") == 0
    assert (folder / "iteration_best.pt").read_bytes() == b"mine"
    kept = [f"iteration_{iteration:06d}.pt" for iteration in (8, 9)]
    assert sorted(path.name for path in folder.glob("iteration_0*")) == kept
    assert [load_checkpoint(folder / name).iteration for name in kept] == [8, 9]
    assert_same_state(load_checkpoint(folder / kept[-1]), load_checkpoint(folder / "last.pt"))


def test_checkpoints_are_removed_only_when_the_new_one_is_whole(
    train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Checkpoint.save

    def full_disk(self: Checkpoint, path: Path) -> None:
        if self.iteration == 2:
            raise OSError(28, "No space left on device")
        save(self, path)

    monkeypatch.setattr(Checkpoint, "save", full_disk)
    assert train("--epochs", "1", "--checkpoint-every", "1", "--keep-checkpoints", "1", "--name", "run") == 1
    files = sorted(path.name for path in (tmp_path / "runs/run").glob("*.pt"))
    assert files == ["iteration_000001.pt", "last.pt"]
    assert load_checkpoint(tmp_path / "runs/run/last.pt").iteration == 1


def test_run_folder_and_checkpoints_say_what_made_them(
    train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("--epochs", "1") == 0
    folder = tmp_path / "runs/camvid_lite0_baseline"
    stored = json.loads((folder / "recipe.json").read_text())
    for name in ("last.pt", "best.pt"):
        checkpoint = load_checkpoint(folder / name)
        assert checkpoint.recipe == stored
        assert checkpoint.commit == stored["environment"]["commit"]
    assert stored["optimiser"]["rate"] == 0.01
    data = {name: stored["environment"].pop(name) for name in ("train", "val")}
    assert data["train"].startswith("13 frames (")
    assert data["val"].startswith("3 frames (")
    assert stored["environment"] == {
        "processes": 1,
        "accumulation": 1,
        "precision": "no",
        "compiler": "no",
        "device": "cpu",
        "dwnet": dwnet.__version__,
        "commit": code_commit(),
        "torch": torch.__version__,
        "accelerate": accelerate.__version__,
        "python": platform.python_version(),
    }
    # A run may go on elsewhere, and says so.
    capsys.readouterr()
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2")
    assert train("--epochs", "1", "--resume") == 0
    printed = capsys.readouterr().out
    assert "; resumed after iteration 3, under another environment: accumulation was 1, now 2\n" in printed
