"""Class files of other tools, turned into the JSON form of `dwnet.core.class_files`.

Each function returns what the JSON form allows. The caller validates it.
"""

import ast
import csv
import re
from collections.abc import Sequence
from typing import Any

from dwnet.core.classes import IGNORE_LABEL

LABELME_IGNORED = "__ignore__"
"""labelme's name for pixels without a class. They have the id 255 in the files that labelme writes."""
VOC_BORDER = [224, 224, 192]
"""Colour of the void borders of objects in masks of PASCAL VOC, whose layout CVAT writes."""

_LABELMAP = re.compile(r"[^:]+:(\d+,\d+,\d+)?:[^:]*:[^:]*")
_COLOUR_FIRST = re.compile(r"(\d+)\s+(\d+)\s+(\d+)\s+(\S.*)")
_ID_FIRST = re.compile(r"(\d+)\s*[:,\s]\s*(\D.*)")


def from_json(content: Any) -> Any:
    """Returns a parsed JSON file in the own form. Other forms: ``id2label``, ids to names, and Cityscapes' labels."""
    if isinstance(content, dict):
        if isinstance(content.get("id2label"), dict):
            ignored = content.get("semantic_loss_ignore_index", IGNORE_LABEL)
            return _from_ids_to_names(content["id2label"], ignored if isinstance(ignored, int) else IGNORE_LABEL)
        if content and all(isinstance(key, str) and key.isascii() and key.isdigit() for key in content):
            return _from_ids_to_names(content, IGNORE_LABEL)
        if "classes" not in content and isinstance(content.get("labels"), list):
            content = content["labels"]
    if isinstance(content, list) and content and all(isinstance(entry, dict) for entry in content):
        if all("trainId" in entry for entry in content):
            return _from_cityscapes(content)
        if any(entry.keys() & {"attributes", "readable", "evaluate", "supercategory", "isthing"} for entry in content):
            # Labels of CVAT, COCO and Mapillary have further entries that do not matter here.
            return [{key: entry[key] for key in ("name", "color", "id") if key in entry} for entry in content]
    return content


def from_python(text: str) -> dict[str, Any]:
    """Returns the labels of ``labels.py`` of cityscapesscripts: calls of ``Label`` with constant arguments.

    Raises:
        ValueError, SyntaxError: for a file without such calls.
    """
    names = ("name", "id", "trainId", "category", "catId", "hasInstances", "ignoreInEval", "color")
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    labels = [
        dict(zip(names, map(ast.literal_eval, call.args), strict=False))
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "Label"
    ]
    if not labels or not all("trainId" in label for label in labels):
        raise ValueError("found no Label(name, id, trainId, ...)")
    return _from_cityscapes(labels)


def from_csv(text: str) -> Any:
    """Returns the classes of a CSV file: ``Pixel Value, Class`` (Roboflow), ``name,r,g,b`` (Kaggle), or as text."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(map(str.strip, row))]
    heading = [cell.lower() for cell in rows[0]] if rows else []
    for id_name, class_name in (("pixel value", "class"), ("id", "name"), ("id", "class"), ("id", "label")):
        if id_name in heading and class_name in heading:
            places = heading.index(id_name), heading.index(class_name)
            colour = [heading.index(one) for one in ("r", "g", "b")] if {"r", "g", "b"} <= set(heading) else []
            return [_row(row, places[1], colour) | {"id": int(_cell(row, places[0]))} for row in rows[1:]]
    if {"r", "g", "b"} <= set(heading):
        name = next((heading.index(one) for one in ("name", "class", "label") if one in heading), 0)
        return [_row(row, name, [heading.index(one) for one in ("r", "g", "b")]) for row in rows[1:]]
    return from_text(text)


def _row(row: Sequence[str], name: int, colour: Sequence[int]) -> dict[str, Any]:
    return {"name": _cell(row, name)} | ({"colour": [int(_cell(row, place)) for place in colour]} if colour else {})


def _cell(row: Sequence[str], place: int) -> str:
    if place >= len(row):
        raise ValueError(f"row {','.join(row)!r} has {len(row)} cells")
    return row[place]


def from_text(text: str) -> dict[str, Any]:
    """Returns the classes of a text file with one class per line. Lines that start with ``#`` are comments.

    All lines have one of these forms: ``NAME``, ``NAME,R,G,B``, ``NAME:R,G,B:PARTS:ACTIONS`` (CVAT), ``R G B NAME``
    (CamVid), ``ID NAME``, ``ID: NAME`` or ``ID,NAME``.
    """
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    if lines and all(_LABELMAP.fullmatch(line) for line in lines):
        cells = [line.split(":") for line in lines]
        entries: list[dict[str, Any]] = [
            {"name": cell[0].strip()} | ({"colour": _numbers(cell[1].split(","))} if cell[1] else {}) for cell in cells
        ]
        void = [] if any(entry.get("colour") == VOC_BORDER for entry in entries) else [VOC_BORDER]
        return {"classes": entries, "ignore": [IGNORE_LABEL, *void]}
    if lines and all(_COLOUR_FIRST.fullmatch(line) for line in lines):
        parts = [line.split(maxsplit=3) for line in lines]
        return {"classes": [{"name": part[3], "colour": _numbers(part[:3])} for part in parts]}
    numbered = [_ID_FIRST.fullmatch(line) for line in lines]
    if lines and all(numbered):
        return {"classes": [{"name": found[2].strip(), "id": int(found[1])} for found in numbered if found]}
    plain = [[cell.strip() for cell in line.split(",")] for line in lines]
    entries = [
        {"name": name} | ({"colour": _numbers(colour)} if colour else {})
        for name, *colour in plain
        if name != LABELME_IGNORED
    ]
    return {"classes": entries}


def _numbers(cells: Sequence[str]) -> list[int]:
    return [int(cell) for cell in cells]


def _from_ids_to_names(names: dict[str, Any], ignored: int) -> dict[str, Any]:
    entries = sorted((int(key), name) for key, name in names.items())
    used = {key for key, _ in entries}
    return {
        "classes": [{"name": name, "id": key} for key, name in entries],
        "ignore": [id_ for id_ in sorted({ignored, IGNORE_LABEL}) if id_ >= 0 and id_ not in used],
    }


def _from_cityscapes(labels: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the classes with a train id, in its order. The ids of the other labels are ignored."""
    kept = [label for label in labels if isinstance(label["trainId"], int) and 0 <= label["trainId"] < IGNORE_LABEL]
    kept = [label for label in kept if not label.get("ignoreInEval", False)]
    kept.sort(key=lambda label: label["trainId"])
    repeated = sorted(
        {one["trainId"] for one in kept if [other["trainId"] for other in kept].count(one["trainId"]) > 1}
    )
    if repeated:
        raise ValueError(f"trainId {repeated[0]} belongs to several labels; allowed is one label for each")
    ids = {label.get("id") for label in kept}
    ignored = {label["id"] for label in labels if isinstance(label.get("id"), int) and label["id"] >= 0} - ids
    classes = [{key: label[key] for key in ("name", "id", "color") if key in label} for label in kept]
    return {"classes": classes, "ignore": sorted({*ignored, IGNORE_LABEL} - ids)}
