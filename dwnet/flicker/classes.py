"""Names and colours of the classes: from a file, or made up where nobody gave any."""

import json
from pathlib import Path
from typing import Any

from dwnet import IGNORE_LABEL
from dwnet.data.class_file import class_entries
from dwnet.data.classes import ClassSet, made_up_colour

Colour = tuple[int, int, int]


def made_up_classes(number: int) -> ClassSet:
    """Classes called ``class 0``, ``class 1``, ...; `number` from 1 to 255."""
    ids = range(number)
    return ClassSet("unnamed", tuple(f"class {i}" for i in ids), tuple(made_up_colour(i) for i in ids))


def read_classes(path: str | Path) -> ClassSet:
    """The classes that a file names, in the order of their ids.

    Args:
        path: JSON, either a list of names or ``{"classes": [names], "palette": [[r, g, b], ...]}`` with the palette
            optional, or the classes file of a user's own data (`dwnet.data.class_file`); or a text with one name a
            line, a colour behind it if wanted: ``road,128,64,128``.

    Raises:
        ValueError: no such file, or one that names no classes; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such classes file; allowed is JSON, or a text with one class a line")
    try:
        text = path.read_text(encoding="utf-8")
        names, palette = _from_json(json.loads(text)) if path.suffix.lower() == ".json" else _from_text(text)
        colours = palette or [made_up_colour(i) for i in range(min(len(names), IGNORE_LABEL))]
        return ClassSet(path.stem, tuple(names), tuple(colours))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path}: is no list of classes ({error}); allowed is JSON with 1 to {IGNORE_LABEL} names under "
            '"classes" (and a colour each under "palette"), or a text with one NAME or NAME,R,G,B a line'
        ) from error


def _from_json(content: Any) -> tuple[list[str], list[Colour]]:
    names = content["classes"] if isinstance(content, dict) else content
    palette = content.get("palette") or [] if isinstance(content, dict) else []
    entries = class_entries(names)
    if any("colour" in entry for entry in entries):
        palette = [entry.get("colour", made_up_colour(place)) for place, entry in enumerate(entries)]
    return [entry["name"] for entry in entries], [(colour[0], colour[1], colour[2]) for colour in palette]


def _from_text(text: str) -> tuple[list[str], list[Colour]]:
    names, colours = [], []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, *colour = [cell.strip() for cell in line.split(",")]
        names.append(name)
        if colour:
            red, green, blue = map(int, colour)
            colours.append((red, green, blue))
    return names, colours
