"""Plots as HTML: the data are unchanged, names are escaped, and a browser draws them without a network."""

import json
import re
from html import unescape

import pytest

from dwnet.core.errors import DWNetError
from dwnet.viewer import Line, grouped_bars, line_plot, plot_script, plot_style

NASTY = "</script><b>&\"'é"


def data_of(html: str) -> dict[str, object]:
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', html)
    return json.loads(text)


def test_the_data_of_a_line_plot_are_its_numbers() -> None:
    lines = [Line("a", [1.0, None, float("nan")], "#123456"), Line(NASTY, [0.0, 0.5, 2.0], "#654321", width=0.5)]
    html = line_plot([0.0, 0.04, 0.08], lines, x_label="seconds", y_label="flips, %")
    assert data_of(html) == {
        "x": [0.0, 0.04, 0.08],
        "x_label": "seconds",
        "y_label": "flips, %",
        "lines": [
            {"name": "a", "colour": "#123456", "width": 1.6, "y": [1.0, None, None]},
            {"name": NASTY, "colour": "#654321", "width": 0.5, "y": [0.0, 0.5, 2.0]},
        ],
    }
    (label,) = re.findall(r'aria-label="([^"]*)"', html)
    assert unescape(label) == f"flips, % over seconds: a, {NASTY}"


def test_a_line_of_another_length_is_refused() -> None:
    with pytest.raises(DWNetError, match="line 'a' has 1 values, allowed are 2, one for each x"):
        line_plot([0.0, 1.0], [Line("a", [1.0], "#000")], x_label="x", y_label="y")


def test_bars_are_as_long_as_their_values() -> None:
    html = grouped_bars(
        {"road": {"a": 4.0, "b": 1.0}, NASTY: {"a": None, "b": 0.0}}, {"a": "#111", "b": "#222"}, unit="%"
    )
    assert re.findall(r"width:([\d.]+)%;background:(#\d+)", html) == [
        ("85.00", "#111"),
        ("21.25", "#222"),
        ("0.00", "#222"),
    ]
    assert [unescape(name) for name in re.findall(r'<th scope="row">(.*?)</th>', html)] == ["road", NASTY]
    assert "4.00 %" in html
    assert "–" in html


def test_bars_of_nothing_have_no_length() -> None:
    html = grouped_bars({"road": {"a": 0.0}}, {"a": "#111"}, unit="%")
    assert "width:0.00%" in html


def test_a_page_needs_nothing_else() -> None:
    page = plot_style() + plot_script()
    assert not re.findall(r"(?:src|href)=|@import|url\(", page)
    assert page.count("</script>") == 1
    assert len(page) < 80_000
