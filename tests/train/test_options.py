"""The command line refuses wrong options and names the right ones; --dry-run runs every part once."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dwnet.core.extras import INSTALL
from tests.train.helpers import METHODS, REPOSITORY, Command, fails, plain
from train.config.options import parse, with_nearest
from train.config.recipes import RECIPES
from train.config.spec import Recipe
from train.engine.loop import Trainer
from train.main import main

# Wrong options, with two parts of the expected message: the wrong word, and the nearest option or allowed values.
WRONG = [
    ("--optimiser.rte 0.1", "Unrecognized options: --optimiser.rte", "--optimiser.rate FLOAT"),
    ("--netwrk.backbone resnet50", "Unrecognized options: --netwrk.backbone", "--network.backbone"),
    ("--rate 0.1", "Unrecognized options: --rate", "--optimiser.rate FLOAT"),
    ("--rate=0.1", "Unrecognized options: --rate=0.1", ""),
    ("--dryrun", "Unrecognized options: --dryrun", "--dry-run"),
    ("--recip x", "Unrecognized options: --recip", "--recipe NAME"),
    ("--data street", "Unrecognized options: --data", "train/main.py: --data is now --dataset"),
    ("--data.root x", "Unrecognized options: --data.root", "train/main.py: --data.root is now --root"),
    ("--zzzzzz", "Unrecognized options: --zzzzzz", ""),
    ("stray", "Unrecognized options: stray", ""),
    ("--epochs ten", "Error parsing --epochs: invalid literal for int() with base 10: 'ten'", "--epochs INT"),
    ("--data=own", "Unrecognized options: --data=own", "train/main.py: --data is now --dataset"),
    ("--epochs 1.5", "Error parsing --epochs: invalid literal for int() with base 10: '1.5'", "--epochs INT"),
    ("--optimiser.rate fast", "Error parsing --optimiser.rate: could not convert string to float: 'fast'", "FLOAT"),
    ("--data.crop 64", "Missing value for argument '--data.crop'. Expected 2 values.", ""),
    ("--epochs", "Missing value for argument '--epochs'. Expected 1 values.", ""),
    ("--recipe", "Missing value for argument '--recipe'. Expected 1 values.", ""),
    (
        "--method.name dwnt",
        "invalid choice 'dwnt' for argument '--method.name'.",
        "('baseline', 'static_warp', 'keyframe', 'dwnet')",
    ),
    ("--precision bf17", "invalid choice 'bf17' for argument '--precision'.", "('no', 'bf16', 'fp16')"),
    (
        "--dataset camvit",
        "invalid choice 'camvit' for argument '--dataset'.",
        "('camvid', 'cityscapes', 'own', 'street')",
    ),
    ("--data.colour 1", "data.colour is 1.0, allowed are numbers from 0 to below 1", ""),
    ("--pictures -1", "pictures is -1, allowed are whole numbers of at least 0", ""),
    ("--keep-checkpoints -2", "keep_checkpoints is -2, allowed are whole numbers of at least 0", ""),
]


@pytest.mark.parametrize(("options", "found", "right"), WRONG)
def test_wrong_option(capsys: pytest.CaptureFixture[str], options: str, found: str, right: str) -> None:
    arguments = ["--recipe", "camvid_lite0_dwnet", *options.split()]
    with pytest.raises(SystemExit) as end:
        parse(arguments)
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert plain(found) in plain(printed.err)
    assert plain(right) in plain(printed.err)
    assert "Traceback" not in printed.err
    assert printed.out == ""
    with pytest.raises(SystemExit) as end:
        parse(arguments, quiet=True)
    assert end.value.code == 2
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("method", "option", "owners"),
    [
        ("baseline", "--method.delta 1", "dwnet"),
        ("baseline", "--method.flow dis", "static_warp, keyframe, dwnet"),
        ("static_warp", "--method.no-fg-conv", "dwnet"),
        ("keyframe", "--method.fusion=concatenation", "static_warp"),
        ("dwnet", "--method.key_interval 3", "keyframe"),
    ],
)
def test_options_of_another_method_are_refused(
    capsys: pytest.CaptureFixture[str], method: str, option: str, owners: str
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["--recipe", f"camvid_lite0_{method}", *option.split()])
    assert end.value.code == 2
    printed = capsys.readouterr().err
    name = re.split("[ =]", option)[0]
    assert plain(f"Unrecognized options: {name}") in plain(printed)
    assert printed.splitlines()[-1] == (
        f"train/main.py: {name} is an option of {owners}; the method is {method}, and --method.name changes it"
    )


@pytest.mark.parametrize("method", METHODS)
def test_another_method_by_its_name_is_its_recipe(method: str) -> None:
    """Fields that the recipe's own method does not have come from the base."""
    for recipe in METHODS:
        found = parse(["--recipe", f"camvid_lite0_{recipe}", "--method.name", method]).recipe
        assert found.method == RECIPES[f"camvid_lite0_{method}"].method
        assert replace(found, method=RECIPES[f"camvid_lite0_{recipe}"].method) == RECIPES[f"camvid_lite0_{recipe}"]
    found = parse(["--recipe=camvid_lite0_baseline", f"--method.name={method}", "--method.auxiliary-weight=0.2"]).recipe
    assert (found.method.name, found.method.auxiliary_weight) == (method, 0.2)


@pytest.mark.parametrize("script", ["train/main.py", "train/ablate.py"])
@pytest.mark.parametrize("package", ["torch", "accelerate"])
def test_without_the_extra_one_line_says_how_to_install_it(script: str, package: str) -> None:
    code = f"import runpy, sys; sys.modules[{package!r}] = None; runpy.run_path({script!r}, run_name='__main__')"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1
    assert run.stderr == f"{script}: this needs {package}, which is not installed: {INSTALL}\n"
    assert run.stdout == ""


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
