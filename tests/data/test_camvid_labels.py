"""CamVid's original colour labels: each of the 32 classes gets the id of its group; unknown colours are errors."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dwnet.core.classes import CAMVID_11, IGNORE_LABEL
from dwnet.data.camvid_labels import GROUPS, PUBLISHED_COLOURS, VOID, ColourLabels
from dwnet.data.pairs import DataError


def write_colours(path: Path, image: np.ndarray) -> Path:
    cv2.imwrite(str(path), np.asarray(image, np.uint8)[..., ::-1])
    return path


def table(colours: dict[str, tuple[int, int, int]]) -> str:
    return "".join(f"{r} {g} {b}\t{name}\n" for name, (r, g, b) in colours.items())


def test_the_groups_divide_the_32_classes() -> None:
    members = [member for group in GROUPS.values() for member in group]
    assert tuple(GROUPS) == CAMVID_11.classes
    assert sorted([*members, VOID]) == sorted(PUBLISHED_COLOURS)
    assert len(PUBLISHED_COLOURS) == len(set(PUBLISHED_COLOURS.values())) == 32


def test_every_colour_is_its_groups_id(tmp_path: Path) -> None:
    """Ids of the usual grouping, written by hand, one pixel per class."""
    expected = {
        "Sky": 0, "Building": 1, "Archway": 1, "Bridge": 1, "Tunnel": 1, "Wall": 1, "Column_Pole": 2, "TrafficCone": 2,
        "Road": 3, "LaneMkgsDriv": 3, "LaneMkgsNonDriv": 3, "Sidewalk": 4, "ParkingBlock": 4, "RoadShoulder": 4,
        "Tree": 5, "VegetationMisc": 5, "SignSymbol": 6, "Misc_Text": 6, "TrafficLight": 6, "Fence": 7, "Car": 8,
        "OtherMoving": 8, "SUVPickupTruck": 8, "Train": 8, "Truck_Bus": 8, "Pedestrian": 9, "Animal": 9,
        "CartLuggagePram": 9, "Child": 9, "Bicyclist": 10, "MotorcycleScooter": 10, "Void": IGNORE_LABEL,
    }  # fmt: skip
    image = np.array([[PUBLISHED_COLOURS[name] for name in expected]])
    labels = ColourLabels.published()(write_colours(tmp_path / "all_L.png", image))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [list(expected.values())]


def test_an_unknown_colour_names_file_colour_and_count(tmp_path: Path) -> None:
    image = np.full((4, 5, 3), 128)
    image[1, :3] = (1, 2, 3)
    image[2, 0] = (9, 9, 9)
    path = write_colours(tmp_path / "x_L.png", image)
    message = r"x_L\.png: found colour \(1, 2, 3\) at 3 pixels \(2 unknown colours in all\); allowed are the 32"
    with pytest.raises(DataError, match=message):
        ColourLabels.published()(path)


def test_grey_labels_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x_L.png"), np.zeros((4, 5), np.uint8))
    with pytest.raises(
        DataError, match=r"x_L\.png: found one channel of grey; allowed is an image of the class colours"
    ):
        ColourLabels.published()(tmp_path / "x_L.png")


def test_label_colors_txt_replaces_the_colours(tmp_path: Path) -> None:
    file = tmp_path / "label_colors.txt"
    file.write_text(table(PUBLISHED_COLOURS | {"Road": (1, 2, 3)}) + "\n")
    path = write_colours(tmp_path / "x_L.png", np.array([[(1, 2, 3), (128, 128, 128)]]))
    assert ColourLabels.read(file)(path).tolist() == [[3, 0]]
    with pytest.raises(DataError, match="found colour"):
        ColourLabels.published()(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 Road\n", "line 1: found '1 2 Road'; allowed is 'R G B name'"),
        ("1 2 256 Road\n", "line 1: found '1 2 256 Road'"),
        ("\n1 2 3 Hovercraft\n", "line 2: class 'Hovercraft' is unknown"),
        ("1 2 3 Road\n4 5 6 Road\n", "line 2: class 'Road' is twice"),
        ("1 2 3 Road\n1 2 3 Sky\n", "line 2: Sky has another class's colour"),
        ("1 2 3 Road\n", "no colour for Animal, Archway, .*allowed are all 32 classes"),
    ],
)
def test_a_bad_label_colors_txt_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "label_colors.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=rf"label_colors\.txt.*{message}"):
        ColourLabels.read(file)
