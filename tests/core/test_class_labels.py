"""Label files in the ids and colours of a classes file."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dwnet.core.class_files import BUNDLED, ClassFile, read_class_file
from dwnet.core.class_labels import ClassLabels, LabelError
from dwnet.core.classes import CITYSCAPES_19, made_up_classes

YARD = {
    "classes": [{"name": "grass", "id": 3, "colour": [0, 128, 0]}, {"name": "path", "id": 700, "colour": [9, 9, 9]}],
    "ignore": [0, 255, [0, 0, 0]],
}


@pytest.fixture
def yard(tmp_path: Path) -> ClassFile:
    (tmp_path / "classes.json").write_text(json.dumps(YARD))
    return read_class_file(tmp_path / "classes.json")


def saved(path: Path, array: object, dtype: type = np.uint8, palette: list[int] | None = None) -> Path:
    image = Image.fromarray(np.array(array, dtype))
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return path


def test_ids_ignored_ids_and_colours(tmp_path: Path, yard: ClassFile) -> None:
    labels = ClassLabels(yard)
    assert labels.read(saved(tmp_path / "a.png", [[0, 3, 700, 255]], np.uint16)).tolist() == [[255, 0, 1, 255]]
    colours = [[(0, 0, 0), (0, 128, 0), (9, 9, 9), (9, 9, 9)]]
    assert labels.read(saved(tmp_path / "b.png", colours)).tolist() == [[255, 0, 1, 1]]
    grey = [[(3, 3, 3), (0, 0, 0)]]  # no colours of classes, but ids
    assert labels.read(saved(tmp_path / "c.png", grey)).tolist() == [[0, 255]]
    indices = saved(tmp_path / "d.png", [[3, 0]], palette=[7, 8, 9] * 256)
    assert labels.read(indices).tolist() == [[0, 255]]
    # An optimised PNG: the indices are no ids, the colours are those of the classes.
    optimised = saved(tmp_path / "e.png", [[1, 2]], palette=[0, 0, 0, 9, 9, 9, 0, 128, 0])
    assert labels.read(optimised).tolist() == [[1, 0]]


def test_an_image_that_can_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    classes = {"classes": [{"name": "a", "colour": [1, 1, 1]}, {"name": "b", "colour": [0, 0, 0]}]}
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    labels = ClassLabels(read_class_file(tmp_path / "classes.json"))
    path = saved(tmp_path / "a.png", [[(0, 0, 0), (1, 1, 1)]])
    with pytest.raises(
        LabelError, match=r"a\.png: its grey RGB values are ids of classes, and its colours are colours"
    ):
        labels.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([[3, 9, 10, 11, 700]], r"found ids 9\.\.11; allowed are 3 \(grass\), 700 \(path\), and as ignored 0, 255$"),
        (
            [[(0, 128, 0), (1, 2, 3), (1, 2, 3)]],
            r"found colour \(1, 2, 3\) at 2 pixels \(1 unknown colours in all\); all",
        ),
    ],
)
def test_what_is_unknown_is_named(tmp_path: Path, yard: ClassFile, content: object, message: str) -> None:
    path = saved(tmp_path / "a.png", content, np.uint16 if np.ndim(content) == 2 else np.uint8)
    with pytest.raises(LabelError, match=message):
        ClassLabels(yard).read(path)


def test_colours_need_colours_in_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", [[(1, 2, 3)]])
    (tmp_path / "classes.txt").write_text("a\nb\n")
    for own in (None, read_class_file(tmp_path / "classes.txt")):
        with pytest.raises(LabelError, match=r"is a colour picture \(RGB\), and no classes file gives colours"):
            ClassLabels(own).read(path)


def test_masks_of_0_and_255_get_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(json.dumps({"classes": ["a", "b"], "ignore": []}))
    path = saved(tmp_path / "a.png", [[0, 255]])
    with pytest.raises(LabelError, match=r'found ids 255; .* in a mask of 0 and 255, give the class "id": 255'):
        ClassLabels(read_class_file(tmp_path / "classes.json")).read(path)
    (tmp_path / "classes.json").write_text(json.dumps({"classes": ["a", {"name": "b", "id": 255}]}))
    own = read_class_file(tmp_path / "classes.json")
    assert own.ignored == frozenset()
    assert ClassLabels(own).read(path).tolist() == [[0, 1]]


def test_further_ids_to_ignore(yard: ClassFile) -> None:
    labels = ClassLabels(yard, (9, -1, 70000))
    ids = np.array([[3, 9, -1, 70000, 700]], np.int64)
    assert labels.from_ids(ids, "x").tolist() == [[0, 255, 255, 255, 1]]
    with pytest.raises(LabelError, match="--ignore 3: the classes file gives this id to a class"):
        ClassLabels(yard, (3,))


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int16, np.int64])
def test_without_a_file_ids_stay_as_they_are(dtype: type) -> None:
    ids = np.array([[0, 1, 1]], dtype)
    assert ClassLabels().from_ids(ids, "x").tolist() == [[0, 1, 1]]
    if dtype != np.bool_:
        assert ClassLabels(None, (1,)).from_ids(ids, "x").tolist() == [[0, 255, 255]]


def test_cityscapes_by_name() -> None:
    ids = np.array([[7, 0, 33, 255]], np.uint8)
    assert ClassLabels(BUNDLED["cityscapes"]).from_ids(ids, "x").tolist() == [[0, 255, 18, 255]]
    assert ClassLabels(BUNDLED["cityscapes-trainids"]).from_ids(np.array([[18, 255]]), "x").tolist() == [[18, 255]]
    assert read_class_file("cityscapes").classes is CITYSCAPES_19


def test_the_classes_of_a_set_are_their_positions() -> None:
    own = ClassFile.of(made_up_classes(3))
    assert (own.ids, own.ignored) == ((0, 1, 2), {255})
    assert own.colours == own.classes.palette
