"""The web server of the page: the page itself, the files of results, limits on uploads, one log line for a refusal."""

import asyncio
import errno
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import webbrowser
import zipfile
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import gradio as gr
import gradio.queueing
import gradio.route_utils
import gradio.routes
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.background import BackgroundTask
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .callbacks import Callbacks
from .messages import LOG, without_paths
from .settings import Address, PageLimits
from .storage import Storage, StorageFullError
from .style import CSS, HEAD, theme

GRACE_SECONDS = 3
"""Time that open connections get when the page ends."""
LAST_FRAME_SECONDS = 20
"""Time that a running comparison gets to end its frame when the page ends."""
UPLOAD = "/gradio_api/upload"
ATTACHED = {".mp4", ".csv", ".json", ".zip"}
"""These files are saved, not shown, by the browser."""
OWN_FOLDERS = (str(Path(__file__).parent) + os.sep, os.sep + "dwnet" + os.sep)


def keep_uploads_in(folder: Path) -> None:
    """Lets Gradio keep uploads in a folder. Call it before the page is built."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    # Gradio has read the variable at import, too, and makes a folder there.
    gradio.routes.DEFAULT_TEMP_DIR = str(folder)


def web_app(page: gr.Blocks, storage: Storage, limits: PageLimits, address: Address, style: str = "") -> FastAPI:
    """Returns the web application: the page, and `runs/NAME/FILE` with the results."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.ended = threading.Event()
    app.add_api_route("/runs/{name}/{file:path}", _run_files(storage), methods=["GET", "HEAD"])
    app = gr.mount_gradio_app(
        app,
        page,
        path="/",
        server_name=address.host,
        server_port=address.port,
        root_path=address.root_path or None,
        max_file_size=f"{limits.upload_mb}mb",
        theme=theme(),
        css=CSS + style,
        head=HEAD,
        footer_links=["api"],
        show_error=False,  # other texts than those of gr.Error can contain paths of the server
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
    )
    app.add_middleware(_Guard, storage=storage)
    return app


def run_server(app: FastAPI, callbacks: Callbacks, address: Address, *, browser: bool) -> None:
    """Serves the page until Ctrl+C, SIGTERM or SIGHUP, and ends running comparisons."""
    log_refusals()
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config, callbacks, app.state.ended)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, server.handle_exit)
    behind = f" (behind {address.root_path})" if address.root_path else ""
    sys.stdout.write(f"The page is at {address.url}/{behind}\n")
    sys.stdout.flush()
    if browser:
        threading.Timer(1.0, webbrowser.open, [address.url]).start()
    server.run()


def end_process(callbacks: Callbacks, storage: Storage) -> None:
    """Ends the process if a comparison still runs: native threads cannot be interrupted, and Python would abort."""
    if not callbacks.turns.wait_until_idle(LAST_FRAME_SECONDS):
        shutil.rmtree(storage.folder, ignore_errors=True)
        sys.stderr.flush()
        os._exit(0)


class _Server(uvicorn.Server):
    """Ends comparisons as soon as a signal arrives. uvicorn would wait for their connections first."""

    def __init__(self, config: uvicorn.Config, callbacks: Callbacks, ended: threading.Event) -> None:
        super().__init__(config)
        self._callbacks, self._ended = callbacks, ended

    def capture_signals(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()  # `run_server` has set the handlers

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:  # the second signal
            self.force_exit = True
        self.should_exit = True
        self._ended.set()
        # Not in the handler itself: the main thread may hold the lock.
        threading.Thread(target=self._callbacks.turns.close, daemon=True).start()


def _run_files(storage: Storage) -> Any:
    def run_file(name: str, file: str) -> Response:
        folder = storage.run(name)
        if folder is None:
            return JSONResponse({"detail": "This result is no longer on the server."}, 404)
        if file in ("report.zip", "worst.zip"):
            return _archive(folder, file)
        path = (folder / file).resolve()
        if not path.is_file() or not path.is_relative_to(folder.resolve()):
            return JSONResponse({"detail": "There is no such file in this result."}, 404)
        kind = "attachment" if path.suffix in ATTACHED else "inline"
        return FileResponse(
            path,
            filename=path.name,
            content_disposition_type=kind,
            headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"},
        )

    return run_file


def _archive(folder: Path, name: str) -> Response:
    """Returns a ZIP file of the report or of the worst frames. It is made for this answer and then removed."""
    worst = [path for path in folder.glob("*_comparison_worst/**/*") if path.is_file()]
    report = [path for path in folder.rglob("*") if path.is_file() and path not in worst]
    files = worst if name == "worst.zip" else report
    if not files:
        return JSONResponse({"detail": "There is no such file in this result."}, 404)
    stem = next((path.stem for path in folder.glob("*_comparison.json")), "comparison")
    with tempfile.NamedTemporaryFile(dir=folder.parent, prefix="zip-", suffix=".zip", delete=False) as archive:
        target = Path(archive.name)
    try:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as content:
            for path in sorted(files):
                content.write(path, path.relative_to(folder))
    except OSError:
        target.unlink(missing_ok=True)
        return JSONResponse({"detail": "The server's disk is full. Try again later."}, 507)
    title = f"{stem}_{name.removesuffix('.zip')}.zip"
    return FileResponse(target, filename=title, background=BackgroundTask(target.unlink, missing_ok=True))


class _Guard:
    """Refuses uploads for which there is no room. Writes one line for each refused request."""

    def __init__(self, app: ASGIApp, storage: Storage) -> None:
        self._app, self._storage = app, storage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            outer = scope.get("app")  # the mounted page replaces it
            try:
                await self._app(scope, receive, send)
            except asyncio.CancelledError:
                # A stream that is cut because the page ends is no fault.
                if outer is None or not outer.state.ended.is_set():
                    raise
            return
        upload = scope["path"].endswith(UPLOAD)
        if upload and (refusal := self._refusal(scope)) is not None:
            LOG.warning("refused: POST %s: %s", scope["path"], refusal)
            await JSONResponse({"detail": refusal}, 507)(scope, receive, send)
            return
        failed: list[int] = []

        async def checked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                failed.append(message["status"])
                LOG.warning("refused: POST %s: status %d", scope["path"], message["status"])
            if not (upload and failed and failed[0] == 500):
                await send(message)

        try:
            await self._app(scope, receive, checked)
        except OSError as error:
            if not upload:
                raise
            LOG.warning("refused: POST %s: %s", scope["path"], error.strerror)
        if upload and failed and failed[0] == 500:
            detail = "The upload could not be stored: the server's disk may be full. Try again later."
            await JSONResponse({"detail": detail}, 507)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        length = Request(scope).headers.get("content-length", "0")
        try:
            self._storage.check_room(int(length) if length.isdecimal() else 0)
        except StorageFullError as error:
            return str(error)
        except OSError as error:
            return "the server's disk is full" if error.errno == errno.ENOSPC else "the upload cannot be stored"
        return None


class _OneLine(ModuleType):
    """Stands in for the module `traceback` in Gradio: a refused call writes one line; faults of this code do not."""

    @staticmethod
    def print_exc() -> None:
        error = sys.exc_info()[1]
        if error is None:
            return
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        ours = any(OWN_FOLDERS[0] in file or OWN_FOLDERS[1] in file for file in files)
        if ours and not isinstance(error, gr.Error):
            traceback.print_exc()
        else:
            LOG.warning("refused: %s", without_paths(str(error)) or type(error).__name__)

    def __getattr__(self, name: str) -> Any:
        return getattr(traceback, name)


def log_refusals() -> None:
    """Lets Gradio write one line for each refused call, where it writes a traceback otherwise."""
    if not LOG.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        LOG.addHandler(handler)
        LOG.propagate = False
    for module in (gradio.queueing, gradio.routes, gradio.route_utils):
        module.traceback = _OneLine("traceback")
