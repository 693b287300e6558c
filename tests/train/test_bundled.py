"""train/bundled.py: which runs start after which, what a failure stops, and the half-precision files."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dwnet.core.classes import CAMVID_11
from dwnet.deploy.checkpoint import Checkpoint, load_checkpoint
from dwnet.method.specs import BaselineSpec
from dwnet.segmentation import NetworkSpec
from train.bundled import Options, half_precision, main, plan, run_all
from train.config.options import parse

NETWORK = NetworkSpec(backbone="mobilenetv2", channels=8, output_stride=16)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    method = BaselineSpec().build(NETWORK.build(11, weights="none"))
    return Checkpoint(NETWORK, BaselineSpec(), CAMVID_11, method.state_dict(), training={"optimiser": {}}, commit="c0")


class Recorded:
    """Takes the place of the processes: writes the checkpoint that a run would, or fails."""

    def __init__(self, checkpoint: Checkpoint, fails: str = "") -> None:
        self.checkpoint, self.fails, self.stopped = checkpoint, fails, False
        self.runs: list[list[str]] = []
        self._parsing = threading.Lock()  # tyro is not made for threads

    def run(self, arguments: list[str], on_line: Callable[[str], None]) -> int:
        self.runs.append(arguments)
        if "--start-from" in arguments:
            assert Path(arguments[arguments.index("--start-from") + 1]).is_file()
        with self._parsing:
            recipe = parse(arguments).recipe
        if recipe.name == self.fails:
            on_line("out of memory")
            return 1
        recipe.run_folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint.save(recipe.run_folder / "last.pt")
        on_line("done")
        return 0


@pytest.mark.parametrize("parallel", [1, 4])
def test_every_method_starts_from_its_seeds_first_network(
    tmp_path: Path, checkpoint: Checkpoint, parallel: int
) -> None:
    options = Options(
        seeds=2, parallel=parallel, output=tmp_path / "runs", half=tmp_path / "half", first_precision="bf16"
    )
    training = Recorded(checkpoint)
    results = run_all(options, ["--batch-size", "4"], training)
    networks = ("first", "baseline", "static_warp", "dwnet", "baseline_plain", "dwnet_plain")
    assert set(results) == {f"{name}_seed{seed}" for name in networks for seed in (0, 1)}
    assert set(results.values()) == {"done"}
    recipes = {recipe.name: recipe for recipe in (parse(arguments).recipe for arguments in training.runs)}
    for name, recipe in recipes.items():
        seed = int(name[-1])
        first = None if name.startswith("first") else tmp_path / "runs" / f"first_seed{seed}" / "last.pt"
        assert (recipe.seed, recipe.start_from, recipe.batch_size) == (seed, first, 4)
    assert {name for name, recipe in recipes.items() if recipe.precision == "bf16"} == {"first_seed0", "first_seed1"}
    plain = recipes["dwnet_plain_seed1"]
    assert (plain.data.photometric, plain.data.neighbour_photometric, plain.method.name) == (0, 0, "dwnet")
    assert sorted(path.stem for path in (tmp_path / "half").iterdir()) == sorted(results)
    assert run_all(options, [], training) == results
    assert all("--resume" in arguments for arguments in training.runs[len(results) :])


def test_only_the_runs_of_a_failed_first_network_are_left_out(tmp_path: Path, checkpoint: Checkpoint) -> None:
    options = Options(seeds=2, only=("dwnet",), output=tmp_path)
    results = run_all(options, [], Recorded(checkpoint, fails="first_seed0"))
    assert results == {
        "first_seed0": "failed with status 1: out of memory",
        "dwnet_seed0": "failed: it starts from first_seed0",
        "first_seed1": "done",
        "dwnet_seed1": "done",
    }


def test_half_precision_keeps_the_predictions(tmp_path: Path, checkpoint: Checkpoint) -> None:
    half_precision(checkpoint).save(tmp_path / "half.pt")
    checkpoint.save(tmp_path / "full.pt")
    assert (tmp_path / "half.pt").stat().st_size < 0.6 * (tmp_path / "full.pt").stat().st_size
    read = load_checkpoint(tmp_path / "half.pt")
    assert (read.training, read.commit, read.method) == ({}, "c0", BaselineSpec())
    image = {"frame": torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))}
    with torch.no_grad():
        found, expected = read.build().predict(image), checkpoint.build().predict(image)
    assert (found - expected).abs().max() < 0.01 * expected.abs().max()
    assert not torch.equal(found, expected)


def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--seeds", "0"], ["--only", "dwnt"], ["--parallel", "-1"]):
        with pytest.raises(SystemExit) as end:
            main(wrong)
        assert end.value.code == 2
    assert "allowed are baseline, static_warp, dwnet" in " ".join(capsys.readouterr().err.split())


def test_the_plan_has_controls_without_photometric_changes() -> None:
    names = {run.name.rpartition("_")[0]: run.recipe for run in plan(Options(seeds=1)).values()}
    assert names["baseline_plain"][1:] == ("--data.photometric", "0")
    assert names["dwnet_plain"][1:] == ("--data.photometric", "0", "--data.neighbour-photometric", "0")
