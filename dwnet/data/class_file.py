"""A user's own classes: a small JSON file with their names, ids on disk and colours."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet import IGNORE_LABEL
from dwnet.data.classes import ClassSet, made_up_colour
from dwnet.data.pairs import DataError, read_ids

EXAMPLE = '{"name": "yard", "classes": [{"name": "grass", "id": 3, "colour": [0, 128, 0]}, ...], "ignore": [0, 255]}'


@dataclass(frozen=True)
class OwnClasses:
    """Classes, and the ids they have in label files."""

    classes: ClassSet
    ids: tuple[int, ...]
    """The id on disk of each class, 0..255."""
    ignored: frozenset[int]
    """Ids on disk that are no class."""

    def read_labels(self, path: Path) -> NDArray[np.uint8]:
        """Read a label PNG as (H,W) uint8 ids of `classes` and `IGNORE_LABEL`.

        Raises:
            DataError: no image, more than one channel, or an id that is neither a class's nor ignored.
        """
        labels = read_ids(path)
        if labels.ndim != 2 or labels.dtype != np.uint8:
            channels = 1 if labels.ndim == 2 else labels.shape[2]
            raise DataError(f"{path}: found {channels} channels of {labels.dtype}; allowed is one channel of uint8 ids")
        lookup = np.full(256, IGNORE_LABEL, np.uint8)
        lookup[list(self.ids)] = np.arange(len(self.ids))
        known = np.zeros(256, np.bool_)
        known[[*self.ids, *self.ignored]] = True
        unknown = np.flatnonzero((np.bincount(labels.ravel(), minlength=256) > 0) & ~known)
        if unknown.size:
            allowed = ", ".join(f"{id_} ({name})" for id_, name in zip(self.ids, self.classes.classes, strict=True))
            ignored = ", ".join(map(str, sorted(self.ignored))) or "none"
            raise DataError(
                f"{path}: found ids {', '.join(map(str, unknown))}; allowed are {allowed}, and as ignored {ignored}"
            )
        return cv2.LUT(labels, lookup)


def read_classes(path: Path) -> OwnClasses:
    """Read a classes file, of the form of `EXAMPLE`.

    A plain name stands for an object with that alone. ``id`` may be left out (then it is the class's place, from 0),
    ``colour`` (then one is chosen), and ``ignore`` (then 255 is).

    Raises:
        DataError: no such file, no JSON, or a content of another form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))  # not UTF-8 is a ValueError
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); it names the classes, as {EXAMPLE}") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); allowed is {EXAMPLE}") from error
    try:
        return _parsed(content, path)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path}: {reason}; allowed is {EXAMPLE}") from error


def class_entries(classes: Any) -> list[dict[str, Any]]:
    """The classes of a file, each as an object: a plain name is one that has nothing else.

    Raises:
        TypeError: for what is no list of names and objects with a ``name``.
    """
    if not isinstance(classes, list):
        raise TypeError(f"found {type(classes).__name__} for the classes")
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in classes]
    for entry in entries:
        if not isinstance(entry, dict):
            raise TypeError(f"found the class {entry!r}")
        if not isinstance(entry["name"], str):
            raise TypeError(f"found the name {entry['name']!r}")
    return entries


def _parsed(content: Any, path: Path) -> OwnClasses:
    if not isinstance(content, dict):
        raise TypeError(f"found a {type(content).__name__}")
    unknown = sorted(content.keys() - {"name", "classes", "ignore"})
    entries = class_entries(content["classes"])
    for entry in entries:
        unknown += sorted(entry.keys() - {"name", "id", "colour"})
    if unknown:
        raise ValueError(f"found the unknown entry {unknown[0]!r}")
    ids = tuple(entry.get("id", place) for place, entry in enumerate(entries))
    ignored = frozenset(content.get("ignore", [IGNORE_LABEL]))
    for id_ in (*ids, *ignored):
        if not isinstance(id_, int) or not 0 <= id_ <= 255:
            raise ValueError(f"found the id {id_!r}, allowed are 0..255")
    shared = [id_ for id_ in ids if ids.count(id_) > 1 or id_ in ignored]
    if shared:
        raise ValueError(f"found the id {shared[0]} twice")
    palette = tuple(tuple(entry.get("colour", made_up_colour(place))) for place, entry in enumerate(entries))
    names = tuple(entry["name"] for entry in entries)
    return OwnClasses(ClassSet(content.get("name", path.parent.name), names, palette), ids, ignored)
