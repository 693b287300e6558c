"""The interactive plots of the report, as pieces of HTML."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from dwnet.flicker.record import Record
from dwnet.viewer import SET_COLOURS, Line, grouped_bars, line_plot


def curve_plot(record: Record) -> Markup:
    """Returns a plot of the flips over time, with a line for each set."""
    lines = []
    seconds: list[float] = []
    for name, colour in _colours(record["sets"]).items():
        curve = record["sets"][name]["curve"]
        seconds = curve["pts_seconds"]
        lines.append(Line(name, curve["mean"], colour))
        if record["sets"][name]["frames_per_step"] > 1:
            lines.append(Line(f"{name}, highest", curve["highest"], colour, width=0.5))
    return line_plot(seconds, lines, x_label="seconds", y_label="flips, % of the compared pixels")


def class_bars(document: Mapping[str, Any]) -> Markup:
    """Returns bars of the flips of each class, one per set, in percent of the class's pixels."""
    sets = document["sets"]
    labels = list(next(iter(sets.values()))["per_class"])
    groups = {
        label: {name: found["per_class"][label]["flip_rate_percent"] for name, found in sets.items()}
        for label in labels
    }
    return grouped_bars(groups, _colours(sets), unit="%")


def clip_bars(document: Mapping[str, Any]) -> Markup:
    """Returns bars of the flips of each clip, one per set, in percent of the compared pixels."""
    sets = document["sets"]
    groups = {
        clip["name"]: {name: clip["sets"][name]["flip_rate_percent"] for name in sets} for clip in document["clips"]
    }
    return grouped_bars(groups, _colours(sets), unit="%")


def _colours(sets: Mapping[str, Any]) -> dict[str, str]:
    return {name: SET_COLOURS[place % len(SET_COLOURS)] for place, name in enumerate(sets)}
