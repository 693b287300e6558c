"""Fine-tuning: a run starts from the segmenter of a checkpoint of any method."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from dwnet.core.classes import CAMVID_11, ClassSet
from dwnet.deploy.checkpoint import Checkpoint, load_checkpoint
from dwnet.method.specs import method_spec
from dwnet.segmentation import NetworkSpec
from tests.train.helpers import METHODS, Command, fails, forget_accelerate, tiny_recipe
from train.engine.build import build_method, start_from

NETWORK = NetworkSpec(backbone="test_efficientnet", channels=16)
YARD = ClassSet("yard", ("grass", "path", "wall"), ((0, 128, 0), (128, 128, 128), (90, 60, 30)))


def checkpoint(network: NetworkSpec = NETWORK, classes: ClassSet = CAMVID_11) -> Checkpoint:
    torch.manual_seed(5)
    method = method_spec("dwnet").build(network.build(len(classes.classes)))
    return Checkpoint(
        network=network, method=method.spec, classes=classes, weights=method.state_dict(), source="checkpoint old.pt"
    )


def differing(network: NetworkSpec, found: Checkpoint, classes: ClassSet) -> set[str]:
    """Returns the parts of a segmenter that do not have the checkpoint's weights."""
    torch.manual_seed(6)
    segmenter = network.build(len(classes.classes))
    start_from(segmenter, found, classes)
    theirs = found.build().segmenter.state_dict()
    own = segmenter.state_dict()
    # Fresh biases and statistics are alike: convolutions tell.
    return {
        name.partition(".")[0]
        for name, value in own.items()
        if value.ndim == 4 and (name not in theirs or not torch.equal(value, theirs[name]))
    }


@pytest.mark.parametrize("method", METHODS)
def test_the_segmenter_is_the_checkpoints(train: Command, camvid: Path, tmp_path: Path, method: str) -> None:
    assert train("--epochs", "1", "--name", "first", "--pictures", "0") == 0
    first = tmp_path / "runs/first/last.pt"
    forget_accelerate()
    recipe = tiny_recipe(camvid, tmp_path / "runs", method, start_from=first)
    segmenter = build_method(recipe, CAMVID_11, Accelerator(cpu=True), None).segmenter.state_dict()
    theirs = load_checkpoint(first).build().segmenter.state_dict()
    assert segmenter.keys() == theirs.keys()
    assert [name for name in segmenter if not torch.equal(segmenter[name], theirs[name])] == []


def test_a_run_starts_and_resumes(train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--epochs", "1", "--name", "first", "--pictures", "0") == 0
    first = tmp_path / "runs/first/last.pt"
    options = ["--epochs", "2", "--name", "second", "--pictures", "0", "--start-from", str(first)]
    capsys.readouterr()
    assert train(*options, method="dwnet") == 0
    assert f"; starts from {first}" in capsys.readouterr().out
    second = load_checkpoint(tmp_path / "runs/second/last.pt")
    assert second.recipe["start_from"] == str(first)
    first.unlink()  # a resumed run has all its weights in its own checkpoint
    assert train(*options, "--resume", method="dwnet") == 0


def test_classifiers_of_other_classes_are_left_out() -> None:
    assert differing(NETWORK, checkpoint(), CAMVID_11) == set()
    assert differing(NETWORK, checkpoint(), YARD) == {"classifier", "auxiliary"}
    # As many classes, but others.
    others = ClassSet("others", tuple(f"{name} too" for name in CAMVID_11.classes), CAMVID_11.palette)
    assert differing(NETWORK, checkpoint(), others) == {"classifier", "auxiliary"}


def test_an_auxiliary_head_of_one_alone() -> None:
    without = NetworkSpec(backbone="test_efficientnet", channels=16, auxiliary=False)
    assert differing(NETWORK, checkpoint(without), CAMVID_11) == {"auxiliary"}
    assert differing(without, checkpoint(), CAMVID_11) == set()


def test_another_network(train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.pt"
    checkpoint(NetworkSpec(backbone="test_efficientnet", channels=24)).save(other)
    error = fails(train, capsys, "--start-from", str(other))
    assert f"start_from: checkpoint {other}: weights of another architecture: " in error
    assert "instead of" in error
    assert error.endswith("; network: segmenter was pspnet, now pspnet_decoder, channels was 24, now 16")
    assert not (tmp_path / "runs").exists()


def test_no_checkpoint(train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.pt"
    assert fails(train, capsys, "--start-from", str(missing)) == (
        f"train/main.py: start_from: checkpoint {missing}: no such file"
    )
