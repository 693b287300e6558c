"""Markdown tables and CSV files."""

from pathlib import Path

import numpy as np
import pytest

from dwnet import __version__
from dwnet.core.tables import CsvTable, markdown_table, number_cell
from dwnet.core.versions import installed_versions


def test_a_markdown_table() -> None:
    table = markdown_table(["set", "flips %"], [["a", number_cell(1.006)], ["b|c\nd", number_cell(None)]])
    assert table.splitlines() == ["| set | flips % |", "|---|---|", "| a | 1.01 |", "| b\\|c d | - |"]
    assert markdown_table(["x"], []) == "| x |\n|---|"
    assert number_cell(0.12346, 4) == "0.1235"
    with pytest.raises(ValueError, match="a row has 1 cells; allowed is one for each of the 2 headings"):
        markdown_table(["a", "b"], [["c"]])


def test_a_csv_file_is_written_row_by_row(tmp_path: Path) -> None:
    with CsvTable(tmp_path / "rows.csv", ["name", "value"]) as table:
        table.write(["Straße, nass", None])
        with pytest.raises(ValueError, match="a row has 1 cells; allowed is one for each of the 2 columns"):
            table.write(["alone"])
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines() == ["name,value", '"Straße, nass",']


def test_versions() -> None:
    found = installed_versions(["dwnet", "numpy", "no-such-package-at-all"])
    assert found == {"dwnet": __version__, "numpy": np.__version__, "no-such-package-at-all": None}
