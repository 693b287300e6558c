"""HTML of a comparison: panels, tables, legend and progress."""

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape

import cv2
import numpy as np

from dwnet.comparison import ComparedFrame, MethodSummary, baseline_of, relative_percent
from dwnet.viz import flow_legend, flow_to_rgb

from .curve import FlickerCurve
from .style import method_colour, method_name, method_note

JPEG_QUALITY = 85
DEFAULT_SIZE = (480, 270)
WHEEL_SIZE_PX = 97
RARE_PERCENT = 0.1
"""Smallest share of the pixels for which a class's difference is shown. Below it a few pixels decide the figure."""
MIN_FLOW_SCALE_PX = 2.0
"""Smallest motion that is drawn in full colour, so that noise on a still picture stays pale."""


def panels_html(
    methods: Sequence[str], frame: ComparedFrame | None = None, preview: np.ndarray | None = None, refined: bool = True
) -> str:
    """The pictures: the overlay of each method, the input, and the coarse and refined flow.

    Args:
        methods: names, in display order.
        frame: the compared frame to show; None shows empty panels.
        preview: uint8 (H, W, 3) RGB, the input before the first frame was compared.
        refined: whether a network that refines the flow is loaded.
    """
    image = preview if frame is None else frame.image
    size = DEFAULT_SIZE if image is None else (image.shape[1], image.shape[0])
    panels = []
    for position, method in enumerate(methods):
        result = None if frame is None else frame.methods[method]
        flips = "" if result is None or result.flips_percent is None else f"{result.flips_percent:.2f} % flipped"
        panels.append(
            _panel(
                key=method,
                title=method_name(method),
                note=method_note(method),
                fact=flips,
                picture=None if result is None else result.overlay,
                size=size,
                dot=method_colour(position),
            )
        )
    fact = "" if frame is None else f"{frame.pts_seconds:.2f} s"
    note = "The clip as the networks see it."
    if frame is not None and frame.scene_cut:
        note = "A new scene: nothing is compared across the cut."
    panels.append(_panel(key="input", title="Input", note=note, fact=fact, picture=image, size=size))

    coarse = None if frame is None else frame.coarse_flow_px
    fine = None if frame is None else frame.refined_flow_px
    scale = MIN_FLOW_SCALE_PX
    if coarse is not None:
        scale = max(scale, float(np.percentile(np.hypot(coarse[0], coarse[1]), 99)))
    waiting = "Shown from the second frame on" if refined else "No network refines the flow"
    panels.append(
        _panel(
            key="coarse",
            title="Coarse flow",
            note="Where each pixel was one frame ago.",
            fact="" if coarse is None else f"full colour: {scale:.0f} px",
            picture=None if coarse is None else flow_to_rgb(coarse, max_px=scale),
            size=size,
            empty="Shown from the second frame on",
            wheel=coarse is not None,
        )
    )
    panels.append(
        _panel(
            key="refined",
            title="Refined flow",
            note="After DWNet's refinement; for training only.",
            fact="" if fine is None else f"full colour: {scale:.0f} px",
            picture=None if fine is None else flow_to_rgb(fine, max_px=scale),
            size=size,
            empty=waiting,
            wheel=fine is not None,
        )
    )
    columns = 3 if len(panels) <= 6 else 4
    shape = f"--columns:{columns};--ratio:{size[0] / size[1]:.4f}"
    return f'<div class="dw-grid" style="{shape}">{"".join(panels)}</div>'


def legend_html(classes: Sequence[str], palette: Sequence[tuple[int, int, int]]) -> str:
    """The classes with their colours."""
    entries = (
        f'<span><i style="background:rgb{colour}"></i>{escape(name)}</span>'
        for name, colour in zip(classes, palette, strict=True)
    )
    return f'<div class="dw-legend" aria-label="Colours of the classes">{"".join(entries)}</div>'


def curve_html(curve: FlickerCurve) -> str:
    """The flicker curve with its heading and legend."""
    names = "".join(
        f'<span><i class="dw-dot" style="background:{method_colour(position)}"></i>{escape(method_name(method))}</span>'
        for position, method in enumerate(curve.methods)
    )
    return (
        '<div class="dw-card"><h2>Flicker</h2><p>Pixels that change class though the flow says they show the same '
        f'thing. Lower is steadier.</p>{curve.svg()}<div class="dw-legend">{names}</div></div>'
    )


def table_html(
    classes: Sequence[str],
    methods: Sequence[str],
    summaries: Mapping[str, MethodSummary] | None = None,
    miou_percent: Mapping[str, float] | None = None,
) -> str:
    """The table of flips and time per method and of flips per class, with differences from the baseline.

    Args:
        classes: names by id.
        methods: names, in display order.
        summaries: per method; None before the first frame was compared.
        miou_percent: per method, from its file. Flicker must be judged together with accuracy.
    """
    head = "".join(
        f'<th><i class="dw-dot" style="background:{method_colour(position)}"></i>{escape(method_name(method))}</th>'
        for position, method in enumerate(methods)
    )
    rows = [f"<tr><th></th>{head}</tr>"]
    reference = baseline_of(methods)

    def row(
        label: str,
        values: Mapping[str, float | None],
        unit: str,
        digits: int,
        *,
        compare: bool = True,
        beside: str = "",
    ) -> str:
        others = values.get(reference) if compare else None
        cells = (
            f"<td>{_number(values.get(method), unit, digits)}"
            f"{'' if method == reference else _difference(values.get(method), others)}</td>"
            for method in methods
        )
        small = f' <small class="dw-muted">{beside}</small>' if beside else ""
        return f"<tr><td>{escape(label)}{small}</td>{''.join(cells)}</tr>"

    found = summaries or {}
    rows.append(row("Flips per frame", {m: s.flips_percent for m, s in found.items()}, "%", 2))
    rows.append(_time_row(methods, found))
    if "keyframe" in methods:  # its median does not include the cost of key frames
        rows.append(row("on average", {m: s.latency_ms_mean for m, s in found.items()}, "ms", 1))
    rows.append(row("Flow, where needed", {m: s.flow_ms_median or None for m, s in found.items()}, "ms", 1))
    if miou_percent:
        rows.append(row("mIoU in training", dict(miou_percent), "%", 1, compare=False))
    rows.append(f'<tr class="dw-part"><th>Flips per class, share of pixels</th>{"<th></th>" * len(methods)}</tr>')
    for class_id, name in enumerate(classes):
        share = found[reference].class_share_percent[class_id] if found else None
        weight = "" if share is None else f"{share:.1f} %"
        flips = {m: s.class_flips_percent[class_id] for m, s in found.items()}
        compared = share is not None and share >= RARE_PERCENT
        rows.append(row(name, flips, "%", 2, compare=compared, beside=weight))
    miou = " mIoU: on the validation data of the models' training, not on this clip." if miou_percent else ""
    return (
        '<div class="dw-card"><h2>All frames so far</h2><p>Small figures: relative to the baseline. Time: median on '
        f"this machine, with the flow where a method needs it, and the range of the middle half of the frames.{miou} "
        "A constant prediction never flips: few flips do not mean accurate labels.</p>"
        '<div class="dw-scroll"><table class="dw-table">'
        f"{''.join(rows)}</table></div></div>"
    )


def _time_row(methods: Sequence[str], found: Mapping[str, MethodSummary]) -> str:
    """Medians with quartiles. A difference is shown only if the quartiles of the ratio lie on one side of 1."""
    cells = []
    for method in methods:
        if method not in found:
            cells.append(f"<td>{_number(None, 'ms', 1)}</td>")
            continue
        own = found[method]
        low, high = own.latency_ms_quartiles
        difference = ""
        if method != baseline_of(methods):
            faster, slower = own.latency_ratio_quartiles
            difference = (
                _difference(own.latency_ratio_median, 1.0)
                if not faster <= 1 <= slower
                else ' <small class="dw-muted" title="The quartiles of the ratio include 1">same</small>'
            )
        spread = f'<br><small class="dw-muted">{low:.0f}–{high:.0f}</small>'
        cells.append(f"<td>{_number(own.latency_ms_median, 'ms', 1)}{spread}{difference}</td>")
    return f"<tr><td>Time per frame</td>{''.join(cells)}</tr>"


def status_html(text: str, detail: str = "", share: float = 0.0) -> str:
    """One line of progress under a bar.

    Args:
        text: the current activity.
        detail: text at the right end of the line.
        share: share of the work that is done, 0..1.
    """
    percent = 100 * min(max(share, 0.0), 1.0)
    return (
        f'<div class="dw-status" role="status"><div class="dw-bar"><i style="width:{percent:.1f}%"></i></div>'
        f'<div class="dw-text"><span>{escape(text)}</span><span class="dw-muted">{escape(detail)}</span></div></div>'
    )


def progress_html(frame: ComparedFrame, seconds: float) -> str:
    """Frames done, speed and time left.

    Args:
        frame: the last compared frame.
        seconds: time since the first frame was done.
    """
    done = frame.compared
    if done < 2 or seconds <= 0:
        return status_html("First frame compared", share=0.0)
    rate = (done - 1) / seconds
    speed = f"{rate:.1f} frames/s"
    if frame.expected is None:
        return status_html(f"{done} frames", speed)
    left = max(frame.expected - done, 0) / rate
    return status_html(
        f"{done} of {frame.expected} frames", f"{speed} · {seconds_text(left)} left", done / max(frame.expected, 1)
    )


def seconds_text(seconds: float) -> str:
    """Returns a time such as ``2 min 05 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def note_html(text: str, *, bad: bool = False) -> str:
    """A small note; `bad` marks an error."""
    return f'<div class="dw-note{" dw-bad" if bad else ""}">{escape(text)}</div>'


def _panel(
    *,
    key: str,
    title: str,
    note: str,
    fact: str,
    picture: np.ndarray | None,
    size: tuple[int, int],
    dot: str | None = None,
    empty: str = "",
    wheel: bool = False,
) -> str:
    mark = f'<i class="dw-dot" style="background:{dot}"></i>' if dot else ""
    inside = f'<div class="dw-empty">{escape(empty)}</div>'
    if picture is not None:
        # With synchronous decoding the panel does not blink between two frames.
        inside = f'<img alt="{escape(title)}" decoding="sync" src="{_data_uri(picture)}">'
    if wheel:
        inside += f'<img class="dw-wheel" alt="Colour wheel: direction of the flow" src="{_wheel_uri()}">'
    return (
        f'<figure class="dw-panel" data-panel="{escape(key)}">'
        f'<figcaption><b>{mark}{escape(title)}</b><span class="dw-muted">{escape(fact)}</span></figcaption>'
        f'<p title="{escape(note)}">{escape(note)}</p>'
        f'<div class="dw-picture" style="aspect-ratio:{size[0]}/{size[1]}">{inside}</div></figure>'
    )


def _data_uri(image: np.ndarray) -> str:
    """A picture, uint8 (H, W, 3) RGB, as a JPEG data URI. The server keeps no file for it."""
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"no JPEG could be made of an image of shape {image.shape}")
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


@cache
def _wheel_uri() -> str:
    """The colour wheel of the flow, as a data URI."""
    return _data_uri(flow_legend(WHEEL_SIZE_PX))


def _number(value: float | None, unit: str, digits: int) -> str:
    return '<span class="dw-muted">–</span>' if value is None else f"{value:.{digits}f} {unit}"


def _difference(value: float | None, reference: float | None) -> str:
    relative = relative_percent(value, reference)
    if relative is None:
        return ""
    kind = "" if abs(relative) < 0.5 else " dw-better" if relative < 0 else " dw-worse"
    return f' <small class="dw-muted{kind}">{relative:+.0f} %</small>'
