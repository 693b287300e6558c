"""Values that the events send to the page: updates of the outputs, their rate, and the settings of a comparison."""

import time
from typing import Any, NamedTuple

import gradio as gr

from dwnet.comparison import Networks
from dwnet.core.errors import DWNetError

from .columns import PAGE_FLOWS

SMALLEST_SIDE, LARGEST_SIDE = 64, 1280
"""Working size in pixels."""

AT_REST = {"start": gr.update(interactive=True), "stop": gr.update(interactive=False)}
"""State of the buttons while nothing runs."""
AT_WORK = {"start": gr.update(interactive=False), "stop": gr.update(interactive=True)}


class Update(NamedTuple):
    """New values of the page's outputs, in the order of the fields. `gr.skip()` leaves a value unchanged."""

    status: Any = gr.skip()
    panels: Any = gr.skip()
    curve: Any = gr.skip()
    table: Any = gr.skip()
    live: Any = gr.skip()
    """The group that holds panels, curve and table. It is hidden while the player is shown."""
    player: Any = gr.skip()
    start: Any = gr.skip()
    stop: Any = gr.skip()


class Chosen(NamedTuple):
    """New values of the outputs that change when a clip is chosen."""

    note: Any = gr.skip()
    status: Any = gr.skip()
    panels: Any = gr.skip()
    curve: Any = gr.skip()
    table: Any = gr.skip()
    live: Any = gr.skip()
    player: Any = gr.skip()


class Pace:
    """Limits the rate of repaints."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._next = 0.0

    def due(self) -> bool:
        """Returns whether a repaint is due; if so, the next one is due after the interval."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._interval
        return True

    def reset(self) -> None:
        """Makes the next repaint due at once."""
        self._next = 0.0


def miou_percent(networks: Networks) -> dict[str, float]:
    """Returns the mIoU in percent from the file of each network. Networks whose file has none are left out."""
    stated = {method: network.info.metrics.get("miou_percent") for method, network in networks.segmenters.items()}
    return {method: float(value) for method, value in stated.items() if isinstance(value, int | float)}


def comparison_settings(
    max_side: float, every: float | None, limit: float | None, opacity: float, flow: str, worst: float | None
) -> dict[str, Any]:
    """Returns keyword arguments for `compare`. Gradio gives None for an empty field.

    Raises:
        DWNetError: for a value out of range; `compare` checks the others.
    """
    if not SMALLEST_SIDE <= max_side <= LARGEST_SIDE:
        raise DWNetError(f"the working size is {max_side:g} px; allowed are {SMALLEST_SIDE}..{LARGEST_SIDE} px")
    if flow not in PAGE_FLOWS:
        raise DWNetError(f"unknown flow {flow!r}; allowed: {', '.join(PAGE_FLOWS)}")
    return {
        "max_side": int(max_side),
        "every": int(every or 1),
        "limit": int(limit or 0) or None,
        "opacity": opacity,
        "flow": flow,
        "worst": int(worst or 0),
    }
