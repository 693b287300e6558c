"""What happens when something on the page is chosen or pressed. No layout here, and no browser needed to test it."""

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gradio as gr

from app.curve import FlickerCurve
from app.render import curve_html, note_html, panels_html, status_html, table_html
from dwnet.compare import ComparedFrame, ComparisonFiles, Networks, compare
from dwnet.video import open_video

PICTURES_PER_SECOND = 10.0
FIGURES_PER_SECOND = 3.0
"""The page is repainted no more often: a fast machine would only fill the line to the browser."""

PREVIEW_MAX_SIDE = 480


AT_REST = {"start": gr.update(interactive=True), "stop": gr.update(interactive=False)}
"""The buttons while nothing runs."""


class Update(NamedTuple):
    """New values of the page's outputs, in the order of the fields; `gr.skip()` leaves one as it is."""

    status: Any = gr.skip()
    panels: Any = gr.skip()
    curve: Any = gr.skip()
    table: Any = gr.skip()
    results: Any = gr.skip()
    """The group that holds the next four: shown once there are files."""
    video: Any = gr.skip()
    video_file: Any = gr.skip()
    csv_file: Any = gr.skip()
    json_file: Any = gr.skip()
    start: Any = gr.skip()
    stop: Any = gr.skip()


class Callbacks:
    """The events of the page.

    Args:
        networks: what is compared.
        workspace: folder for a running comparison's files; each is removed when the page has got them.
    """

    def __init__(self, networks: Networks, workspace: Path) -> None:
        self.networks = networks
        self.workspace = workspace
        self._stops: dict[str, threading.Event] = {}
        """By page (Gradio's session): set once Stop was pressed."""

    @property
    def methods(self) -> tuple[str, ...]:
        """In the order in which they are shown."""
        return tuple(self.networks.segmenters)

    @property
    def miou_percent(self) -> dict[str, float]:
        """Per method, the mIoU that its file states; without those that state none."""
        stated = {
            method: network.info.metrics.get("miou_percent") for method, network in self.networks.segmenters.items()
        }
        return {method: float(value) for method, value in stated.items() if isinstance(value, int | float)}

    def choose(self, clip: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Another clip was chosen: what the page shows of the last one goes, unless a comparison is running.

        Returns:
            Note, panels, status, curve, table and whether the results are seen.
        """
        if (request.session_hash or "") in self._stops:
            return (self.describe(clip)[0], *(gr.skip() for _ in range(5)))
        return (
            *self.describe(clip),
            status_html("Ready. Press Compare." if clip else "No clip chosen."),
            curve_html(FlickerCurve(self.methods)),
            table_html(self.networks.classes, self.methods, None, self.miou_percent),
            gr.update(visible=False),
        )

    def describe(self, clip: str | None) -> tuple[str, str]:
        """A note on a clip, and the panels with its first frame."""
        refined = self.networks.flow_refinement is not None
        if not clip:
            return note_html("Choose a clip: MP4, MOV, MKV, AVI or WebM."), panels_html(self.methods, refined=refined)
        try:
            with open_video(clip) as reader:
                info = reader.info
                first = next(iter(reader)).image
        except ValueError as error:
            return note_html(_message(error, clip), bad=True), panels_html(self.methods, refined=refined)
        count = f", {info.frames} frames" if info.frames else ""
        note = f"{info.width}×{info.height} px{count}, {info.fps:.4g} fps"
        shrink = min(1.0, PREVIEW_MAX_SIDE / max(info.width, info.height))
        preview = cv2.resize(first, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        return note_html(note), panels_html(self.methods, preview=preview, refined=refined)

    def press(self, request: gr.Request) -> tuple[Any, Any, str]:
        """Compare was pressed: swap the buttons at once, before the queue lets the comparison start."""
        self._stops[request.session_hash or ""] = threading.Event()
        return gr.update(interactive=False), gr.update(interactive=True), status_html("Opening the clip …")

    def stop(self, request: gr.Request) -> str:
        """Stop was pressed: the comparison ends after the frame in work and keeps what it has."""
        if event := self._stops.get(request.session_hash or ""):
            event.set()
        return status_html("Stopping after this frame …")

    def refused(self, request: gr.Request) -> tuple[Any, Any]:
        """The comparison failed, perhaps before it began (the queue is full): swap the buttons back."""
        self._stops.pop(request.session_hash or "", None)
        return AT_REST["start"], AT_REST["stop"]

    def leave(self, request: gr.Request) -> None:
        """The page was closed."""
        if event := self._stops.pop(request.session_hash or "", None):
            event.set()

    def run(
        self, clip: str | None, max_side: float, every: float, limit: float, opacity: float, request: gr.Request
    ) -> Generator[Update, None, None]:
        """Compare on a clip and repaint the page as it goes; ends with the files.

        Args:
            clip: the chosen file.
            max_side: longer side of the frames, in pixels.
            every: takes every n-th frame.
            limit: at most so many frames; 0 takes all.
            opacity: of the colours over the frame, 0..1.
            request: tells the page.

        Raises:
            gr.Error: with the one message that says what is wrong.
        """
        if not clip:
            yield Update(status=status_html("No clip chosen."), **AT_REST)
            raise gr.Error("Choose a clip first.", print_exception=False)
        page = request.session_hash or ""
        stop = self._stops.setdefault(page, threading.Event())
        folder = Path(tempfile.mkdtemp(dir=self.workspace))
        try:
            yield from self._frames(clip, folder, int(max_side), int(every), int(limit) or None, opacity, stop)
        except Exception as error:
            # Before the error: Gradio starts no following event after one, and the buttons would stay as they are.
            yield Update(status=status_html("Nothing was compared."), **AT_REST)
            if isinstance(error, ValueError | OSError):
                raise gr.Error(_message(error, clip), print_exception=False) from error
            raise
        finally:
            if self._stops.get(page) is stop:  # else Compare was pressed again meanwhile
                del self._stops[page]
            # The page's copies lie in Gradio's cache by now.
            shutil.rmtree(folder, ignore_errors=True)

    def compare_clip(
        self, clip: str, max_side: float, every: float, limit: float, opacity: float
    ) -> Generator[tuple[dict[str, Any], list[str]], None, None]:
        """Compare the methods on a clip, for scripts: `gradio_client.Client(url).predict(handle_file("clip.mp4"))`.

        The arguments are those of `run`. Returns the report (as in the JSON file) and the paths of the MP4, the CSV and
        the JSON file.
        """
        folder = Path(tempfile.mkdtemp(dir=self.workspace))
        try:
            for _ in compare(
                clip,
                self.networks,
                output_dir=folder,
                max_side=int(max_side),
                every=int(every),
                limit=int(limit) or None,
                opacity=opacity,
            ):
                pass
            files = ComparisonFiles.beside(folder, Path(clip))
            yield json.loads(files.json.read_text("utf-8")), [str(files.video), str(files.csv), str(files.json)]
        except (ValueError, OSError) as error:
            raise gr.Error(_message(error, clip), print_exception=False) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _frames(
        self,
        clip: str,
        folder: Path,
        max_side: int,
        every: int,
        limit: int | None,
        opacity: float,
        stop: threading.Event,
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

        frames = compare(
            clip,
            self.networks,
            output_dir=folder,
            max_side=max_side,
            every=every,
            limit=limit,
            opacity=opacity,
            stop=stop.is_set,
        )
        with closing(frames):
            for frame in frames:
                started = started or time.monotonic()
                flips = {method: result.flips_percent for method, result in frame.methods.items()}
                known = {method: value for method, value in flips.items() if value is not None}
                if len(known) == len(flips):
                    curve.add(frame.pts_seconds, known)
                if pictures.due():
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
    """Says when the next repaint is due."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._next = 0.0

    def due(self) -> bool:
        """Whether one is due now; if so, the next is an interval away."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._interval
        return True

    def reset(self) -> None:
        """The next one is due at once."""
        self._next = 0.0


def _message(error: Exception, clip: str) -> str:
    """The error with the clip's name in place of where the server keeps it, and without what a page cannot take."""
    text = str(error).replace(" or a folder of images", "")
    for path in (str(Path(clip).resolve()), clip):
        text = text.replace(path, Path(clip).name)
    return text


def _progress(frame: ComparedFrame, seconds: float) -> str:
    """Frames done, speed and time left; `seconds` since the first frame was done."""
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
