"""Monitoring of a run: speed, means, trackers, and pictures with known content."""

import re
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.utils.data import default_collate

from dwnet.core.classes import IGNORE_LABEL
from dwnet.data import CAMVID_11, PairDataset
from dwnet.deploy.checkpoint import load_checkpoint
from dwnet.flow.base import FlowEstimator
from dwnet.method.training import Method
from tests.train.helpers import METHODS, VAL_NAMES, Command, events, tiny_recipe
from train.engine.build import build_method
from train.monitoring.pictures import ValPictures, views
from train.monitoring.progress import Clock, Means
from train.monitoring.tracking import Tracking


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


# Trackers


def test_a_resumed_run_is_the_same_to_a_service(camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights & Biases identifies runs by an id. The id is stored in the run's folder. Other runs have other ids."""
    told = []
    monkeypatch.setattr(
        Accelerator, "init_trackers", lambda self, project, config, init_kwargs: told.append(init_kwargs)
    )
    for name, iteration in (("a", 0), ("a", 7), ("b", 0)):
        recipe = tiny_recipe(camvid, tmp_path, name=name, trackers=("wandb",))
        Tracking(recipe, Accelerator(cpu=True), 10).begin(iteration)
    first, again, other = (kwargs["wandb"] for kwargs in told)
    assert first["id"] == again["id"] != other["id"]
    assert first["resume"] == "allow"


@pytest.mark.parametrize("method", METHODS)
def test_pictures_at_each_evaluation(train: Command, camvid: Path, tmp_path: Path, method: str) -> None:
    assert train("--epochs", "2", "--evaluate-every", "1", "--pictures", "2", method=method) == 0
    folder = tmp_path / "runs" / f"camvid_lite0_{method}"
    accumulator = EventAccumulator(str(folder / "tracked/dwnet"))
    accumulator.Reload()
    first, last = VAL_NAMES[0], VAL_NAMES[-1]
    assert sorted(accumulator.Tags()["images"]) == [f"val/{first}", f"val/{last}"]

    # The last ones are those of the final weights, to the pixel.
    recipe = tiny_recipe(camvid, tmp_path, method)
    # In the layout of the run: another one rounds otherwise.
    method_of_run = load_checkpoint(folder / "last.pt").build().to(memory_format=torch.channels_last)
    expected = ValPictures(recipe)(method_of_run, Accelerator(cpu=True))
    assert list(expected) == [first, last]
    for name, picture in expected.items():
        logged = accumulator.Images(f"val/{name}")
        assert [image.step for image in logged] == [3, 6]
        decoded = cv2.imdecode(np.frombuffer(logged[-1].encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), picture)


def test_no_pictures(train: Command, tmp_path: Path) -> None:
    assert train("--epochs", "1", "--pictures", "0") == 0
    accumulator = EventAccumulator(str(tmp_path / "runs/camvid_lite0_baseline/tracked/dwnet"))
    accumulator.Reload()
    assert accumulator.Tags()["images"] == []
    assert "val/miou" in accumulator.Tags()["scalars"]


def test_no_trackers(train: Command, tmp_path: Path) -> None:
    assert train("--epochs", "1", "--trackers", "none") == 0
    assert not (tmp_path / "runs/camvid_lite0_baseline/tracked").exists()
    assert (tmp_path / "runs/camvid_lite0_baseline/metrics.jsonl").exists()


def test_two_trackers(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert train("--epochs", "1", "--trackers", "tensorboard", "wandb") == 0
    folder = tmp_path / "runs/camvid_lite0_baseline"
    assert len(list(folder.glob("wandb/offline-run-*/files/media/images/val/*.png"))) == 2
    assert [step for step, _ in events(folder)["val/miou"]] == [3]


def test_a_loader_that_is_too_slow_is_named_once(
    train: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = PairDataset.__getitem__

    def slowly(self: PairDataset, index: int) -> object:
        time.sleep(0.03)
        return read(self, index)

    monkeypatch.setattr(PairDataset, "__getitem__", slowly)
    assert train("--epochs", "2", "--evaluate-every", "99") == 0
    hint = r"^waiting for data takes \d\d\.\d% of the time, more than 5%: the loader .*--data\.workers is 0 for"
    assert len(re.findall(hint, capsys.readouterr().out, re.M)) == 1


# Pictures


class GivenFlow(FlowEstimator):
    """A motion of 16 px to the right everywhere."""

    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:
        flow = torch.zeros(len(frame), 2, *frame.shape[-2:])
        flow[:, 0] = 16
        return flow


def built(camvid: Path, tmp_path: Path, method: str) -> Method:
    recipe = tiny_recipe(camvid, tmp_path, method)
    return build_method(recipe, CAMVID_11, Accelerator(cpu=True), None).eval()


@torch.no_grad()
def test_a_still_pair_has_the_same_prediction_warped(camvid: Path, tmp_path: Path) -> None:
    method = built(camvid, tmp_path, "dwnet")
    frame = ValPictures(tiny_recipe(camvid, tmp_path)).data[0]["frame"][None]
    batch = {"frame": frame, "neighbour": frame, "labels": torch.zeros(1, 64, 96)}
    found = views(method, batch)
    assert set(found) == {
        "frame", "neighbour", "labels", "prediction", "warped_prediction", "occlusion_weight", "coarse_flow",
        "refined_flow",
    }  # fmt: skip
    assert all(view.shape[-2:] == (64, 96) for view in found.values())
    assert found["coarse_flow"].abs().max() < 0.05
    assert (found["occlusion_weight"] - 1).abs().max() < 0.05
    assert (found["warped_prediction"] == found["prediction"]).float().mean() > 0.99


@torch.no_grad()
def test_a_moved_pair_is_void_where_the_flow_leaves_the_frame(camvid: Path, tmp_path: Path) -> None:
    # FRM and FG-Conv start as the plain warp: the refined flow is the coarse one, and the warped map is 16 px away.
    method = built(camvid, tmp_path, "dwnet")
    method.flow = GivenFlow()
    neighbour = torch.rand(1, 3, 60, 90)  # sides that are no multiples of 16
    frame = torch.roll(neighbour, -16, dims=3)
    found = views(method, {"frame": frame, "neighbour": neighbour, "labels": torch.zeros(1, 60, 90)})
    for name in ("coarse_flow", "refined_flow"):
        assert torch.allclose(found[name][0], torch.tensor(16.0))
        assert torch.allclose(found[name][1], torch.tensor(0.0))
    assert (found["warped_prediction"][:, 88:] == IGNORE_LABEL).all()
    assert (found["warped_prediction"][:, :64] != IGNORE_LABEL).all()
    assert (found["occlusion_weight"][0, :, :73] > 0.999).all()
    # Where the flow stays inside, the warped prediction is the neighbour's own, 16 px to the right.
    own = method.predict({"frame": neighbour}).argmax(dim=1)[0]
    assert (found["warped_prediction"][:, 8:56] == own[:, 24:72]).float().mean() > 0.9


@torch.no_grad()
@pytest.mark.parametrize("method", ["baseline", "static_warp", "keyframe"])
def test_other_methods_show_what_they_have(camvid: Path, tmp_path: Path, method: str) -> None:
    pictures = ValPictures(replace(tiny_recipe(camvid, tmp_path, method), pictures=7))
    assert pictures.indices == [0, 1, 2]  # no more than there are
    found = views(built(camvid, tmp_path, method), default_collate([pictures.data[1]]))
    flow = set() if method == "baseline" else {"neighbour", "coarse_flow"}
    assert set(found) == {"frame", "labels", "prediction"} | flow


def test_val_without_neighbours_of_the_kind_gets_made_ones(camvid: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(camvid, tmp_path, "dwnet")
    recipe = replace(recipe, data=replace(recipe.data, neighbours="video"))
    assert "neighbour" in ValPictures(recipe).data[0]
