"""The command line refuses what it does not know in one line that names the nearest; --dry-run tries all."""

import re
from pathlib import Path

import pytest

from tests.train.fixtures import (
    METHODS,
    Command,
    camvid,
    fails,
    fresh_accelerate,
    train,
)
from train.config.options import option_names, parse, with_nearest
from train.config.spec import Recipe
from train.engine.loop import Trainer
from train.main import main

__all__ = ["camvid", "fresh_accelerate", "train"]  # fixtures


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--optimiser.rte 0.1", "unknown option --optimiser.rte (did you mean --optimiser.rate or --optimiser."),
        ("--netwrk.backbone resnet50", "unknown option --netwrk.backbone (did you mean --network.backbone"),
        ("--rate=0.1", "unknown option --rate (did you mean --optimiser.rate?)"),
        ("--dryrun", "unknown option --dryrun (did you mean --dry-run"),
        ("--zzzzzz", "unknown option --zzzzzz"),
        ("--epochs ten", "--epochs is 'ten', allowed are whole numbers"),
        ("--epochs 1.5", "--epochs is '1.5', allowed are whole numbers"),
        ("--optimiser.rate fast", "--optimiser.rate is 'fast', allowed are numbers"),
        ("--method.name dwnt", "--method.name is 'dwnt' (did you mean dwnet?), allowed are baseline, static_warp, "),
        ("--precision bf17", "--precision is 'bf17' (did you mean bf16?), allowed are no, bf16, fp16"),
        ("--data.crop 64", "Missing value for argument '--data.crop'. Expected 2 values."),
        ("--epochs", "Missing value for argument '--epochs'. Expected 1 values."),
        ("--recipe", "argument --recipe: expected one argument"),
        ("stray", "Unrecognized options: stray"),
        ("--data.colour 1", "data.colour is 1.0, allowed are numbers from 0 to below 1"),
        ("--data camvit", "--data is 'camvit' (did you mean camvid?), allowed are camvid, cityscapes, own, street"),
        ("--pictures -1", "pictures is -1, allowed are whole numbers of at least 0"),
        ("--keep-checkpoints -2", "keep_checkpoints is -2, allowed are whole numbers of at least 0"),
    ],
)
def test_wrong_option(capsys: pytest.CaptureFixture[str], options: str, message: str) -> None:
    arguments = ["--recipe", "camvid_lite0_dwnet", *options.split()]
    with pytest.raises(SystemExit) as end:
        parse(arguments)
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"train/main.py: {message}")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    with pytest.raises(SystemExit) as end:
        parse(arguments, quiet=True)
    assert end.value.code == 2
    assert capsys.readouterr() == ("", "")


def test_options_as_tyro_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["--recipe", "camvid_lite0_dwnet", "--help"])
    assert end.value.code == 0
    shown = re.findall(r"(?:^[│ ]+|, )(--[a-z][a-z0-9.-]*)", capsys.readouterr().out, re.M)
    assert sorted(set(shown) - {"--help"}) == sorted(option_names(Recipe))


def test_both_ways_of_writing_an_option() -> None:
    for options in (["--batch-size", "3"], ["--batch_size=3"]):
        assert parse(["--recipe", "camvid_lite0_dwnet", *options]).recipe.batch_size == 3
    assert parse(["--recipe", "camvid_lite0_dwnet", "--trackers", "none"]).recipe.trackers == ("none",)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "unknown flow 'raft_smal', allowed are dis, raft_small",
            "'raft_smal' (did you mean raft_small?), allowed are",
        ),
        ("unknown data set 'kity'; allowed are kitti, own", "unknown data set 'kity' (did you mean kitti?); allowed"),
        ("unknown flow 'zzz', allowed are dis, raft_small", "unknown flow 'zzz', allowed are dis, raft_small"),
        ("the loss is not finite", "the loss is not finite"),
    ],
)
def test_nearest_name_in_an_error(message: str, expected: str) -> None:
    assert expected in with_nearest(message)


# --dry-run


@pytest.mark.parametrize("method", METHODS)
def test_dry_run(train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str) -> None:
    before = set(tmp_path.iterdir())
    assert train("--dry-run", "--epochs", "7", "--evaluate-every", "3", "--trackers", "none", method=method) == 0
    printed = capsys.readouterr().out
    assert set(tmp_path.iterdir()) == before
    assert "13 frames, 21 iterations in 7 epochs" in printed
    step = re.search(r"first step (\d+\.\d\d) s, then (\d+\.\d\d) s a step, of which (\d+\.\d\d) s waiting", printed)
    assert step is not None
    assert all(0 < float(seconds) < 60 for seconds in step.groups()[:2])
    sample = re.search(
        r"a sample (\d+\.\d) ms to read and augment: (\d+) loader process\(es\) keep up with the network, "
        r"--data\.workers is 0\n",
        printed,
    )
    assert sample is not None
    assert 0 < float(sample[1]) < 10_000
    assert int(sample[2]) >= 1
    assert re.search(r"a frame of val \d+\.\d\d s; a checkpoint [1-9]\d* MiB, written and read again\n", printed)
    assert re.search(r"memory \d+\.\d GiB, of each process", printed)
    assert re.search(r"the whole run: about \d+\.\d h, 21 steps and 3 evaluations of 3 frames\n", printed)
    assert printed.endswith("nothing was left behind\n")


def test_dry_run_keeps_nothing_of_what_the_street_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    # The real one renders for half a minute; here the run ends where it begins.
    asked: list[Recipe] = []

    def begin(recipe: Recipe, *_: object, **__: object) -> Trainer:
        asked.append(recipe)
        raise ValueError("enough")

    monkeypatch.setattr("train.main.Trainer", begin)
    assert main(["--recipe", "street_quick", "--dry-run"]) == 1
    assert main(["--recipe", "street_quick", "--data.street-cache-gb", "2"]) == 1
    assert [recipe.data.street_cache_gb for recipe in asked] == [0.0, 2.0]


def test_dry_run_beside_a_run(train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--epochs", "1") == 0
    folder = tmp_path / "runs/camvid_lite0_baseline"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert train("--epochs", "1", "--dry-run") == 0
    assert train("--epochs", "1", "--dry-run", "--resume") == 0
    assert "resumed after iteration 3" in capsys.readouterr().out
    assert "was 1, now 2" in fails(train, capsys, "--epochs", "2", "--dry-run", "--resume")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_dry_run_finds_what_a_run_would(
    train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = fails(train, capsys, "--dry-run", "--epochs", "1", "--optimiser.rate", "1e30")
    assert "the loss is not finite at iteration 0" in error
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2")
    assert train("--dry-run") == 0
    assert not (tmp_path / "runs").exists()
