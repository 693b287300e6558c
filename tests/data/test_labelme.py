"""labelme's JSON files: shapes become pixels as labelme's export draws them."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dwnet.core.class_files import read_class_file
from dwnet.data import DataError, open_data
from dwnet.data.check import check
from dwnet.data.labelme import read_annotation

LABELS = "__ignore__\n_background_\ncat\ndog\n"


def shape(label: str, points: list[list[float]], kind: str = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def write(path: Path, *shapes: dict[str, Any], width: int = 12, height: int = 8) -> Path:
    content = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": f"{path.stem}.jpg"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | {"imageData": None, "imageHeight": height, "imageWidth": width}))
    return path


def labels_of(folder: Path, *shapes: dict[str, Any], classes: str = LABELS) -> np.ndarray:
    (folder / "labels.txt").write_text(classes)
    return read_annotation(read_class_file(folder / "labels.txt"), write(folder / "a.json", *shapes))


def encoded(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_shapes_by_hand(tmp_path: Path) -> None:
    found = labels_of(
        tmp_path,
        shape("cat", [[1, 1], [4, 1], [4, 3], [1, 3]]),
        shape("dog", [[9, 7], [7, 5]], "rectangle"),  # any two corners
        shape("__ignore__", [[4, 3], [5, 3], [5, 4], [4, 4]]),
        shape("dog", [[0, 5], [1, 6]], "mask", mask=encoded(np.array([[True, False], [False, True]]))),
    )
    expected = np.zeros((8, 12), np.uint8)
    expected[1:4, 1:5] = 1
    expected[5:8, 7:10] = 2
    expected[3:5, 4:6] = 255  # later shapes cover earlier ones
    expected[5, 0] = expected[6, 1] = 2
    np.testing.assert_array_equal(found, expected)


def test_a_circle_is_its_centre_and_a_point_of_its_rim(tmp_path: Path) -> None:
    found = labels_of(tmp_path, shape("cat", [[5, 4], [5, 1]], "circle"))
    assert found[4, 2:9].tolist() == [1] * 7
    assert found[1:8, 5].tolist() == [1] * 7
    assert found[1, 2] == found[7, 8] == 0


def test_without_a_background_class_the_rest_is_void(tmp_path: Path) -> None:
    found = labels_of(tmp_path, shape("cat", [[0, 0], [3, 0], [3, 7], [0, 7]]), classes="cat\ndog\n")
    assert found[0].tolist() == [0] * 4 + [255] * 8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (shape("cow", [[0, 0], [1, 0], [1, 1]]), "has the label 'cow'; allowed are _background_, cat, dog and __ign"),
        (shape("cat", [[0, 0], [1, 0]]), "has a shape 'polygon' of 2 points; allowed are polygon, rectangle"),
        (shape("cat", [[0, 0], [1, 0]], "line"), "has a shape 'line' of 2 points"),
        (shape("cat", [[0, 0], [1, 0]], "mask", mask="?"), "holds a mask that is no image"),
        ({"label": "cat"}, r"is no annotation of labelme \(shapes\.0\.points: Field required"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_named(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        labels_of(tmp_path, given)


def test_a_folder_of_images_and_json_files(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            write(tmp_path / split / f"{name}.json", shape("cat", [[1, 1], [4, 1], [4, 3], [1, 3]]))
            Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(tmp_path / split / f"{name}.jpg")
    (tmp_path / "labels.txt").write_text(LABELS)
    data = open_data("own", tmp_path, "train")
    assert (data.names, data.classes.classes) == (("a", "b"), ("_background_", "cat", "dog"))
    assert int((data.labels(1) == 1).sum()) == 12
    result = check(lambda: open_data("own", tmp_path, "val"))
    assert (result.problems, result.warnings) == ((), ("class 'dog' (id 2) has no pixel",))
    assert result.layout == "images and labelme's NAME.json side by side"
    (tmp_path / "val/labels.txt").write_text(LABELS)
    alone = open_data("own", tmp_path / "val", "val")  # the files of one folder, without splits
    assert alone.names == ("b",)
    assert alone.layout.endswith("side by side without a split: the last 1 of 2 images are val")
    (tmp_path / "train/b.json").unlink()
    with pytest.raises(DataError, match=r"b\.jpg: no labels of that name"):
        open_data("own", tmp_path, "train")
