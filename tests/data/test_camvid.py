"""CamVid on disk: every layout gives the same samples, pairs have the right frames, and a sample depends only on (seed,
epoch, index)."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dwnet.core.classes import IGNORE_LABEL
from dwnet.data import CAMVID_11, Augmentation, DataError, open_data
from dwnet.data.camvid import FrameName
from dwnet.data.camvid_labels import GROUPS, PUBLISHED_COLOURS
from dwnet.data.camvid_layout import find_splits, standard_split

SIZE = (36, 48)
NAMES = ("0016E5_07959", "0016E5_07961", "0016E5_07964", "0006R0_f00930")
CAMVID = os.environ.get("DWNET_CAMVID")
AUGMENT = Augmentation(crop=(32, 40), brightness=0.2)


def picture(name: str) -> np.ndarray:
    """Returns a smooth picture, different for each name."""
    rng = np.random.default_rng(list(name.encode()))
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def ids(name: str) -> np.ndarray:
    """Label ids 0..11 as on disk, 11 = void."""
    return np.random.default_rng(list(name.encode())).integers(0, 12, SIZE).astype(np.uint8)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def write_480(root: Path, split: str = "train", names: tuple[str, ...] = NAMES) -> Path:
    for name in names:
        write(root / split / "images" / f"{name}.png", picture(name))
        write(root / split / "labels" / f"{name}.png", ids(name))
    return root


def write_segnet(root: Path, split: str = "train", names: tuple[str, ...] = NAMES) -> Path:
    for name in names:
        write(root / split / f"{name}.png", picture(name))
        write(root / f"{split}annot" / f"{name}.png", ids(name))
    return root


def write_original(root: Path, split: str = "train", names: tuple[str, ...] = NAMES) -> Path:
    colours = [PUBLISHED_COLOURS[members[-1]] for members in GROUPS.values()] + [PUBLISHED_COLOURS["Void"]]
    for name in names:
        write(root / "701_StillsRaw_full" / f"{name}.png", picture(name))
        write(root / "LabeledApproved_full" / f"{name}_L.png", np.array(colours, np.uint8)[ids(name)])
    (root / f"{split}.txt").write_text("\n".join(names) + "\n\n")
    return root


WRITERS: list[Callable[..., Path]] = [write_480, write_segnet, write_original]


@pytest.mark.parametrize("writer", WRITERS)
def test_every_layout_gives_the_same_samples(tmp_path: Path, writer: Callable[..., Path]) -> None:
    data = open_data("camvid", writer(tmp_path), "train")
    assert data.names == tuple(sorted(NAMES))
    assert data.classes is CAMVID_11
    assert len(data) == 4
    for index, name in enumerate(data.names):
        sample = data[index]
        assert sample["name"] == name
        assert sample["index"] == index
        assert np.array_equal((sample["frame"].numpy() * 255).round(), picture(name).transpose(2, 0, 1))
        expected = ids(name).astype(np.int64)
        expected[expected == 11] = IGNORE_LABEL
        assert np.array_equal(sample["labels"].numpy(), expected)
    assert find_splits(tmp_path) == ("train",)


def test_jpeg_images_are_found_too(tmp_path: Path) -> None:
    write_480(tmp_path)
    for path in (tmp_path / "train" / "images").iterdir():
        path.rename(path.with_suffix(".jpg"))  # the content determines the decoder
    assert len(open_data("camvid", tmp_path, "train")) == 4


def test_standard_split_has_the_published_counts_and_no_frame_twice() -> None:
    splits = {split: standard_split(split) for split in ("train", "val", "test")}
    assert {split: len(names) for split, names in splits.items()} == {"train": 367, "val": 101, "test": 233}
    everything = [name for names in splits.values() for name in names]
    assert len(set(everything)) == 701
    assert all(list(names) == sorted(names) for names in splits.values())
    counts = {
        split: {
            sequence: sum(name.startswith(sequence) for name in names)
            for sequence in ("0001TP", "0006R0", "0016E5", "Seq05VD")
        }
        for split, names in splits.items()
    }
    assert counts["train"] == {"0001TP": 62, "0006R0": 101, "0016E5": 204, "Seq05VD": 0}
    assert counts["val"] == {"0001TP": 0, "0006R0": 0, "0016E5": 101, "Seq05VD": 0}
    assert counts["test"] == {"0001TP": 62, "0006R0": 0, "0016E5": 0, "Seq05VD": 171}
    assert (splits["test"][0], splits["test"][-1]) == ("0001TP_008550", "Seq05VD_f05100")


def test_the_original_release_without_lists_is_split_as_usual(tmp_path: Path) -> None:
    names = standard_split("val")
    write_original(tmp_path, "val", names)
    (tmp_path / "val.txt").unlink()
    assert open_data("camvid", tmp_path, "val").names == names
    assert find_splits(tmp_path) == ("train", "val", "test")
    with pytest.raises(DataError, match=r"0001TP_006690\.png: missing; 367 of the 367 train image files"):
        open_data("camvid", tmp_path, "train")
    (tmp_path / "LabeledApproved_full" / f"{names[3]}_L.png").unlink()
    with pytest.raises(DataError, match=rf"{names[3]}_L\.png: missing; 1 of the 101 val labels files"):
        open_data("camvid", tmp_path, "val")


# Randomness


def same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
        for key, value in first.items()
    )


def test_an_item_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    write_480(tmp_path)
    data = open_data("camvid", tmp_path, "train", neighbours="camera_motion", augment=AUGMENT, seed=3)
    first = data[1]
    data[2]
    assert same(data[1], first)
    assert same(data[-3], first)
    data.set_epoch(1)
    assert not torch.equal(data[1]["frame"], first["frame"])
    data.set_epoch(0)
    assert same(data[1], first)
    other = open_data("camvid", tmp_path, "train", neighbours="camera_motion", augment=AUGMENT, seed=4)
    assert not torch.equal(other[1]["frame"], first["frame"])


def test_workers_change_nothing_and_learn_of_the_epoch(tmp_path: Path) -> None:
    write_480(tmp_path)
    data = open_data("camvid", tmp_path, "train", neighbours="camera_motion", augment=AUGMENT, seed=3)
    loader = DataLoader(data, batch_size=None, num_workers=2, persistent_workers=True)
    for epoch in (0, 1, 5):
        data.set_epoch(epoch)
        loaded = list(loader)
        fresh = open_data("camvid", tmp_path, "train", neighbours="camera_motion", augment=AUGMENT, seed=3)
        fresh.set_epoch(epoch)  # as in a run resumed at this epoch
        assert all(same(sample, fresh[index]) for index, sample in enumerate(loaded))


@pytest.mark.parametrize("neighbours", ["camera_motion", "labelled", "video"])
def test_frames_are_the_same_with_and_without_neighbours(tmp_path: Path, neighbours: str) -> None:
    names = ("0016E5_07959", "0016E5_07961", "0016E5_07964")
    write_480(tmp_path, names=names)
    for name in names:
        write(tmp_path / "video_frames" / f"{FrameName.parse(name).shifted(1)}.png", picture(name))
    alone = open_data("camvid", tmp_path, "train", augment=AUGMENT, seed=9)
    paired = open_data("camvid", tmp_path, "train", neighbours=neighbours, augment=AUGMENT, seed=9)  # type: ignore[arg-type]
    for epoch in (0, 2):
        alone.set_epoch(epoch)
        paired.set_epoch(epoch)
        for index in range(3):
            single, pair = alone[index], paired[index]
            assert same(dict(single), {key: pair[key] for key in single})  # type: ignore[literal-required]
            assert pair["neighbour"].shape == single["frame"].shape  # type: ignore[typeddict-item]
            assert ("flow" in pair) == ("visible" in pair) == (neighbours == "camera_motion")


# Neighbours


def test_the_nearest_labelled_frame_is_the_neighbour(tmp_path: Path) -> None:
    """Frames 7959, 7961 and 7964 of one sequence have distances 2, 2 and 3. The frame of another has no neighbour."""
    data = open_data("camvid", write_480(tmp_path), "train", neighbours="labelled")
    assert data.names == NAMES[:3]
    found = {sample["name"]: sample for sample in (data[index] for index in range(3))}
    for name, neighbour, offset in ((NAMES[0], NAMES[1], 2), (NAMES[1], NAMES[0], -2), (NAMES[2], NAMES[1], -3)):
        sample = found[name]
        assert sample["offset"] == offset  # type: ignore[typeddict-item]
        image = (sample["neighbour"].numpy() * 255).round()  # type: ignore[typeddict-item]
        assert np.array_equal(image, picture(neighbour).transpose(2, 0, 1))
    assert open_data("camvid", tmp_path, "train", neighbours="labelled", max_offset=2).names == NAMES[:2]


def test_of_two_equally_near_labelled_frames_the_earlier_is_taken(tmp_path: Path) -> None:
    write_480(tmp_path, names=("0016E5_07959", "0016E5_07961", "0016E5_07963"))
    data = open_data("camvid", tmp_path, "train", neighbours="labelled")
    assert [data[index]["offset"] for index in range(3)] == [2, -2, -2]  # type: ignore[typeddict-item]


def test_labelled_frames_too_far_apart_are_an_error_with_the_distances(tmp_path: Path) -> None:
    write_480(tmp_path, names=("0001TP_006690", "0001TP_006720", "0001TP_006750", "0006R0_f00930"))
    with pytest.raises(DataError, match=r"split train: .*within 5 raw frames; distances .* nearest: 30 \(3 frames\)"):
        open_data("camvid", tmp_path, "train", neighbours="labelled")


def test_video_neighbours_are_drawn_uniformly_from_those_on_disk(tmp_path: Path) -> None:
    write_480(tmp_path, names=("0006R0_f00930",))
    for number in (926, 929, 930, 931, 936):  # 930 is the frame itself, 936 is too far
        write(tmp_path / "video_frames" / f"0006R0_f{number:05d}.png", picture(str(number)))
    data = open_data("camvid", tmp_path, "train", neighbours="video")
    offsets = []
    for epoch in range(90):
        data.set_epoch(epoch)
        sample = data[0]
        offsets.append(sample["offset"])  # type: ignore[typeddict-item]
        image = (sample["neighbour"].numpy() * 255).round()  # type: ignore[typeddict-item]
        assert np.array_equal(image, picture(str(930 + offsets[-1])).transpose(2, 0, 1))
    assert {offset: offsets.count(offset) > 15 for offset in set(offsets)} == {-4: True, -1: True, 1: True}


def test_missing_video_frames_are_one_clear_error(tmp_path: Path) -> None:
    write_480(tmp_path)
    with pytest.raises(DataError, match="video_frames: missing; extract the frames"):
        open_data("camvid", tmp_path, "train", neighbours="video")
    write(tmp_path / "video_frames" / "0016E5_07960.png", picture("x"))
    message = r"no frame within 5 raw frames of 0006R0_f00930 \(1 of 4 frames have none; sequences: 0006R0\)"
    with pytest.raises(DataError, match=message):
        open_data("camvid", tmp_path, "train", neighbours="video")


def test_a_neighbour_of_another_size_is_refused(tmp_path: Path) -> None:
    write_480(tmp_path, names=("0006R0_f00930",))
    write(tmp_path / "video_frames" / "0006R0_f00931.png", np.zeros((36, 40, 3), np.uint8))
    with pytest.raises(DataError, match=r"f00931\.png: found 40 x 36 pixels; .* 48 x 36"):
        open_data("camvid", tmp_path, "train", neighbours="video")[0]


@pytest.mark.parametrize(
    ("name", "sequence", "number", "following"),
    [
        ("0001TP_006690", "0001TP", 6690, "0001TP_006691"),
        ("Seq05VD_f00000", "Seq05VD", 0, "Seq05VD_f00001"),
        ("0016E5_00390", "0016E5", 390, "0016E5_00391"),
    ],
)
def test_frame_names_keep_their_form(name: str, sequence: str, number: int, following: str) -> None:
    place = FrameName.parse(name)
    assert (place.sequence, place.number) == (sequence, number)
    assert place.shifted(0) == name
    assert place.shifted(1) == following
    with pytest.raises(DataError, match="frame name: found 'holiday'; allowed is SEQUENCE_NUMBER"):
        FrameName.parse("holiday")


# Wrong files


def test_no_layout_names_what_was_found_and_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no CamVid layout; found an empty folder; allowed are train/images"):
        open_data("camvid", tmp_path, "train")
    (tmp_path / "holiday").mkdir()
    with pytest.raises(DataError, match=r"no CamVid layout; found holiday; allowed are .* 701_StillsRaw_full"):
        open_data("camvid", tmp_path, "train")
    with pytest.raises(DataError, match="nowhere: not a folder"):
        open_data("camvid", tmp_path / "nowhere", "train")


def test_a_missing_split_names_those_that_are_there(tmp_path: Path) -> None:
    write_480(tmp_path, "val")
    with pytest.raises(DataError, match=r"test.images: missing; splits found in this 480 x 360 layout .*: val"):
        open_data("camvid", tmp_path, "test")
    with pytest.raises(DataError, match="CamVid split: found 'dev'; allowed are train, val, test"):
        open_data("camvid", tmp_path, "dev")  # type: ignore[arg-type]


def test_images_and_labels_must_match(tmp_path: Path) -> None:
    write_480(tmp_path)
    labels = tmp_path / "train" / "labels"
    (labels / f"{NAMES[0]}.png").rename(labels / "stray.png")
    with pytest.raises(DataError, match=rf"{NAMES[0]}\.png: no labels of that name .* \(1 of 4 files lack one\)"):
        open_data("camvid", tmp_path, "train")
    (tmp_path / "train" / "images" / f"{NAMES[0]}.png").unlink()
    with pytest.raises(DataError, match=r"stray\.png: no image of that name"):
        open_data("camvid", tmp_path, "train")
    (labels / "stray.png").unlink()
    assert len(open_data("camvid", tmp_path, "train")) == 3
    write(tmp_path / "train" / "images" / f"{NAMES[1]}.jpg", picture("x"))
    with pytest.raises(DataError, match=rf"{NAMES[1]}\.png: found also as {NAMES[1]}\.jpg"):
        open_data("camvid", tmp_path, "train")


def test_empty_and_absent_folders(tmp_path: Path) -> None:
    (tmp_path / "train" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match=r"train.labels: missing"):
        open_data("camvid", tmp_path, "train")
    (tmp_path / "train" / "labels").mkdir()
    with pytest.raises(DataError, match=r"train.images: found no images; allowed are \.bmp"):
        open_data("camvid", tmp_path, "train")
    (tmp_path / "original" / "701_StillsRaw_full").mkdir(parents=True)
    with pytest.raises(DataError, match="LabeledApproved_full: missing; the original release"):
        open_data("camvid", tmp_path / "original", "train")


def test_unknown_ids_name_file_found_and_allowed(tmp_path: Path) -> None:
    write_480(tmp_path)
    labels = ids(NAMES[0])
    labels[0, :2] = (12, 200)
    path = tmp_path / "train" / "labels" / f"{NAMES[0]}.png"
    write(path, labels)
    data = open_data("camvid", tmp_path, "train")
    index = data.names.index(NAMES[0])
    with pytest.raises(
        DataError,
        match=rf"{NAMES[0]}\.png: found ids 12, 200; allowed are 0 \(Sky\), .* 10 \(Bicyclist\), and .* 11, 255$",
    ):
        data[index]
    write(path, np.full((36, 48, 3), (1, 2, 3), np.uint8))
    with pytest.raises(
        DataError, match=r"found colour \(1, 2, 3\) at 1728 pixels .* allowed are \(128, 128, 128\) \(Sky\)"
    ):
        data[index]
    write(path, labels[:-1])
    write(path, ids(NAMES[0])[:-1])
    with pytest.raises(DataError, match=r"found 48 x 35 pixels; allowed is the size of .*images.*, 48 x 36"):
        data[index]


def test_split_lists_must_be_complete_and_without_repeats(tmp_path: Path) -> None:
    write_original(tmp_path)
    with pytest.raises(DataError, match=r"val\.txt: missing, although there is train\.txt"):
        open_data("camvid", tmp_path, "val")
    (tmp_path / "val.txt").write_text(f"{NAMES[0]}\n{NAMES[0]}\n")
    with pytest.raises(DataError, match=rf"val\.txt: found {NAMES[0]} more than once"):
        open_data("camvid", tmp_path, "val")
    (tmp_path / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt: found no names"):
        open_data("camvid", tmp_path, "val")


def test_bad_arguments(tmp_path: Path) -> None:
    write_480(tmp_path)
    with pytest.raises(ValueError, match="neighbours: found 'all'; allowed are none, camera_motion, labelled, video"):
        open_data("camvid", tmp_path, "train", neighbours="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_offset: found 0"):
        open_data("camvid", tmp_path, "train", max_offset=0)
    with pytest.raises(ValueError, match="seed: found -1"):
        open_data("camvid", tmp_path, "train", seed=-1)
    data = open_data("camvid", tmp_path, "train")
    with pytest.raises(ValueError, match="epoch: found -1"):
        data.set_epoch(-1)
    with pytest.raises(IndexError, match=r"index: found 4; allowed are 0\.\.3"):
        data[4]


@pytest.mark.skipif(CAMVID is None, reason="DWNET_CAMVID names no CamVid copy")
def test_a_real_copy_is_the_usual_split_and_reads() -> None:
    root = Path(CAMVID or "")
    for split in find_splits(root):
        data = open_data("camvid", root, split)
        assert data.names == standard_split(split)
        sample = data[len(data) // 2]
        assert sample["frame"].shape[0] == 3
        assert sample["frame"].shape[1:] == sample["labels"].shape
        assert set(sample["labels"].unique().tolist()) <= {*range(11), IGNORE_LABEL}
    pairs = open_data("camvid", root, "val", neighbours="labelled")
    assert len(pairs) == 101
    assert {abs(pairs[index]["offset"]) for index in (0, 50, 100)} == {2}  # type: ignore[typeddict-item]
    with pytest.raises(DataError, match="30"):
        open_data("camvid", root, "train", neighbours="labelled")
