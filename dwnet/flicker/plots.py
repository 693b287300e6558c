"""The interactive plots of the report, as pieces of HTML. The plotting library is in the page once."""

import re
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from dwnet.flicker.record import Record

SET_COLOURS = ("#2563b8", "#d9572b", "#2c8c5a", "#8a4fb5", "#b38a12", "#c23b70", "#3a9fb0", "#6b6f76")
HEIGHT_PX = 380


def plotly_script() -> str:
    """Returns Plotly as a script element, for the head of the page."""
    return f'<script type="text/javascript">{get_plotlyjs()}</script>'


def curve_plot(record: Record) -> str:
    """Returns the flips over time, a line for each set."""
    figure = go.Figure()
    for position, (name, found) in enumerate(record["sets"].items()):
        colour, curve = SET_COLOURS[position % len(SET_COLOURS)], found["curve"]
        line = {"color": colour, "width": 1.6}
        figure.add_scatter(x=curve["pts_seconds"], y=curve["mean"], name=_text(name), mode="lines", line=line)
        if found["frames_per_step"] > 1:
            thin = {"color": colour, "width": 0.5}
            figure.add_scatter(
                x=curve["pts_seconds"], y=curve["highest"], name=f"{_text(name)}, highest", mode="lines", line=thin
            )
    return _html(figure, x="seconds", y="flips, % of the compared pixels")


def class_bars(document: Mapping[str, Any]) -> str:
    """Returns the flips of each class, a bar for each set."""
    figure = go.Figure()
    for position, (name, found) in enumerate(document["sets"].items()):
        rates = {label: figures["flip_rate_percent"] for label, figures in found["per_class"].items()}
        colour = SET_COLOURS[position % len(SET_COLOURS)]
        figure.add_bar(
            x=[_text(label) for label in rates], y=list(rates.values()), name=_text(name), marker_color=colour
        )
    return _html(figure, x="", y="flips, % of the class's pixels")


def clip_bars(document: Mapping[str, Any]) -> str:
    """Returns the flips of each clip, a bar for each set."""
    figure = go.Figure()
    clips = document["clips"]
    for position, name in enumerate(document["sets"]):
        rates = [clip["sets"][name]["flip_rate_percent"] for clip in clips]
        colour = SET_COLOURS[position % len(SET_COLOURS)]
        labels = [_text(clip["name"]) for clip in clips]
        figure.add_bar(x=labels, y=rates, name=_text(name), marker_color=colour)
    return _html(figure, x="", y="flips, % of the compared pixels")


def _text(name: str) -> str:
    """Returns a name so that Plotly, which reads some HTML tags and entities in labels, shows it as it is."""
    return re.sub(r"&(?=#?\w+;)", "&amp;", name).replace("<", "&lt;")


def _html(figure: go.Figure, *, x: str, y: str) -> str:
    figure.update_layout(
        template="simple_white",
        height=HEIGHT_PX,
        margin={"l": 60, "r": 10, "t": 10, "b": 50},
        font={"family": "system-ui, Segoe UI, Roboto, Arial, sans-serif", "size": 13, "color": "#1d2330"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        showlegend=True,
        xaxis={"title": x},
        yaxis={"title": y, "rangemode": "tozero", "showgrid": True, "gridcolor": "#e9ebf0"},
        hovermode="x unified",
        barmode="group",
    )
    config = {"displaylogo": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config))
