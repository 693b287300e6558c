"""Cityscapes in its published layout: images and labels are matched, label ids become train ids, neighbours are frames
of the snippet, and every missing file is named. The files are generated. The release itself was not used.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dwnet.core.classes import IGNORE_LABEL
from dwnet.data import CITYSCAPES_19, DataError, MixedIn, open_data
from dwnet.data.check import check
from dwnet.data.cityscapes import TRAIN_IDS, label_ids, read_label_ids

NAMES = ("aachen_000000_000019", "aachen_000001_000019", "bochum_000000_001200")


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def picture(name: str, number: int) -> np.ndarray:
    """Returns a grey picture with a different level for each frame."""
    return np.full((32, 64, 3), (number * 7 + len(name) + ord(name[0])) % 256, np.uint8)


def write_release(root: Path, *, split: str = "train", names: tuple[str, ...] = NAMES, reach: int = 5) -> None:
    for name in names:
        city, snippet, number = name.split("_")
        ids = np.tile(np.arange(34, dtype=np.uint8).repeat(2)[:64], (32, 1))
        write(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids)
        write(root / "gtFine" / split / city / f"{name}_gtFine_color.png", np.zeros((32, 64, 3), np.uint8))
        write(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", picture(name, int(number)))
        for frame in range(int(number) - reach, int(number) + reach + 1):
            path = root / "leftImg8bit_sequence" / split / city / f"{city}_{snippet}_{frame:06d}_leftImg8bit.png"
            write(path, picture(name, frame))


def test_frames_labels_and_train_ids(tmp_path: Path) -> None:
    write_release(tmp_path)
    data = open_data("cityscapes", tmp_path, "train")
    assert data.names == NAMES
    assert [(frame.sequence, frame.number) for frame in data.frames[1:]] == [
        ("aachen_000001", 19),
        ("bochum_000000", 1200),
    ]
    assert data.classes is CITYSCAPES_19
    sample = data[2]
    assert sample["frame"].shape == (3, 32, 64)
    expected = [TRAIN_IDS.get(label_id, IGNORE_LABEL) for label_id in range(32)]
    assert sample["labels"][0, ::2].tolist() == expected


def test_train_ids_are_those_of_the_published_table() -> None:
    """Some classes of each group, by hand from the label definitions."""
    by_name = dict(zip(CITYSCAPES_19.classes, range(19), strict=True))
    table = {7: "road", 8: "sidewalk", 11: "building", 17: "pole", 19: "traffic light", 21: "vegetation", 23: "sky"}
    table |= {24: "person", 25: "rider", 26: "car", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle"}
    assert {label_id: TRAIN_IDS[label_id] for label_id in table} == {k: by_name[v] for k, v in table.items()}
    assert sorted(TRAIN_IDS.values()) == list(range(19))


def test_label_ids_of_a_prediction_come_back_as_its_train_ids(tmp_path: Path) -> None:
    prediction = np.array([[*range(19), IGNORE_LABEL]], np.uint8)
    write(tmp_path / "a_labelIds.png", label_ids(prediction))
    assert np.array_equal(read_label_ids(tmp_path / "a_labelIds.png"), prediction)


def test_neighbours_are_the_frames_of_the_snippet(tmp_path: Path) -> None:
    write_release(tmp_path)
    data = open_data("cityscapes", tmp_path, "train", neighbours="video")
    offsets = set()
    for epoch in range(40):
        data.set_epoch(epoch)
        sample = data[0]
        offset = sample["offset"]  # type: ignore[typeddict-item]
        offsets.add(offset)
        shown = (sample["neighbour"][:, 0, 0] * 255).round()  # type: ignore[typeddict-item]
        assert shown.tolist() == [float(picture(NAMES[0], 19 + offset)[0, 0, 0])] * 3
    assert offsets <= {*range(-5, 0), *range(1, 6)}
    assert min(offsets) < 0 < max(offsets)


def test_the_frames_before_a_labelled_one(tmp_path: Path) -> None:
    """The previous frames of the snippet, up to the requested number or the first gap, for any kind of neighbours."""
    write_release(tmp_path)
    for neighbours in ("none", "previous"):
        data = open_data("cityscapes", tmp_path, "train", neighbours=neighbours)  # type: ignore[arg-type]
        shown = [[int(image[0, 0, 0]) for image in data.warmup_frames(0, most)] for most in (0, 1, 3, 9)]
        assert shown == [
            [int(picture(NAMES[0], 19 - k)[0, 0, 0]) for k in range(min(n, 5), 0, -1)] for n in (0, 1, 3, 9)
        ]
        (tmp_path / "leftImg8bit_sequence/train/bochum/bochum_000000_001198_leftImg8bit.png").unlink(missing_ok=True)
        assert len(data.warmup_frames(2, 5)) == 1
    assert {data[0]["offset"] for data in [data] for _ in range(5)} == {-1}  # type: ignore[typeddict-item]
    write(
        tmp_path / "leftImg8bit_sequence/train/bochum/bochum_000000_001199_leftImg8bit.png", np.zeros((4, 4), np.uint8)
    )
    with pytest.raises(DataError, match=r"bochum_000000_001199_leftImg8bit.png: found 4 x 4 pixels"):
        data.warmup_frames(2, 1)


def test_mixed_neighbours_are_real_ones_and_synthetic_ones(tmp_path: Path) -> None:
    write_release(tmp_path, names=NAMES[:1])
    data = open_data("cityscapes", tmp_path, "train", neighbours="mixed")
    real = {float(picture(NAMES[0], 19 + k)[0, 0, 0]) for k in range(-5, 6) if k}
    found = []
    for epoch in range(30):
        data.set_epoch(epoch)
        sample = data[0]
        assert "flow" not in sample
        values = set((sample["neighbour"] * 255).round().unique().tolist())  # type: ignore[typeddict-item]
        found.append(len(values) == 1 and values <= real)
    assert 5 <= sum(found) <= 25  # binomial, n = 30, p = 1/2: fails with a probability of 3e-5


def test_every_missing_file_is_named(tmp_path: Path) -> None:
    write_release(tmp_path)
    sequence = tmp_path / "leftImg8bit_sequence/train"
    gone = [
        sequence / "aachen/aachen_000001_000017_leftImg8bit.png",
        sequence / "bochum/bochum_000000_001205_leftImg8bit.png",
    ]
    for path in gone:
        path.unlink()
    with pytest.raises(DataError, match=r"000017_leftImg8bit\.png: missing; -2 frames .* \(2 of 30 neighbours\)") as e:
        open_data("cityscapes", tmp_path, "train", neighbours="video")
    assert [problem.partition(":")[0] for problem in e.value.problems] == [str(path) for path in gone]
    open_data("cityscapes", tmp_path, "train", neighbours="video", max_offset=1)  # no requested frame is missing
    (tmp_path / "leftImg8bit/train/aachen" / f"{NAMES[0]}_leftImg8bit.png").unlink()
    with pytest.raises(DataError, match=r"aachen_000000_000019_leftImg8bit\.png: missing; .* \(1 of 3 label files\)"):
        open_data("cityscapes", tmp_path, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: None, r"gtFine/val: missing; found in .*: gtFine, leftImg8bit, leftImg8bit_sequence"),
        (lambda root: (root / "gtFine/val").mkdir(), r"leftImg8bit_sequence/val: missing"),
        (
            lambda root: [(root / "gtFine/val").mkdir(), (root / "leftImg8bit/val").mkdir()],
            r"gtFine/val: found no CITY/\*_gtFine_labelIds\.png",
        ),
    ],
)
def test_a_missing_split(tmp_path: Path, change, message: str) -> None:
    write_release(tmp_path)
    change(tmp_path)
    with pytest.raises(DataError, match=message):
        open_data("cityscapes", tmp_path, "val")


def test_wrong_labels(tmp_path: Path) -> None:
    write_release(tmp_path, names=NAMES[:1])
    path = tmp_path / "gtFine/train/aachen" / f"{NAMES[0]}_gtFine_labelIds.png"
    write(path, np.full((32, 64), 77, np.uint8))
    with pytest.raises(
        DataError,
        match=r"labelIds\.png: found ids 77; allowed are 7 \(road\), .* 33 \(bicycle\), and as ignored 0\.\.6, 9",
    ):
        open_data("cityscapes", tmp_path, "train")[0]
    write(path, np.full((32, 64, 3), (1, 2, 3), np.uint8))
    with pytest.raises(DataError, match=r"found colour \(3, 2, 1\) at 2048 pixels \(1 unknown colours in all\)"):
        open_data("cityscapes", tmp_path, "train")[0]
    path.rename(path.with_name("aachen_gtFine_labelIds.png"))
    with pytest.raises(DataError, match="not named CITY_SNIPPET_FRAME_gtFine_labelIds"):
        open_data("cityscapes", tmp_path, "train")


def coarse_release(root: Path) -> None:
    write_release(root)
    for name in ("zwickau_000000_000019", "zwickau_000001_000019"):
        city = name.partition("_")[0]
        write(root / "gtCoarse/train_extra" / city / f"{name}_gtCoarse_labelIds.png", np.full((32, 64), 7, np.uint8))
        write(root / "leftImg8bit/train_extra" / city / f"{name}_leftImg8bit.png", picture(name, 19))


def test_coarse_frames_are_mixed_in_by_ratio_and_marked_as_single(tmp_path: Path) -> None:
    coarse_release(tmp_path)
    fine = open_data("cityscapes", tmp_path, "train", neighbours="video")
    coarse = open_data("cityscapes", tmp_path, "train", coarse=True)
    data = MixedIn(fine, coarse, ratio=2.0)
    assert len(data) == 3 + 6
    seen = set()
    for epoch in range(6):
        data.set_epoch(epoch)
        samples = [data[index] for index in range(len(data))]
        assert [sample["paired"] for sample in samples] == [True] * 3 + [False] * 6  # type: ignore[typeddict-item]
        assert [sample["index"] for sample in samples] == list(range(9))
        for sample in samples[3:]:
            assert torch.equal(sample["frame"], sample["neighbour"])  # type: ignore[typeddict-item]
        seen |= {sample["name"] for sample in samples[3:]}
        assert {key for sample in samples for key in sample} == set(samples[0])  # so that they batch
    assert seen == set(coarse.names)


def test_what_cannot_be_mixed_in(tmp_path: Path) -> None:
    coarse_release(tmp_path)
    fine, coarse = (
        open_data("cityscapes", tmp_path, "train", neighbours="video"),
        open_data("cityscapes", tmp_path, "train", coarse=True),
    )
    with pytest.raises(ValueError, match=r"ratio of single frames: found 0\.01, which gives none for 3 frames"):
        MixedIn(fine, coarse, ratio=0.01)
    with pytest.raises(ValueError, match="single frames: found neighbours 'video', allowed is 'none'"):
        MixedIn(coarse, fine, ratio=1)
    with pytest.raises(ValueError, match="coarse labels: found split 'train' with neighbours 'video'"):
        open_data("cityscapes", tmp_path, "train", coarse=True, neighbours="video")


def test_the_test_split_is_void_as_published(tmp_path: Path) -> None:
    """Its labels are on the server only. That is said, and is no problem of the files."""
    write_release(tmp_path, split="test", names=NAMES[:1])
    write_release(tmp_path, split="val", names=NAMES[:1])
    for split in ("test", "val"):
        path = tmp_path / "gtFine" / split / "aachen" / f"{NAMES[0]}_gtFine_labelIds.png"
        write(path, np.zeros((32, 64), np.uint8))
    result = check(lambda: open_data("cityscapes", tmp_path, "test"))
    assert result.problems == ()
    assert result.warnings == ("the labels of this split are not published: all pixels are void",)
    assert "all pixels are void" in check(lambda: open_data("cityscapes", tmp_path, "val")).problems[0]


def test_train_ids_in_files_of_label_ids_are_named(tmp_path: Path) -> None:
    write_release(tmp_path, names=NAMES[:1])
    assert check(lambda: open_data("cityscapes", tmp_path, "train")).problems == ()
    train_ids = np.tile(np.array([0, 1, 2, 8, 10, 13, 18, 255], np.uint8).repeat(8), (32, 1))
    write(tmp_path / "gtFine/train/aachen" / f"{NAMES[0]}_gtFine_labelIds.png", train_ids)
    problems = check(lambda: open_data("cityscapes", tmp_path, "train")).problems
    assert len(problems) == 1
    assert problems[0].startswith(
        "the labels hold the ids 0..18 only, positions in the list of classes (trainIds) where"
    )


def test_hidden_files_of_macos_are_left_out(tmp_path: Path) -> None:
    write_release(tmp_path, names=NAMES[:1])
    for path in list(tmp_path.rglob("*.png")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    data = open_data("cityscapes", tmp_path, "train", neighbours="video")
    assert data.names == NAMES[:1]
    assert check(lambda: data).problems == ()
