"""Colours that people with a colour vision deficiency can tell apart, for the classes of a player."""

from collections.abc import Sequence

SAFE_COLOURS: tuple[tuple[int, int, int], ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
    (40, 40, 40),
    (0, 0, 0),
    (153, 255, 255),
    (0, 17, 187),
    (119, 68, 85),
    (17, 0, 34),
    (153, 102, 255),
    (170, 204, 170),
    (102, 0, 102),
    (68, 68, 0),
    (119, 17, 238),
    (221, 255, 187),
    (187, 0, 136),
    (102, 221, 238),
    (153, 85, 68),
    (51, 0, 0),
    (187, 170, 119),
    (238, 187, 102),
    (0, 0, 85),
    (204, 51, 204),
    (51, 34, 136),
    (153, 136, 255),
    (153, 238, 153),
    (34, 17, 34),
    (85, 0, 0),
    (34, 85, 170),
    (85, 85, 17),
    (238, 119, 51),
    (255, 119, 204),
    (204, 221, 204),
    (119, 34, 102),
    (102, 85, 136),
    (255, 68, 119),
)
"""Forty RGB colours, 0..255.

The first eight are those of Okabe and Ito, Color Universal Design, 2008. Each further one is the colour on a grid that
is farthest in Oklab from all before it, in the worst of normal vision, protanopia, deuteranopia and tritanopia
(simulated as in Machado et al., IEEE TVCG 2009).
"""


def safe_palette(classes: int) -> tuple[Sequence[int], ...]:
    """Returns one RGB colour, 0..255, for each of `classes` classes. After the fortieth class the colours repeat."""
    return tuple(SAFE_COLOURS[class_id % len(SAFE_COLOURS)] for class_id in range(classes))
