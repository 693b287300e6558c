"""Markdown tables, and CSV files that are written row by row."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from dwnet.core.errors import DWNetError


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table without a final newline. In cells, ``|`` is escaped and line breaks become spaces.

    Raises:
        DWNetError: if a row does not have one cell for each heading.
    """
    lines = [_line(headings), "|" + "---|" * len(headings)]
    for row in rows:
        if len(row) != len(headings):
            raise DWNetError(f"a row has {len(row)} cells; allowed is one for each of the {len(headings)} headings")
        lines.append(_line(row))
    return "\n".join(lines)


def number_cell(value: float | None, decimals: int = 2) -> str:
    """Returns a number with fixed decimals; ``-`` for None."""
    return "-" if value is None else f"{value:.{decimals}f}"


def _line(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"


class CsvTable:
    """A CSV file (UTF-8) that is written row by row. As a context manager it closes the file.

    Args:
        path: path of the file; an existing file is replaced.
        columns: headings of the columns.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._columns = len(columns)
        self._file = path.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        self._writer = csv.writer(self._file)
        self._writer.writerow(columns)

    def write(self, row: Sequence[object]) -> None:
        """Adds a row. None gives an empty cell.

        Raises:
            DWNetError: if the row does not have one cell for each column.
        """
        if len(row) != self._columns:
            raise DWNetError(f"a row has {len(row)} cells; allowed is one for each of the {self._columns} columns")
        self._writer.writerow(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
