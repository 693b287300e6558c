"""The rendered street as a data set: splits share no street, and a sample depends only on (seed, epoch, index)."""

import pickle
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dwnet.core.classes import CAMVID_11
from dwnet.core.data_kinds import Neighbours
from dwnet.data.camvid import FrameName
from dwnet.data.open import open_data
from dwnet.data.pair_dataset import PairDataset
from dwnet.data.street_source import StreetSource
from dwnet.data.transforms import Augmentation
from dwnet.street import StreetScene
from dwnet.street.cache import ArrayCache
from dwnet.street.packing import pack_frame, pack_motion, unpack_frame, unpack_motion
from train.config.recipes import RECIPES
from train.config.spec import DataSpec
from train.engine.data import training_data, validation_data

SMALL = {"size": (48, 64), "streets": 1}
OF_SOURCE = ("size", "streets", "frames_per_street", "cache")


def street_pairs(split: str, **options: Any) -> PairDataset:
    """Returns a data set of the street with options of `StreetSource` and `PairDataset`."""
    source = {name: options.pop(name) for name in OF_SOURCE if name in options}
    return PairDataset(StreetSource(split, **source), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def train() -> PairDataset:
    return street_pairs("train", neighbours="video", frames_per_street=3, **SMALL)


def test_splits_share_no_street() -> None:
    seeds = {
        split: {frame.seed for frame in street_pairs(split, streets=10_000, frames_per_street=1).frames}
        for split in ("train", "val", "test")
    }
    assert all(len(found) == 10_000 for found in seeds.values())
    assert len(set.union(*seeds.values())) == 30_000


def test_val_frames_follow_each_other_and_training_frames_do_not() -> None:
    """`dwnet.evaluation` measures flicker between frames of one sequence whose numbers differ by little."""
    for split, gap in (("train", 30), ("val", 1), ("test", 1)):
        data = street_pairs(split, streets=2)
        places = [FrameName.parse(name) for name in data.names]
        assert len(data) == len(places) == len(set(data.names)) == 2 * (20 if split == "train" else 25)
        assert len({place.sequence for place in places}) == 2
        gaps = {b.number - a.number for a, b in pairwise(places) if a.sequence == b.sequence}
        assert min(gaps) >= gap
        if split != "train":
            assert gaps == {1}
        assert all(5 <= place.number < 995 for place in places)


def test_a_pair_holds_what_the_street_shows(train: PairDataset) -> None:
    sample = train[1]
    place = train.frames[1]
    scene = train.source.scene(place.seed)
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


def test_each_frame_has_one_neighbour_before_and_one_after_and_all_offsets_occur() -> None:
    data = street_pairs("train", neighbours="video")
    found = [set(offsets) for offsets in data._offsets]
    assert all(len(offsets) == 2 and min(offsets) < 0 < max(offsets) for offsets in found)
    counts = np.bincount([offset + 5 for offsets in found for offset in offsets], minlength=11)
    assert counts[5] == 0
    assert (counts[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]] > len(data) / 5 * 0.7).all()


def test_a_camera_motion_is_made_of_the_frame_itself() -> None:
    """The neighbour, warped by the given flow, is the frame except for exposure and noise."""
    data = street_pairs("val", neighbours="camera_motion", size=(96, 128), streets=1, frames_per_street=1)
    sample = data[0]
    frame, neighbour = (sample[key].permute(1, 2, 0).numpy() for key in ("frame", "neighbour"))
    assert 1 <= abs(sample["offset"]) <= 5
    x, y = np.meshgrid(np.arange(128, dtype=np.float32), np.arange(96, dtype=np.float32))
    flow_px, visible = sample["flow"].numpy(), sample["visible"].numpy()
    warped = cv2.remap(neighbour, x + flow_px[0], y + flow_px[1], cv2.INTER_LINEAR)
    grey = [image.mean(2)[visible] for image in (frame, warped, neighbour)]
    assert visible.mean() > 0.5
    assert np.corrcoef(grey[0], grey[1])[0, 1] > 0.97 > np.corrcoef(grey[0], grey[2])[0, 1]


def test_mixed_neighbours_are_both_kinds(train: PairDataset) -> None:
    mixed, made = (
        street_pairs("train", neighbours=kind, frames_per_street=3, **SMALL) for kind in ("mixed", "camera_motion")
    )
    counts = {"rendered": 0, "made": 0}
    for epoch in range(6):
        for data in (mixed, made):
            data.set_epoch(epoch)
        for index in range(3):
            sample, place = mixed[index], mixed.frames[index]
            assert {"flow", "visible"} <= set(sample)
            assert torch.equal(sample["frame"], made[index]["frame"])
            shown = mixed.source.scene(place.seed).render(place.number + sample["offset"]).image
            same = np.array_equal((sample["neighbour"] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy(), shown)
            counts["rendered" if same else "made"] += 1
    assert min(counts.values()) >= 4


def test_same_seed_epoch_and_index_same_sample_in_a_worker_too() -> None:
    augment = Augmentation(crop=(32, 40), brightness=0.2)
    datas = [
        street_pairs("train", neighbours="video", frames_per_street=2, augment=augment, seed=3, **SMALL)
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
    """After scaling, cropping and mirroring, the warped neighbour is closer to the frame than the unwarped one."""
    augment = Augmentation(crop=(96, 128), scale=(1.2, 1.2), flip=1.0)
    data = street_pairs("train", neighbours="video", frames_per_street=2, size=(120, 160), streets=1, augment=augment)
    sample = data[1]
    frame, neighbour = (sample[key].permute(1, 2, 0).numpy() for key in ("frame", "neighbour"))
    x, y = np.meshgrid(np.arange(128, dtype=np.float32), np.arange(96, dtype=np.float32))
    flow_px = sample["flow"].numpy()
    warped = cv2.remap(neighbour, x + flow_px[0], y + flow_px[1], cv2.INTER_LINEAR)
    visible = sample["visible"].numpy()
    assert visible.mean() > 0.3
    assert np.abs(warped - frame)[visible].mean() < 0.8 * np.abs(neighbour - frame)[visible].mean()


def test_previous_and_single_frames() -> None:
    previous = street_pairs("val", neighbours="previous", frames_per_street=2, **SMALL)
    assert [previous[n]["offset"] for n in range(2)] == [-1, -1]
    np.testing.assert_array_equal(previous[1]["neighbour"], previous[0]["frame"])
    single = street_pairs("val", frames_per_street=2, **SMALL)[1]
    assert set(single) == {"frame", "labels", "name", "index"}
    assert torch.equal(single["frame"], previous[1]["frame"])


def test_the_frames_before_one() -> None:
    data = street_pairs("val", size=(48, 64), streets=1, frames_per_street=3)
    first, second, _ = (np.asarray(data[index]["frame"].permute(1, 2, 0) * 255).round() for index in range(3))
    before = data.warmup_frames(2, 2)
    assert [np.array_equal(image, frame) for image, frame in zip(before, (first, second), strict=True)] == [True, True]
    assert len(data.warmup_frames(0, 4)) == 4


def test_streets_do_not_travel_to_workers(train: PairDataset) -> None:
    assert train.source._scenes
    copy = pickle.loads(pickle.dumps(train))
    assert not copy.source._scenes
    assert torch.equal(copy[0]["frame"], train[0]["frame"])


def test_indices_count_from_both_ends(train: PairDataset) -> None:
    assert train[-1]["name"] == train.names[2]
    with pytest.raises(IndexError, match=r"found 3; allowed are 0\.\.2"):
        train[3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "all"}, "split: found 'all'; allowed are train, val, test"),
        ({"split": "val", "neighbours": "rendered"}, "neighbours: found 'rendered'; allowed are none, camera_m"),
        ({"split": "val", "size": (16, 64)}, r"size: found \(16, 64\)"),
        ({"split": "val", "streets": 0}, "streets: found 0; allowed are 1 to 10000"),
        ({"split": "val", "frames_per_street": 981}, "frames_per_street: found 981; allowed are 1 to 980"),
        ({"split": "val", "max_offset": 6}, "max_offset: found 6; allowed are 1 to 5"),
        ({"split": "val", "seed": -1}, "seed: found -1"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        street_pairs(**options)


def test_bad_epochs_are_named(train: PairDataset) -> None:
    with pytest.raises(ValueError, match="epoch: found -1"):
        train.set_epoch(-1)


# -- the cache ---------------------------------------------------------------------------------------------------------


def test_cached_samples_are_the_rendered_ones(tmp_path: Path, train: PairDataset) -> None:
    cache = ArrayCache(tmp_path, limit_bytes=10**8)
    cached = street_pairs("train", neighbours="video", frames_per_street=3, cache=cache, **SMALL)
    first = cached[2]
    assert cache.size_bytes() > 0
    cached.source.scene = None  # prevents rendering
    again, rendered = cached[2], train[2]
    assert (cache.hits, cache.misses) == (3, 3)  # frame, neighbour, flow
    for key in ("frame", "neighbour", "labels", "flow", "visible"):
        assert first[key].dtype == rendered[key].dtype
        assert torch.equal(first[key], rendered[key]), key
        assert torch.equal(again[key], rendered[key]), key


def test_a_few_epochs_fill_the_cache_and_then_nothing_is_rendered(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path, limit_bytes=10**8)
    data = street_pairs("train", neighbours="video", frames_per_street=4, cache=cache, **SMALL)
    misses = []
    for epoch in range(12):
        data.set_epoch(epoch)
        before = cache.misses
        for index in range(4):
            data[index]
        misses.append(cache.misses - before)
    assert misses[0] == 12
    assert max(misses[1:]) <= 8  # the frame itself is in the cache
    assert sum(misses) <= 4 * 5  # a frame, two neighbours, two flows
    assert misses[-1] == 0


def test_packed_frames_and_motions_come_back_as_they_were() -> None:
    scene = StreetScene(10_000, width=97, height=77)
    frame = scene.render(300)
    image, labels = unpack_frame(pack_frame(frame))
    np.testing.assert_array_equal(image, frame.image)
    np.testing.assert_array_equal(labels, frame.labels)
    for k in (-5, 3):
        packed = pack_motion(scene.motion(300, k))
        flow_px, visible = unpack_motion(packed)
        expected_px, expected = scene.flow(300, k)
        assert (flow_px.dtype, visible.dtype) == (np.float32, bool)
        np.testing.assert_array_equal(flow_px, expected_px)
        np.testing.assert_array_equal(visible, expected)
        assert sum(array.nbytes for array in packed.values()) < expected_px.nbytes / 3
    with pytest.raises(ValueError, match="without the sensor is not kept"):
        pack_frame(scene.render(300, sensor=False))
    with pytest.raises(ValueError, match="found 9 bytes that are no picture"):
        unpack_frame({"jpeg": np.zeros(9, np.uint8), "labels": np.zeros(9, np.uint8)})


def test_two_workers_and_a_resumed_run_get_the_same_from_one_cache(tmp_path: Path, train: PairDataset) -> None:
    """Two processes fill one folder at the same time. A data set that starts at a later epoch uses their files."""
    cached = street_pairs(
        "train", neighbours="video", frames_per_street=3, cache=ArrayCache(tmp_path, limit_bytes=10**8), **SMALL
    )
    for epoch in range(2):
        cached.set_epoch(epoch)
        list(DataLoader(cached, batch_size=1, num_workers=2))
    resumed = street_pairs(
        "train", neighbours="video", frames_per_street=3, cache=ArrayCache(tmp_path, limit_bytes=10**8), **SMALL
    )
    resumed.set_epoch(1)
    train.set_epoch(1)
    for index in range(3):
        for key in ("frame", "neighbour", "labels", "flow", "visible"):
            assert torch.equal(resumed[index][key], train[index][key]), key
    train.set_epoch(0)


def test_training_leaves_room_for_val(tmp_path: Path) -> None:
    """Each split has its own part of the cache. Together they are not larger than requested."""
    caches = [
        open_data("street", tmp_path, split, street_cache_gb=0.01, street_size=(48, 64)).source.cache
        for split in ("train", "val", "test")
    ]
    assert len({cache.folder for cache in caches}) == 3
    assert all(cache.folder.is_relative_to(tmp_path) for cache in caches)
    assert min(cache.limit_bytes for cache in caches) > 0
    assert sum(cache.limit_bytes for cache in caches) <= 10**7
    assert open_data("street", tmp_path, "val").source.cache is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="street_cache_gb: found -1; allowed are numbers of at least 0"):
        open_data("street", tmp_path, "val", street_cache_gb=-1)
    for neighbours in get_args(Neighbours):
        assert len(open_data("street", None, "val", neighbours=neighbours)) == 100
    with pytest.raises(ValueError, match="neighbours: found 'rendered'; allowed are none, camera_motion"):
        open_data("street", None, "val", neighbours="rendered")


def test_a_run_keeps_training_and_val_in_its_data_folder(tmp_path: Path) -> None:
    spec = DataSpec(neighbours="video", street_size=(48, 64), crop=(32, 32))
    recipe = replace(RECIPES["street_quick"], dataset="street", root=tmp_path, data=spec)
    validation_data(recipe)[0]
    assert training_data(recipe).data.source.cache.folder.is_relative_to(tmp_path / "cache" / "train")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all(path.is_relative_to(tmp_path / "cache" / "val") for path in files)
    assert validation_data(replace(recipe, data=replace(spec, street_cache_gb=0.0))).source.cache is None
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"street-cache-gb is .*, allowed are numbers of at least 0"):
            replace(spec, street_cache_gb=wrong)


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
    assert ArrayCache(tmp_path, limit_bytes=3000).fetch("key5", lambda: make(5))["a"][0] == 5
    assert cache.size_bytes() <= 3000
    with pytest.raises(ValueError, match="limit_bytes: found 0"):
        ArrayCache(tmp_path, limit_bytes=0)


def test_a_broken_file_is_made_again(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path, limit_bytes=10**6)
    cache.fetch("key", lambda: {"a": np.arange(3)})
    next(cache.folder.iterdir()).write_bytes(b"PK\x03\x04 cut short")
    assert cache.fetch("key", lambda: {"a": np.arange(4)})["a"].tolist() == [0, 1, 2, 3]
    assert cache.fetch("key", lambda: {"a": np.arange(9)})["a"].tolist() == [0, 1, 2, 3]


def test_any_damaged_byte_is_noticed(tmp_path: Path) -> None:
    """Every eighth byte of a file is inverted in turn. The arrays are as written, or they are made again."""
    cache, numbers = ArrayCache(tmp_path, limit_bytes=10**6), np.arange(40)
    cache.fetch("key", lambda: {"a": numbers})
    path = next(cache.folder.iterdir())
    whole, remade = path.read_bytes(), 0
    for place in range(0, len(whole), 8):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        found = cache.fetch("key", lambda: {"a": -numbers}).get("a", numbers)
        remade += bool(found[1] == -1)
        assert found.tolist() in (numbers.tolist(), (-numbers).tolist())
    assert remade > 40


def test_where_nothing_can_be_written_all_is_made_and_a_warning_says_so_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of the folder")
    cache = ArrayCache(tmp_path / "file", limit_bytes=10**6)
    with pytest.warns(UserWarning, match="nothing more is kept here"):
        assert cache.fetch("key", lambda: {"a": np.arange(3)})["a"].tolist() == [0, 1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.fetch("key", lambda: {"a": np.arange(4)})["a"].tolist() == [0, 1, 2, 3]
