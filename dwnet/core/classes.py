"""Class sets: names and colours of the ids in a label map."""

import colorsys
from collections.abc import Collection
from dataclasses import dataclass

from dwnet.core.errors import DWNetError

IGNORE_LABEL = 255
"""Label of the pixels without a class, in every label map inside the library."""


@dataclass(frozen=True)
class ClassSet:
    """The classes of a data set. A label map holds indices into `classes`, or `IGNORE_LABEL`.

    Raises DWNetError for an invalid set: no classes or more than 255, empty or repeated names, a palette of another
    length, colours that are not three integers 0..255, or a colour that two classes share.
    """

    name: str
    """Name of the set in checkpoints and messages, for example ``camvid11``."""
    classes: tuple[str, ...]
    """One name per id, in the order of the ids."""
    palette: tuple[tuple[int, int, int], ...]
    """One RGB colour, 0..255, per class."""

    def __post_init__(self) -> None:
        if not self.name:
            raise DWNetError("a class set needs a name; found an empty one")
        if not 1 <= len(self.classes) <= IGNORE_LABEL:
            raise DWNetError(f"class set {self.name!r}: found {len(self.classes)} classes, allowed 1..{IGNORE_LABEL}")
        if not all(isinstance(name, str) and name for name in self.classes):
            raise DWNetError(f"class set {self.name!r}: class names must be non-empty text; found {self.classes}")
        _refuse_repeats(self.name, "class names", self.classes)
        if len(self.palette) != len(self.classes):
            raise DWNetError(
                f"class set {self.name!r}: found {len(self.palette)} colours for {len(self.classes)} classes; "
                "allowed is one colour per class"
            )
        for class_name, colour in zip(self.classes, self.palette, strict=True):
            if len(colour) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in colour):
                raise DWNetError(
                    f"class set {self.name!r}: colour of {class_name!r} is {colour}; allowed are three integers 0..255"
                )
        _refuse_repeats(self.name, "colours", self.palette)

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.classes)


def made_up_colour(class_id: int) -> tuple[int, int, int]:
    """Returns a generated RGB colour for class `class_id` (0..254); all 255 colours differ."""
    # The golden angle gives neighbouring ids distinct hues. Brightness and rounding make all colours unique.
    hue = (0.61803398875 * class_id) % 1
    value = 0.95 - 0.25 * (class_id // 12 % 3)
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.65, value))
    return red, green, blue


def free_colour(class_id: int, taken: Collection[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Returns a generated RGB colour for class `class_id` (0..254) that is not in `taken` (at most 254 colours)."""
    candidates = [made_up_colour(class_id), *(made_up_colour(other) for other in reversed(range(IGNORE_LABEL)))]
    return next(colour for colour in candidates if colour not in taken)


def made_up_classes(number: int) -> ClassSet:
    """Returns `number` (1..255) classes named ``class 0``, ``class 1``, ... with generated colours."""
    ids = range(number)
    return ClassSet("unnamed", tuple(f"class {i}" for i in ids), tuple(made_up_colour(i) for i in ids))


def _refuse_repeats(set_name: str, what: str, values: tuple[object, ...]) -> None:
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise DWNetError(f"class set {set_name!r}: {what} must differ; found more than once: {', '.join(repeated)}")


CAMVID_11 = ClassSet(
    name="camvid11",
    classes=(
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)
"""CamVid's usual eleven classes, in the order of the 480 x 360 version's ids."""

CITYSCAPES_19 = ClassSet(
    name="cityscapes19",
    classes=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    palette=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
)
"""Cityscapes' nineteen evaluated classes, in the order of its train ids."""

CITYSCAPES_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The id of each class of `CITYSCAPES_19` in files ``*_labelIds.png``. The other ids of 0..33 are void."""
