"""Statistics and files of a comparison."""

from pathlib import Path

import numpy as np
import pytest

from dwnet.comparison import (
    ComparedFrame,
    MethodFrame,
    relative_percent,
)
from dwnet.comparison.files import frame_columns, frame_row, write_json
from dwnet.comparison.spread import Spread
from dwnet.core.tables import CsvTable


def test_spread_against_numpy() -> None:
    spread = Spread()
    assert np.isnan([spread.mean, spread.median, *spread.quartiles]).all()
    numbers = np.random.default_rng(0).lognormal(3, 1, 1001)
    for number in numbers:
        spread.update(float(number))
    assert spread.count == 1001
    assert spread.mean == pytest.approx(numbers.mean())
    assert spread.median == pytest.approx(np.median(numbers), rel=0.0051)
    assert spread.quartiles == pytest.approx(np.quantile(numbers, (0.25, 0.75), method="inverted_cdf"), rel=0.0051)
    for extreme in (0.0, 1e9):
        alone = Spread()
        alone.update(extreme)
        assert np.isfinite(alone.median)


def test_relative_percent() -> None:
    assert relative_percent(3.0, 2.0) == 50.0
    assert relative_percent(1.0, 2.0) == -50.0
    assert relative_percent(1.0, 0.0) is None
    assert relative_percent(None, 2.0) is None
    assert relative_percent(1.0, None) is None


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "bad.json", {"value": float("nan")})


def test_the_table_leaves_unknown_cells_empty(tmp_path: Path) -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    found = MethodFrame(picture[..., 0], 1.5, 0.0, flips_percent=None, paint=picture.copy)
    frame = ComparedFrame(
        index=3,
        pts_seconds=0.5,
        compared=1,
        expected=None,
        image=picture,
        methods={"baseline": found},
        summaries={},
        scene_cut=True,
        coarse_flow_px=None,
        comparable_percent=None,
    )
    with CsvTable(tmp_path / "table.csv", frame_columns(["baseline"])) as table:
        table.write(frame_row(frame, ["baseline"]))
    assert (tmp_path / "table.csv").read_text().splitlines() == [
        "frame,pts_seconds,scene_cut,comparable_percent,baseline_flips_percent,baseline_latency_ms,baseline_flow_ms",
        "3,0.500000,1,,,1.500,0.000",
    ]
