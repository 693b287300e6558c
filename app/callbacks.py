"""Event handlers of the page. They hold no layout, and tests run them without a browser."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from dwnet.comparison import ComparedFrame, ComparisonFiles, Networks, compare
from dwnet.core.errors import DWNetError
from dwnet.video import VideoInfo, open_video

from .columns import MOST_COLUMNS, PAGE_FLOWS, Column, Models
from .curve import FlickerCurve
from .messages import message, refused
from .player_html import finished_html
from .render import curve_html, note_html, panels_html, progress_html, seconds_text, status_html, table_html
from .settings import PageLimits
from .storage import Storage
from .turns import Turns
from .updates import AT_REST, AT_WORK, Chosen, Pace, Update, comparison_settings, miou_percent

PICTURES_PER_SECOND = 10.0
FIGURES_PER_SECOND = 3.0
SCRIPT_CHECKS_PER_SECOND = 2.0
"""Highest repaint rates. A higher rate would only fill the connection to the browser."""

WAITING_SECONDS = 0.5
"""A waiting comparison looks so often whether it was stopped."""

MOST_UNSENT = 2
"""Largest number of unsent repaints at which a page gets another one. This keeps slow connections up to date."""

PREVIEW_MAX_SIDE = 480
READY = "Ready. Press Compare."


@dataclass(frozen=True)
class _Job:
    """One comparison: what `compare` is called with."""

    clip: Path
    networks: Networks
    folder: Path
    settings: dict[str, Any]


class Callbacks:
    """The events of the page.

    A press of Compare starts `run` at once. It waits for its turn there, and not in Gradio's queue, so that only this
    stream of updates sets the buttons, whatever else is pressed meanwhile.

    Args:
        networks: the networks of the server.
        storage: folders of uploads and results.
        limits: what visitors may use.
        root_path: path of the page behind a proxy; empty without one.
    """

    def __init__(self, networks: Networks, storage: Storage, limits: PageLimits, root_path: str = "") -> None:
        self.models = Models(networks)
        self.storage, self.limits, self.root_path = storage, limits, root_path
        self.turns = Turns(limits.waiting)
        self.unsent: Callable[[str], int] = lambda page: 0
        """Returns the number of unsent messages of a page."""
        self._active: dict[str, threading.Event] = {}
        """The comparison of each page (Gradio session) that runs or waits. The event stops it."""
        self._lock = threading.Lock()

    @property
    def networks(self) -> Networks:
        """The networks of the server."""
        return self.models.networks

    def describe(self, clip: str | None, request: gr.Request | None = None) -> Chosen:
        """Returns note and first frame of a chosen clip. While the page compares, only the note changes."""
        if not clip:
            note, preview = note_html("Choose a clip: MP4, MOV, MKV, AVI or WebM."), None
        else:
            note, preview = self._preview(clip)
        if request is not None and _page(request) in self._active:
            return Chosen(note)
        networks = self.networks
        return Chosen(
            note,
            status_html(READY if clip else "No clip chosen."),
            panels_html(
                tuple(networks.segmenters)[:MOST_COLUMNS],
                preview=preview,
                refined=networks.flow_refinement is not None,
            ),
            curve_html(FlickerCurve(tuple(networks.segmenters)[:MOST_COLUMNS])),
            table_html(networks.classes, tuple(networks.segmenters)[:MOST_COLUMNS], None, miou_percent(networks)),
            gr.update(visible=True),
            gr.update(value="", visible=False),
        )

    def _preview(self, clip: str) -> tuple[str, Any]:
        """Returns the note on a clip and its first frame; None instead of the frame if it cannot be used."""
        name = Path(clip).name
        try:
            with self.storage.using(Path(clip)), open_video(clip, max_side=PREVIEW_MAX_SIDE) as reader:
                info = reader.info
                self._check_length(name, info)
                preview = next(iter(reader)).image
        except (ValueError, OSError) as error:
            return note_html(message(error, clip), bad=True), None
        except StopIteration:
            return note_html(f"{name}: no frame can be read", bad=True), None
        count = f", {info.frames} frames" if info.frames else ""
        note = f"{name}: {info.source_width}×{info.source_height} px{count}, {info.fps:.4g} fps"
        if reader.warning:
            note += f". {reader.warning.replace(str(reader.path), name)}"
        return note_html(note, bad=reader.warning is not None), preview

    def take(self, upload: str | None) -> tuple[Any, Any, str]:
        """Handles an upload: remembers it, and empties the field for the next one."""
        if upload is None:
            return gr.skip(), gr.skip(), gr.skip()
        return upload, None, note_html(f"{Path(upload).name}: reading …")

    def add_model(self, files: Sequence[str] | None, request: gr.Request) -> tuple[Any, ...]:
        """Handles an uploaded network: it can be chosen in every column, and fills the first empty one.

        Returns:
            None for the field of the upload, a note, and an update for each column.
        """
        columns = [gr.skip()] * MOST_COLUMNS
        if not files:
            return gr.skip(), gr.skip(), *columns
        page, paths = _page(request), [Path(file) for file in files]
        try:
            if not self.limits.upload_models:
                raise DWNetError("this server takes no networks from visitors")
            with self.storage.using(paths[0]):
                name = self.models.add(page, paths)
        except (ValueError, OSError) as error:
            return None, note_html(message(error), bad=True), *columns
        choices = list(self.models.available(page))
        return (
            None,
            note_html(f"{name} can be chosen in every column."),
            *(gr.update(choices=[("none", ""), *((one, one) for one in choices)]) for _ in columns),
        )

    def stop(self, request: gr.Request) -> None:
        """Handles Stop: a running comparison ends after the current frame, a waiting one at once.

        The stream of `run` says so on the page.
        """
        if (stop := self._active.get(_page(request))) is not None:
            stop.set()

    def leave(self, request: gr.Request) -> None:
        """Handles a closed page."""
        self.stop(request)
        self.models.leave(_page(request))

    def arrive(self, request: gr.Request) -> tuple[Any, Any, Any]:
        """Handles an opened page: shows the result that its address names.

        Returns:
            Status, live group, player.
        """
        name = request.query_params.get("run") if request.query_params else None
        if not name:
            return gr.skip(), gr.skip(), gr.skip()
        folder = self.storage.run(str(name))
        html = None if folder is None else finished_html(folder, self.root_path)
        if html is None:
            return status_html("The result of this link is no longer on the server."), gr.skip(), gr.skip()
        return status_html("A stored result."), gr.update(visible=False), gr.update(value=html, visible=True)

    def run(
        self,
        clip: str | None,
        max_side: float,
        every: float | None,
        limit: float | None,
        opacity: float,
        flow: str,
        worst: float | None,
        video: bool,
        refined_flow: bool,
        request: gr.Request,
        *columns: Any,
    ) -> Generator[Update, None, None]:
        """Compares networks on a clip, repaints the page meanwhile, and ends with the player.

        Args:
            clip: the chosen file.
            max_side: longer side of the frames, in pixels.
            every: take every n-th frame; None takes every frame.
            limit: largest number of frames; 0 and None take all.
            opacity: of the class colours over the live pictures, 0..1.
            flow: one of `PAGE_FLOWS`.
            worst: number of worst frames for relabelling; None and 0 write none.
            video: whether the side-by-side MP4 is written.
            refined_flow: whether the player has the refined flow.
            request: identifies the page.
            columns: the networks, then the keeps, then the names of the columns; none compares the server's networks.

        Raises:
            gr.Error: with one message that names the problem.
        """
        page, stop = _page(request), threading.Event()
        with self._lock:
            running = page in self._active
            if not running:
                self._active[page] = stop
        if running:  # the page shows the other stream
            yield Update()
            return
        try:
            if not clip:
                raise DWNetError("Choose a clip first.")
            settings = comparison_settings(max_side, every, limit, opacity, flow, worst)
            settings |= {"video": bool(video), "refined_flow": bool(refined_flow)}
            networks = self.models.compared(page, self._columns(columns), flow)
            yield Update(status=status_html(f"Opening {Path(clip).name} …"), **AT_WORK)
            yield from self._in_turn(page, Path(clip), networks, settings, stop)
        except Exception as error:
            # Sent before the error: after an error Gradio takes no further update of this event.
            yield Update(status=status_html("Nothing was compared."), **AT_REST)
            if isinstance(error, ValueError | OSError):
                raise refused(error, clip or "") from error
            raise
        finally:
            with self._lock:
                self._active.pop(page, None)

    def compare_clip(
        self, clip: str, max_side: float, every: float | None, limit: float | None, opacity: float
    ) -> Generator[tuple[Any, Any], None, None]:
        """API endpoint, for `gradio_client.Client(url).predict(handle_file("clip.mp4"))`.

        The arguments are those of `run`. The networks are those of the server.

        Returns:
            The report (the content of the JSON file), and the paths of the MP4, CSV and JSON files.
        """
        pace, page = Pace(SCRIPT_CHECKS_PER_SECOND), ""
        try:
            if not clip:
                raise DWNetError("clip is missing")
            settings = comparison_settings(max_side, every, limit, opacity, PAGE_FLOWS[0], 0)
            settings |= {"player_mb": 0, "video": True}
            networks = self.models.compared(page, self._columns(()), PAGE_FLOWS[0])
            with self.turns.join() as turn, self._job(Path(clip), networks, settings) as job:
                while not turn.wait(WAITING_SECONDS):
                    if self.turns.closed:
                        raise DWNetError("the server is being stopped")
                    yield gr.skip(), gr.skip()
                with closing(compare(job.clip, networks, output_dir=job.folder, **settings)) as frames:
                    for _ in frames:
                        if self.turns.closed:
                            raise DWNetError("the server is being stopped")
                        if pace.due():
                            # Gradio stops this generator here if the client has disconnected.
                            yield gr.skip(), gr.skip()
                files = ComparisonFiles.beside(job.folder, job.clip)
                report = json.loads(files.json.read_text("utf-8"))
                # Gradio copies the files to its cache, among the uploads. The folder is removed afterwards.
                yield report, [str(files.video), str(files.csv), str(files.json)]
                shutil.rmtree(job.folder, ignore_errors=True)
        except (ValueError, OSError) as error:
            raise refused(error, clip or "") from error

    def _columns(self, values: Sequence[Any]) -> list[Column]:
        if not values:
            return self.models.defaults()
        count = len(values) // 3
        models, keeps, names = values[:count], values[count : 2 * count], values[2 * count :]
        return [
            Column(model or None, float(keep or 0), name or "")
            for model, keep, name in zip(models, keeps, names, strict=True)
        ]

    def _in_turn(
        self, page: str, clip: Path, networks: Networks, settings: dict[str, Any], stop: threading.Event
    ) -> Generator[Update, None, None]:
        with self.turns.join() as turn:
            told = -1
            while not turn.wait(0 if told < 0 else WAITING_SECONDS):
                if stop.is_set() or self.turns.closed:
                    yield Update(status=status_html("Stopped before it began."), **AT_REST)
                    return
                ahead, text = turn.ahead, gr.skip()
                if ahead != told:
                    before = "another comparison" if ahead == 1 else f"{ahead} other comparisons"
                    told, text = ahead, status_html(f"Waiting for {before} to end …")
                yield Update(status=text)
            with self._job(clip, networks, settings) as job:
                yield from self._frames(page, job, stop)

    @contextmanager
    def _job(self, clip: Path, networks: Networks, settings: dict[str, Any]) -> Iterator[_Job]:
        """Checks clip and disk, and makes the folder of the results. The folder is removed if nothing was written."""
        if not clip.is_file():
            raise DWNetError(f"{clip.name} is no longer on the server; choose it again")
        self.storage.check_room()
        folder = self.storage.new_run()
        try:
            with self.storage.using(clip), self.storage.using(folder):
                with open_video(clip, max_side=PREVIEW_MAX_SIDE) as reader:
                    self._check_length(clip.name, reader.info)
                yield _Job(clip, networks, folder, settings)
        finally:
            if not any(folder.glob("*_comparison.json")):
                shutil.rmtree(folder, ignore_errors=True)

    def _check_length(self, name: str, info: VideoInfo) -> None:
        seconds = info.duration_seconds or 0.0
        if seconds > 60 * self.limits.minutes:
            raise DWNetError(f"{name} lasts {seconds / 60:.1f} min; allowed are {self.limits.minutes:g} min")

    def _frames(self, page: str, job: _Job, stop: threading.Event) -> Generator[Update, None, None]:
        networks = job.networks
        methods, classes, miou = tuple(networks.segmenters), networks.classes, miou_percent(networks)
        refined = networks.flow_refinement is not None
        curve = FlickerCurve(methods)
        pictures, figures = Pace(PICTURES_PER_SECOND), Pace(FIGURES_PER_SECOND)
        yield Update(
            status=status_html(f"Opening {job.clip.name} …"),
            panels=panels_html(methods, refined=refined),
            curve=curve_html(curve),
            table=table_html(classes, methods, None, miou),
            live=gr.update(visible=True),
            player=gr.update(value="", visible=False),
        )
        frame: ComparedFrame | None = None
        started, stopping = 0.0, False

        def paint(frame: ComparedFrame, status: str) -> Update:
            figures_due = figures.due()
            return Update(
                status=status,
                panels=panels_html(methods, frame, refined=refined),
                curve=curve_html(curve) if figures_due else gr.skip(),
                table=table_html(classes, methods, frame.summaries, miou) if figures_due else gr.skip(),
            )

        def halted() -> bool:
            return stop.is_set() or self.turns.closed or too_long(frame)

        def too_long(frame: ComparedFrame | None) -> bool:
            return frame is not None and frame.pts_seconds > 60 * self.limits.minutes

        with closing(compare(job.clip, networks, output_dir=job.folder, stop=halted, **job.settings)) as frames:
            for frame in frames:
                if self.turns.closed:
                    break  # the server ends; nothing is kept
                started = started or time.monotonic()
                flips = {name: method.flips_percent for name, method in frame.methods.items()}
                if all(value is not None for value in flips.values()):
                    curve.add(frame.pts_seconds, {name: value or 0.0 for name, value in flips.items()})
                if stop.is_set() and not stopping:
                    stopping = True
                    yield Update(status=status_html("Stopping after this frame …"))
                elif self.unsent(page) <= MOST_UNSENT and pictures.due():
                    yield paint(frame, progress_html(frame, time.monotonic() - started))
        if frame is None or self.turns.closed:
            yield Update(status=status_html("Stopped before the first frame."), **AT_REST)
            return
        figures.reset()
        yield self._end(paint, frame, job, time.monotonic() - started, stop.is_set(), too_long(frame))

    def _end(
        self,
        paint: Callable[[ComparedFrame, str], Update],
        frame: ComparedFrame,
        job: _Job,
        seconds: float,
        stopped: bool,
        too_long: bool,
    ) -> Update:
        """The last update: the player in the place of the live pictures."""
        files = ComparisonFiles.beside(job.folder, job.clip)
        if not files.json.exists():
            one = status_html("Stopped after one frame: nothing to compare it with.")
            return paint(frame, one)._replace(**AT_REST)
        warning = json.loads(files.json.read_text("utf-8"))["clip"]["warning"]
        before = "Stopped. " if stopped else f"Stopped at {self.limits.minutes:g} min. " if too_long else ""
        done = status_html(
            f"{before}{frame.compared} frames compared.{f' {warning}.' if warning else ''}",
            seconds_text(seconds),
            frame.compared / max(frame.expected or 1, frame.compared) if before else 1.0,
        )
        return paint(frame, done)._replace(
            live=gr.update(visible=False),
            player=gr.update(value=finished_html(job.folder, self.root_path) or "", visible=True),
            **AT_REST,
        )


def _page(request: gr.Request) -> str:
    return request.session_hash or ""
