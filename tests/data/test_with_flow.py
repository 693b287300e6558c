"""The flow that a loader's worker estimates is equal, bit for bit, to the flow that the method estimates."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch.utils.data import default_collate

from dwnet.data.with_flow import WithFlow
from dwnet.flow.dis import dis_flow
from dwnet.flow.dis_estimator import DISFlow
from dwnet.flow.registry import build_flow
from dwnet.method.specs import SPECS, method_spec
from tests.references import TinySegmenter
from tests.train.helpers import forget_accelerate, tiny_recipe, write_camvid
from train.engine.batches import loader_of
from train.engine.data import training_data
from train.engine.loop import Trainer

PAIRED = [name for name, spec in SPECS.items() if spec.needs_neighbour]


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_camvid(tmp_path_factory.mktemp("camvid") / "data")


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    forget_accelerate()
    yield
    torch.set_num_threads(threads)
    forget_accelerate()


@pytest.mark.parametrize("name", PAIRED)
def test_losses_are_the_same_with_it(camvid: Path, tmp_path: Path, name: str) -> None:
    data = training_data(tiny_recipe(camvid, tmp_path, name))
    assert isinstance(data, WithFlow)
    batch = default_collate([data[0], data[1]])
    method = method_spec(name).build(TinySegmenter(num_classes=11)).eval()
    assert method.flow is not None
    found = method.flow(batch["frame"], batch["neighbour"])
    assert torch.equal(batch["coarse_flow"], found)
    assert found.abs().max() > 0.5
    with_it = method(batch)
    coarse = batch.pop("coarse_flow")
    without = method(batch)
    assert {key: value.item() for key, value in with_it.items()} == {k: v.item() for k, v in without.items()}
    # The given flow is used: another flow gives other losses.
    assert method(batch | {"coarse_flow": coarse + 3})["total"] != without["total"]


def test_workers_find_the_same(camvid: Path, tmp_path: Path) -> None:
    # The workers are forked after this process has used OpenCV's threads.
    data = training_data(tiny_recipe(camvid, tmp_path, "dwnet"))
    data.set_epoch(3)
    alone = default_collate([data[index] for index in range(4)])
    loader = loader_of(data, workers=2, batch_size=4, timeout=60)
    assert torch.equal(next(iter(loader))["coarse_flow"], alone["coarse_flow"])


def test_workers_live_where_opencv_had_threads() -> None:
    """Each worker uses one thread. A worker that set the number itself would wait forever for the parent's threads."""
    frame = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    cv2.setNumThreads(4)
    dis_flow(frame, frame)  # starts them
    data = _DISOfItsOwn()
    ((flow, threads),) = loader_of(data, workers=1, batch_size=1, timeout=60)
    assert torch.equal(flow[0], data[0][0])
    assert threads.tolist() == [1]


class _DISOfItsOwn(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> tuple[torch.Tensor, int]:
        frame = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
        return torch.from_numpy(dis_flow(frame, np.roll(frame, 3, axis=1))), cv2.getNumThreads()


def test_the_trainer_does_not_estimate_it_again(camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(tiny_recipe(camvid, tmp_path, "dwnet", pictures=0), Accelerator(cpu=True))
    trainer.begin_epoch()
    (batch,) = islice(trainer.loader, 1)

    def refuse(*_: object) -> None:
        raise AssertionError("estimated in the training process")

    monkeypatch.setattr(DISFlow, "forward", refuse)
    assert trainer.train_batch(batch, 0)["total"].isfinite()


def test_only_where_it_is_needed(camvid: Path, tmp_path: Path) -> None:
    assert not isinstance(training_data(tiny_recipe(camvid, tmp_path, "baseline")), WithFlow)
    recipe = replace(tiny_recipe(camvid, tmp_path), method=method_spec("dwnet", flow="raft_small"))
    assert "coarse_flow" not in training_data(recipe)[0]


def test_a_network_is_refused(camvid: Path, tmp_path: Path) -> None:
    data = training_data(tiny_recipe(camvid, tmp_path, "dwnet"))
    with pytest.raises(ValueError, match="RAFTFlow has parameters; allowed here are flows without, such as DIS"):
        WithFlow(data, build_flow("raft_small", weights="none"))
