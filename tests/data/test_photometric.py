"""Photometric changes of frames and neighbours, and mosaics: who changes, how strongly, and what stays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dwnet.core.errors import DWNetError
from dwnet.data import Appearance, Augmentation, Mosaic, open_data
from dwnet.data.pair_dataset import PairDataset
from tests.train.helpers import tiny_recipe, write_camvid
from train.config.spec import DataSpec
from train.engine.data import training_data


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_camvid(tmp_path_factory.mktemp("camvid") / "data")


def frames(root: Path, **options: object) -> PairDataset:
    return open_data("camvid", root, "train", max_offset=30, **options)  # type: ignore[arg-type]


def changed_share(data: PairDataset, plain: PairDataset, key: str = "frame") -> float:
    """Share of the samples of 20 epochs whose image differs."""
    different = []
    for epoch in range(20):
        data.set_epoch(epoch)
        plain.set_epoch(epoch)
        different += [not torch.equal(data[i][key], plain[i][key]) for i in range(len(data))]  # type: ignore[literal-required]
    return sum(different) / len(different)


@pytest.mark.parametrize("neighbours", ["none", "camera_motion", "labelled"])
def test_half_of_the_frames_change_and_no_label(root: Path, neighbours: str) -> None:
    data, plain = (frames(root, neighbours=neighbours, photometric=s) for s in (1.0, 0.0))
    assert 0.3 < changed_share(data, plain) < 0.7
    assert torch.equal(data[0]["labels"], plain[0]["labels"])


def test_the_frames_are_the_same_with_and_without_neighbours(root: Path) -> None:
    single, paired = (frames(root, neighbours=n, photometric=1.0) for n in ("none", "camera_motion"))
    assert changed_share(single, paired) == 0


def test_a_synthetic_neighbour_has_its_own_strength(root: Path) -> None:
    """The frame's change does not reach the neighbour; strength 0 leaves the neighbour with the frame's own colours."""
    both, plain = (frames(root, neighbours="camera_motion", photometric=s) for s in (1.0, 0.0))
    assert changed_share(both, plain, "neighbour") == 0
    off = frames(root, neighbours="camera_motion", neighbour_photometric=0.0)
    assert changed_share(off, plain, "neighbour") == 1
    assert changed_share(off, plain, "frame") == 0
    sample = off[0]
    inside = sample["visible"]  # type: ignore[typeddict-item]
    ys, xs = np.nonzero(inside.numpy())
    flow = sample["flow"].numpy()  # type: ignore[typeddict-item]
    ends = np.rint(xs + flow[0, ys, xs]).astype(int), np.rint(ys + flow[1, ys, xs]).astype(int)
    ends = np.clip(ends[0], 0, inside.shape[1] - 1), np.clip(ends[1], 0, inside.shape[0] - 1)
    near = np.abs(sample["neighbour"].numpy()[:, ends[1], ends[0]] - sample["frame"].numpy()[:, ys, xs]).mean()  # type: ignore[typeddict-item]
    plain_sample = plain[0]
    far = np.abs(plain_sample["neighbour"].numpy()[:, ends[1], ends[0]] - sample["frame"].numpy()[:, ys, xs]).mean()  # type: ignore[typeddict-item]
    assert near < far


def test_half_of_the_real_neighbours_change(root: Path) -> None:
    data, plain = (frames(root, neighbours="labelled", photometric=s) for s in (1.0, 0.0))
    assert 0.3 < changed_share(data, plain, "neighbour") < 0.7


def test_strengths_scale_the_ranges() -> None:
    full = Appearance()
    assert full.scaled(1.0) == full
    assert full.scaled(0.0) is None
    half = full.scaled(0.5)
    assert half == replace(
        full, gain=0.06, white_balance=0.02, gamma=0.05, noise=1.5, sharpness=0.25, jpeg_quality=(85, 98)
    )
    twice = full.scaled(2.0)
    assert twice is not None
    assert (twice.sharpness, twice.jpeg_quality) == (1.0, (40, 92))
    for wrong in (-0.1, 2.1, float("nan")):
        with pytest.raises(DWNetError, match="allowed are 0"):
            full.scaled(wrong)


def test_a_dial_without_use_is_refused() -> None:
    with pytest.raises(ValueError, match="makes no synthetic neighbour"):
        DataSpec(neighbours="video", neighbour_photometric=0.5)
    with pytest.raises(ValueError, match="numbers from 0 to 2"):
        DataSpec(photometric=2.5)
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        DataSpec(mosaic=1.5)


# Mosaics


def test_a_mosaic_has_four_quarters_of_crops(root: Path) -> None:
    data = frames(root, augment=Augmentation(crop=(48, 64), flip=0.0))
    mosaic = Mosaic(data, share=1.0)
    crops = [data[i] for i in range(len(data))]
    for index in range(len(data)):
        sample = mosaic[index]
        assert sample["frame"].shape == (3, 48, 64)
        assert sample["name"] == data.names[index]
        # Each pixel and its label come from the same place of one crop. The corners come from four quarters.
        from_one = torch.stack(
            [(sample["frame"] == crop["frame"]).all(0) & (sample["labels"] == crop["labels"]) for crop in crops]
        )
        assert from_one.any(0).all()
        assert from_one[index, 0, 0]


def test_mosaics_have_their_share_and_repeat(root: Path) -> None:
    data = frames(root, augment=Augmentation(crop=(48, 64)))
    mosaic = Mosaic(data, share=0.5, seed=1)
    made = []
    for epoch in range(20):
        mosaic.set_epoch(epoch)
        made += [not torch.equal(mosaic[i]["frame"], data[i]["frame"]) for i in range(len(data))]
    assert 0.2 < sum(made) / len(made) < 0.75  # some mosaics repeat one frame and look like it
    again = Mosaic(data, share=0.5, seed=1)
    again.set_epoch(3)
    mosaic.set_epoch(3)
    assert all(torch.equal(again[i]["frame"], mosaic[i]["frame"]) for i in range(len(data)))


def test_pairs_and_wrong_shares_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DWNetError, match="allowed is 'none'"):
        Mosaic(frames(root, neighbours="camera_motion"), share=0.5)
    with pytest.raises(DWNetError, match="share of 0"):
        Mosaic(frames(root), share=0)
    recipe = tiny_recipe(root, tmp_path, "dwnet")
    with pytest.raises(ValueError, match="a flow does not cross the seams"):
        training_data(replace(recipe, data=replace(recipe.data, mosaic=0.5)))
    recipe = tiny_recipe(root, tmp_path, "baseline")
    assert isinstance(training_data(replace(recipe, data=replace(recipe.data, mosaic=0.5))), Mosaic)
