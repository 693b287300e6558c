"""Checkpoints are read as they were written, are written atomically, and errors say what is wrong with other files."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dwnet.data import CAMVID_11
from dwnet.deploy import checkpoint as module
from dwnet.deploy.checkpoint import Checkpoint, CheckpointError, load_checkpoint, load_weights
from dwnet.method.specs import SPECS, DWNetSpec, MethodName, method_spec
from dwnet.metrics import SegmentationMeter
from dwnet.segmentation import NetworkSpec
from tests.method.test_specs import FORMAT_1

NETWORK = NetworkSpec(backbone="mobilenetv2", channels=16)


@pytest.fixture(scope="module")
def saved() -> Checkpoint:
    torch.manual_seed(0)
    spec = method_spec("dwnet", kernel_size=1, delta=5.0)
    meter = SegmentationMeter(11)
    meter.update(np.array([[0, 1]]), np.array([[0, 2]]))
    result = meter.compute()
    return Checkpoint(
        network=NETWORK,
        method=spec,
        classes=CAMVID_11,
        weights=spec.build(NETWORK.build(11)).state_dict(),
        recipe={"name": "tiny", "data": {"crop": [32, 32]}},
        iteration=12,
        epoch=3,
        metrics={"miou_percent": result.miou_percent, "iou_percent": list(result.per_class_iou_percent)},
        commit="abc",
        training={"optimiser": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}},
    )


def content(saved: Checkpoint, path: Path) -> dict[str, Any]:
    saved.save(path)
    return torch.load(path, weights_only=True)


def test_everything_comes_back(saved: Checkpoint, tmp_path: Path) -> None:
    saved.save(tmp_path / "deep" / "last.pt")
    loaded = load_checkpoint(str(tmp_path / "deep" / "last.pt"))
    for name in ("network", "method", "classes", "recipe", "iteration", "epoch", "metrics", "commit"):
        assert getattr(loaded, name) == getattr(saved, name), name
    assert list(loaded.weights) == list(saved.weights)
    assert all(torch.equal(loaded.weights[key], value) for key, value in saved.weights.items())
    assert torch.equal(loaded.training["optimiser"]["state"][0]["momentum_buffer"], torch.ones(2))
    assert os.listdir(tmp_path / "deep") == ["last.pt"]


def test_the_method_comes_back_ready_to_predict(saved: Checkpoint, tmp_path: Path) -> None:
    saved.save(tmp_path / "last.pt")
    method = load_checkpoint(tmp_path / "last.pt").build()
    assert not method.training
    assert method.spec == saved.method
    state = method.state_dict()
    assert all(torch.equal(state[key], value) for key, value in saved.weights.items())
    original = saved.build()
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(method.predict({"frame": x}), original.predict({"frame": x}))


def test_a_checkpoint_from_before_an_option_existed_loads_with_its_default(saved: Checkpoint, tmp_path: Path) -> None:
    old = content(saved, tmp_path / "old.pt")
    for option in ("flow_weights", "train_flow"):
        del old["method"][option]
    torch.save(old, tmp_path / "old.pt")
    assert load_checkpoint(tmp_path / "old.pt").method == saved.method


@pytest.mark.parametrize("name", SPECS)
def test_a_checkpoint_that_holds_the_fields_of_all_methods_loads(
    saved: Checkpoint, tmp_path: Path, name: MethodName
) -> None:
    """Code before `dwnet.method.specs` wrote such files: the baseline of a recipe kept the settings of dwnet."""
    old = content(replace(saved, weights={}), tmp_path / "old.pt")
    old["method"] = {**FORMAT_1, "name": name, "prediction_space": "softmax", "prediction_weight": 1.0}
    torch.save(old, tmp_path / "old.pt")
    expected = SPECS[name]() if name != "dwnet" else DWNetSpec(prediction_space="softmax", prediction_weight=1.0)
    assert load_checkpoint(tmp_path / "old.pt").method == expected


def test_a_commit_is_filled_in(saved: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(Checkpoint(NETWORK, saved.method, CAMVID_11, {}).commit, str)


def test_interrupted_writing_leaves_the_old_file(
    saved: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    replace(saved, iteration=1, weights={}).save(path)

    def dies_half_way(_: Any, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(module.torch, "save", dies_half_way)
    with pytest.raises(OSError, match="no space left"):
        saved.save(path)
    monkeypatch.undo()
    assert load_checkpoint(path).iteration == 1
    assert os.listdir(tmp_path) == ["last.pt"]


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def test_other_files_are_refused(saved: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.pt"
    with pytest.raises(CheckpointError, match=r"checkpoint .*file\.pt: no such file"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path)
    for junk in (b"", b"text", b"PK\x03\x04 half of a zip"):
        path.write_bytes(junk)
        with pytest.raises(CheckpointError, match=r"file\.pt: not a readable PyTorch file"):
            load_checkpoint(path)
    torch.save(Malicious(), path)
    with pytest.raises(CheckpointError, match=r"file\.pt: not a readable PyTorch file"):
        load_checkpoint(path)
    assert not (tmp_path / "executed").exists()
    files: list[Any] = [torch.zeros(3), {"state_dict": {}}, [1]]
    for foreign in files:
        torch.save(foreign, path)
        with pytest.raises(CheckpointError, match=r"file\.pt: a PyTorch file, but not one that train/main\.py wrote"):
            load_checkpoint(path)


def test_a_flipped_bit_in_a_weight_is_noticed(saved: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    saved.save(path)
    content = bytearray(path.read_bytes())
    largest = max(saved.weights.values(), key=torch.numel)
    place = content.find(largest.numpy().tobytes())
    assert place > 0
    content[place + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"file\.pt: not a readable PyTorch file \(.*data/\d+ is damaged: "):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 7}, "of format 7; this version reads format 1"),
        ({"weights": None}, "incomplete or of another version"),
        ({"surprise": 1}, "incomplete or of another version .*surprise"),
        ({"network": {"backbone": "x", "colour": 1}}, "incomplete or of another version .*colour"),
        ({"method": {"name": "dwnet", "magic": 1}}, "incomplete or of another version .*magic"),
        ({"classes": {"name": "x", "classes": ["a", "a"], "palette": [[0, 0, 0], [1, 1, 1]]}}, "more than once"),
        ({"classes": {"name": "x"}}, "incomplete or of another version"),
    ],
)
def test_other_versions_are_refused(saved: Checkpoint, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "file.pt"
    changed = content(replace(saved, weights={}), path) | change
    if changed["weights"] is None:
        del changed["weights"]
    torch.save(changed, path)
    with pytest.raises(CheckpointError, match=rf"checkpoint .*file\.pt: .*{message}"):
        load_checkpoint(path)


def test_weights_of_another_architecture_are_refused_naming_them(saved: Checkpoint) -> None:
    other = replace(saved, network=replace(NETWORK, channels=32))
    with pytest.raises(CheckpointError, match=r"another architecture: \d+ of another shape \(.* instead of "):
        other.build()
    other = replace(saved, method=replace(saved.method, refinement=False))
    with pytest.raises(CheckpointError, match=r"another architecture: \d+ unexpected \(network\.refinement"):
        other.build()
    other = replace(saved, method=replace(saved.method, kernel_size=3))
    with pytest.raises(
        CheckpointError, match=r"3 of another shape .*flow\.weight \(2, 256, 3, 3\) instead of \(18, 256, 3, 3\)"
    ):
        other.build()


def test_weights_are_loaded_strictly_or_not_at_all() -> None:
    layer = torch.nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    with pytest.raises(CheckpointError, match=r"^file x: .*: 1 missing \(bias\); 1 unexpected \(extra\)$"):
        load_weights(layer, {"weight": torch.zeros(2, 2), "extra": torch.zeros(1)}, source="file x")
    assert torch.equal(layer.weight, before)
    load_weights(layer, {"weight": torch.zeros(2, 2), "bias": torch.ones(2)}, source="file x")
    assert layer.bias.tolist() == [1, 1]
