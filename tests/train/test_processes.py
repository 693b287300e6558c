"""Several processes, accumulated batches, bf16 and torch.compile through Accelerate give the same training."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from dwnet.core.launch import available_cpus
from dwnet.data import CAMVID_11
from dwnet.deploy.checkpoint import load_checkpoint
from dwnet.segmentation import NetworkSpec, Segmenter
from tests.train.helpers import (
    Command,
    assert_same_state,
    events,
    forget_accelerate,
    gradient,
    gradients,
    launch,
    launch_nodes,
    stop_at,
    tiny_options,
    tiny_recipe,
    write_camvid,
)
from train.config.spec import Recipe
from train.engine.build import _use_cores, build_accelerator, build_method
from train.engine.data import validation_data
from train.engine.evaluation import evaluate
from train.engine.loop import Interrupted, Trainer
from train.main import EXIT_INTERRUPTED


def test_two_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    """Half the batch in each of two processes gives the gradient of the whole in one, all methods and losses, where
    the halves have unequal numbers of labelled pixels. Batch norm is frozen: its statistics are each process's own on
    a CPU (on GPUs SyncBatchNorm makes them one). With a divisor for each process it is another gradient."""
    root = write_camvid(tmp_path / "uneven", uneven=True)
    launch("tests/train/helpers.py", str(root), str(tmp_path), output=tmp_path)
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert found["processes"] == 2
    for method, one in gradients(root, tmp_path).items():
        error = (found["gradients"][method] - one).norm() / one.norm()
        mutated = (found["mutated"][method] - one).norm() / one.norm()
        assert error < 1e-5, method
        assert mutated > 3e-4, method

    # SIGTERM to one of them stopped both after the same step.
    assert found["stopped_at"] == [1, 1]
    whole, resumed = (load_checkpoint(tmp_path / name / "last.pt") for name in ("uninterrupted", "interrupted"))
    assert_same_state(resumed, whole)
    assert whole.recipe["environment"]["processes"] == 2

    # What is not finite in one of them stopped both, before the step and with the names of the frames.
    for fault in ("loss", "gradient"):
        names, errors = found[fault]["names"], found[fault]["errors"]
        assert "the gradient is not finite at iteration 1" in errors[0]
        assert f"the {fault} is not finite at iteration 1" in errors[1]
        assert all(names[2] in error for error in errors)
        assert load_checkpoint(tmp_path / fault / "last.pt").iteration == 1
        assert found[fault]["finite"]
    assert all(name in error for name in names for error in errors)  # a gradient is of all frames


@pytest.mark.parametrize("backbone", ["mobilenetv2", "efficientnet_lite0", "resnet50"])
def test_synchronised_norms_are_the_same_network(camvid: Path, tmp_path: Path, backbone: str) -> None:
    """As on several GPUs: every norm is synchronised, and the network computes what it did (timm's norms hold the
    activations, which PyTorch's own conversion drops, with no key of the weights changed)."""
    network = NetworkSpec(segmenter="pspnet_decoder", backbone=backbone, output_stride=16, channels=16)
    recipe = tiny_recipe(camvid, tmp_path, "dwnet", network=network, class_balance=0.0, channels_last=False)
    one, several = (
        build_method(recipe, CAMVID_11, SimpleNamespace(num_processes=count, device=device), None).eval()  # type: ignore[arg-type]
        for count, device in ((1, torch.device("cpu")), (2, torch.device("cuda")))
    )
    norms = [module for module in several.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert all(isinstance(module, nn.SyncBatchNorm) for module in norms)
    assert len(norms) == sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in one.modules()) > 20
    assert one.state_dict().keys() == several.state_dict().keys()
    images = torch.rand(1, 3, 64, 64, generator=torch.manual_seed(1))
    with torch.no_grad():
        found, expected = several.segmenter(images), one.segmenter(images)
    assert torch.equal(found, expected)


@pytest.mark.slow
def test_accelerate_launch(camvid: Path, tmp_path: Path) -> None:
    """`accelerate launch train/main.py` in two processes; val's three frames are each counted once."""
    recipe = "camvid_lite0_static_warp"
    printed = launch(
        "train/main.py", "--recipe", recipe, *tiny_options(camvid, tmp_path), "--epochs", "1", output=tmp_path
    )
    assert printed.count("2 process(es) on cpu") == 1
    last = load_checkpoint(tmp_path / recipe / "last.pt")
    made = tiny_recipe(camvid, tmp_path, "static_warp")
    result = evaluate(last.build(), validation_data(made), Accelerator(cpu=True), workers=0, after_frame=lambda: None)
    assert result.miou_percent == pytest.approx(last.metrics["miou_percent"])
    assert result.pixels == 3 * 58 * 96


@pytest.mark.slow
def test_two_machines_are_two_processes(camvid: Path, tmp_path: Path) -> None:
    """Two launchers of one process each, joined by an address, train bit for bit as one launcher of two."""
    options = [*tiny_options(camvid, tmp_path), "--epochs", "1", "--pictures", "0", "--trackers", "none"]
    command = ["train/main.py", "--recipe", "camvid_lite0_baseline", *options]
    printed = launch_nodes(*command, "--name", "machines", output=tmp_path)
    assert printed.count("2 process(es) on cpu") == printed.count("done: val mIoU") == 2  # a log on each machine
    launch(*command, "--name", "processes", output=tmp_path)
    machines, processes = (load_checkpoint(tmp_path / name / "last.pt") for name in ("machines", "processes"))
    assert machines.recipe["environment"]["processes"] == 2
    assert_same_state(machines, processes)


def test_accumulation_counts_optimiser_steps(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2")
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert train("--epochs", "2", "--name", "run") == EXIT_INTERRUPTED
    assert load_checkpoint(tmp_path / "runs/run/last.pt").iteration == 2
    assert train("--epochs", "2", "--name", "run", "--resume") == 0
    assert train("--epochs", "2", "--name", "whole") == 0
    run, whole = (load_checkpoint(tmp_path / "runs" / name / "last.pt") for name in ("run", "whole"))
    assert_same_state(run, whole)
    assert whole.recipe["environment"]["accumulation"] == 2
    rates = [0.01 * (1 - step / 6) ** 0.9 for step in range(6)]
    assert [value for _, value in events(tmp_path / "runs/whole")["rate/network"]] == pytest.approx(rates)


def test_accumulated_batches_have_the_gradient_of_one(camvid: Path, tmp_path: Path) -> None:
    # Where batch norm does not see the difference, and the batches have equally many labelled pixels.
    recipe = tiny_recipe(camvid, tmp_path)
    whole = gradient(recipe)
    for accumulation in (2, 4):
        forget_accelerate()
        torch.testing.assert_close(gradient(recipe, accumulation), whole, rtol=1e-4, atol=1e-6)


def test_bf16(train: Command, tmp_path: Path) -> None:
    assert train("--epochs", "1", "--precision", "bf16", method="dwnet") == 0
    assert train("--epochs", "1", "--name", "float32", method="dwnet") == 0
    folder = tmp_path / "runs/camvid_lite0_dwnet"
    (_, rounded), (_, exact) = (events(tmp_path / "runs" / name)["loss/total"][0] for name in (folder, "float32"))
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.05)
    last = load_checkpoint(folder / "last.pt")
    assert last.recipe["precision"] == json.loads((folder / "recipe.json").read_text())["precision"] == "bf16"
    assert {value.dtype for value in last.weights.values()} == {torch.float32, torch.int64}
    assert all(torch.isfinite(value).all() for value in last.weights.values())


def test_bf16_by_accelerate(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train("--epochs", "1", "--precision", "bf16", "--name", "recipe") == 0
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert train("--epochs", "1", "--name", "accelerate") == 0
    one, other = (load_checkpoint(tmp_path / "runs" / name / "last.pt") for name in ("recipe", "accelerate"))
    assert_same_state(one, other)
    assert other.recipe["precision"] == other.recipe["environment"]["precision"] == "bf16"


def test_resumed_bf16_run_is_bit_equal(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--epochs", "1", "--precision", "bf16"]
    with monkeypatch.context() as patch:
        stop_at(patch, 1)
        assert train(*options, "--name", "run") == EXIT_INTERRUPTED
    assert train(*options, "--name", "run", "--resume") == 0
    assert train(*options, "--name", "whole") == 0
    assert_same_state(*(load_checkpoint(tmp_path / "runs" / name / "last.pt") for name in ("run", "whole")))


# fp16: Accelerate refuses it on a CPU, where PyTorch has all that it takes


def scaled(recipe: Recipe, resume: bool = False) -> Trainer:
    """A trainer as Accelerate makes it for fp16 on a GPU: autocast to float16, and a gradient scaler."""
    forget_accelerate()
    accelerator = Accelerator(cpu=True)
    accelerator.state._mixed_precision = "fp16"
    accelerator.native_amp = True
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**28, growth_interval=2)
    return Trainer(recipe, accelerator, resume=resume)


@pytest.mark.slow
def test_fp16_scales_and_resumes(camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scale too large for float16 is lowered, by steps that leave the weights alone; a resumed run has it."""
    recipe = replace(tiny_recipe(camvid, tmp_path, "dwnet", name="whole", pictures=0), epochs=8)
    whole = scaled(recipe)
    weights = {name: value.clone() for name, value in whole.method.named_parameters()}
    whole.begin_epoch()
    losses = whole.train_batch(next(iter(whole.loader)), 0)
    assert losses["total"].dtype == torch.float32
    assert all(torch.equal(value, weights[name]) for name, value in whole.method.named_parameters())
    assert whole.accelerator.scaler is not None
    assert whole.accelerator.scaler.get_scale() == 2.0**27

    whole = scaled(recipe)
    whole.run()
    with monkeypatch.context() as patch:
        stop_at(patch, 21)
        with pytest.raises(Interrupted):
            scaled(replace(recipe, name="run")).run()
    scaled(replace(recipe, name="run"), resume=True).run()
    one, other = (load_checkpoint(tmp_path / name / "last.pt") for name in ("run", "whole"))
    assert_same_state(one, other)
    assert one.training["scaler"] == other.training["scaler"]
    assert one.training["scaler"]["scale"] < 2.0**28
    changed = [name for name, value in weights.items() if not torch.equal(other.weights[name], value)]
    assert changed, "no step was taken in the end"


# torch.compile


class TwoLayers(Segmenter):
    """A minimal network that compiles quickly."""

    channels, stride, multiple = 8, 4, 16

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4, padding=3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.classifier = nn.Conv2d(8, num_classes, 1)

    def features(self, image: Tensor) -> Tensor:
        return self.backbone(image)

    def classify(self, features: Tensor) -> Tensor:
        return self.classifier(features)


@dataclass(frozen=True)
class TwoLayerSpec(NetworkSpec):
    def build(self, num_classes: int, *, weights: str | Path = "none") -> Segmenter:
        return TwoLayers(num_classes)


def test_compiled_network_is_the_same_network(camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--compile`, or a backend of Accelerate's configuration: the same training to rounding, and checkpoints with the
    plain network's keys. Without a C++ compiler as far as the graphs of the backward pass."""
    compiler = any(map(shutil.which, ("c++", "g++", "clang++")))
    plain = replace(tiny_recipe(camvid, tmp_path), network=TwoLayerSpec(auxiliary=False), name="plain", pictures=0)
    Trainer(plain, build_accelerator(plain)).run()
    forget_accelerate()
    if not compiler:
        monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "aot_eager")
    recipe = replace(plain, name="compiled", compile=compiler)
    trainer = Trainer(recipe, build_accelerator(recipe))
    assert type(trainer.method).__name__ == "OptimizedModule"
    trainer.run()
    one, other = (load_checkpoint(tmp_path / name / "last.pt") for name in ("plain", "compiled"))
    assert other.recipe["environment"]["compiler"] == ("inductor" if compiler else "aot_eager")
    assert one.weights.keys() == other.weights.keys()
    for name, value in one.weights.items():
        torch.testing.assert_close(other.weights[name], value, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize(("launched", "asked", "threads"), [(True, "1", None), (True, "3", 1), (False, "1", 1)])
def test_cores_that_the_launcher_left_idle_are_used(
    launched: bool, asked: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate's launcher gives a process one thread unless asked; other settings stay. None: all the cores."""
    for name in ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND"):
        if launched:
            monkeypatch.setenv(name, "no")
        else:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        _use_cores(1)
        assert torch.get_num_threads() == (available_cpus() if threads is None else threads)
        _use_cores(10_000)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
