"""Files that name the classes of a data set: their names, their ids in label files, and their colours.

A file is JSON in one of three forms, or text with one class per line:

.. code-block:: text

    {"name": "yard", "classes": [{"name": "grass", "id": 3, "colour": [0, 128, 0]}, "path"], "ignore": [0, 255]}
    {"classes": ["road", "sky"], "palette": [[128, 64, 128], [70, 130, 180]]}
    ["road", "sky"]

    road,128,64,128
    sky

The default id of an entry is its position in the list, from 0. An entry without a colour gets a generated one. The
default of ``ignore`` is id 255.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dwnet.core.classes import IGNORE_LABEL, ClassSet, made_up_colour
from dwnet.core.errors import DWNetError
from dwnet.core.validation import first_problem

FORMS = (
    'JSON, {"classes": [NAME, ...]} with {"name": NAME, "id": 0..255, "colour": [R, G, B]} for a NAME where needed, '
    '"palette" and "ignore" beside it, or a plain list of names; or text with one NAME or NAME,R,G,B per line'
)

Id = Annotated[int, Field(ge=0, le=255, strict=True)]
Colour = tuple[Id, Id, Id]


class ClassFileError(DWNetError):
    """A classes file that cannot be used."""


@dataclass(frozen=True)
class ClassFile:
    """The content of a classes file."""

    classes: ClassSet
    """The classes, in the order of the file."""
    ids: tuple[int, ...]
    """The id of each class in label files, 0..255."""
    ignored: frozenset[int]
    """Ids in label files that belong to no class."""


def _entry(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1)]
    id: Id | None = None
    colour: Colour | None = None


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str | None = None
    classes: Annotated[list[Annotated[_Entry, BeforeValidator(_entry)]], Field(min_length=1, max_length=IGNORE_LABEL)]
    palette: list[Colour] | None = None
    ignore: list[Id] = [IGNORE_LABEL]

    @model_validator(mode="after")
    def _palette_fits(self) -> Self:
        if self.palette is not None and len(self.palette) != len(self.classes):
            raise ValueError(f"palette has {len(self.palette)} colours for {len(self.classes)} classes")
        return self

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        for id_ in self.ids():
            if self.ids().count(id_) > 1 or id_ in self.ignore:
                raise ValueError(f"id {id_} is used twice: each id belongs to one class, or to 'ignore'")
        return self

    def ids(self) -> tuple[int, ...]:
        return tuple(place if entry.id is None else entry.id for place, entry in enumerate(self.classes))

    def colours(self) -> tuple[tuple[int, int, int], ...]:
        given: list[Colour | None] = list(self.palette) if self.palette else [None] * len(self.classes)
        return tuple(
            entry.colour or colour or made_up_colour(place)
            for place, (entry, colour) in enumerate(zip(self.classes, given, strict=True))
        )


def read_class_file(path: str | Path) -> ClassFile:
    """Returns the content of a classes file.

    Args:
        path: a file in a form above; read as JSON if it ends in ``.json``, else as text.

    Raises:
        ClassFileError: for a file that does not exist or has another form.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix.lower() == ".json" else _from_text(text)
    except OSError as error:
        raise ClassFileError(f"{path}: cannot be read ({error.strerror}); it names the classes: {FORMS}") from error
    except ValueError as error:  # not UTF-8, not JSON, or not a number
        raise ClassFileError(f"{path}: names no classes ({error}); allowed is {FORMS}") from error
    try:
        parsed = _Content.model_validate({"classes": content} if isinstance(content, list) else content)
        names = tuple(entry.name for entry in parsed.classes)
        default = path.parent.name if path.stem == "classes" else path.stem
        return ClassFile(
            ClassSet(parsed.name or default or "classes", names, parsed.colours()),
            parsed.ids(),
            frozenset(parsed.ignore),
        )
    except ValidationError as error:
        raise ClassFileError(f"{path}: {first_problem(error)}; allowed is {FORMS}") from error
    except ValueError as error:
        raise ClassFileError(f"{path}: {error}; allowed is {FORMS}") from error


def _from_text(text: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, *colour = [cell.strip() for cell in line.split(",")]
        entries.append({"name": name} | ({"colour": [int(cell) for cell in colour]} if colour else {}))
    return {"classes": entries}
