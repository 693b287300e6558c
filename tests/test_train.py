"""The trainer: every method trains from one command, and an interrupted run ends exactly as an uninterrupted one."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from train_fixtures import (
    TRAIN_NAMES,
    comparable_recipes,
    run_comparable,
    tiny_options,
    tiny_recipe,
    write_camvid,
)

from dwnet.checkpoint import Checkpoint, load_checkpoint
from dwnet.data import CAMVID_11
from train.batches import EpochOrder, batch_per_process
from train.data import validation_data
from train.evaluation import evaluate
from train.loop import Trainer
from train.main import EXIT_INTERRUPTED, main
from train.progress import Clock, Means

REPOSITORY = Path(__file__).parents[1]
METHODS = ("baseline", "static_warp", "keyframe", "dwnet")
Command = Callable[..., int]


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Accelerate keeps its state for the whole process; each test is a process of its own to it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    torch.set_num_threads(threads)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(scope="session")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_camvid(tmp_path_factory.mktemp("camvid") / "data")


@pytest.fixture
def train(camvid: Path, tmp_path: Path) -> Command:
    """Runs the command in this process, in tmp_path/runs."""

    def command(*options: str, method: str = "baseline", root: Path = camvid) -> int:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        recipe = f"camvid_lite0_{method}"
        return main(["--recipe", recipe, *tiny_options(root, tmp_path / "runs"), *options])

    return command


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


def assert_same_state(found: Checkpoint, expected: Checkpoint) -> None:
    """Weights, running statistics and momentum, bit for bit."""

    def tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
        state = checkpoint.training["optimiser"]["state"]
        momentum = {f"momentum {key}": value["momentum_buffer"] for key, value in state.items()}
        return checkpoint.weights | momentum

    left, right = tensors(found), tensors(expected)
    assert left.keys() == right.keys()
    assert [key for key in left if not torch.equal(left[key], right[key])] == []
    assert (found.iteration, found.epoch, found.metrics) == (expected.iteration, expected.epoch, expected.metrics)


def weights_of(path: Path) -> Tensor:
    weights = load_checkpoint(path).weights
    return torch.cat([value.double().flatten() for value in weights.values()])


@pytest.mark.parametrize("method", METHODS)
def test_method_trains(train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str) -> None:
    assert train("--epochs", "2", "--evaluate-every", "1", method=method) == 0
    printed = capsys.readouterr().out
    folder = tmp_path / "runs" / f"camvid_lite0_{method}"

    # 13 frames make 3 steps of 4 an epoch, each with its line.
    lines = re.findall(r"^epoch (\d)/2  iteration (\d)/6  segmentation (\S+)  total (\S+) .*", printed, re.M)
    assert [(int(epoch), int(step)) for epoch, step, *_ in lines] == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)]
    assert all(math.isfinite(float(value)) for line in lines for value in line[2:])
    assert re.search(r"rate 0\.01000  \d+\.\d images/s  data wait \d+%  ETA 0:0\d:\d\d$", printed, re.M)
    assert len(re.findall(r"val mIoU \d+\.\d\d  \(Sky \d+\.\d .*Road \d+\.\d .*Car \d+\.\d.*\)$", printed, re.M)) == 2

    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in metrics] == [3, 6]
    assert set(metrics[-1]["iou_percent"]) == set(CAMVID_11.classes)
    assert json.loads((folder / "recipe.json").read_text())["method"]["name"] == method
    last, best = load_checkpoint(folder / "last.pt"), load_checkpoint(folder / "best.pt")
    assert (last.iteration, last.epoch) == (6, 2)
    assert last.metrics["miou_percent"] == metrics[-1]["miou_percent"]
    assert best.metrics["miou_percent"] == max(line["miou_percent"] for line in metrics)
    assert last.build().segmenter(torch.rand(1, 3, 40, 56)).shape == (1, 11, 40, 56)

    logged = events(folder)
    assert [step for step, _ in logged["rate"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in logged["val/miou"]] == [3, 6]
    assert {"loss/total", "loss/segmentation", "loss/auxiliary", "val_iou/Road", "images_per_second"} <= set(logged)
    # A finished run is not trained again, and says what it scored.
    assert train("--epochs", "2", "--evaluate-every", "1", "--resume", method=method) == 0
    assert f"done: val mIoU {last.metrics['miou_percent']:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("method", METHODS)
def test_two_frames_are_overfitted(train: Command, tmp_path: Path, method: str) -> None:
    root = write_camvid(tmp_path / "two", train=2)
    options = "--batch-size 2 --epochs 16 --evaluate-every 99 --data.scale 1 1 --optimiser.rate 0.02"
    assert train(*options.split(), method=method, root=root) == 0
    losses = [value for _, value in events(tmp_path / "runs" / f"camvid_lite0_{method}")["loss/total"]]
    assert len(losses) == 16
    assert np.mean(losses[-3:]) < 0.35 * losses[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_trainable_parameter_gets_a_gradient(camvid: Path, tmp_path: Path, method: str) -> None:
    # What lets DistributedDataParallel do without find_unused_parameters.
    for auxiliary_weight in (0.4, 0.0):
        recipe = tiny_recipe(camvid, tmp_path, method)
        recipe = replace(recipe, method=replace(recipe.method, auxiliary_weight=auxiliary_weight))
        trainer = Trainer(recipe, new_accelerator())
        trainer.order.begin(0, 0)
        trainer.method.train()(next(iter(trainer.loader)))["total"].backward()
        trainable = {name: p for name, p in trainer.method.named_parameters() if p.requires_grad}
        assert [name for name, parameter in trainable.items() if parameter.grad is None] == []
        assert any(".auxiliary." in name for name in trainable) == (auxiliary_weight > 0)


def new_accelerator() -> Accelerator:
    return Accelerator(cpu=True)


# Resuming


def stop_at(monkeypatch: pytest.MonkeyPatch, iteration: int) -> None:
    """A real SIGTERM to this process, in the step after which `iteration` steps are done."""
    log = Trainer._log

    def log_and_signal(self: Trainer, *args: object) -> None:
        log(self, *args)  # type: ignore[arg-type]
        if self.iteration == iteration:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "_log", log_and_signal)


@pytest.mark.parametrize(("workers", "iteration"), [(0, 4), (0, 3), (2, 2)])
def test_resumed_run_is_bit_equal(
    train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, iteration: int
) -> None:
    # 3 steps an epoch: stopped within the second epoch, exactly between two, and with loader workers ahead.
    options = ["--epochs", "2", "--evaluate-every", "1", "--network.dropout", "0.3", "--data.workers", str(workers)]
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        stop_at(patch, iteration)
        assert train(*options, "--name", "run", method="dwnet") == EXIT_INTERRUPTED == 75
    assert signal.getsignal(signal.SIGTERM) is before
    assert load_checkpoint(tmp_path / "runs/run/last.pt").iteration == iteration
    assert train(*options, "--name", "run", "--resume", method="dwnet") == 0
    assert train(*options, "--name", "whole", "--data.workers", "0", method="dwnet") == 0
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


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < end
        time.sleep(0.01)


def test_killed_process_loses_nothing(train: Command, camvid: Path, tmp_path: Path) -> None:
    """The real command from the repository's root, without installation: SIGTERM to its whole process group (as job
    schedulers do it, so the loader's workers get it too), resumed, SIGKILL at a random moment, resumed."""
    options = ["--epochs", "8", "--checkpoint-every", "1", "--network.dropout", "0.3", "--evaluate-every", "99"]
    command = [sys.executable, "train/main.py", "--recipe", "camvid_lite0_baseline", "--name", "run"]
    command += [*tiny_options(camvid, tmp_path / "runs"), *options, "--data.workers", "2"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    last = tmp_path / "runs/run/last.pt"

    def start(*more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, *more],
            cwd=REPOSITORY,
            env=environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    process = start()
    wait_for(last.exists, process)
    os.killpg(process.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 75, error
    assert re.search(rb"stopped at iteration \d+, saved to \S+last.pt; continue with --resume", error)
    stopped = load_checkpoint(last).iteration
    assert 1 <= stopped < 24

    process = start("--resume")
    written = last.stat().st_mtime_ns
    wait_for(lambda: last.stat().st_mtime_ns != written, process)
    time.sleep(np.random.default_rng().uniform(0, 1))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    killed = load_checkpoint(last).iteration
    assert killed > stopped

    assert train(*options, "--name", "run", "--resume") == 0
    assert train(*options, "--name", "whole") == 0
    assert_same_state(load_checkpoint(last), load_checkpoint(tmp_path / "runs/whole/last.pt"))
    assert not list((tmp_path / "runs/run").glob(".*"))


# Several processes


def launch(*command: str, output: Path) -> str:
    # Its own --cpu starts one process only, or needs MPI.
    options = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    options += ["--dynamo_backend", "no", "--main_process_port", "0"]
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HOME": str(output / "hf")}
    launched = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *options, *command],
        cwd=REPOSITORY,
        env=os.environ | environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    return launched.stdout + launched.stderr


def test_two_processes_are_one(camvid: Path, tmp_path: Path) -> None:
    """Two processes with half the batch each, also with accumulated batches, take the steps of one process.

    Batch norm is frozen here: its statistics are each process's own on a CPU (on GPUs SyncBatchNorm makes them one).
    """
    launch("tests/train_fixtures.py", str(camvid), str(tmp_path / "two"), output=tmp_path)
    found = json.loads((tmp_path / "two/found.json").read_text())
    assert found["processes"] == 2

    for name, (recipe, _) in comparable_recipes(camvid, tmp_path / "one").items():
        trainer = run_comparable(recipe, 1)
        one, two = (weights_of(tmp_path / side / name / "last.pt") for side in ("one", "two"))
        fresh = Trainer(recipe, trainer.accelerator)
        begun = torch.cat([value.double().flatten() for value in fresh.method.state_dict().values()])
        moved = (one - begun).norm()
        assert moved > 0
        assert (two - one).norm() < 1e-3 * moved, name

    # SIGTERM to one of them stopped both after the same step.
    assert found["stopped_at"] == [1, 1]
    whole, resumed = (load_checkpoint(tmp_path / "two" / n / "last.pt") for n in ("uninterrupted", "interrupted"))
    assert_same_state(resumed, whole)


def test_accelerate_launch(camvid: Path, tmp_path: Path) -> None:
    """`accelerate launch train/main.py` in two processes; val's three frames are each counted once."""
    recipe = "camvid_lite0_static_warp"
    printed = launch(
        "train/main.py", "--recipe", recipe, *tiny_options(camvid, tmp_path), "--epochs", "1", output=tmp_path
    )
    assert printed.count("2 process(es) on cpu") == 1
    last = load_checkpoint(tmp_path / recipe / "last.pt")
    made = tiny_recipe(camvid, tmp_path, "static_warp")
    result = evaluate(last.build(), validation_data(made), new_accelerator(), workers=0, after_frame=lambda: None)
    assert result.miou_percent == pytest.approx(last.metrics["miou_percent"])
    assert result.pixels == 3 * 58 * 96


# Precision and accumulation


@pytest.mark.parametrize("by", ["recipe", "accelerate"])
def test_bf16(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    if by == "accelerate":
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    options = ["--precision", "bf16"] if by == "recipe" else []
    assert train("--epochs", "1", *options, method="dwnet") == 0
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    assert train("--epochs", "1", "--name", "float32", method="dwnet") == 0
    folder = tmp_path / "runs/camvid_lite0_dwnet"
    (_, rounded), (_, exact) = (events(tmp_path / "runs" / name)["loss/total"][0] for name in (folder, "float32"))
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.05)
    last = load_checkpoint(folder / "last.pt")
    assert last.recipe["precision"] == json.loads((folder / "recipe.json").read_text())["precision"] == "bf16"
    assert {value.dtype for value in last.weights.values()} == {torch.float32, torch.int64}
    assert all(torch.isfinite(value).all() for value in last.weights.values())


def test_accumulation_counts_optimiser_steps(
    camvid: Path, train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2")
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert train("--epochs", "2", "--name", "run") == EXIT_INTERRUPTED
    assert load_checkpoint(tmp_path / "runs/run/last.pt").iteration == 2
    assert train("--epochs", "2", "--name", "run", "--resume") == 0
    assert train("--epochs", "2", "--name", "whole") == 0
    run, whole = (load_checkpoint(tmp_path / "runs" / name / "last.pt") for name in ("run", "whole"))
    assert_same_state(run, whole)
    rates = [0.01 * (1 - step / 6) ** 0.9 for step in range(6)]
    assert [value for _, value in events(tmp_path / "runs/whole")["rate"]] == pytest.approx(rates)
    monkeypatch.undo()
    # Two halves of a batch give the gradient of the whole, where batch norm does not see the difference.
    recipe, _ = comparable_recipes(camvid, tmp_path)["baseline"]
    halves = run_comparable(replace(recipe, name="halves"), 2)
    wholes = run_comparable(replace(recipe, name="wholes"), 1)
    for one, other in zip(halves.method.parameters(), wholes.method.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


# Wrong input: one message, nothing written


def fails(train: Command, capsys: pytest.CaptureFixture[str], *options: str, root: Path | None = None) -> str:
    """The one line that the command ends with."""
    capsys.readouterr()
    assert train(*options, **({} if root is None else {"root": root})) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("train/main.py: ")
    assert "\n" not in error
    return error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--data.crop 60 64", r"data.crop is \(60, 64\), allowed are multiples of 16 for this network"),
        ("--batch-size 14", r"batch_size is 14, allowed are 1 to 13, the frames of the data set"),
        ("--network.backbone resnet5000", "unknown backbone 'resnet5000', allowed are mobilenetv2"),
        ("--method.name dwnet --method.flow raft", "unknown flow 'raft', allowed are dis"),
        ("--backbone-weights nowhere.pth", "backbone weights 'nowhere.pth': no such file"),
        ("--data.neighbours labelled --method.name dwnet", "no labelled frame has another of its sequence within 5"),
        ("--precision fp16", "precision fp16 needs a GPU"),
        ("--resume", r"--resume: there is no checkpoint \S+last.pt; start the run without --resume"),
    ],
)
def test_wrong_settings(
    train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, message: str
) -> None:
    assert re.search(message, fails(train, capsys, *options.split()))
    assert not (tmp_path / "runs").exists()


def test_processes_that_accelerate_does_not_join(
    train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun starts them, on a machine without GPU
    assert "set ACCELERATE_USE_CPU=true" in fails(train, capsys)
    assert not (tmp_path / "runs").exists()


def test_batch_that_does_not_divide(
    train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3")
    assert "batch_size is 4, allowed are multiples of 3 (1 processes x 3" in fails(train, capsys)
    assert not (tmp_path / "runs").exists()


def test_missing_data(train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{tmp_path / 'none'}: not a folder" in fails(train, capsys, root=tmp_path / "none")
    root = write_camvid(tmp_path / "no_val")
    for folder in (root / "val/images", root / "val/labels"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    # Found before the training, not at its first evaluation.
    assert "val" in fails(train, capsys, root=root)
    assert not (tmp_path / "runs").exists()


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
    assert "holds weights alone" in fails(train, capsys, "--epochs", "1", "--resume")
    other = {"classifier.weight": torch.zeros(1)}
    torch.save(content | {"weights": other}, last)
    assert "weights of another architecture" in fails(train, capsys, "--epochs", "1", "--resume")
    last.write_bytes(written[:5000])
    assert "not a readable PyTorch file" in fails(train, capsys, "--epochs", "1", "--resume")


@pytest.mark.parametrize("workers", ["0", "1"])
def test_bad_label_in_the_middle_of_training(
    train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    root = write_camvid(tmp_path / "bad")
    path = root / "train/labels" / f"{TRAIN_NAMES[5]}.png"
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    labels[40, 40] = 77
    cv2.imwrite(str(path), labels)
    error = fails(train, capsys, "--epochs", "1", "--data.workers", workers, root=root)
    assert str(path) in error
    assert "77" in error
    assert "Traceback" not in error


def test_loss_that_is_not_finite(
    train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = EpochOrder(13, batch_size=4, seed=0)
    names = [TRAIN_NAMES[index] for index in list(order)[4:8]]
    error = fails(train, capsys, "--epochs", "1", "--optimiser.rate", "1e30")
    assert "the loss is not finite at iteration 1 (segmentation nan" in error
    assert f"batch: {', '.join(names)}; no checkpoint yet" in error
    assert not (tmp_path / "runs/camvid_lite0_baseline/last.pt").exists()


# Parts


def test_order_of_an_epoch() -> None:
    order = EpochOrder(13, batch_size=4, seed=5)
    epochs = []
    for epoch in range(3):
        order.begin(epoch, 0)
        epochs.append(list(order))
        assert len(order) == len(epochs[-1]) == 12 == len(set(epochs[-1]))
        order.begin(epoch, 2)
        assert list(order) == epochs[-1][8:]
        assert len(order) == 4
    assert epochs[0] != epochs[1] != epochs[2]
    again = EpochOrder(13, batch_size=4, seed=5)
    again.begin(1, 0)
    assert list(again) == epochs[1]
    # The data set's frames do not depend on the batch size, only how many are left out does.
    other = EpochOrder(13, batch_size=5, seed=5)
    assert list(other) == epochs[0][:10]


def test_batch_per_process() -> None:
    assert batch_per_process(8, processes=2, accumulation=2) == 2
    with pytest.raises(ValueError, match=r"batch_size is 6, allowed are multiples of 4 \(2 processes x 2"):
        batch_per_process(6, processes=2, accumulation=2)


def test_set_epoch_reaches_the_data(camvid: Path, tmp_path: Path) -> None:
    """Accelerate's loader calls set_epoch of the data set with its own count at each iteration: it must be ours."""
    trainer = Trainer(tiny_recipe(camvid, tmp_path), new_accelerator())
    for epoch in (3, 1, 1):
        trainer.order.begin(epoch, 2)
        trainer.loader.set_epoch(epoch)
        (batch,) = list(trainer.loader)
        trainer.train_data.set_epoch(epoch)
        for place, index in enumerate(trainer.order):
            assert torch.equal(batch["frame"][place], trainer.train_data[index]["frame"])
        trainer.train_data.set_epoch(epoch + 1)
        assert not all(
            torch.equal(batch["frame"][place], trainer.train_data[index]["frame"])
            for place, index in enumerate(trainer.order)
        )


def test_clock() -> None:
    seconds = 0.0
    clock = Clock(now=lambda: seconds)
    for _ in range(2):
        seconds += 100  # an evaluation
        clock.start()
        seconds += 1
        clock.batch_came()
        seconds += 3
        clock.step_done(8)
    reading = clock.read(images_left=8 * 1000)
    assert reading.images_per_second == 2
    assert reading.wait_share == 0.25
    assert reading.time_left == "1:06:40"


def test_means() -> None:
    means = Means()
    means.add({"a": torch.tensor(1.0, requires_grad=True)})
    means.add({"a": torch.tensor(4.0)})
    assert means.read()["a"].item() == 2.5
    means.add({"a": torch.tensor(7.0)})
    read = means.read()["a"]
    assert read.item() == 7
    assert not read.requires_grad
