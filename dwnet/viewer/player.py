"""The player of a run: collects frames while a clip is measured, then gives HTML and the files that it loads."""

import array
import hashlib
import html
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.viewer.counts import FrameCounts, largest, pack
from dwnet.viewer.frames import PlayerFrame, encode_frame
from dwnet.viewer.moments import worst_moments
from dwnet.viewer.palettes import safe_palette
from dwnet.viewer.plots import SET_COLOURS
from dwnet.viewer.relabelling import README, folder_names, write_relabelling
from dwnet.viewer.store import FrameStore

DEFAULT_MB = 200
"""Default disk budget for the frames of one player, in MB."""
EMBEDDED_BYTES = 4_000_000
"""A player whose frames are smaller than this is one HTML file. Others have a folder of chunks beside it."""
CHUNK_BYTES = 800_000
"""A chunk is closed when it is larger than this."""
SCRIPTS = ("codec", "data", "numbers", "layers", "clock", "curve", "table", "export", "panels", "links", "player")
"""The scripts of the player, in the order in which they depend on each other."""


@dataclass(frozen=True)
class PlayerInfo:
    """What the player shows apart from the frames."""

    title: str
    """Title of the page and name of the player."""
    clip: str
    """Name of the clip; names of downloads begin with it."""
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]
    """One RGB colour, 0..255, for each class."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files for download: the address, relative to the page (`relative_address`), by the text of the link."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """CSS colours of the methods; the others get `SET_COLOURS`."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of the methods on the page; the others are shown by their name."""
    worst: int = 10
    """Number of worst moments that are shown and offered for download."""


@dataclass(frozen=True)
class Player:
    """A player as pieces of a page. A page contains `player_style` and `player_script` once."""

    body: Markup
    """The element of the player, with its data. The script fills it."""
    chunks: tuple[str, ...]
    """Names of the files in the folder of chunks; empty if the page contains everything."""


class PlayerWriter:
    """Collects the frames of a clip for a player, as a context manager, in bounded memory and disk space.

    Args:
        scratch: a folder for temporary files. It is created. What remains in it is deleted at the end.
        methods: names of the methods (columns); at least one. The first one is the reference.
        palette: RGB colours of the classes, for the label PNGs.
        budget_bytes: largest size of all stored frames. A longer clip is kept at a lower rate, except for the frames
            around the worst moments (`FrameStore`).

    Raises:
        DWNetError: without a method, or for a budget below 1 MB.
    """

    def __init__(
        self, scratch: Path, methods: Sequence[str], palette: Sequence[Sequence[int]], *, budget_bytes: int
    ) -> None:
        if not methods:
            raise DWNetError("a player needs at least one method; found none")
        if budget_bytes < 1_000_000:
            raise DWNetError(f"the frames of a player need a budget of at least 1 MB; found {budget_bytes} bytes")
        self._scratch, self._methods, self._palette = scratch, tuple(methods), palette
        self._budget = budget_bytes
        self._size: tuple[int, int] | None = None
        self._layers = {"coarse": False, "refined": False, "weight": False}
        # Arrays and not lists: they take a quarter of the memory of long clips. NaN is a frame that is not compared.
        self._flips = [array.array("d") for _ in methods]
        self._motion = {"flow": array.array("f"), "difference": array.array("f")}

    def __enter__(self) -> Self:
        self._scratch.mkdir(parents=True)
        self._store = FrameStore(self._scratch, self._budget)
        self._counts = FrameCounts(self._scratch / "counts", len(self._methods), 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._counts.close()
        for path in self._scratch.iterdir():
            path.unlink()
        self._scratch.rmdir()

    def add(self, frame: PlayerFrame) -> None:
        """Adds the next frame.

        Raises:
            DWNetError: for a frame with other methods or of another size than the first one.
        """
        if tuple(frame.methods) != self._methods:
            raise DWNetError(
                f"frame {frame.number} has the methods {', '.join(frame.methods)}; allowed are "
                f"{', '.join(self._methods)}"
            )
        size = (frame.image.shape[1], frame.image.shape[0])
        self._size = self._size or size
        sizes = {(one.labels.shape[1], one.labels.shape[0]) for one in frame.methods.values()} | {size}
        if sizes != {self._size}:
            found = ", ".join(f"{width} x {height}" for width, height in sorted(sizes))
            raise DWNetError(
                f"frame {frame.number} and its labels are {found} px; allowed is {self._size[0]} x {self._size[1]} px, "
                "the size of the first frame"
            )
        flips = self._counts.add(frame)
        for column, value in zip(self._flips, flips, strict=True):
            column.append(math.nan if value is None else value)
        self._layers["coarse"] |= frame.coarse_flow_px is not None
        self._layers["refined"] |= frame.refined_flow_px is not None
        self._layers["weight"] |= frame.occlusion_weight is not None
        self._measure_motion(frame)
        self._store.add(encode_frame(frame, self._palette), largest(flips), frame.pts_seconds)

    def _measure_motion(self, frame: PlayerFrame) -> None:
        """Notes how large the flows are, for the scale of their colours."""
        coarse, refined = frame.coarse_flow_px, frame.refined_flow_px
        if coarse is not None:
            self._motion["flow"].append(_large_px(coarse))
        if coarse is not None and refined is not None:
            self._motion["difference"].append(_large_px(refined - coarse))

    def worst(self, most: int) -> list[int]:
        """Returns the positions of at most `most` worst moments among the stored frames, the worst first."""
        stored = self._store.positions
        flips = [self._store.flips[position] or None for position in stored]
        times = [self._store.pts_seconds[position] for position in stored]
        return [stored[place] for place in worst_moments(flips, times, most)]

    def write_worst(self, folder: Path, most: int, info: PlayerInfo) -> int:
        """Writes the worst frames for relabelling into an existing, empty folder (`relabelling`), before `finish`.

        Returns:
            The number of frames written.
        """
        chosen = self.worst(most)
        frames = (
            (
                self._counts.numbers[position],
                self._counts.pts_seconds[position],
                [None if math.isnan(column[position]) else column[position] for column in self._flips],
                self._store.read(position),
            )
            for position in chosen
        )
        write_relabelling(folder, frames, self._methods, info.classes, info.palette)
        return len(chosen)

    def finish(self, info: PlayerInfo, folder: Path, *, address: str | None = None) -> Player:
        """Returns the player of all frames added. The frames are moved into files in `folder`, or into the player.

        Args:
            info: texts, classes and links.
            folder: folder for the chunks; created if the player is not small.
            address: address of that folder, relative to the page (`relative_address`); None uses its name.

        Raises:
            DWNetError: if no frame was added.
        """
        if self._size is None:
            raise DWNetError(f"{info.clip}: no frame for a player")
        packed = self._counts.packed()
        stored = self._store.positions
        embedded = self._store.bytes < EMBEDDED_BYTES
        identity = hashlib.sha256(json.dumps([info.title, packed]).encode()).hexdigest()[:12]
        prefix = f"{relative_address(folder.name) if address is None else address}/"
        if not embedded:
            folder.mkdir(parents=True, exist_ok=True)
        scripts: list[Markup] = []
        names: list[str] = []

        def deliver(name: str, part: str, content: str) -> str | None:
            """Stores a part of the data as a script. Returns its address; None if it is in the page."""
            call = f'DWNetPlayer.deliver("{identity}","{part}",{content});\n'
            if embedded:
                scripts.append(Markup("<script>{}</script>\n").format(Markup(call)))
                return None
            (folder / name).write_text(call, encoding="ascii")
            names.append(name)
            return prefix + name

        numbers = deliver("numbers.js", "numbers", json.dumps(packed, separators=(",", ":")))
        chunks = [
            {"first": first, "count": count, "file": deliver(f"frames-{place:05d}.js", str(place), f"[{content}]")}
            for place, (first, count, content) in enumerate(self._chunks(stored))
        ]
        run = {
            "id": identity,
            "title": info.title,
            "clip": info.clip,
            "width": self._size[0],
            "height": self._size[1],
            "classes": list(info.classes),
            "palette": [list(colour) for colour in info.palette],
            "safe": [list(colour) for colour in safe_palette(len(info.classes))],
            "methods": self._described(info),
            "layers": self._layers,
            "flow_px": {name: _scale_px(sizes) for name, sizes in self._motion.items()},
            "times": self._counts.measures_time,
            "every": self._store.every,
            "thinned": self._store.thinned,
            "stored": pack(np.asarray(stored, "<i4")),
            "chunks": chunks,
            "numbers": numbers,
            "files": [{"text": text, "file": file} for text, file in info.files.items()],
            "worst": info.worst,
            "readme": README,
        }
        return Player(player_body(run) + Markup("").join(scripts), tuple(names))

    def _described(self, info: PlayerInfo) -> list[dict[str, str]]:
        folders = folder_names(self._methods)
        return [
            {
                "key": method,
                "name": info.names.get(method, method),
                "colour": info.colours.get(method, SET_COLOURS[place % len(SET_COLOURS)]),
                "folder": folders[place],
            }
            for place, method in enumerate(self._methods)
        ]

    def _chunks(self, stored: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        """Yields the first place among the stored frames, the number of frames and the frames of each chunk."""
        first, size, parts = 0, 0, []
        for place, position in enumerate(stored):
            part = self._store.take(position)
            parts.append(part)
            size += len(part)
            if size >= CHUNK_BYTES or place == len(stored) - 1:
                yield first, len(parts), ",".join(parts)
                first, size, parts = place + 1, 0, []


def _large_px(flow_px: NDArray[np.float32]) -> float:
    """Returns the 99th percentile of the length of a flow (2, H, W), over every fourth pixel in each direction."""
    length = np.hypot(*flow_px[:, ::4, ::4])
    known = length[np.isfinite(length)]
    return float(np.percentile(known, 99)) if known.size else 0.0


def _scale_px(sizes: Sequence[float]) -> float:
    """Returns the motion in pixels that gets the full colour: that of the fastest tenth of the frames, at least 0.5."""
    return max(0.5, round(float(np.percentile(sizes, 90)), 2)) if sizes else 1.0


def relative_address(name: str) -> str:
    """Returns the address of a file or folder beside the page. Names may contain ``#``, ``?``, ``%`` and ``:``."""
    return f"./{quote(os.fsencode(name))}"


def player_body(run: Mapping[str, Any]) -> Markup:
    """Returns the element of a player with the description of its run. Scripts with its data may follow it."""
    # Inside a script element only "</" and "<!--" are special. JSON can escape "<".
    data = json.dumps(run, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(
        '<section class="dwp" data-dwnet-player="{}" aria-label="{}">'
        '<script type="application/json">{}</script>'
        '<noscript><p class="dwp-note">The player needs JavaScript.</p></noscript></section>'
    ).format(run["id"], f"Player: {run['title']}", Markup(data))


@cache
def player_style() -> Markup:
    """Returns the style sheets of players and plots, for the head of the page."""
    return Markup("<style>{}\n{}\n{}</style>").format(
        *(Markup(_text(name)) for name in ("vendor/uplot/uPlot.min.css", "plots.css", "player/player.css"))
    )


@cache
def player_script() -> Markup:
    """Returns the scripts of players and plots. They must come before the data of the players (`Player.body`)."""
    scripts = ["vendor/uplot/uPlot.iife.min.js", *(f"player/{name}.js" for name in SCRIPTS), "plots.js"]
    return Markup("<script>{}</script>").format(Markup("\n".join(_text(name) for name in scripts)))


def player_frame(page: str, *, base: str, title: str) -> Markup:
    """Returns an iframe with a page that has a player, for a page of Gradio (`gr.HTML`).

    The page is part of the iframe's element, so the server need not serve HTML. Chunks and downloads are requested from
    `base`. Links to a frame set the fragment of the outer page's address.

    Args:
        page: the HTML of the page, for example the text of a report.
        base: address of the folder of the report, relative or absolute, such as ``/gradio_api/file=/runs/7/``.
        title: title of the iframe, for screen readers.
    """
    base = base if base.endswith("/") else f"{base}/"
    inside = page.replace("<head>", f'<head><base href="{html.escape(base)}">', 1)
    return Markup(
        '<iframe class="dwp-frame" title="{}" srcdoc="{}" allow="clipboard-write; fullscreen" '
        'style="width:100%;border:0;height:1100px"></iframe>'
    ).format(title, inside)


@cache
def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
