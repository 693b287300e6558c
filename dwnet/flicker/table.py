"""The Markdown table of a flicker report, and texts that the HTML report also uses."""

from collections.abc import Mapping
from typing import Any

from dwnet.core.tables import markdown_table, number_cell
from dwnet.flicker.definitions import DEFINITIONS, HEADLINE


def markdown(document: Mapping[str, Any]) -> str:
    """Returns the figures of every set in Markdown, with the name of the flow.

    Figures that are undefined for every set have no column.
    """
    sets, clips = document["sets"], document["clips"]
    shown = shown_keys(sets)
    rows = [[name, *(cell(key, found[key]) for key in shown)] for name, found in sets.items()]
    lines = [
        f"{len(clips)} clip(s), {sum(clip['frames'] for clip in clips)} frames, "
        f"{next(iter(sets.values()))['pairs']} pairs compared, {sum(clip['scene_cuts'] for clip in clips)} scene cuts; "
        f"flow: {document['flow']['name']} ({document['flow']['description']}).",
        *(f"{clip['name']}: {clip['warning']}" for clip in clips if clip["warning"]),
        "",
        markdown_table(["set", *(DEFINITIONS[key][0] for key in shown)], rows),
        "",
        *without_class(sets),
        *kinds(document),
        HEADLINE,
    ]
    if document["second_flow"] is not None:
        lines += [f"{name}: {moved(found, document)}" for name, found in sets.items()]
    return "\n".join(lines)


def shown_keys(sets: Mapping[str, Any]) -> list[str]:
    """Returns the keys of the figures that are defined for at least one set, in the order of `DEFINITIONS`."""
    return [key for key in DEFINITIONS if any(found[key] is not None for found in sets.values())]


def without_class(sets: Mapping[str, Any]) -> list[str]:
    """Returns one line with the share of pixels without a class; no line if all pixels of all sets have a class."""
    shares = [f"{name} {found['ignored_percent']:.2f} %" for name, found in sets.items() if found["ignored_percent"]]
    return [f"Pixels without a class, which are not counted as flips: {', '.join(shares)}."] if shares else []


def kinds(document: Mapping[str, Any]) -> list[str]:
    """Returns one line for each set and the truth: what was read, and how it was matched with the frames."""
    clips = document["clips"]
    found = {name: [clip["sets"][name]["kind"] for clip in clips] for name in document["sets"]}
    found["truth"] = [clip["truth"]["kind"] for clip in clips if clip["truth"] is not None]
    return [f"{name}: {'; '.join(dict.fromkeys(values))}." for name, values in found.items() if values]


def cell(key: str, value: float | None) -> str:
    """Returns the text of a figure."""
    return number_cell(value, 4 if key == "logit_jitter" else 2)


def moved(found: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Returns the flips of a set along both flows, and their difference."""
    first, second = found["flip_rate_same_pairs_percent"], found["flip_rate_second_flow_percent"]
    if first is None or second is None:
        return "no pair could be compared along a second flow"
    return (
        f"{first:.2f} % flips along {document['flow']['name']}, {second:.2f} % along "
        f"{document['second_flow']['name']}, on the same {found['second_flow_pairs']} pairs "
        f"({second - first:+.2f} points)"
    )
