"""The original CamVid labels: 32 colours, and the usual grouping of their classes into eleven."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.core.class_files import ClassFileError, read_class_file
from dwnet.core.classes import CAMVID_11, IGNORE_LABEL
from dwnet.data.own_labels import read_content
from dwnet.data.pairs import DataError

VOID = "Void"

GROUPS: dict[str, tuple[str, ...]] = {
    "Sky": ("Sky",),
    "Building": ("Building", "Archway", "Bridge", "Tunnel", "Wall"),
    "Pole": ("Column_Pole", "TrafficCone"),
    "Road": ("Road", "LaneMkgsDriv", "LaneMkgsNonDriv"),
    "Pavement": ("Sidewalk", "ParkingBlock", "RoadShoulder"),
    "Tree": ("Tree", "VegetationMisc"),
    "SignSymbol": ("SignSymbol", "Misc_Text", "TrafficLight"),
    "Fence": ("Fence",),
    "Car": ("Car", "OtherMoving", "SUVPickupTruck", "Train", "Truck_Bus"),
    "Pedestrian": ("Pedestrian", "Animal", "CartLuggagePram", "Child"),
    "Bicyclist": ("Bicyclist", "MotorcycleScooter"),
}
"""The eleven classes of `CAMVID_11` with the original classes of each. `VOID` belongs to none."""

PUBLISHED_COLOURS: dict[str, tuple[int, int, int]] = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0),
    "Wall": (64, 192, 0),
}
"""RGB colours of the 32 classes, as the release's ``label_colors.txt`` gives them."""

_UNKNOWN = 254


class ColourLabels:
    """Reads colour label images as ids of `CAMVID_11`, void as `IGNORE_LABEL`.

    Args:
        colours: the RGB colour of each of the 32 original classes.
    """

    def __init__(self, colours: dict[str, tuple[int, int, int]]) -> None:
        self.colours = colours
        # One entry per RGB colour (16 MB): fast, and without collisions.
        self._ids = np.full(1 << 24, _UNKNOWN, np.uint8)
        for group, members in GROUPS.items():
            for member in members:
                self._ids[_code(*colours[member])] = CAMVID_11.classes.index(group)
        self._ids[_code(*colours[VOID])] = IGNORE_LABEL

    @classmethod
    def published(cls) -> "ColourLabels":
        """Returns the reader of the release's own colours."""
        return cls(PUBLISHED_COLOURS)

    @classmethod
    def read(cls, path: Path) -> "ColourLabels":
        """Returns the reader of the colours in a ``label_colors.txt``, one ``R G B name`` per line, or a classes file.

        Raises:
            DataError: for a line of another form, or a class that is unknown, missing or listed twice.
        """
        if path.suffix.lower() == ".csv":
            return cls._from_table(path)
        colours: dict[str, tuple[int, int, int]] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            fields = line.split()
            if not fields:
                continue
            values = [int(field) for field in fields[:3] if field.isascii() and field.isdigit() and int(field) <= 255]
            if len(fields) != 4 or len(values) != 3:
                raise DataError(
                    f"{path}, line {number}: found {line.strip()!r}; allowed is 'R G B name', colours 0..255"
                )
            name = fields[3]
            if name not in PUBLISHED_COLOURS or name in colours:
                found = "twice" if name in colours else "unknown"
                raise DataError(
                    f"{path}, line {number}: class {name!r} is {found}; allowed, each once, are "
                    f"{', '.join(PUBLISHED_COLOURS)}"
                )
            colour = (values[0], values[1], values[2])
            if colour in colours.values():
                raise DataError(
                    f"{path}, line {number}: {name} has another class's colour, {colour}; "
                    "allowed is one class per colour"
                )
            colours[name] = colour
        if missing := sorted(PUBLISHED_COLOURS.keys() - colours.keys()):
            raise DataError(
                f"{path}: no colour for {', '.join(missing)}; allowed are all {len(PUBLISHED_COLOURS)} classes"
            )
        return cls(colours)

    @classmethod
    def _from_table(cls, path: Path) -> "ColourLabels":
        """Returns the reader of Kaggle's ``class_dict.csv``, ``name,r,g,b``."""
        try:
            own = read_class_file(path)
        except ClassFileError as error:
            raise DataError(str(error)) from error
        found = dict(zip(own.classes.classes, own.colours, strict=True))
        colours = {name: colour for name, colour in found.items() if colour is not None}
        if colours.keys() != PUBLISHED_COLOURS.keys():
            lost = sorted(PUBLISHED_COLOURS.keys() - colours.keys()) or sorted(
                colours.keys() - PUBLISHED_COLOURS.keys()
            )
            raise DataError(f"{path}: {lost[0]} is missing or unknown; allowed are {', '.join(PUBLISHED_COLOURS)}")
        return cls(colours)

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Returns the label image at `path` as (H, W) uint8; raises DataError for a colour that belongs to no class."""
        colours = read_content(path).colours
        if colours is None:
            raise DataError(f"{path}: found one channel of grey; allowed is an image of the class colours")
        red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
        codes = _code(red, green, blue)
        labels = self._ids[codes]
        unknown = codes[labels == _UNKNOWN]
        if unknown.size:
            values, counts = np.unique(unknown, return_counts=True)
            worst = int(values[counts.argmax()])
            colour = (worst >> 16, worst >> 8 & 255, worst & 255)
            raise DataError(
                f"{path}: found colour {colour} at {counts.max()} pixels ({values.size} unknown colours in all); "
                f"allowed are the {len(self.colours)} class colours"
            )
        return labels


class NumberLabels:
    """Reads labels whose ids are positions in a list of the 32 classes, as `ColourLabels` does: fast.ai's copy.

    Args:
        names: the original classes in the order of the ids.
        source: the list's file, for messages.

    Raises:
        DataError: for an unknown class.
    """

    def __init__(self, names: Sequence[str], source: Path) -> None:
        unknown = sorted(set(names) - PUBLISHED_COLOURS.keys())
        if unknown:
            raise DataError(f"{source}: class {unknown[0]!r} is unknown; allowed are {', '.join(PUBLISHED_COLOURS)}")
        group_of = {member: group for group, members in GROUPS.items() for member in members}
        self._names = tuple(names)
        self._ids = np.full(256, IGNORE_LABEL, np.uint8)
        for place, name in enumerate(names):
            if name in group_of:
                self._ids[place] = CAMVID_11.classes.index(group_of[name])

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Returns the label image at `path` as (H, W) uint8; raises DataError for an id beyond the list."""
        ids = read_content(path).ids
        if ids is None:
            raise DataError(f"{path}: is a colour image; allowed is one channel of ids 0..{len(self._names) - 1}")
        if ids.min() < 0 or ids.max() >= len(self._names):
            found = int(ids.min()) if ids.min() < 0 else int(ids.max())
            raise DataError(f"{path}: found id {found}; allowed are 0..{len(self._names) - 1}, places in codes.txt")
        return self._ids[ids]


def _code(red: Any, green: Any, blue: Any) -> Any:
    return red << 16 | green << 8 | blue
