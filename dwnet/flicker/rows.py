"""The CSV file of a measurement, with a row for each frame."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dwnet.core.tables import CsvTable
from dwnet.flicker.flows import PairMotion
from dwnet.flicker.tally import PairCount
from dwnet.video import VideoFrame

COLUMNS = ("flips_percent", "flicker_error_percent", "logit_jitter")
"""Columns of each set; a heading starts with the name of the set."""


def row_columns(sets: Sequence[str]) -> list[str]:
    """Returns the headings of the table for sets with these names."""
    columns = [f"{name}_{column}" for name in sets for column in COLUMNS]
    return ["clip", "frame", "pts_seconds", "scene_cut", "compared_percent", *columns]


class FrameRows:
    """Adds a row to a table for each measured frame (`measure.RowSink`).

    Args:
        table: the table, with the columns of `row_columns`.
        clip: name of the clip.
    """

    def __init__(self, table: CsvTable, clip: str) -> None:
        self._table, self._clip = table, clip

    def __call__(
        self,
        frame: VideoFrame,
        motion: PairMotion | None,
        counts: Sequence[PairCount | None],
        labels: Sequence[NDArray[np.uint8]],
    ) -> None:
        """Adds the row of a frame. Unknown values give empty cells."""
        cells: list[float | None] = [None if motion is None else 100 * float(motion.visible.mean())]
        for count in counts:
            cells += [None] * 3 if count is None else [count.flips_percent, count.error_percent, count.jitter]
        cut = int(motion is None and frame.index > 0)
        row = ["" if cell is None else f"{cell:.6g}" for cell in cells]
        self._table.write([self._clip, frame.index, f"{frame.pts_seconds:.6f}", cut, *row])
