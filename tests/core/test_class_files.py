"""Classes files: the forms of JSON and text, and one clear error for each wrong file."""

import json
from pathlib import Path

import pytest

from dwnet.core.class_files import ClassFileError, read_class_file
from dwnet.core.classes import made_up_classes

YARD = {
    "name": "yard",
    "classes": [{"name": "grass", "id": 3, "colour": [0, 128, 0]}, {"name": "path", "id": 7}],
    "ignore": [0, 255],
}


def write_classes(folder: Path, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "classes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_classes_by_hand(tmp_path: Path) -> None:
    own = read_class_file(write_classes(tmp_path, YARD))
    assert (own.classes.name, own.classes.classes, own.ids) == ("yard", ("grass", "path"), (3, 7))
    assert own.ignored == {0, 255}
    assert own.classes.palette[0] == (0, 128, 0)


def test_ids_names_and_colours_that_are_left_out(tmp_path: Path) -> None:
    own = read_class_file(
        write_classes(tmp_path / "garden", {"classes": [{"name": "a"}, {"name": "b"}, {"name": "c"}]})
    )
    assert (own.classes.name, own.ids, own.ignored) == ("garden", (0, 1, 2), {255})
    assert len(set(own.classes.palette)) == 3
    named = read_class_file(write_classes(tmp_path / "names", {"classes": ["a", {"name": "b", "id": 7}, "c"]}))
    assert (named.classes.classes, named.ids) == (("a", "b", "c"), (0, 7, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"classes\.json: names no classes \(Expecting"),
        ([], "classes: List should have at least 1 item"),
        (3, "should be a valid dictionary.*found 3"),
        ({"name": "x"}, "classes: Field required"),
        ({"classes": [{"id": 1}]}, r"classes\.0\.name: Field required"),
        ({"classes": [{"name": "a"}], "ignored": [1]}, r"ignored: Extra inputs are not permitted, found \[1\]"),
        ({"classes": [{"name": "a", "colours": [0, 0, 0]}]}, r"classes\.0\.colours: Extra inputs"),
        ({"classes": [{"name": "a", "id": 65536}]}, r"classes\.0\.id: .*less than or equal to 65535, found 65536"),
        ({"classes": [{"name": "a", "id": 1}, {"name": "b", "id": 1}]}, "id 1 is used twice: each id"),
        ({"classes": [{"name": "a", "id": 255}], "ignore": [255]}, "id 255 is used twice: each id"),
        ({"classes": [{"name": "a"}, {"name": "a"}]}, "class names must differ"),
        ({"classes": {"a": 1}}, "classes: Input should be a valid list, found {'a': 1}"),
        ({"classes": ["a", 3]}, r"classes\.1: .*found 3"),
        ({"classes": [{"name": 3}]}, r"classes\.0\.name: .*valid string, found 3"),
        ({"classes": ["a", "b"], "palette": [[1, 2, 3]]}, "palette has 1 colours for 2 classes"),
        ({"classes": ["a"], "palette": [[1, 2, 300]]}, r"palette\.0\.2: .*found 300"),
        ({}, "classes: Field required"),
        ({"classes": 3}, "valid list, found 3"),
        (["a", "a"], "class names must differ"),
        ([["a"]], r"classes\.0: .*found \['a'\]"),
        ([{"name": "a"}, 3], r"classes\.1: .*found 3"),
        ([{"id": 1}], r"classes\.0\.name: Field required"),
    ],
)
def test_wrong_classes_are_one_clear_error(tmp_path: Path, content: object, message: str) -> None:
    path = write_classes(tmp_path, content)
    with pytest.raises(ClassFileError, match=message) as error:
        read_class_file(path)
    said = str(error.value)
    assert said.startswith(f"{path}: ")
    assert "allowed is JSON" in said
    assert "\n" not in said


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'["\xe4"]')
    with pytest.raises(ClassFileError, match=r"a\.json: names no classes"):
        read_class_file(tmp_path / "a.json")
    with pytest.raises(ClassFileError, match=r"b\.json: cannot be read \(No such file"):
        read_class_file(tmp_path / "b.json")
    (tmp_path / "c.txt").write_text("road,1,2\n")
    with pytest.raises(ClassFileError, match=r"c\.txt: classes\.0\.colour"):
        read_class_file(tmp_path / "c.txt")


def test_classes_from_json_and_text(tmp_path: Path) -> None:
    palette = [[1, 2, 3], [4, 5, 6]]
    (tmp_path / "a.json").write_text(json.dumps({"classes": ["road", "sky"], "palette": palette}))
    (tmp_path / "b.json").write_text('["road", "sky"]')
    (tmp_path / "c.txt").write_text("road,1,2,3\nsky, 4, 5, 6\n")
    (tmp_path / "d.txt").write_text("\ufeffroad\n\nsky\n")
    files = {name: read_class_file(tmp_path / name).classes for name in ("a.json", "b.json", "c.txt", "d.txt")}
    assert all(found.classes == ("road", "sky") for found in files.values())
    assert files["a.json"].palette == files["c.txt"].palette == ((1, 2, 3), (4, 5, 6))


def test_every_made_up_colour_is_its_own() -> None:
    assert len(set(made_up_classes(255).palette)) == 255


@pytest.mark.parametrize("given", ['"void": 2', '"void": [2]', '"ignore": 2', '"ignore": [2]'])
def test_ids_without_a_class_are_a_list_or_one_id(tmp_path: Path, given: str) -> None:
    """SegNet's CamVid has `"void": 11` beside its classes."""
    path = tmp_path / "classes.json"
    path.write_text(f'{{"classes": ["road", "sky"], {given}}}')
    assert read_class_file(path).ignored == {2}
    path.write_text(path.read_text().replace("2", "true"))
    with pytest.raises(ClassFileError):
        read_class_file(path)
