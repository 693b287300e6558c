"""Class sets: CamVid's eleven classes have the usual order and colours; each bad set gives one clear error."""

import json
import os
from pathlib import Path

import pytest

from dwnet.core.classes import CAMVID_11, ClassSet

CAMVID = os.environ.get("DWNET_CAMVID")


def test_camvid_11_has_the_order_and_colours_of_its_ids() -> None:
    by_name = dict(zip(CAMVID_11.classes, CAMVID_11.palette, strict=True))
    assert len(CAMVID_11) == 11
    assert CAMVID_11.classes[0] == "Sky"
    assert CAMVID_11.classes[10] == "Bicyclist"
    assert by_name["Road"] == (128, 64, 128)
    assert by_name["Pavement"] == (60, 40, 222)


@pytest.mark.skipif(CAMVID is None, reason="DWNET_CAMVID names no CamVid copy")
def test_camvid_11_is_what_the_copy_on_disk_says() -> None:
    written = json.loads((Path(CAMVID or "") / "classes.json").read_text())
    assert list(CAMVID_11.classes) == written["classes"]
    assert [list(colour) for colour in CAMVID_11.palette] == written["palette"]


@pytest.mark.parametrize(
    ("name", "classes", "palette", "message"),
    [
        ("", ("a",), ((0, 0, 0),), "needs a name"),
        ("s", (), (), "found 0 classes, allowed 1..255"),
        ("s", tuple(map(str, range(256))), ((0, 0, 0),) * 256, "found 256 classes"),
        ("s", ("a", ""), ((0, 0, 0), (1, 1, 1)), "non-empty text"),
        ("s", ("a", "a"), ((0, 0, 0), (1, 1, 1)), "class names must differ; found more than once: a"),
        ("s", ("a", "b"), ((0, 0, 0),), "found 1 colours for 2 classes"),
        ("s", ("a",), ((0, 0, 256),), r"colour of 'a' is \(0, 0, 256\)"),
        ("s", ("a",), ((0, 0),), r"colour of 'a' is \(0, 0\)"),
        ("s", ("a", "b"), ((1, 2, 3), (1, 2, 3)), r"colours must differ; found more than once: \(1, 2, 3\)"),
    ],
)
def test_a_bad_set_is_one_clear_error(
    name: str, classes: tuple[str, ...], palette: tuple[tuple[int, int, int], ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ClassSet(name, classes, palette)
