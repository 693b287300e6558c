"""The HTML report: one file that needs nothing else, neither a network nor a server."""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dwnet.flicker.definitions import DEFINITIONS
from dwnet.flicker.pictures import MOMENT_GAP_SECONDS
from dwnet.flicker.plots import class_bars, clip_bars, curve_plot, plotly_script
from dwnet.flicker.record import Record, worst_moments
from dwnet.flicker.table import cell, moved, without_class

HEAT_CLIPS = 3
"""Clips of a corpus whose heat maps are shown: those that flicker most."""
STYLE = """
:root { --ink: #1d2330; --soft: #5d6678; --line: #e3e6ec; --tint: #f6f7f9; --accent: #b3174b; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue",
  Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 48px 28px 96px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 52px 0 8px; }
h3 { font-size: 16px; margin: 28px 0 8px; }
p { margin: 6px 0 12px; max-width: 78ch; }
.soft, figcaption, .note { color: var(--soft); font-size: 14px; }
.headline { border-left: 3px solid var(--accent); padding: 2px 0 2px 14px; margin: 18px 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
tbody tr:hover { background: var(--tint); }
code { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
figure { margin: 0; }
img { display: block; width: 100%; border-radius: 4px; }
.heats { display: grid; margin-top: 12px; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 20px; }
.heats figure { max-width: 520px; }
.scale { height: 10px; border-radius: 3px; max-width: 340px; background: linear-gradient(90deg, #cfcfcf, #57106e 30%,
  #bc3754 55%, #f98e09 80%, #fcffa4); }
.ends { display: flex; justify-content: space-between; max-width: 340px; color: var(--soft); font-size: 13px; }
.moment { margin: 0 0 22px; }
.moment .head { font-size: 14px; margin-bottom: 5px; }
.tiles { display: grid; grid-template-columns: repeat(5, 1fr); gap: 6px; }
.tiles figcaption { font-size: 12px; margin-top: 2px; }
a { color: #1a56b0; }
details { margin: 8px 0; } summary { cursor: pointer; }
dt { font-weight: 600; font-size: 14px; margin-top: 10px; } dd { margin: 0; max-width: 82ch; font-size: 14px; }
"""
TILES = ("frame before", "this frame", "labels before", "labels", "flipped pixels")


def html_report(document: dict[str, Any], records: Sequence[Record], output: Path) -> str:
    """The page.

    Args:
        document: the JSON report (`record.assemble`).
        records: of the clips, with their pictures.
        output: folder the page will lie in; links to clips lead from there.
    """
    names = [clip["name"] for clip in document["clips"]]
    title = f"Flicker of {names[0]}" if len(names) == 1 else f"Flicker over {len(names)} clips"
    sections = [
        _head(title, document),
        _summary(document),
        _second_flow(document),
        _over_time(document, records),
        _per_class(document, records),
        _heat_maps(document, records),
        _moments(document, records, output),
        _clips(document),
        _definitions(document),
        _provenance(document),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>{plotly_script()}</head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _head(title: str, document: dict[str, Any]) -> str:
    clips, flow = document["clips"], document["flow"]
    pairs = next(iter(document["sets"].values()))["pairs"]
    sizes = sorted({f"{clip['width_px']} x {clip['height_px']}" for clip in clips})
    facts = [
        f"{sum(clip['frames'] for clip in clips)} frames of {', '.join(sizes[:3])} px",
        f"{pairs} pairs compared",
        f"{sum(clip['scene_cuts'] for clip in clips)} scene cuts left out",
        f"flow: <b>{escape(flow['name'])}</b> ({escape(flow['description'])})",
    ]
    warnings = "".join(f'<p class="note">{escape(clip["warning"])}</p>' for clip in clips if clip["warning"])
    return (
        f'<h1>{escape(title)}</h1><p class="soft">{" &middot; ".join(facts)}</p>{warnings}'
        f'<p class="headline">{escape(document["headline"])}</p>'
    )


def _summary(document: dict[str, Any]) -> str:
    sets = document["sets"]
    shown = [key for key in DEFINITIONS if any(found[key] is not None for found in sets.values())]
    # The columns that judge come first; what is there for comparison with papers has a table of its own.
    papers = [key for key in shown if "etc" in key or "vspw" in key or "published" in key]
    ours = [key for key in shown if key not in papers]
    text = f"<h2>Result</h2>{_figures(sets, ours)}"
    if papers:
        text += "<h3>As published elsewhere, for comparison with papers only</h3>" + _figures(sets, papers)
    return text + "".join(f'<p class="note">{escape(line)}</p>' for line in without_class(sets))


def _figures(sets: dict[str, Any], keys: Sequence[str]) -> str:
    head = "".join(f'<th title="{escape(DEFINITIONS[key][1])}">{escape(DEFINITIONS[key][0])}</th>' for key in keys)
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{cell(key, found[key])}</td>' for key in keys)}</tr>"
        for name, found in sets.items()
    )
    return f'<div class="wide"><table><thead><tr><th>set</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _second_flow(document: dict[str, Any]) -> str:
    if document["second_flow"] is None:
        return ""
    lines = "".join(
        f"<li>{escape(name)}: {escape(moved(found, document))}</li>" for name, found in document["sets"].items()
    )
    return (
        "<h2>How much depends on the flow</h2><p>A flow that errs makes steady labels look as if they flipped. The "
        f"same pairs of frames along a second flow, {escape(document['second_flow']['name'])} "
        f"({escape(document['second_flow']['description'])}):</p><ul>{lines}</ul>"
    )


def _over_time(document: dict[str, Any], records: Sequence[Record]) -> str:
    if len(records) > 1:
        return f"<h2>Flips of each clip</h2>{clip_bars(document)}"
    steps = max(found["frames_per_step"] for found in records[0]["sets"].values())
    each = "Every frame" if steps == 1 else f"Mean of {steps} frames; the thin line is the highest of them"
    return (
        f'<h2>Flips over time</h2><p class="note">{each}. Drag to zoom, double-click to return.</p>'
        f"{curve_plot(records[0])}"
    )


def _per_class(document: dict[str, Any], records: Sequence[Record]) -> str:
    return (
        '<h2>Flips of each class</h2><p class="note">By the label of the current frame. A class with few pixels has an '
        f"uncertain rate.</p>{class_bars(document)}"
    )


def _heat_maps(document: dict[str, Any], records: Sequence[Record]) -> str:
    rates = {
        clip["name"]: max(found["flip_rate_percent"] or 0 for found in clip["sets"].values())
        for clip in document["clips"]
    }
    chosen = sorted(records, key=lambda record: -rates[record["clip"]["name"]])[:HEAT_CLIPS]
    text = "<h2>Where it flickers</h2>"
    for record in chosen:
        if len(records) > 1:
            text += f"<h3>{escape(record['clip']['name'])}</h3>"
        text += "".join(
            [
                f'<p class="note">Flips of each pixel, over the mean frame; {record["heat_top_percent"]:.1f} % of the '
                'pairs and more have the brightest colour.</p><div class="scale"></div><div class="ends">'
                f'<span>0 %</span><span>{record["heat_top_percent"]:.1f} %</span></div><div class="heats">',
                *(
                    f'<figure><img alt="heat map of {escape(name)}" src="{found["heat"]}">'
                    f"<figcaption>{escape(name)}</figcaption></figure>"
                    for name, found in record["sets"].items()
                ),
                "</div>",
            ]
        )
    return text


def _moments(document: dict[str, Any], records: Sequence[Record], output: Path) -> str:
    clips = {record["clip"]["name"]: record["clip"] for record in records}
    text = (
        '<h2>The worst moments</h2><p class="note">The frames with the most flipped pixels, at least '
        f"{MOMENT_GAP_SECONDS:g} s apart. The time leads into the clip, where the clip still lies beside "
        "this page as it did.</p>"
    )
    for position, name in enumerate(document["sets"]):
        moments = worst_moments(records, name)
        body = "".join(_moment(moment, clips[moment["clip"]], output, len(clips) > 1) for moment in moments)
        text += (
            f"<details{' open' if position == 0 else ''}><summary><b>{escape(name)}</b>, {len(moments)} moments"
            f"</summary>{body or '<p>No pixel flipped.</p>'}</details>"
        )
    return text


def _moment(moment: dict[str, Any], clip: dict[str, Any], output: Path, several: bool) -> str:
    where = f"{escape(clip['name'])}, " if several else ""
    tiles = "".join(
        f'<figure><img loading="lazy" alt="{what}" src="{uri}"><figcaption>{what}</figcaption></figure>'
        for what, uri in zip(TILES, moment["pictures"], strict=True)
    )
    return (
        f'<div class="moment"><div class="head">{where}<a href="{escape(_link(moment, clip, output))}">'
        f"{moment['pts_seconds']:.2f} s</a>, frame {moment['frame']}: {moment['flips_percent']:.2f} % of the compared "
        f'pixels flip ({moment["flipped_pixels"]:,} pixels)</div><div class="tiles">{tiles}</div></div>'
    )


def _link(moment: dict[str, Any], clip: dict[str, Any], output: Path) -> str:
    """From the page to this moment: into a video by its time, to the image where the clip is a folder."""
    path = Path(clip["path"]).resolve()
    if moment.get("file"):
        path = path / moment["file"]
    try:
        address = quote(Path(os.path.relpath(path, output.resolve())).as_posix())
    except ValueError:  # another drive
        address = path.as_uri()
    return address if moment.get("file") else f"{address}#t={moment['pts_seconds']:.3f}"


def _clips(document: dict[str, Any]) -> str:
    if len(document["clips"]) == 1:
        return ""
    names = list(document["sets"])
    head = "".join(f"<th>{escape(name)}: flips %</th><th>TC %</th>" for name in names)
    rows = "".join(
        f"<tr><td>{escape(clip['name'])}</td><td>{clip['frames']}</td>"
        + "".join(
            f"<td>{cell(key, clip['sets'][name][key])}</td>"
            for name in names
            for key in ("flip_rate_percent", "temporal_consistency_percent")
        )
        + "</tr>"
        for clip in document["clips"]
    )
    return (
        f'<h2>Clips</h2><div class="wide"><table><thead><tr><th>clip</th><th>frames</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _definitions(document: dict[str, Any]) -> str:
    sets = document["sets"].values()
    shown = [key for key in DEFINITIONS if any(found[key] is not None for found in sets)]
    text = "".join(f"<dt>{escape(DEFINITIONS[key][0])}</dt><dd>{escape(DEFINITIONS[key][1])}</dd>" for key in shown)
    return f"<h2>What the figures mean</h2><dl>{text}</dl>"


def _provenance(document: dict[str, Any]) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in document["settings"].items() if value is not None)
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items() if version)
    rows = "".join(
        f"<tr><td>{escape(what)}</td><td>{escape(Path(path).name)}</td><td><code>{digest}</code></td></tr>"
        for what, path, digest in _inputs(document)
    )
    return (
        f"<h2>How it was measured</h2><p>{escape(settings)}.</p><p>{escape(versions)}; commit "
        f"<code>{escape(document['commit'])}</code>.</p><details{'' if len(document['clips']) > 3 else ' open'}>"
        '<summary>Inputs</summary><div class="wide"><table class="text"><thead><tr><th>what</th><th>name</th>'
        f"<th>SHA-256</th></tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _inputs(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for clip in document["clips"]:
        rows.append(("clip", clip["path"], clip["sha256"]))
        if clip["truth"] is not None:
            rows.append(("truth", clip["truth"]["path"], clip["truth"]["sha256"]))
        rows += [(f"{name} ({found['kind']})", found["path"], found["sha256"]) for name, found in clip["sets"].items()]
    return rows
