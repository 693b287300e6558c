"""Class weights: by hand, from the labels of a data set, in the loss of a run and in its checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from accelerate import Accelerator

from dwnet.data import CAMVID_11
from dwnet.deploy.checkpoint import load_checkpoint
from dwnet.method.specs import DWNetSpec
from dwnet.segmentation import NetworkSpec
from tests.train.helpers import Command, fails, tiny_recipe, write_camvid
from train.config.recipes import RECIPES
from train.engine import class_balance
from train.engine.class_balance import MOST, balanced, class_weights


def test_weights_by_hand() -> None:
    """Shares 0.1, 0.2 and 0.7: the median is 0.2, and 0.1 * 2 + 0.2 * 1 + 0.7 * 2/7 = 0.6."""
    assert balanced([100, 200, 700], 1.0) == (3.33, 1.67, 0.476)
    assert balanced([100, 200, 700], 0.0) == (1, 1, 1)
    # An absent class is no part of the median, and of no consequence to the others.
    assert balanced([100, 0, 200, 700], 1.0) == (3.33, 1.0, 1.67, 0.476)
    assert balanced([0, 0], 1.0) == (1, 1)


@pytest.mark.parametrize("balance", [0.3, 0.5, 0.7])
def test_a_pixels_mean_weight_is_one_and_the_rare_weigh_more(balance: float) -> None:
    pixels = np.array([900, 5000, 100, 1200, 800])
    weights = np.array(balanced(pixels, balance))
    assert (weights * pixels).sum() / pixels.sum() == pytest.approx(1, abs=5e-3)
    assert list(np.argsort(weights)) == list(np.argsort(-pixels))


@pytest.mark.parametrize("pixels", [[10**8, 50, 40], [1, 10**6, 10**6], [3, 5000, 70, 1200, 800]])
def test_no_class_rules(pixels: list[int]) -> None:
    weights = balanced(pixels, 1.0)
    assert max(weights) == MOST
    assert all(weight > 0 for weight in weights)


def test_counted_in_the_training_labels(camvid: Path, tmp_path: Path) -> None:
    """Each labelled pixel counts once, without augmentation."""
    counts = np.zeros(len(CAMVID_11.classes), np.int64)
    for path in (camvid / "train/labels").glob("*.png"):
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        counts += np.bincount(labels.ravel(), minlength=12)[:11]
    recipe = tiny_recipe(camvid, tmp_path, class_balance=0.5)
    found = class_weights(recipe, Accelerator(cpu=True))
    assert found == balanced(counts, 0.5)
    assert len(set(found)) > 1
    assert class_weights(replace(recipe, class_balance=0.0), Accelerator(cpu=True)) == ()


def test_of_the_street_some_frames_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert class_balance.RENDERED_MOST == 40
    monkeypatch.setattr(class_balance, "RENDERED_MOST", 8)  # each frame takes half a second to render
    recipe = RECIPES["street_quick_dwnet_balanced"]
    recipe = replace(recipe, root=tmp_path, data=replace(recipe.data, street_size=(48, 64), street_cache_gb=0.0))
    weights = dict(zip(CAMVID_11.classes, class_weights(recipe, Accelerator(cpu=True)), strict=True))
    assert weights["Road"] < 1 < weights["SignSymbol"] <= MOST
    assert "counts the classes in 8 frames" in capsys.readouterr().out


def test_labels_that_are_all_void(train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_camvid(tmp_path / "void")
    for path in (root / "train/labels").glob("*.png"):
        cv2.imwrite(str(path), np.full((58, 96), 11, np.uint8))
    assert f"train of {root} holds no labelled pixel" in fails(train, capsys, root=root)


def test_a_run_trains_with_them_and_its_checkpoint_says_so(
    train: Command, camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--epochs", "1", "--pictures", "0", "--class-balance", "0.5") == 0
    last = load_checkpoint(tmp_path / "runs/camvid_lite0_baseline/last.pt")
    expected = class_weights(tiny_recipe(camvid, tmp_path, class_balance=0.5), Accelerator(cpu=True))
    assert "class weights  Sky " in capsys.readouterr().out
    resolved = json.loads((tmp_path / "runs/camvid_lite0_baseline/recipe.json").read_text())["resolved"]
    assert tuple(resolved["class_weights"].values()) == expected
    assert last.method.class_weights == expected
    assert last.recipe["class_balance"] == 0.5
    assert last.build().spec.class_weights == expected
    assert train("--epochs", "1", "--pictures", "0", "--class-balance", "0.5", "--resume") == 0


def test_what_is_not_allowed(train: Command, capsys: pytest.CaptureFixture[str]) -> None:
    both = fails(train, capsys, "--class-balance", "0.5", "--method.class-weights", *"12345678912")
    assert "class_balance is 0.5, allowed beside method.class-weights is 0" in both
    few = fails(train, capsys, "--class-balance", "0", "--method.class-weights", "1", "2")
    assert "class_weights has 2 numbers, allowed are 11, one per class" in few
    with pytest.raises(ValueError, match="class_weights has 2 numbers, allowed are 3, one per class"):
        DWNetSpec(class_weights=(1.0, 2.0)).build(NetworkSpec(backbone="mobilenetv2", channels=16).build(3))


def test_a_run_of_before_they_existed_is_not_resumed_with_them(
    train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting that the recorded recipe lacks has its default value."""
    assert train("--epochs", "1", "--pictures", "0", "--class-balance", "0") == 0
    last = tmp_path / "runs/camvid_lite0_baseline/last.pt"
    checkpoint = load_checkpoint(last)
    del checkpoint.recipe["class_balance"], checkpoint.recipe["method"]["class_weights"]
    checkpoint.save(last)
    error = fails(train, capsys, "--epochs", "1", "--pictures", "0", "--resume")
    assert "class_balance was 0.0, now 0.5" in error
    assert train("--epochs", "1", "--pictures", "0", "--class-balance", "0", "--resume") == 0
