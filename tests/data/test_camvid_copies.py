"""CamVid as Kaggle and fast.ai have it: 32 colours or 32 ids, grouped into the eleven classes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dwnet.core.classes import CAMVID_11, IGNORE_LABEL
from dwnet.data import DataError, open_data
from dwnet.data.camvid_labels import GROUPS, PUBLISHED_COLOURS
from dwnet.data.camvid_layout import standard_split
from dwnet.data.check import check

KINDS = sorted(PUBLISHED_COLOURS)
"""The 32 classes in the order of fast.ai's codes.txt."""
IDS = np.arange(32, dtype=np.uint8)[None].repeat(4, axis=0)
EXPECTED = np.array(
    [
        next((CAMVID_11.classes.index(group) for group, members in GROUPS.items() if kind in members), IGNORE_LABEL)
        for kind in KINDS
    ]
)
SPLITS = {split: standard_split(split)[:3] for split in ("train", "val", "test")}  # type: ignore[arg-type]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_kaggle(root: Path) -> None:
    colours = np.array([PUBLISHED_COLOURS[kind] for kind in KINDS], np.uint8)
    for split, names in SPLITS.items():
        for name in names:
            save(root / split / f"{name}.png", np.zeros((4, 32, 3), np.uint8))
            save(root / f"{split}_labels" / f"{name}_L.png", colours[IDS])
    rows = [f"{kind},{red},{green},{blue}" for kind, (red, green, blue) in PUBLISHED_COLOURS.items()]
    (root / "class_dict.csv").write_text("\n".join(["name,r,g,b", *rows]))


def write_fastai(root: Path) -> None:
    for names in SPLITS.values():
        for name in names:
            save(root / "images" / f"{name}.png", np.zeros((4, 32, 3), np.uint8))
            save(root / "labels" / f"{name}_P.png", IDS)
    (root / "codes.txt").write_text("\n".join(KINDS))
    (root / "valid.txt").write_text("\n".join(f"{name}.png" for name in SPLITS["val"]))


@pytest.mark.parametrize("write", [write_kaggle, write_fastai])
@pytest.mark.parametrize("nested", [False, True])
def test_a_copy_gives_the_eleven_classes(tmp_path: Path, write, nested: bool) -> None:
    root = tmp_path / "CamVid" if nested else tmp_path
    write(root)
    (root / "._images.png").write_bytes(b"\0")
    for split, names in SPLITS.items():
        data = open_data("camvid", tmp_path, split)  # type: ignore[arg-type]
        assert data.names == tuple(sorted(names))
        np.testing.assert_array_equal(data.labels(0), EXPECTED[IDS])
    assert check(lambda: open_data("camvid", tmp_path, "val")).problems == ()


def test_a_zip_file_of_kaggle(tmp_path: Path) -> None:
    write_kaggle(tmp_path / "inside/CamVid")
    shutil.make_archive(str(tmp_path / "camvid/archive"), "zip", tmp_path / "inside")
    assert len(open_data("camvid", tmp_path / "camvid", "train")) == 3


def test_fastai_without_valid_txt_is_split_as_usual(tmp_path: Path) -> None:
    write_fastai(tmp_path)
    (tmp_path / "valid.txt").unlink()
    assert open_data("camvid", tmp_path, "val").names == tuple(sorted(SPLITS["val"]))
    (tmp_path / "valid.txt").write_text("elsewhere.png")
    with pytest.raises(DataError, match=r"valid\.txt: names elsewhere, which is not in .*images"):
        open_data("camvid", tmp_path, "val")


def test_wrong_lists_of_classes(tmp_path: Path) -> None:
    write_fastai(tmp_path / "a")
    (tmp_path / "a/codes.txt").write_text("\n".join([*KINDS[:-1], "Hovercraft"]))
    with pytest.raises(DataError, match=r"codes\.txt: class 'Hovercraft' is unknown"):
        open_data("camvid", tmp_path / "a", "val")
    (tmp_path / "a/codes.txt").write_text("\n".join(KINDS[:-1]))
    with pytest.raises(DataError, match=r"_P\.png: found id 31; allowed are 0\.\.30, places in codes\.txt"):
        open_data("camvid", tmp_path / "a", "val").labels(0)
    write_kaggle(tmp_path / "b")
    (tmp_path / "b/class_dict.csv").write_text("name,r,g,b\nSky,1,2,3\n")
    with pytest.raises(DataError, match=r"class_dict\.csv: Animal is missing or unknown"):
        open_data("camvid", tmp_path / "b", "val")
