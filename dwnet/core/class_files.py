"""Files that name the classes of a data set: their names, their ids in label files, and their colours.

The library's own form is JSON, or text with one class per line:

.. code-block:: text

    {"name": "yard", "classes": [{"name": "grass", "id": 3, "colour": [0, 128, 0]}, "path"], "ignore": [0, 255]}
    {"classes": ["road", "sky"], "palette": [[128, 64, 128], [70, 130, 180]]}
    ["road", "sky"]

    road,128,64,128
    sky

The default id of an entry is its position in the list, from 0. An entry without a colour gets a generated one. The
default of ``ignore`` is id 255, unless a class has it. An entry of ``ignore`` is an id, or the [R, G, B] of pixels
without a class in colour masks. ``ignore`` may be one id alone, and may be called ``void``.

Files of other tools are recognised by their content (`dwnet.core.class_forms`): ``id2label`` of Hugging Face's
config.json, Cityscapes' labels (JSON or labels.py), CVAT's labelmap.txt, Roboflow's _classes.csv, labelme's labels.txt
and class_names.txt, class_dict.csv of Kaggle, label_colors.txt of CamVid. The names in `BUNDLED` stand for data sets.
"""

import codecs
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dwnet.core.class_forms import from_csv, from_json, from_python, from_text
from dwnet.core.classes import (
    CAMVID_11,
    CITYSCAPES_19,
    CITYSCAPES_LABEL_IDS,
    IGNORE_LABEL,
    ClassSet,
    free_colour,
)
from dwnet.core.errors import DWNetError
from dwnet.core.files import same_form
from dwnet.core.validation import first_problem

FORMS = (
    'JSON, {"classes": [NAME, ...]} with {"name": NAME, "id": 0..65535, "colour": [R, G, B]} for a NAME where needed, '
    '"palette" and "ignore" beside it, or a plain list of names; text with one NAME or NAME,R,G,B per line; or a class '
    "file of Hugging Face (id2label), Cityscapes, CVAT, Roboflow, labelme or Kaggle"
)
LARGEST_ID = 65535

Colour = tuple[int, int, int]


class ClassFileError(DWNetError):
    """A classes file that cannot be used."""


@dataclass(frozen=True)
class ClassFile:
    """The content of a classes file."""

    classes: ClassSet
    """The classes, in the order of the file."""
    ids: tuple[int, ...]
    """The id of each class in label files, 0..65535."""
    ignored: frozenset[int] = frozenset({IGNORE_LABEL})
    """Ids in label files that belong to no class."""
    colours: tuple[Colour | None, ...] = ()
    """The RGB colour of each class in colour masks; None for a class whose colour the file does not give."""
    ignored_colours: frozenset[Colour] = frozenset()
    """RGB colours in colour masks that belong to no class."""

    @classmethod
    def of(cls, classes: ClassSet) -> "ClassFile":
        """Returns classes whose ids are their positions, with their palette as colours of masks; 255 is ignored."""
        return cls(classes, tuple(range(len(classes))), colours=tuple(classes.palette))

    def as_dict(self) -> dict[str, Any]:
        """Returns the content as values for JSON, the same for equal contents."""
        return asdict(self) | {
            "ignored": sorted(self.ignored),
            "ignored_colours": [list(colour) for colour in sorted(self.ignored_colours)],
        }

    def listed(self) -> list[str]:
        """Returns each class as ``ID (NAME)``."""
        return [f"{id_} ({name})" for id_, name in zip(self.ids, self.classes.classes, strict=True)]


BUNDLED: dict[str, ClassFile] = {
    "camvid": ClassFile(
        CAMVID_11, tuple(range(11)), frozenset({11, 255}), tuple(CAMVID_11.palette), frozenset({(0, 0, 0)})
    ),
    "cityscapes": ClassFile(
        CITYSCAPES_19,
        CITYSCAPES_LABEL_IDS,
        frozenset({*range(34), 255} - set(CITYSCAPES_LABEL_IDS)),
        tuple(CITYSCAPES_19.palette),
    ),
    "cityscapes-trainids": ClassFile.of(CITYSCAPES_19),
}
"""Names that stand for a classes file. ``camvid``: the ids of the 480 x 360 version. ``cityscapes``: the ids of
``*_labelIds.png``. ``cityscapes-trainids``: those of ``*_labelTrainIds.png``."""


def _colour(value: Any) -> Any:
    """Returns ``#rrggbb`` as a list of three numbers; anything else as it is."""
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):
        try:
            return list(bytes.fromhex(value[1:]))
        except ValueError:
            return value
    return value


def _entry(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    """Returns a single id as a list of one; anything else as it is."""
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[int, Field(ge=0, le=LARGEST_ID, strict=True)]
_Level = Annotated[int, Field(ge=0, le=255, strict=True)]
_Colour = Annotated[tuple[_Level, _Level, _Level], BeforeValidator(_colour)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1)]
    id: Id | None = None
    colour: Annotated[_Colour | None, Field(validation_alias=AliasChoices("colour", "color"))] = None


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str | None = None
    classes: Annotated[list[Annotated[_Entry, BeforeValidator(_entry)]], Field(min_length=1, max_length=IGNORE_LABEL)]
    palette: list[_Colour] | None = None
    ignore: Annotated[
        list[Id | _Colour] | None,
        BeforeValidator(_listed),
        Field(validation_alias=AliasChoices("ignore", "void")),
    ] = None

    @model_validator(mode="after")
    def _palette_fits(self) -> Self:
        if self.palette is not None and len(self.palette) != len(self.classes):
            raise ValueError(f"palette has {len(self.palette)} colours for {len(self.classes)} classes")
        return self

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        ids, ignored = self.ids(), self.ignored()
        for id_ in ids:
            if ids.count(id_) > 1 or id_ in ignored:
                raise ValueError(f"id {id_} is used twice: each id belongs to one class, or to 'ignore'")
        for colour in self.colours():
            if colour is not None and colour in self.ignored_colours():
                raise ValueError(f"colour {colour} is used twice: each colour belongs to one class, or to 'ignore'")
        return self

    def ids(self) -> tuple[int, ...]:
        return tuple(place if entry.id is None else entry.id for place, entry in enumerate(self.classes))

    def ignored(self) -> frozenset[int]:
        if self.ignore is None:
            return frozenset({IGNORE_LABEL} - set(self.ids()))
        return frozenset(value for value in self.ignore if isinstance(value, int))

    def ignored_colours(self) -> frozenset[Colour]:
        return frozenset(value for value in self.ignore or () if isinstance(value, tuple))

    def colours(self) -> tuple[Colour | None, ...]:
        palette: list[Colour | None] = list(self.palette) if self.palette else [None] * len(self.classes)
        return tuple(entry.colour or given for entry, given in zip(self.classes, palette, strict=True))

    def class_file(self, default_name: str) -> ClassFile:
        given = self.colours()
        taken = {*(colour for colour in given if colour is not None), *self.ignored_colours()}
        shown = []
        for place, colour in enumerate(given):
            shown.append(colour or free_colour(place, taken))
            taken.add(shown[-1])
        names = tuple(same_form(entry.name) for entry in self.classes)
        classes = ClassSet(self.name or default_name, names, tuple(shown))
        return ClassFile(classes, self.ids(), self.ignored(), given, self.ignored_colours())


def read_class_file(path: str | Path) -> ClassFile:
    """Returns the content of a classes file.

    Args:
        path: a file in a form above, or a name of `BUNDLED` if there is no file of that name. Files ending in
            ``.json``, ``.csv`` and ``.py`` are read as such, others as text.

    Raises:
        ClassFileError: for a file that does not exist or has another form.
    """
    path = Path(path)
    if str(path) in BUNDLED and not path.exists():
        return BUNDLED[str(path)]
    try:
        content = _parsed(path.suffix.lower(), _decoded(path.read_bytes()))
    except OSError as error:
        raise ClassFileError(f"{path}: cannot be read ({error.strerror}); it names the classes: {FORMS}") from error
    except (ValueError, SyntaxError) as error:  # not UTF-8, not JSON, not Python, or not a number
        raise ClassFileError(f"{path}: names no classes ({error}); allowed is {FORMS}") from error
    try:
        parsed = _Content.model_validate({"classes": content} if isinstance(content, list) else content)
        anonymous = path.stem.lower() in ("classes", "_classes", "labels", "labelmap", "class_names", "config")
        return parsed.class_file((path.resolve().parent.name if anonymous else path.stem) or "classes")
    except ValidationError as error:
        raise ClassFileError(f"{path}: {first_problem(error)}; allowed is {FORMS}") from error
    except ValueError as error:
        raise ClassFileError(f"{path}: {error}; allowed is {FORMS}") from error


def _decoded(content: bytes) -> str:
    """Returns text in UTF-8, or in UTF-16 with a byte order mark, which Windows writes."""
    return content.decode("utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")


def _parsed(suffix: str, text: str) -> Any:
    if suffix == ".json":
        return from_json(json.loads(text))
    if suffix == ".py":
        return from_python(text)
    return from_csv(text) if suffix == ".csv" else from_text(text)
