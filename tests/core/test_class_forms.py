"""Classes files of other tools, as these tools write them."""

import json
from pathlib import Path

import pytest

from dwnet.core.class_files import BUNDLED, ClassFileError, read_class_file

CITYSCAPES_ENTRIES = [
    {"name": "unlabeled", "id": 0, "trainId": 255, "color": [0, 0, 0]},
    {"name": "sidewalk", "id": 8, "trainId": 1, "color": [244, 35, 232]},
    {"name": "road", "id": 7, "trainId": 0, "color": [128, 64, 128]},
    {"name": "license plate", "id": -1, "trainId": -1, "color": [0, 0, 142]},
]
LABELS_PY = """
from collections import namedtuple
Label = namedtuple("Label", ["name", "id", "trainId", "category", "catId", "hasInstances", "ignoreInEval", "color"])
labels = [
    Label(  'unlabeled'   ,  0 ,  255 , 'void' , 0 , False , True  , (  0,  0,  0) ),
    Label(  'road'        ,  7 ,    0 , 'flat' , 1 , False , False , (128, 64,128) ),
    Label(  'sidewalk'    ,  8 ,    1 , 'flat' , 1 , False , False , (244, 35,232) ),
]
"""
ROAD, SIDEWALK = (128, 64, 128), (244, 35, 232)
CASES = {
    "config.json": (
        json.dumps({"architectures": ["Segformer"], "id2label": {"1": "sky", "0": "road"}, "label2id": {"road": 0}}),
        (("road", "sky"), (0, 1), {255}, (None, None)),
    ),
    "id2label.json": (json.dumps({"3": "sky", "1": "road"}), (("road", "sky"), (1, 3), {255}, (None, None))),
    "cityscapes.json": (
        json.dumps(CITYSCAPES_ENTRIES),
        (("road", "sidewalk"), (7, 8), {0, 255}, (ROAD, SIDEWALK)),
    ),
    "labels.py": (LABELS_PY, (("road", "sidewalk"), (7, 8), {0, 255}, (ROAD, SIDEWALK))),
    "labelmap.txt": (
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\nbus:::\n",
        (("background", "road", "bus"), (0, 1, 2), {255}, ((0, 0, 0), ROAD, None)),
    ),
    "_classes.csv": (
        "Pixel Value, Class\n0, background\n1, road\n4, sky\n",
        (("background", "road", "sky"), (0, 1, 4), {255}, (None, None, None)),
    ),
    "labels.txt": ("__ignore__\n_background_\nroad\n", (("_background_", "road"), (0, 1), {255}, (None, None))),
    "class_names.txt": ("_background_\nroad", (("_background_", "road"), (0, 1), {255}, (None, None))),
    "class_dict.csv": ("name,r,g,b\nAnimal,64,128,64\nSky,1,2,3\n", (
        ("Animal", "Sky"), (0, 1), {255}, ((64, 128, 64), (1, 2, 3))
    )),
    "label_colors.txt": ("64 128 64\tAnimal\n1 2 3\tMy sky\n", (
        ("Animal", "My sky"), (0, 1), {255}, ((64, 128, 64), (1, 2, 3))
    )),
    "numbered.txt": ("0: road\n7: wheels\n", (("road", "wheels"), (0, 7), {255}, (None, None))),
    "labels.json": (
        json.dumps([{"name": "road", "color": "#804080", "id": 5, "attributes": []}, {"name": "sky"}]),
        (("road", "sky"), (5, 1), {255}, (ROAD, None)),
    ),
    "mapillary.json": (
        json.dumps({"labels": [{"name": "road", "readable": "Road", "color": [128, 64, 128], "evaluate": True}]}),
        (("road",), (0,), {255}, (ROAD,)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_other_tools(tmp_path: Path, name: str, encoding: str) -> None:
    content, (names, ids, ignored, colours) = CASES[name]
    (tmp_path / name).write_text(content, encoding=encoding)
    own = read_class_file(tmp_path / name)
    assert own.classes.classes == names
    assert (own.ids, own.ignored, own.colours) == (ids, ignored, colours)
    assert len(set(own.classes.palette)) == len(names)


def test_the_labels_of_cityscapesscripts() -> None:
    labels = pytest.importorskip("cityscapesscripts.helpers.labels")
    assert read_class_file(labels.__file__).ids == BUNDLED["cityscapes"].ids
    assert read_class_file(labels.__file__).ignored == BUNDLED["cityscapes"].ignored
    assert read_class_file(labels.__file__).classes.classes == BUNDLED["cityscapes"].classes.classes


def test_both_unicode_forms_are_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Stra\u0308ucher\n", encoding="utf-8")
    assert read_class_file(tmp_path / "a.txt").classes.classes == ("Str\u00e4ucher",)


def test_borders_of_voc_masks_are_ignored_in_a_labelmap(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\n")
    assert read_class_file(tmp_path / "labelmap.txt").ignored_colours == {(224, 224, 192)}


def test_a_generated_colour_is_no_given_one(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_text('["a", "b"]')
    second = read_class_file(tmp_path / "plain.json").classes.palette[1]
    (tmp_path / "mixed.json").write_text(json.dumps(["c", {"name": "d"}, {"name": "a", "colour": list(second)}]))
    assert len(set(read_class_file(tmp_path / "mixed.json").classes.palette)) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.py", "x = 1", r"names no classes \(found no Label"),
        ("a.py", "Label('road', 7", "names no classes"),
        ("_classes.csv", "Pixel Value, Class\n3\n", "names no classes .*has 1 cells"),
        ("_classes.csv", "Pixel Value, Class\nx, road\n", r"names no classes .*'x'"),
        (
            "a.json",
            json.dumps([{"name": "a", "id": 1, "trainId": 0}, {"name": "b", "id": 2, "trainId": 0}]),
            "trainId 0 belongs to several labels",
        ),
        ("a.json", json.dumps({"id2label": {"x": "road"}}), "names no classes"),
        ("a.json", json.dumps({"id2label": {"0": 3}}), r"classes\.0\.name: .*found 3"),
        ("a.json", json.dumps({"classes": [{"name": "a", "colour": "#12345x"}]}), r"classes\.0\.colour"),
        (
            "a.json",
            json.dumps({"classes": [{"name": "a", "colour": [1, 2, 3]}], "ignore": [[1, 2, 3]]}),
            r"colour \(1, 2, 3\) is used twice",
        ),
        ("a.txt", "", "classes: List should have at least 1 item"),
    ],
)
def test_a_wrong_file_is_one_clear_error(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ClassFileError, match=message) as error:
        read_class_file(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(error.value)
