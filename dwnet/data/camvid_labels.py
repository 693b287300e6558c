"""The original CamVid labels: 32 colours, and the usual grouping of their classes into eleven."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import CAMVID_11, IGNORE_LABEL
from dwnet.data.pairs import DataError, read_raw

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
        """Returns the reader of the colours in a ``label_colors.txt``: one ``R G B name`` per line.

        Raises:
            DataError: for a line of another form, or a class that is unknown, missing or listed twice.
        """
        colours: dict[str, tuple[int, int, int]] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
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

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Returns the label image at `path` as (H, W) uint8; raises DataError for a colour that belongs to no class."""
        image = read_raw(path)
        if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8:
            channels = 1 if image.ndim == 2 else image.shape[2]
            raise DataError(f"{path}: found {channels} channels of {image.dtype}; allowed is a colour image of uint8")
        blue, green, red = (image[..., channel].astype(np.int32) for channel in range(3))
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


def _code(red: Any, green: Any, blue: Any) -> Any:
    return red << 16 | green << 8 | blue
