"""Exports of labelling tools and copies of public data sets, in their own layouts, without a file renamed."""

import json
import shutil
import unicodedata
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dwnet.cli.main import main
from dwnet.core.classes import made_up_colour
from dwnet.data import DataError, open_data
from dwnet.data.archives import unpacked
from dwnet.data.check import check, describe

NAMES = [f"shot {number}" for number in range(10)]
"""Names with a space and of different lengths, as users have them."""
COLOURS = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0)}
CLASSES = ("background", "cat", "dog")


def shot(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image and its ids: each class is a stripe with its own brightness."""
    ids = np.array([0, 1, 2], np.uint8).repeat(16)[None].repeat(32, axis=0)
    image = np.stack([60 * ids + number] * 3, axis=2).astype(np.uint8)
    return image, ids


def save(path: Path, array: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette([level for colour in COLOURS.values() for level in colour])
    image.save(path)


def coloured(ids: np.ndarray) -> np.ndarray:
    return np.array(list(COLOURS.values()), np.uint8)[ids]


def cvat(root: Path, names: list[str] = NAMES) -> None:
    """CVAT's "Segmentation mask 1.1" with images."""
    for number, name in enumerate(names):
        image, ids = shot(number)
        save(root / "JPEGImages" / f"{name}.jpg", image)
        save(root / "SegmentationClass" / f"{name}.png", coloured(ids))
        save(root / "SegmentationObject" / f"{name}.png", coloured(ids))
    (root / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\ndog:0,128,0::\n"
    )
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("\n".join(names) + "\n")


def roboflow(root: Path) -> None:
    """Roboflow's "Semantic Segmentation Masks"."""
    for split, names in (("train", NAMES[:8]), ("valid", NAMES[8:])):
        for number, name in enumerate(names):
            image, ids = shot(number)
            save(root / split / f"{name}_jpg.rf.0a1b2c.jpg", image)
            save(root / split / f"{name}_jpg.rf.0a1b2c_mask.png", ids)
        (root / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    (root / "README.roboflow.txt").write_text("exported")


def labelme(root: Path) -> None:
    """The output of labelme's labelme2voc.py, one folder for each split."""
    for split, names in (("train", NAMES[:8]), ("val", NAMES[8:])):
        for number, name in enumerate(names):
            image, ids = shot(number)
            save(root / split / "JPEGImages" / f"{name}.jpg", image)
            save(root / split / "SegmentationClass" / f"{name}.png", ids, palette=True)
            save(root / split / "SegmentationClassVisualization" / f"{name}.jpg", image)
        (root / split / "class_names.txt").write_text("background\ncat\ndog")


def mmseg(root: Path) -> None:
    for split, names in (("training", NAMES[:8]), ("validation", NAMES[8:])):
        for number, name in enumerate(names):
            image, ids = shot(number)
            save(root / "images" / split / f"{name}.jpg", image)
            save(root / "annotations" / split / f"{name}.png", ids)
    (root / "config.json").write_text(json.dumps({"id2label": dict(enumerate(CLASSES))}))


def kaggle(root: Path) -> None:
    for split, names in (("train", NAMES[:8]), ("val", NAMES[8:])):
        for number, name in enumerate(names):
            image, ids = shot(number)
            save(root / split / f"{name}.png", image)
            save(root / f"{split}_labels" / f"{name}_L.png", coloured(ids))
    (root / "class_dict.csv").write_text("name,r,g,b\nbackground,0,0,0\ncat,128,0,0\ndog,0,128,0\n")


def beside(root: Path) -> None:
    """NAME.jpg and NAME.png in one folder."""
    for split, names in (("train", NAMES[:8]), ("val", NAMES[8:])):
        for number, name in enumerate(names):
            image, ids = shot(number)
            save(root / split / f"{name}.jpg", image)
            save(root / split / f"{name}.png", ids.astype(np.uint16))
    (root / "classes.txt").write_text("\ufeffbackground\r\ncat\r\ndog\r\n")


LAYOUTS = {"cvat": cvat, "roboflow": roboflow, "labelme": labelme, "mmseg": mmseg, "kaggle": kaggle, "beside": beside}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_its_frames_and_ids(tmp_path: Path, name: str) -> None:
    LAYOUTS[name](tmp_path)
    for split, count in (("train", 8), ("val", 2)):
        data = open_data("own", tmp_path, split)  # type: ignore[arg-type]
        assert (len(data), data.classes.classes) == (count, CLASSES)
        for index in range(count):
            frame, labels = data.source.read(data.frames[index])
            np.testing.assert_array_equal(labels, shot(0)[1])
            number = index if split == "train" or name not in ("cvat",) else 8 + index
            assert abs(int(frame[0, 0, 0]) - number) <= 3  # JPEG
    with pytest.raises(DataError, match=r"test: missing; splits found in .*: "):
        open_data("own", tmp_path, "test")


@pytest.mark.parametrize("name", ["cvat", "roboflow", "labelme"])
def test_a_zip_file_is_unpacked_once(tmp_path: Path, name: str) -> None:
    LAYOUTS[name](tmp_path / "inside/project")
    (tmp_path / "inside/project/._hidden.jpg").write_bytes(b"")
    (tmp_path / "inside/__MACOSX").mkdir()
    archive = Path(shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / "inside"))
    shutil.rmtree(tmp_path / "inside")
    for root in (archive, tmp_path / "data", tmp_path):  # the file, its name without .zip, the folder it lies in
        assert len(open_data("own", root, "train")) == 8
    folders = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert folders == [unpacked(archive)]
    assert not list(folders[0].rglob("._*"))


def test_zip_files_of_each_split(tmp_path: Path) -> None:
    labelme(tmp_path)
    for split in ("train", "val"):
        shutil.make_archive(str(tmp_path / split), "zip", tmp_path / split)
        shutil.rmtree(tmp_path / split)
    assert [len(open_data("own", tmp_path, split)) for split in ("train", "val")] == [8, 2]  # type: ignore[arg-type]


def test_a_zip_file_that_cannot_be_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"a\.zip: cannot be unpacked .*; allowed is an intact zip file"):
        open_data("own", tmp_path / "a.zip", "train")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("../outside.txt", "x")
    with pytest.raises(DataError, match=r"b\.zip: holds the path '\.\./outside\.txt'; allowed are paths inside"):
        unpacked(tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("train/a.png", b"x" * 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 999})())
    with pytest.raises(DataError, match=r"c\.zip: needs 0\.00 GB unpacked, and .* has 0\.00 GB free"):
        unpacked(tmp_path / "c.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "c.zip"]


def test_lists_divide_the_images(tmp_path: Path) -> None:
    cvat(tmp_path)
    lists = tmp_path / "ImageSets/Segmentation"
    (lists / "Train.txt").write_text("\n".join(NAMES[:6]))
    (lists / "Validation.txt").write_text("\n".join(f"{name}.jpg" for name in NAMES[6:]))
    assert open_data("own", tmp_path, "train").names == tuple(NAMES[:6])
    assert open_data("own", tmp_path, "val").names == tuple(NAMES[6:])
    (lists / "Train.txt").write_text("elsewhere\n")
    with pytest.raises(DataError, match=r"Train\.txt: names 'elsewhere', which is not in .*JPEGImages"):
        open_data("own", tmp_path, "train")


def test_without_lists_the_last_fifth_is_val_and_that_is_said(tmp_path: Path) -> None:
    cvat(tmp_path)
    data = open_data("own", tmp_path, "val")
    assert data.names == tuple(NAMES[8:])
    assert data.layout == "JPEGImages and SegmentationClass without a split: the last 2 of 10 images are val"


def test_hidden_files_and_both_unicode_forms(tmp_path: Path) -> None:
    for name in ("h\u00e4user", "b\u00e4ume"):
        image, ids = shot(1)
        for split in ("train", "val"):
            save(tmp_path / split / "images" / f"{unicodedata.normalize('NFC', name)}.jpg", image)
            save(tmp_path / split / "masks" / f"{unicodedata.normalize('NFD', name)}_mask.png", ids)
            (tmp_path / split / "images" / f"._{name}.jpg").write_bytes(b"\0\5\x16\7")
            (tmp_path / split / "masks" / f"._{name}_mask.png").write_bytes(b"\0\5\x16\7")
            (tmp_path / split / "masks/.DS_Store").write_bytes(b"\0")
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    result = check(lambda: open_data("own", tmp_path, "train"))
    assert (result.frames, result.problems) == (2, ())


def test_classes_that_differ_between_splits(tmp_path: Path) -> None:
    roboflow(tmp_path)
    (tmp_path / "valid/_classes.csv").write_text("Pixel Value, Class\n0, background\n2, cat\n1, dog\n")
    with pytest.raises(
        DataError, match=r"valid/_classes\.csv: names the classes 0 \(background\), 2 \(cat\), 1 \(dog\); "
    ):
        open_data("own", tmp_path, "val")


def write_pair(root: Path, image: np.ndarray, labels: np.ndarray, suffix: str = ".png") -> None:
    save(root / "train/images/a.png", image)
    save(root / f"train/labels/a{suffix}", labels)


def test_lossy_labels_are_refused_before_training(tmp_path: Path) -> None:
    image, ids = shot(0)
    write_pair(tmp_path, image, ids, ".jpg")
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    with pytest.raises(DataError, match=r"a\.jpg: is in a format that may change ids; .* \(1 of 1 label files\)"):
        open_data("own", tmp_path, "train")


def test_one_class_is_no_problem_to_train_on(tmp_path: Path) -> None:
    image, ids = shot(0)
    write_pair(tmp_path, image, ids)
    (tmp_path / "classes.json").write_text('["cat"]')
    with pytest.raises(DataError, match="names one class, cat; allowed are two or more"):
        open_data("own", tmp_path, "train")


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("drawn_on", ["shown", "stored"])
def test_frames_with_exif_rotation(tmp_path: Path, orientation: int, drawn_on: str) -> None:
    """Labels drawn on the upright frame fit it; labels of the stored size are turned with it."""
    if orientation == 3 and drawn_on == "stored":
        pytest.skip("both have one size, so they cannot be told apart")
    stored = np.zeros((24, 48), np.uint8)
    stored[:8, :16] = 1
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "train/images").mkdir(parents=True)
    Image.fromarray(np.stack([stored * 200] * 3, axis=2)).save(tmp_path / "train/images/a.jpg", exif=exif, quality=95)
    shown = {3: np.rot90(stored, 2), 6: np.rot90(stored, -1), 8: np.rot90(stored)}[orientation]
    save(tmp_path / "train/labels/a.png", np.ascontiguousarray(shown if drawn_on == "shown" else stored))
    (tmp_path / "classes.json").write_text('["a", "b"]')
    data = open_data("own", tmp_path, "train")
    frame, labels = data.source.read(data.frames[0])
    np.testing.assert_array_equal(labels, shown)
    np.testing.assert_array_equal(frame[..., 0] > 100, labels == 1)
    result = check(lambda: open_data("own", tmp_path, "train"))
    assert result.problems == ()
    assert result.warnings == ("1 of 1 frames are turned by their EXIF data, and their labels with them",)


# ---------------------------------------------------------------------------------------------- binary problems


def binary(root: Path, classes: object, values: tuple[int, int], boolean: bool = False) -> None:
    image, ids = shot(0)
    mask = ids == 1
    for split in ("train", "val"):
        labels = mask if boolean else np.where(mask, *reversed(values)).astype(np.uint8)
        for name in ("a", "b"):
            save(root / split / "images" / f"{name}.png", image)
            save(root / split / "masks" / f"{name}.png", labels)
    (root / "classes.json").write_text(json.dumps(classes))


@pytest.mark.parametrize(
    ("classes", "values", "boolean"),
    [
        (["rest", "cat"], (0, 1), False),
        (["rest", "cat"], (0, 1), True),
        (["rest", {"name": "cat", "id": 255}], (0, 255), False),
        ([{"name": "rest", "colour": [0, 0, 0]}, {"name": "cat", "colour": [255, 255, 255]}], (0, 1), True),
    ],
)
def test_masks_of_two_values(tmp_path: Path, classes: object, values: tuple[int, int], boolean: bool) -> None:
    binary(tmp_path, classes, values, boolean)
    data = open_data("own", tmp_path, "train")
    assert data.classes.classes == ("rest", "cat")
    np.testing.assert_array_equal(data.labels(0), (shot(0)[1] == 1).astype(np.uint8))
    result = check(lambda: open_data("own", tmp_path, "train"))
    assert (result.problems, result.warnings, result.void_percent) == ((), (), 0.0)


def test_masks_of_0_and_255_whose_255_is_ignored_are_refused(tmp_path: Path) -> None:
    binary(tmp_path, ["rest", "cat"], (0, 255))
    message = (
        r"class 'cat' \(id 1\) has no pixel in 2 label files, and 2 of them hold ignored ids \(255\); .*\"id\": 255"
    )
    with pytest.raises(DataError, match=message):
        open_data("own", tmp_path, "train")
    result = check(lambda: open_data("own", tmp_path, "train"))
    assert len(result.problems) == 1
    assert result.problems[0].startswith("class 'cat' (id 1) has no pixel in 2 label files")
    assert result.warnings == ("class 'cat' (id 1) has no pixel, and 33.3 % of the pixels are void",)


# -------------------------------------------------------------------------------------------------------- check


def test_check_names_a_class_without_pixels_and_counts_the_others(tmp_path: Path) -> None:
    image, ids = shot(0)
    write_pair(tmp_path, image, np.where(ids == 2, 255, ids).astype(np.uint8))
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    result = check(lambda: open_data("own", tmp_path, "train"))
    assert result.problems == ()
    assert result.warnings == ("class 'dog' (id 2) has no pixel, and 33.3 % of the pixels are void",)
    assert [(one.name, one.pixels, one.frames) for one in result.classes] == [
        ("background", 512, 1),
        ("cat", 512, 1),
        ("dog", 0, 0),
    ]
    text = describe("train", result)
    for line in ("warning: class 'dog' (id 2)", "| cat | 512 | 50.0 | 1 |", "| void | 512 | - | - |"):
        assert line in text


def test_check_names_train_ids_where_label_ids_belong(tmp_path: Path) -> None:
    image, _ = shot(0)
    write_pair(tmp_path, image, np.array([0, 8, 13, 255], np.uint8).repeat(12)[None].repeat(32, axis=0))
    entries = [{"name": "road", "id": 7, "trainId": 0}, {"name": "sidewalk", "id": 8, "trainId": 1}]
    entries += [{"name": f"void {id_}", "id": id_, "trainId": 255} for id_ in (*range(7), 9, 13)]
    entries += [{"name": f"class {id_}", "id": id_, "trainId": id_ - 18} for id_ in range(20, 37)]
    (tmp_path / "classes.json").write_text(json.dumps(entries))
    result = check(lambda: open_data("own", tmp_path, "train"))
    assert len(result.problems) == 1
    assert result.problems[0].startswith(
        "the labels hold the ids 0..13 only, positions in the list of classes (trainIds) "
    )


def test_the_command_prints_a_table_and_writes_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelme(tmp_path / "data")
    arguments = ["data", "check", "--dataset", "own", "--root", tmp_path / "data", "--output", tmp_path / "out"]
    assert main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr().out
    assert "| dog | 4,096 | 33.3 | 8 |" in printed
    picture = cv2.imread(str(tmp_path / "out/train.png"))
    # Three frames of 48 pixels side by side in gaps of 4; their captions are 28 pixels high. Pixel 20 shows a cat.
    expected = 0.5 * np.array([60, 63, 67])[:, None] + 0.5 * np.array(made_up_colour(1))
    np.testing.assert_allclose(picture[28 + 4, [20, 72, 124]][:, ::-1], expected, atol=3)
    assert (tmp_path / "out/val.png").is_file()


def test_folders_of_text_are_no_labels(tmp_path: Path) -> None:
    image, _ = shot(0)
    save(tmp_path / "train/images/a.jpg", image)
    (tmp_path / "train/labels").mkdir()
    (tmp_path / "train/labels/a.txt").write_text("0 0.1 0.1 0.2 0.2")
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    with pytest.raises(DataError, match=r"labels: found no label images \(\.txt\); allowed are \.bmp"):
        open_data("own", tmp_path, "train")
