"""Interactive plots as HTML fragments that need no network access. A page contains `plot_style` and `plot_script` once.

uPlot (`vendor/uplot`) draws lines. Bars are HTML and CSS.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from markupsafe import Markup

from dwnet.core.errors import DWNetError

SET_COLOURS = ("#2563b8", "#d9572b", "#2c8c5a", "#8a4fb5", "#b38a12", "#c23b70", "#3a9fb0", "#6b6f76")
"""Colours of the sets of a report, in the order of the sets. They repeat after the last one."""


@dataclass(frozen=True)
class Line:
    """One line of a plot."""

    name: str
    y: Sequence[float | None]
    """One value for each x; None gives a gap."""
    colour: str
    """CSS colour."""
    width: float = 1.6
    """Line width in pixels."""


def line_plot(x: Sequence[float], lines: Sequence[Line], *, x_label: str, y_label: str) -> Markup:
    """Returns a line plot. It shows the values under the cursor, zooms by dragging and resets with a double click.

    Args:
        x: positions, in ascending order.
        lines: the lines, each with one value for each x.
        x_label: label of the x axis.
        y_label: label of the y axis.

    Raises:
        DWNetError: for a line with another number of values.
    """
    for line in lines:
        if len(line.y) != len(x):
            raise DWNetError(f"line {line.name!r} has {len(line.y)} values, allowed are {len(x)}, one for each x")
    plot = {
        "x": list(x),
        "x_label": x_label,
        "y_label": y_label,
        "lines": [
            {"name": line.name, "colour": line.colour, "width": line.width, "y": [_finite(value) for value in line.y]}
            for line in lines
        ],
    }
    # Inside a script element only "</" and "<!--" are special. JSON can escape "<".
    data = json.dumps(plot, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    label = f"{y_label} over {x_label}: {', '.join(line.name for line in lines)}"
    return Markup(
        '<div class="dwv-lines" role="img" aria-label="{}"><script type="application/json">{}</script></div>'
        '<p class="dwv-hint">Drag to zoom, double click to show all.</p>'
    ).format(label, Markup(data))


def grouped_bars(groups: Mapping[str, Mapping[str, float | None]], colours: Mapping[str, str], *, unit: str) -> Markup:
    """Returns horizontal bars in groups, with their values.

    Args:
        groups: the values of each group by bar name; None is shown as a dash.
        colours: CSS colour of each bar name.
        unit: unit, printed after each value.
    """
    largest = max((value for bars in groups.values() for value in bars.values() if value is not None), default=0.0)
    rows = []
    for group, bars in groups.items():
        cells = []
        for name, value in bars.items():
            if value is None:
                cells.append(Markup('<div class="dwv-bar" title="{}">–</div>').format(name))
                continue
            share = 85 * value / largest if largest > 0 else 0
            cells.append(
                Markup(
                    '<div class="dwv-bar" title="{}"><i style="width:{:.2f}%;background:{}"></i>{:.2f} {}</div>'
                ).format(name, share, colours[name], value, unit)
            )
        rows.append(Markup('<tr><th scope="row">{}</th><td>{}</td></tr>').format(group, Markup("").join(cells)))
    key = Markup("").join(
        Markup('<span><i style="background:{}"></i>{}</span>').format(colour, name) for name, colour in colours.items()
    )
    return Markup('<div class="dwv-key">{}</div><table class="dwv-bars"><tbody>{}</tbody></table>').format(
        key, Markup("").join(rows)
    )


@cache
def plot_style() -> Markup:
    """Returns the style sheet of the plots, for the head of the page."""
    return Markup("<style>{}\n{}</style>").format(
        Markup(_text("vendor/uplot/uPlot.min.css")), Markup(_text("plots.css"))
    )


@cache
def plot_script() -> Markup:
    """Returns the script that draws the plots, for the end of the page's body."""
    return Markup("<script>{}\n{}</script>").format(
        Markup(_text("vendor/uplot/uPlot.iife.min.js")), Markup(_text("plots.js"))
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
