"""train/ablate.py runs, stops and continues the rows of a table and prints them beside the paper's results."""

import contextlib
import io
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

import train.main
from dwnet.method.specs import BaselineSpec
from tests.train.helpers import forget_accelerate, plain, tiny_options
from train import ablate
from train.ablate import EXIT_INTERRUPTED, Remaining, run_all, write_files
from train.ablation.plan import make_plan, read_request
from train.ablation.summary import markdown, summarise
from train.ablation.tables import TABLES, Row, Table
from train.config.recipes import BASES

ROWS = "--base camvid_lite0 --rows baseline camera_motion"


class InThisProcess:
    """Trains in this process instead of a new interpreter for each run, and records the arguments."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.stopped = False

    def run(self, arguments: list[str], on_line: Callable[[str], None]) -> int:
        self.asked.append(arguments)
        forget_accelerate()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = train.main.main(arguments)
        for line in printed.getvalue().splitlines():
            on_line(line)
        return status


def arguments(camvid: Path, output: Path, more: str = "") -> list[str]:
    return ["neighbours", *ROWS.split(), *tiny_options(camvid, output), "--pictures", "0", *more.split()]


def test_two_rows_and_two_seeds(camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failed run is reported, and the others continue. The same command then runs only the failed one."""
    request = read_request(arguments(camvid, tmp_path, "--seeds 2 --epochs 1"))
    broken = tmp_path / "camvid_lite0_baseline_seed1/last.pt"
    broken.parent.mkdir()
    broken.write_bytes(b"no checkpoint")

    plan, notes = make_plan(request)
    training = InThisProcess()
    run_all(request, plan, notes, training)
    states = {run.recipe.name: run.state for of_row in plan.values() for run in of_row}
    assert states == {
        "camvid_lite0_baseline_seed0": "done",
        "camvid_lite0_baseline_seed1": "failed",
        "camvid_lite0_dwnet_camera_motion_seed0": "done",
        "camvid_lite0_dwnet_camera_motion_seed1": "done",
    }
    assert len(training.asked) == 4
    printed = capsys.readouterr().out
    assert re.search(r"^\[2/4 camvid_lite0_baseline_seed1\] failed: .*last\.pt: not a readable", printed, re.M)
    assert re.search(r"^\[4/4 \S+_seed1 ETA 0:\d\d:\d\d\] epoch 1/1  iteration 3/3 ", printed, re.M)
    text = (tmp_path / "neighbours.md").read_text()
    assert "| 1 of 2 |" in text
    assert "camvid_lite0_baseline_seed1 failed: " in text

    broken.unlink()
    plan, notes = make_plan(request)
    training = InThisProcess()
    run_all(request, plan, notes, training)
    assert [asked[asked.index("--name") + 1] for asked in training.asked] == ["camvid_lite0_baseline_seed1"]
    found = json.loads((tmp_path / "neighbours.json").read_text())
    assert (found["bases"], found["data"], found["seeds"]) == (["camvid_lite0"], "camvid", [0, 1])
    for row in found["rows"]:
        folders = [tmp_path / run["name"] for run in row["runs"]]
        # The trainer's own evaluation of the same weights, by another road.
        trained = [json.loads((folder / "metrics.jsonl").read_text())["miou_percent"] for folder in folders]
        assert [run["miou_percent"] for run in row["runs"]] == pytest.approx(trained)
        assert row["miou_percent"]["mean"] == pytest.approx(fmean(trained))
        assert row["miou_percent"]["deviation"] == pytest.approx(stdev(trained))
        assert row["flips_percent"]["runs"] == row["temporal_consistency_percent"]["runs"] == 2
        methods = [json.loads((folder / "recipe.json").read_text())["method"]["name"] for folder in folders]
        assert methods == [{"baseline": "baseline", "camera_motion": "dwnet"}[row["name"]]] * 2

    # Finished runs are those of their configuration alone; more seeds add runs.
    with pytest.raises(SystemExit, match=r"seed0 was run with another configuration \(epochs was 1, now 2\)"):
        make_plan(read_request(arguments(camvid, tmp_path, "--seeds 2 --epochs 2")))
    more, _ = make_plan(read_request(arguments(camvid, tmp_path, "--seeds 3 --epochs 1")))
    assert [run.state for run in more["baseline"]] == ["done", "done", "to do"]


@pytest.mark.slow
def test_stopped_by_a_signal_and_continued(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command with its processes: SIGTERM reaches the run, which saves. The same command continues it."""
    command = arguments(camvid, tmp_path, "--rows baseline --seeds 1 --epochs 8 --evaluate-every 8")
    folder = tmp_path / "camvid_lite0_baseline_seed0"
    say, lines = ablate._say, list[str]()

    def say_and_signal(line: str) -> None:
        say(line)
        lines.append(line)
        if "iteration 1/24" in line:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(ablate, "_say", say_and_signal)
        # Through the launcher, which does not live to see its process save.
        assert ablate.main([*command, "--accelerate=--cpu --num_processes 1"]) == EXIT_INTERRUPTED == 75
    assert signal.getsignal(signal.SIGTERM) is before
    assert any("stopped at iteration" in line for line in lines)
    assert (folder / "last.pt").exists()
    assert not (folder / "scores.json").exists()
    assert "the same command continues" in capfd.readouterr().err

    request = read_request(command)
    training = InThisProcess()
    run_all(request, *make_plan(request), training)
    assert "--resume" in training.asked[0]
    printed = capfd.readouterr().out
    assert "iteration 1/24" not in printed
    assert "iteration 24/24" in printed
    steps = [json.loads(line)["iteration"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [24]

    # All is done: the command starts nothing, and prints the table.
    assert ablate.main(command) == 0
    printed = capfd.readouterr().out
    assert "starts" not in printed
    assert re.search(r"^\| none: single frames \| \d+\.\d\d \| \S+ \| \S+ \| 1 of 1 \|$", printed, re.M)


def test_stopped_in_the_evaluation(camvid: Path, tmp_path: Path) -> None:
    request = read_request(arguments(camvid, tmp_path, "--rows baseline --seeds 2 --epochs 1"))

    class StoppedAfterTraining(InThisProcess):
        looks = 0

        @property
        def stopped(self) -> bool:  # type: ignore[override]
            self.looks += bool(self.asked)
            return self.looks > 1

        @stopped.setter
        def stopped(self, value: bool) -> None:
            pass

    plan, notes = make_plan(request)
    training = StoppedAfterTraining()
    run_all(request, plan, notes, training)
    assert len(training.asked) == 1
    assert [(run.state, run.error) for run in plan["baseline"]] == [
        ("to do", "interrupted in its evaluation"),
        ("to do", ""),
    ]
    # Finished training is not repeated.
    plan, notes = make_plan(request)
    training = InThisProcess()
    run_all(request, plan, notes, training)
    assert [run.state for run in plan["baseline"]] == ["done", "done"]
    assert ["--resume" in asked for asked in training.asked] == [True, False]


def test_rows_keep_their_difference_on_any_base(capsys: pytest.CaptureFixture[str]) -> None:
    """With --base, network, data and schedule come from the base. Switches and segmenter come from the row."""
    plan, _ = make_plan(read_request(["table5", "--base", "camvid_lite0", "--seeds", "1"]))
    recipes = {name: runs[0].recipe for name, runs in plan.items()}
    assert {recipe.network.backbone for recipe in recipes.values()} == {"efficientnet_lite0"}
    assert {recipe.epochs for recipe in recipes.values()} == {BASES["camvid_lite0"].epochs}
    assert recipes["danet_swarp"].network.segmenter == "danet"
    assert recipes["danet_swarp"].name == "camvid_lite0_danet_dwnet_feature_loss_warp_seed0"
    assert (recipes["danet_swarp"].method.fg_conv, recipes["danet_swarp"].method.prediction_weight) == (False, 0.0)
    assert recipes["danet_dwarp"].method.prediction_space == "softmax"
    assert plan["pspnet_dwarp"][0] is plan["pspnet_mnv2_dwarp"][0]  # their backbones alone differ: one run

    # `--dataset` leaves the neighbours of a recipe: they stay the row's.
    plan, _ = make_plan(read_request(["neighbours", "--base", "camvid_lite0", "--dataset", "street", "--seeds", "1"]))
    kinds = {name: (runs[0].recipe.dataset, runs[0].recipe.data.neighbours) for name, runs in plan.items()}
    assert kinds["camera_motion"] == ("street", "camera_motion")
    assert kinds["video"] == ("street", "video")
    assert kinds["mixed"] == ("street", "mixed")

    plan, notes = make_plan(read_request(["table6", "--base", "street_quick", "--seeds", "1"]))
    assert plan["pspnet_dwnet_coarse"] == plan["pearl"] == []
    assert notes["pspnet_dwnet_coarse"] == "not run: only Cityscapes has a coarse set"
    assert "paper's result only" in notes["pearl"]
    plan, _ = make_plan(read_request(["table6", "--base", "camvid_lite0", "--dataset", "cityscapes", "--seeds", "1"]))
    assert plan["pspnet_dwnet_coarse"][0].recipe.data.coarse_ratio == 1.0
    assert plan["pspnet_dwnet"][0].recipe.data.coarse_ratio == 0.0


def test_flownet2_by_one_option() -> None:
    plan, _ = make_plan(read_request(["table4", "--seeds", "1", "--flownet2", "weights.pth.tar"]))
    methods = {name: runs[0].recipe.method for name, runs in plan.items()}
    assert methods["baseline"] == BaselineSpec()
    for name in ("sum", "concatenate", "fc", "fc_pc"):
        method = methods[name]
        assert not isinstance(method, BaselineSpec)
        assert (method.flow, method.flow_weights, method.train_flow) == ("flownet2", "weights.pth.tar", True)


def test_dry_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = f"table4 --rows sum fc --seeds 2 --output {tmp_path / 'x'} --epochs 3 --dry-run"
    assert ablate.main([*options.split(), "--accelerate=--num_processes 4"]) == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    assert commands == [
        f"accelerate launch --num_processes 4 train/main.py --recipe cityscapes_pspnet_resnet50_{variant} --epochs 3 "
        f"--name cityscapes_pspnet_resnet50_{variant}_seed{seed} --seed {seed} --output {tmp_path / 'x'}  # to do"
        for variant in ("static_warp", "dwnet_feature_loss_no_frm")
        for seed in (0, 1)
    ]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ("tabel3", ["invalid choice 'tabel3' for argument 'table'. Expected one of ('table1', ", "'table3', "]),
        (
            "table1 --rows bseline",
            ["unknown row 'bseline' (did you mean baseline?); allowed in table1 are baseline, warp"],
        ),
        ("table1 --base camvid_lite", ["camvid_lite", "'--base'", "camvid_lite0"]),
        ("table1 --seeds 0", ["seeds is 0, allowed are whole numbers of at least 1"]),
        ("table1 --seeds many", ["Error parsing --seeds: invalid literal for int() with base 10: 'many'"]),
        ("--rows baseline", ["invalid choice 'baseline' for argument 'table'. Expected one of ('table1'"]),
        ("--seeds 2", ["table1,table2", "required"]),
    ],
)
def test_wrong_request(options: str, messages: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        read_request(options.split())
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert all(plain(message).lower() in plain(printed).lower() for message in messages), printed


@pytest.mark.parametrize("options", ["--seed 4", "--name=x", "--recipe y", "--resume"])
def test_options_that_the_plan_sets_are_refused(options: str) -> None:
    name = options.partition("=")[0].partition(" ")[0]
    with pytest.raises(SystemExit, match=f"^train/ablate.py: {name} is set for each run; allowed are other options of"):
        read_request(["table1", *options.split()])


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        read_request(["--help"])
    assert end.value.code == 0
    printed = plain(capsys.readouterr().out)
    assert all(name in printed for name in (*TABLES, *BASES, "--rows", "--seeds", "--accelerate", "--dataset"))
    assert all(row.name in printed for table in TABLES.values() for row in table.rows)


def test_accelerate_with_and_without_options() -> None:
    assert read_request(["table1"]).accelerate is None
    assert read_request(["table1", "--accelerate", "--epochs", "3"]).accelerate == ""
    request = read_request(["table1", "--accelerate=--cpu --num_processes 1", "--rows", "baseline", "--epochs", "3"])
    assert request.accelerate == "--cpu --num_processes 1"
    assert request.options == ("--epochs", "3")


def test_wrong_training_options_are_refused_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for options in ("--epoch 4", "--batch-size four"):
        with pytest.raises(SystemExit):
            make_plan(read_request(["table1", *options.split()]))
        assert options.split()[0] in capsys.readouterr().err


def test_time_left() -> None:
    now = 100.0
    clock = Remaining(4, lambda: now)
    assert clock.read("loading") == ""
    now = 110.0
    # A quarter of one run in 10 s: 40 s each, 150 s for the 3.75 left.
    assert clock.read("epoch 1/2  iteration 5/20  total 1.0") == " ETA 0:02:30"
    now = 130.0
    clock.finished()  # 30 s for a run: 90 s for three
    assert clock.read("no such word") == " ETA 0:01:30"


def test_figures() -> None:
    table = Table(
        "A table",
        ("Method",),
        (Row("a", ("A",), 70.0, "street_quick", "dwnet"), Row("b", ("B",), 60.5, note="not ours")),
        "Cityscapes val",
    )
    outcomes: dict[str, list[dict[str, Any]]] = {
        "a": [
            {"name": "a0", "state": "done", "miou_percent": 50.0, "flips_percent": None},
            {"name": "a1", "state": "done", "miou_percent": 53.0, "flips_percent": None},
            {"name": "a2", "state": "failed", "error": "no memory"},
        ]
    }
    how = {"bases": ["x"], "data": "street", "seeds": [0, 1, 2], "options": ["--epochs", "2"]}
    summary = summarise("t", table, table.rows, outcomes, {**how, "notes": {"b": "not ours"}})
    # Deviation of a sample of two: |a - b| / sqrt(2).
    spread = {"mean": 51.5, "deviation": pytest.approx(3 / 2**0.5), "runs": 2}
    assert summary["rows"][0]["miou_percent"] == spread
    assert summary["rows"][0]["flips_percent"] == {"mean": None, "deviation": None, "runs": 0}
    assert json.loads(json.dumps(summary)) == summary
    lines = markdown(summary).splitlines()
    assert "| A | 70.00 | 51.50 ± 2.12 | - | - | 2 of 3 |" in lines
    assert "| B | 60.50 | - | - | - | - |" in lines
    assert "- b: not ours" in lines
    assert "- a2 failed: no memory" in lines
    assert lines[2].startswith("Ours on street val (x; 3 seeds; --epochs 2): mean ")
    assert lines[2].endswith(" The paper's on Cityscapes val.")


@pytest.mark.parametrize("name", TABLES)
def test_every_table_can_be_written(name: str, tmp_path: Path) -> None:
    request = read_request([name, "--output", str(tmp_path), "--seeds", "1"])
    plan, notes = make_plan(request)
    text = write_files(request, plan, notes)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(TABLES[name].rows)
    assert len({line.count("|") for line in rows}) == 1
    assert json.loads((tmp_path / f"{name}.json").read_text())["table"] == name
