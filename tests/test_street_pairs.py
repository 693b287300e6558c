"""The rendered street as a data set: its splits share no street, and a sample depends on (seed, epoch, index) alone."""

import pickle
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dwnet.data.camvid import FrameName
from dwnet.data.classes import CAMVID_11
from dwnet.data.street.cache import ArrayCache
from dwnet.data.street_pairs import StreetPairs
from dwnet.data.transforms import Augmentation

SMALL = {"size": (48, 64), "streets": 1}


@pytest.fixture(scope="module")
def train() -> StreetPairs:
    return StreetPairs("train", neighbours="rendered", frames_per_street=3, **SMALL)


def test_splits_share_no_street() -> None:
    seeds = {
        split: {frame.seed for frame in StreetPairs(split, streets=10_000, frames_per_street=1).frames}
        for split in ("train", "val", "test")
    }
    assert all(len(found) == 10_000 for found in seeds.values())
    assert len(set.union(*seeds.values())) == 30_000


def test_val_frames_follow_each_other_and_training_frames_do_not() -> None:
    """`dwnet.evaluate` measures flicker between frames of one sequence whose numbers differ by little."""
    for split, gap in (("train", 30), ("val", 1), ("test", 1)):
        data = StreetPairs(split, streets=2)
        places = [FrameName.parse(name) for name in data.names]
        assert len(data) == len(places) == len(set(data.names)) == 2 * (20 if split == "train" else 25)
        assert len({place.sequence for place in places}) == 2
        gaps = {b.number - a.number for a, b in pairwise(places) if a.sequence == b.sequence}
        assert min(gaps) >= gap
        if split != "train":
            assert gaps == {1}
        assert all(5 <= place.number < 995 for place in places)


def test_a_pair_holds_what_the_street_shows(train: StreetPairs) -> None:
    sample = train[1]
    place = train.frames[1]
    scene = train.scene(place.seed)
    t, k = place.number, sample["offset"]
    assert train.classes is CAMVID_11
    assert 1 <= abs(k) <= 5
    for key, number in (("frame", t), ("neighbour", t + k)):
        found = (sample[key] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(found, scene.render(number).image)
    flow_px, visible = scene.flow(t, k)
    np.testing.assert_array_equal(sample["flow"].numpy(), flow_px)
    np.testing.assert_array_equal(sample["visible"].numpy(), visible)
    np.testing.assert_array_equal(sample["labels"].numpy(), scene.render(t).labels)
    assert sample["name"] == train.names[1] == "street10000_00500"


def test_all_offsets_but_none_are_drawn(train: StreetPairs) -> None:
    found = {train._offset(np.random.default_rng(n)) for n in range(200)}
    assert found == {-5, -4, -3, -2, -1, 1, 2, 3, 4, 5}


def test_same_seed_epoch_and_index_same_sample_in_a_worker_too() -> None:
    augment = Augmentation(crop=(32, 40), brightness=0.2)
    datas = [
        StreetPairs("train", neighbours="rendered", frames_per_street=2, augment=augment, seed=3, **SMALL)
        for _ in range(2)
    ]
    for data in datas:
        data.set_epoch(4)
    worker = next(iter(DataLoader(datas[0], batch_size=2, num_workers=1)))
    for index in range(2):
        here = datas[1][index]
        for key in ("frame", "neighbour", "labels", "flow", "visible"):
            assert torch.equal(worker[key][index], here[key]), key
    datas[1].set_epoch(5)
    assert not torch.equal(datas[1][0]["frame"], worker["frame"][0])


def test_flow_still_leads_from_frame_to_neighbour_when_augmented() -> None:
    """After scale, crop and mirror, warping the neighbour's picture gives the frame's better than no warp does."""
    augment = Augmentation(crop=(96, 128), scale=(1.2, 1.2), flip=1.0)
    data = StreetPairs("train", neighbours="rendered", frames_per_street=2, size=(120, 160), streets=1, augment=augment)
    sample = data[1]
    frame, neighbour = (sample[key].permute(1, 2, 0).numpy() for key in ("frame", "neighbour"))
    x, y = np.meshgrid(np.arange(128, dtype=np.float32), np.arange(96, dtype=np.float32))
    flow_px = sample["flow"].numpy()
    warped = cv2.remap(neighbour, x + flow_px[0], y + flow_px[1], cv2.INTER_LINEAR)
    visible = sample["visible"].numpy()
    assert visible.mean() > 0.3
    assert np.abs(warped - frame)[visible].mean() < 0.8 * np.abs(neighbour - frame)[visible].mean()


def test_previous_and_single_frames() -> None:
    previous = StreetPairs("val", neighbours="previous", frames_per_street=2, **SMALL)
    assert [previous[n]["offset"] for n in range(2)] == [-1, -1]
    np.testing.assert_array_equal(previous[1]["neighbour"], previous[0]["frame"])
    single = StreetPairs("val", frames_per_street=2, **SMALL)[1]
    assert set(single) == {"frame", "labels", "name", "index"}
    assert torch.equal(single["frame"], previous[1]["frame"])


def test_streets_do_not_travel_to_workers(train: StreetPairs) -> None:
    assert train._scenes
    copy = pickle.loads(pickle.dumps(train))
    assert not copy._scenes
    assert torch.equal(copy[0]["frame"], train[0]["frame"])


def test_indices_count_from_both_ends(train: StreetPairs) -> None:
    assert train[-1]["name"] == train.names[2]
    with pytest.raises(IndexError, match=r"found 3; allowed are 0\.\.2"):
        train[3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "all"}, "split: found 'all'; allowed are train, val, test"),
        ({"split": "val", "neighbours": "labelled"}, "neighbours: found 'labelled'; allowed are none, rendered, prev"),
        ({"split": "val", "size": (16, 64)}, r"size: found \(16, 64\)"),
        ({"split": "val", "streets": 0}, "streets: found 0; allowed are 1 to 10000"),
        ({"split": "val", "frames_per_street": 981}, "frames_per_street: found 981; allowed are 1 to 980"),
        ({"split": "val", "max_offset": 6}, "max_offset: found 6; allowed are 1 to 5"),
        ({"split": "val", "seed": -1}, "seed: found -1"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreetPairs(**options)


def test_bad_epochs_are_named(train: StreetPairs) -> None:
    with pytest.raises(ValueError, match="epoch: found -1"):
        train.set_epoch(-1)


# -- the cache ---------------------------------------------------------------------------------------------------------


def test_cached_samples_are_the_rendered_ones(tmp_path: Path, train: StreetPairs) -> None:
    cache = ArrayCache(tmp_path, limit_bytes=10**8)
    cached = StreetPairs("train", neighbours="rendered", frames_per_street=3, cache=cache, **SMALL)
    first = cached[2]
    assert cache.size_bytes() > 0
    cached.scene = None  # from here on nothing can be rendered
    again, rendered = cached[2], train[2]
    for key in ("frame", "neighbour", "labels", "flow", "visible"):
        assert torch.equal(first[key], rendered[key]), key
        assert torch.equal(again[key], rendered[key]), key


def test_a_full_cache_stays_below_its_limit_and_makes_the_rest(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path, limit_bytes=3000)
    made = []

    def make(n: int) -> dict[str, np.ndarray]:
        made.append(n)
        return {"a": np.full(250, n, np.float32)}

    for _ in range(2):
        for n in range(5):
            assert (cache.fetch(f"key{n}", lambda n=n: make(n))["a"] == n).all()
    assert made == [0, 1, 2, 3, 4, 2, 3, 4]
    assert 0 < cache.size_bytes() <= 3000
    with pytest.raises(ValueError, match="limit_bytes: found 0"):
        ArrayCache(tmp_path, limit_bytes=0)


def test_a_broken_file_is_made_again(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path, limit_bytes=10**6)
    cache.fetch("key", lambda: {"a": np.arange(3)})
    next(cache.folder.iterdir()).write_bytes(b"PK\x03\x04 cut short")
    assert cache.fetch("key", lambda: {"a": np.arange(4)})["a"].tolist() == [0, 1, 2, 3]
    assert cache.fetch("key", lambda: {"a": np.arange(9)})["a"].tolist() == [0, 1, 2, 3]
