"""The table on the terminal."""

from typing import Any

from dwnet.flicker.definitions import DEFINITIONS, HEADLINE


def markdown(document: dict[str, Any]) -> str:
    """The figures of every set in Markdown, with the flow they were measured along; undefined columns are left out."""
    sets, clips = document["sets"], document["clips"]
    shown = [key for key in DEFINITIONS if any(found[key] is not None for found in sets.values())]
    lines = [
        f"{len(clips)} clip(s), {sum(clip['frames'] for clip in clips)} frames, "
        f"{next(iter(sets.values()))['pairs']} pairs compared, {sum(clip['scene_cuts'] for clip in clips)} scene cuts; "
        f"flow: {document['flow']['name']} ({document['flow']['description']}).",
        *(f"{clip['name']}: {clip['warning']}" for clip in clips if clip["warning"]),
        "",
        f"| set | {' | '.join(DEFINITIONS[key][0] for key in shown)} |",
        "|---|" + "---|" * len(shown),
        *(f"| {name} | {' | '.join(cell(key, found[key]) for key in shown)} |" for name, found in sets.items()),
        "",
        *without_class(sets),
        HEADLINE,
    ]
    if document["second_flow"] is not None:
        lines += [f"{name}: {moved(found, document)}" for name, found in sets.items()]
    return "\n".join(lines)


def without_class(sets: dict[str, Any]) -> list[str]:
    """How much of their pixels sets say nothing about; no line where there is no such set."""
    shares = [f"{name} {found['ignored_percent']:.2f} %" for name, found in sets.items() if found["ignored_percent"]]
    return [f"Pixels without a class, which are in no flip: {', '.join(shares)}."] if shares else []


def cell(key: str, value: float | None) -> str:
    """A figure as it is printed."""
    if value is None:
        return "-"
    return f"{value:.4f}" if key == "logit_jitter" else f"{value:.2f}"


def moved(found: dict[str, Any], document: dict[str, Any]) -> str:
    """How much another flow changes a set's flips."""
    first, second = found["flip_rate_same_pairs_percent"], found["flip_rate_second_flow_percent"]
    if first is None or second is None:
        return "no pair could be compared along a second flow"
    return (
        f"{first:.2f} % flips along {document['flow']['name']}, {second:.2f} % along "
        f"{document['second_flow']['name']}, on the same {found['second_flow_pairs']} pairs "
        f"({second - first:+.2f} points)"
    )
