"""The trainer: every method trains with one command. Wrong input gives one message and writes no files."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import DistributedType

from dwnet.data import CAMVID_11
from dwnet.deploy.checkpoint import load_checkpoint
from tests.data.test_own import write_singles
from tests.train.helpers import METHODS, TRAIN_NAMES, Command, events, fails, poison, tiny_recipe, write_camvid
from train.engine.batches import EpochOrder, batch_per_process
from train.engine.data import training_data
from train.engine.loop import MOST_SKIPPED, Trainer, TrainingError


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
    assert [step for step, _ in logged["rate/head"]] == [1, 2, 3, 4, 5, 6]
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
    # Therefore DistributedDataParallel does not need find_unused_parameters.
    for auxiliary_weight in (0.4, 0.0):
        recipe = tiny_recipe(camvid, tmp_path, method)
        recipe = replace(recipe, method=replace(recipe.method, auxiliary_weight=auxiliary_weight))
        trainer = Trainer(recipe, Accelerator(cpu=True))
        trainer.order.begin(0, 0)
        trainer.method.train()(next(iter(trainer.loader)))["total"].backward()
        trainable = {name: p for name, p in trainer.method.named_parameters() if p.requires_grad}
        assert [name for name, parameter in trainable.items() if parameter.grad is None] == []
        assert any(".auxiliary." in name for name in trainable) == (auxiliary_weight > 0)


# Wrong input: one message, nothing written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--data.crop 60 64", r"data.crop is \(60, 64\), allowed are multiples of 16 for this network"),
        ("--batch-size 14", r"batch_size is 14, allowed are 1 to 13, the frames of the data set"),
        (
            "--network.backbone resnet5000",
            r"unknown backbone 'resnet5000' \(did you mean resnet50 or .*\), allowed are mob",
        ),
        ("--method.name dwnet --method.flow raft", "unknown flow 'raft'.*, allowed are dis"),
        (
            "--trackers tensorbord",
            r"unknown tracker 'tensorbord' \(did you mean tensorboard\?\), allowed are tensorboard",
        ),
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


def test_a_recipe_with_video_on_single_images(
    train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data set has no such neighbours. The run fails and does not train with other neighbours."""
    root = tmp_path / "yard"
    write_singles(root)
    options = ["--recipe", "camvid_lite0_dwnet_video", "--dataset", "own"]
    assert "found no frame within 5 raw frames of a" in fails(train, capsys, *options, root=root)
    assert not (tmp_path / "runs").exists()


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


@pytest.mark.parametrize("accumulation", ["1", "2"])
def test_gradient_that_is_not_finite(
    train: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    accumulation: str,
) -> None:
    """The run stops before the step. The last checkpoint has finite weights, and the error names the step's frames."""
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", accumulation)
    names = [TRAIN_NAMES[index] for index in list(EpochOrder(13, batch_size=4, seed=0))[4:8]]
    poison(monkeypatch, names[1], gradient_only=True)
    error = fails(train, capsys, "--epochs", "1", "--checkpoint-every", "1")
    last = tmp_path / "runs/camvid_lite0_baseline/last.pt"
    assert "the gradient is not finite at iteration 1 (segmentation " in error
    assert f"batch: {', '.join(names)}; the last checkpoint is {last}" in error
    checkpoint = load_checkpoint(last)
    assert checkpoint.iteration == 1
    assert all(value.isfinite().all() for value in checkpoint.weights.values())


def test_steps_that_fp16_skips_without_end(camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scaler may skip a few steps. A run that skips all steps is stopped. fp16 is simulated on the CPU."""
    trainer = Trainer(tiny_recipe(camvid, tmp_path), Accelerator(cpu=True))
    skips = [True] * MOST_SKIPPED + [False] + [True] * (MOST_SKIPPED + 1)
    monkeypatch.setattr(trainer.accelerator, "scaler", object())
    monkeypatch.setattr(AcceleratedOptimizer, "step_was_skipped", property(lambda _: skips.pop(0)))
    trainer.step_frames = ["a", "b"]
    for _ in range(2 * MOST_SKIPPED + 1):
        trainer._check_scaler()
    with pytest.raises(TrainingError, match=rf"not finite in {MOST_SKIPPED + 1} steps in a row, .*; batch: a, b"):
        trainer._check_scaler()


def test_weights_that_are_split_over_processes_are_refused(
    train: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.FSDP)
    assert "Accelerate is configured for FSDP, which may split" in fails(train, capsys)


# The order of the frames


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


def test_colour_changes_both_frames_alike(camvid: Path, tmp_path: Path) -> None:
    """By the factors that section 4.1.3 does not have; geometry, labels and flow stay."""
    recipe = tiny_recipe(camvid, tmp_path, "dwnet")
    plain = training_data(recipe)[0]
    changed = training_data(replace(recipe, data=replace(recipe.data, colour=0.4)))[0]
    assert torch.equal(changed["labels"], plain["labels"])
    assert torch.equal(changed["flow"], plain["flow"])
    assert (changed["frame"] - plain["frame"]).abs().mean() > 0.01
    # One map from colour to colour for both frames, affine as long as nothing is clipped.
    pixels = [torch.cat([sample[name].flatten(1) for name in ("frame", "neighbour")], 1) for sample in (plain, changed)]
    inside = ((pixels[1] > 0) & (pixels[1] < 1)).all(0)
    before = torch.cat([pixels[0][:, inside], torch.ones(1, int(inside.sum()))])
    fitted = torch.linalg.lstsq(before.T, pixels[1][:, inside].T).solution
    assert (before.T @ fitted - pixels[1][:, inside].T).abs().max() < 1e-4


def test_set_epoch_reaches_the_data(camvid: Path, tmp_path: Path) -> None:
    """Accelerate's loader calls set_epoch of the data set with its own count at each iteration: it must be ours."""
    trainer = Trainer(tiny_recipe(camvid, tmp_path), Accelerator(cpu=True))
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
