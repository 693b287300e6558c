"""Event handlers of the page. They hold no layout, and tests run them without a browser."""

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from dwnet.comparison import ComparedFrame, ComparisonFiles, Networks, compare
from dwnet.video import open_video

from .curve import FlickerCurve
from .render import curve_html, note_html, panels_html, status_html, table_html

PICTURES_PER_SECOND = 10.0
FIGURES_PER_SECOND = 3.0
SCRIPT_CHECKS_PER_SECOND = 2.0
"""Highest repaint rates. A higher rate would only fill the connection to the browser."""

MOST_WAITING = 2
"""Largest number of unsent repaints at which a page gets another one. This keeps slow connections up to date."""

PREVIEW_MAX_SIDE = 480


AT_REST = {"start": gr.update(interactive=True), "stop": gr.update(interactive=False)}
"""State of the buttons while nothing runs."""


class Update(NamedTuple):
    """New values of the page's outputs, in the order of the fields. `gr.skip()` leaves a value unchanged."""

    status: Any = gr.skip()
    panels: Any = gr.skip()
    curve: Any = gr.skip()
    table: Any = gr.skip()
    results: Any = gr.skip()
    """The group that holds the next four fields. It is shown when the files exist."""
    video: Any = gr.skip()
    video_file: Any = gr.skip()
    csv_file: Any = gr.skip()
    json_file: Any = gr.skip()
    start: Any = gr.skip()
    stop: Any = gr.skip()


@dataclass(eq=False)
class _Press:
    """One press of Compare. It lives until its comparison ends."""

    stop: threading.Event = field(default_factory=threading.Event)
    """Set when Stop was pressed or the page was closed."""
    begun: bool = False
    """True when the comparison has started. Comparisons run one at a time."""


class Callbacks:
    """The events of the page.

    Args:
        networks: the networks to compare.
        workspace: folder for the files of running comparisons. They are removed when the page has received them.
    """

    def __init__(self, networks: Networks, workspace: Path) -> None:
        self.networks = networks
        self.workspace = workspace
        self.waiting: Callable[[str], int] = lambda page: 0
        """Returns the number of unsent messages of a page."""
        self._presses: dict[str, list[_Press]] = {}
        """Presses of each page (Gradio session), in order."""
        self._running = 0
        """Number of running comparisons, of pages and of API clients."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in display order."""
        return tuple(self.networks.segmenters)

    @property
    def miou_percent(self) -> dict[str, float]:
        """The mIoU in percent from each method's file. Methods whose file has none are left out."""
        stated = {
            method: network.info.metrics.get("miou_percent") for method, network in self.networks.segmenters.items()
        }
        return {method: float(value) for method, value in stated.items() if isinstance(value, int | float)}

    def choose(self, clip: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Handles a new clip: clears the results of the last one, unless a comparison is running.

        Returns:
            Note, panels, status, curve, table, and the visibility of the results.
        """
        if any(press.begun or not press.stop.is_set() for press in self._presses.get(_page(request), ())):
            return (self.describe(clip)[0], *(gr.skip() for _ in range(5)))
        return (
            *self.describe(clip),
            status_html("Ready. Press Compare." if clip else "No clip chosen."),
            curve_html(FlickerCurve(self.methods)),
            table_html(self.networks.classes, self.methods, None, self.miou_percent),
            gr.update(visible=False),
        )

    def describe(self, clip: str | None) -> tuple[str, str]:
        """Returns a note on a clip, and the panels with its first frame."""
        refined = self.networks.flow_refinement is not None
        if not clip:
            return note_html("Choose a clip: MP4, MOV, MKV, AVI or WebM."), panels_html(self.methods, refined=refined)
        try:
            with open_video(clip, max_side=PREVIEW_MAX_SIDE) as reader:
                info = reader.info
                preview = next(iter(reader)).image
        except ValueError as error:
            return note_html(_message(error, clip), bad=True), panels_html(self.methods, refined=refined)
        count = f", {info.frames} frames" if info.frames else ""
        note = f"{info.source_width}×{info.source_height} px{count}, {info.fps:.4g} fps"
        if reader.warning:
            note += f". {reader.warning.replace(str(reader.path), Path(clip).name)}"
        panels = panels_html(self.methods, preview=preview, refined=refined)
        return note_html(note, bad=reader.warning is not None), panels

    def press(self, request: gr.Request) -> tuple[Any, Any, str]:
        """Handles Compare: swaps the buttons at once, before the queue starts the comparison."""
        self._presses.setdefault(_page(request), []).append(_Press())
        status = "Waiting for another comparison to end …" if self._running else "Opening the clip …"
        return gr.update(interactive=False), gr.update(interactive=True), status_html(status)

    def stop(self, request: gr.Request) -> tuple[Any, Any, str]:
        """Handles Stop: a running comparison ends after the current frame; a waiting one is dropped."""
        presses = self._presses.get(_page(request), [])
        for press in presses:
            press.stop.set()
        if any(press.begun for press in presses):
            return gr.skip(), gr.skip(), status_html("Stopping after this frame …")
        return AT_REST["start"], AT_REST["stop"], status_html("Stopped before it began.")

    def refused(self, request: gr.Request) -> tuple[Any, Any, str]:
        """Handles a failed comparison, or one that a full queue refused: swaps the buttons back."""
        page = _page(request)
        if (presses := self._presses.get(page)) and not presses[-1].begun:
            self._forget(page, presses[-1])
        return AT_REST["start"], AT_REST["stop"], status_html("Nothing was compared.")

    def leave(self, request: gr.Request) -> None:
        """Handles a closed page."""
        for press in self._presses.pop(_page(request), []):
            press.stop.set()

    def run(
        self,
        clip: str | None,
        max_side: float,
        every: float | None,
        limit: float | None,
        opacity: float,
        request: gr.Request,
    ) -> Generator[Update, None, None]:
        """Compares the networks on a clip, repaints the page meanwhile, and ends with the files.

        Args:
            clip: the chosen file.
            max_side: longer side of the frames, in pixels.
            every: take every n-th frame; None takes every frame.
            limit: largest number of frames; 0 and None take all.
            opacity: of the class colours over the frame, 0..1.
            request: identifies the page.

        Raises:
            gr.Error: with one message that names the problem.
        """
        if not clip:
            yield Update(status=status_html("No clip chosen."), **AT_REST)
            raise gr.Error("Choose a clip first.", print_exception=False)
        page = _page(request)
        presses = self._presses.setdefault(page, [])
        press = next((press for press in presses if not press.begun), None)
        if press is None:  # the page was closed while this waited
            press = _Press()
            presses.append(press)
        if press.stop.is_set():  # Stop was pressed while this waited; the page shows it already
            self._forget(page, press)
            return
        settings = _settings(max_side, every, limit, opacity)
        folder = Path(tempfile.mkdtemp(dir=self.workspace))
        press.begun = True
        self._running += 1
        try:
            yield from self._frames(clip, folder, settings, press.stop, lambda: self.waiting(page))
        except Exception as error:
            # Sent before the error: after an error Gradio runs no further event, and the buttons would stay swapped.
            yield Update(status=status_html("Nothing was compared."), **AT_REST)
            if isinstance(error, ValueError | OSError):
                raise gr.Error(_message(error, clip), print_exception=False) from error
            raise
        finally:
            self._running -= 1
            self._forget(page, press)
            # Gradio's cache has copies of the files.
            shutil.rmtree(folder, ignore_errors=True)

    def compare_clip(
        self, clip: str, max_side: float, every: float | None, limit: float | None, opacity: float
    ) -> Generator[tuple[Any, Any], None, None]:
        """API endpoint, for `gradio_client.Client(url).predict(handle_file("clip.mp4"))`.

        The arguments are those of `run`.

        Returns:
            The report (the content of the JSON file), and the paths of the MP4, CSV and JSON files.
        """
        settings, pace = _settings(max_side, every, limit, opacity), _Pace(SCRIPT_CHECKS_PER_SECOND)
        folder = Path(tempfile.mkdtemp(dir=self.workspace))
        self._running += 1
        try:
            with closing(compare(clip, self.networks, output_dir=folder, **settings)) as frames:
                for _ in frames:
                    if pace.due():
                        # Gradio stops this generator here if the client has disconnected.
                        yield gr.skip(), gr.skip()
            files = ComparisonFiles.beside(folder, Path(clip))
            yield json.loads(files.json.read_text("utf-8")), [str(files.video), str(files.csv), str(files.json)]
        except (ValueError, OSError) as error:
            raise gr.Error(_message(error, clip), print_exception=False) from error
        finally:
            self._running -= 1
            shutil.rmtree(folder, ignore_errors=True)

    def _forget(self, page: str, press: _Press) -> None:
        presses = self._presses.get(page, [])
        if press in presses:
            presses.remove(press)
        if not presses:
            self._presses.pop(page, None)

    def _frames(
        self, clip: str, folder: Path, settings: dict[str, Any], stop: threading.Event, waiting: Callable[[], int]
    ) -> Generator[Update, None, None]:
        curve = FlickerCurve(self.methods)
        classes = self.networks.classes
        pictures, figures = _Pace(PICTURES_PER_SECOND), _Pace(FIGURES_PER_SECOND)
        refined = self.networks.flow_refinement is not None
        yield Update(
            status=status_html("Opening the clip …"),
            curve=curve_html(curve),
            table=table_html(classes, self.methods, None, self.miou_percent),
            results=gr.update(visible=False),
        )
        frame: ComparedFrame | None = None
        started = 0.0

        def paint(frame: ComparedFrame, status: str) -> Update:
            figures_due = figures.due()
            return Update(
                status=status,
                panels=panels_html(self.methods, frame, refined=refined),
                curve=curve_html(curve) if figures_due else gr.skip(),
                table=table_html(classes, self.methods, frame.summaries, self.miou_percent)
                if figures_due
                else gr.skip(),
            )

        frames = compare(clip, self.networks, output_dir=folder, stop=stop.is_set, **settings)
        with closing(frames):
            for frame in frames:
                started = started or time.monotonic()
                flips = {method: result.flips_percent for method, result in frame.methods.items()}
                known = {method: value for method, value in flips.items() if value is not None}
                if len(known) == len(flips):
                    curve.add(frame.pts_seconds, known)
                if pictures.due() and waiting() <= MOST_WAITING:
                    yield paint(frame, _progress(frame, time.monotonic() - started))
        if frame is None:
            yield Update(status=status_html("Stopped before the first frame."), **AT_REST)
            return
        seconds = time.monotonic() - started
        figures.reset()
        stopped = "Stopped. " if stop.is_set() else ""
        files = ComparisonFiles.beside(folder, Path(clip))
        if not files.json.exists():
            one = status_html("Stopped after one frame: nothing to compare it with.")
            yield paint(frame, one)._replace(**AT_REST)
            return
        warning = json.loads(files.json.read_text("utf-8"))["clip"]["warning"]
        done = status_html(
            f"{stopped}{frame.compared} frames compared.{f' {warning}.' if warning else ''}",
            _duration(seconds),
            frame.compared / max(frame.expected or 1, frame.compared) if stopped else 1.0,
        )
        yield paint(frame, done)._replace(
            results=gr.update(visible=True),
            video=str(files.video),
            video_file=str(files.video),
            csv_file=str(files.csv),
            json_file=str(files.json),
            **AT_REST,
        )


class _Pace:
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


def _page(request: gr.Request) -> str:
    return request.session_hash or ""


def _settings(max_side: float, every: float | None, limit: float | None, opacity: float) -> dict[str, Any]:
    """Returns keyword arguments for `compare`. Gradio gives None for an empty field."""
    chosen = {"max_side": int(max_side), "every": int(every or 1), "limit": int(limit or 0) or None, "opacity": opacity}
    # The page shows the video, and has no place for the player and the worst frames.
    return chosen | {"video": True, "player_mb": 0, "worst": 0}


def _message(error: Exception, clip: str) -> str:
    """The error's message without paths of the server, and without input kinds that the page does not accept."""
    text = str(error).replace(" or a folder of images", "")
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror  # the full text names files of the server
    for path in (str(Path(clip).resolve()), clip):
        text = text.replace(path, Path(clip).name)
    return text


def _progress(frame: ComparedFrame, seconds: float) -> str:
    """Frames done, speed and time left. `seconds` is the time since the first frame was done."""
    done = frame.compared
    if done < 2 or seconds <= 0:
        return status_html("First frame compared", share=0.0)
    rate = (done - 1) / seconds
    speed = f"{rate:.1f} frames/s"
    if frame.expected is None:
        return status_html(f"{done} frames", speed)
    left = max(frame.expected - done, 0) / rate
    return status_html(
        f"{done} of {frame.expected} frames", f"{speed} · {_duration(left)} left", done / max(frame.expected, 1)
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
