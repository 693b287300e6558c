"""Annotations of labelme: a JSON file of shapes beside each image, drawn as labelme's own export draws them."""

import base64
import binascii
import io
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dwnet.core.class_files import ClassFile
from dwnet.core.class_forms import LABELME_IGNORED
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.files import same_form
from dwnet.core.validation import first_problem
from dwnet.data.pairs import DataError

BACKGROUNDS = ("_background_", "background")
"""Names of the class of pixels without a shape. In a set without such a class, these pixels have no label."""
_SHAPES = ("polygon", "rectangle", "circle", "mask")


class _Shape(BaseModel):
    model_config = ConfigDict(extra="ignore")
    label: str
    points: list[tuple[float, float]]
    shape_type: str = "polygon"
    mask: str | None = None


class _Annotation(BaseModel):
    model_config = ConfigDict(extra="ignore")
    shapes: list[_Shape]
    width: Annotated[int, Field(alias="imageWidth", ge=1, le=65535)]
    height: Annotated[int, Field(alias="imageHeight", ge=1, le=65535)]


def is_annotation(path: Path) -> bool:
    """Returns whether a JSON file holds labelme's shapes."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "shapes" in content


def read_annotation(own: ClassFile, path: Path) -> NDArray[np.uint8]:
    """Returns the shapes of a file as (H, W) uint8 class indices and `IGNORE_LABEL`. Later shapes cover earlier ones.

    The label ``__ignore__`` is void. Pixels without a shape are of the class ``_background_`` or ``background``, void
    if there is no such class.

    Raises:
        DataError: for a file of another form, a label that is no class, or a shape that has no area.
    """
    try:
        found = _Annotation.model_validate_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise DataError(f"{path}: is no annotation of labelme ({first_problem(error)})") from error
    except ValueError as error:
        raise DataError(f"{path}: is no annotation of labelme ({error})") from error
    places: dict[str, int] = {name: place for place, name in enumerate(own.classes.classes)}
    background = next((places[name] for name in BACKGROUNDS if name in places), IGNORE_LABEL)
    places.setdefault(LABELME_IGNORED, IGNORE_LABEL)
    labels = np.full((found.height, found.width), background, np.uint8)
    for shape in found.shapes:
        place = places.get(same_form(shape.label))
        if place is None:
            raise DataError(
                f"{path}: has the label {shape.label!r}; allowed are {', '.join(own.classes.classes)} and "
                f"{LABELME_IGNORED}"
            )
        labels[_area(shape, labels.shape, path)] = place
    return labels


def _area(shape: _Shape, size: tuple[int, ...], path: Path) -> NDArray[np.bool_]:
    """Returns the pixels of a shape, as `labelme.utils.shape_to_mask` does."""
    points, kind = shape.points, shape.shape_type
    canvas = Image.new("1", (size[1], size[0]), 0)
    draw = ImageDraw.Draw(canvas)
    if kind == "polygon" and len(points) > 2:
        draw.polygon(points, outline=1, fill=1)
    elif kind == "rectangle" and len(points) == 2:
        (left, right), (top, bottom) = (sorted(axis) for axis in zip(*points, strict=True))
        draw.rectangle([left, top, right, bottom], outline=1, fill=1)
    elif kind == "circle" and len(points) == 2:
        (x, y), (rim_x, rim_y) = points
        radius = float(np.hypot(rim_x - x, rim_y - y))
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=1, fill=1)
    elif kind == "mask" and len(points) == 2 and shape.mask is not None:
        left, top = (round(value) for value in points[0])
        canvas.paste(_mask(shape.mask, path), (left, top))
    else:
        raise DataError(
            f"{path}: has a shape {kind!r} of {len(points)} points; allowed are {', '.join(_SHAPES)} with an area"
        )
    return np.array(canvas)


def _mask(encoded: str, path: Path) -> Any:
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as image:
            return image.convert("1", dither=Image.Dither.NONE)
    except (binascii.Error, UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(f"{path}: holds a mask that is no image ({error})") from error
