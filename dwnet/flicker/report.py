"""The HTML report, made from `templates/report.html` and `templates/report.css`. It needs no network access."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from dwnet.flicker.definitions import DEFINITIONS
from dwnet.flicker.pictures import MOMENT_GAP_SECONDS
from dwnet.flicker.player import player_link
from dwnet.flicker.plots import class_bars, clip_bars, curve_plot
from dwnet.flicker.record import Record, worst_moments
from dwnet.flicker.table import cell, moved, shown_keys, without_class
from dwnet.viewer import player_script, player_style, plot_script, plot_style

HEAT_CLIPS = 3
"""Number of clips whose heat maps are shown: the clips with the highest flip rates."""


def html_report(
    document: Mapping[str, Any], records: Sequence[Record], output: Path, player: Markup | None = None
) -> str:
    """Returns the HTML of the report.

    Args:
        document: the JSON report (`record.assemble`).
        records: the records of the clips, with pictures.
        output: folder of the page; links to clips are relative to it.
        player: the player of the only clip; None shows a plot instead. The clips of a corpus have pages of their own.
    """
    clips, sets = document["clips"], document["sets"]
    several = len(clips) > 1
    shown = shown_keys(sets)
    # Figures for comparison with papers are in a separate table after the main figures.
    published = [key for key in shown if "etc" in key or "vspw" in key or "published" in key]
    return _template().render(
        document=document,
        definitions=DEFINITIONS,
        cell=cell,
        moved=moved,
        style=_style(),
        player=player,
        head=player_style() + player_script() if player else plot_style() + plot_script(),
        paged=document["settings"].get("player_mb", 0) > 0 and player is None,
        title=f"Flicker over {len(clips)} clips" if several else f"Flicker of {clips[0]['name']}",
        several=several,
        clip_pages={clip["name"]: f"clips/{quote(os.fsencode(clip['name']))}.html" for clip in clips},
        frames=sum(clip["frames"] for clip in clips),
        sizes=sorted({f"{clip['width_px']} x {clip['height_px']}" for clip in clips})[:3],
        pairs=next(iter(sets.values()))["pairs"],
        scene_cuts=sum(clip["scene_cuts"] for clip in clips),
        shown_keys=shown,
        own_keys=[key for key in shown if key not in published],
        published_keys=published,
        without_class=without_class(sets),
        frames_per_step=max(found["frames_per_step"] for found in records[0]["sets"].values()),
        over_time=clip_bars(document) if several else None if player else curve_plot(records[0]),
        per_class=class_bars(document),
        heat_maps=_heat_maps(document, records),
        moment_gap=f"{MOMENT_GAP_SECONDS:g}",
        moments=_moments(document, records, output, in_page=player is not None),
        settings=", ".join(f"{key} {value}" for key, value in document["settings"].items() if value not in (None, [])),
        versions=", ".join(f"{name} {version}" for name, version in document["versions"].items() if version),
        inputs=_inputs(document),
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("dwnet.flicker"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html")


@lru_cache(maxsize=1)
def _style() -> str:
    return resources.files("dwnet.flicker").joinpath("templates", "report.css").read_text(encoding="utf-8")


def _heat_maps(document: Mapping[str, Any], records: Sequence[Record]) -> list[dict[str, Any]]:
    """Returns, for each clip to show, its name, the rate of the brightest colour and the heat map of every set."""
    rates = {
        clip["name"]: max(found["flip_rate_percent"] or 0 for found in clip["sets"].values())
        for clip in document["clips"]
    }
    chosen = sorted(records, key=lambda record: -rates[record["clip"]["name"]])[:HEAT_CLIPS]
    return [
        {
            "name": record["clip"]["name"],
            "top": f"{record['heat_top_percent']:.1f}",
            "pictures": {name: found["heat"] for name, found in record["sets"].items()},
        }
        for record in chosen
    ]


def _moments(
    document: Mapping[str, Any], records: Sequence[Record], output: Path, *, in_page: bool
) -> dict[str, list[dict[str, Any]]]:
    """Returns the worst moments of every set, with links to the clip and to the frame in a player, if there is one."""
    clips = {record["clip"]["name"]: record["clip"] for record in records}
    has_player = in_page or document["settings"].get("player_mb", 0) > 0

    def linked(moment: dict[str, Any]) -> dict[str, Any]:
        shown = player_link(moment["clip"], moment["frame"], several=not in_page) if has_player else None
        return moment | {"link": _link(moment, clips[moment["clip"]], output), "shown": shown}

    return {name: [linked(moment) for moment in worst_moments(records, name)] for name in document["sets"]}


def _link(moment: Mapping[str, Any], clip: Mapping[str, Any], output: Path) -> str:
    """Returns the link to a moment, relative to the page: a video file with a time, or an image file."""
    path = Path(clip["path"]).resolve()
    if moment.get("file"):
        path = path / moment["file"]
    try:
        address = quote(os.fsencode(Path(os.path.relpath(path, output.resolve())).as_posix()))
    except ValueError:  # the clip is on another drive
        address = path.as_uri()
    return address if moment.get("file") else f"{address}#t={moment['pts_seconds']:.3f}"


def _inputs(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Returns the role, the file or folder name and the SHA-256 of each input."""
    rows = []
    for clip in document["clips"]:
        rows.append(("clip", clip["path"], clip["sha256"]))
        if clip["truth"] is not None:
            rows.append(("truth", clip["truth"]["path"], clip["truth"]["sha256"]))
        rows += [(f"{name} ({found['kind']})", found["path"], found["sha256"]) for name, found in clip["sets"].items()]
    return [(what, Path(path).name, digest) for what, path, digest in rows]
