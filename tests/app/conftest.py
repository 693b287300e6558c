"""Fixtures of the page's tests."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.callbacks import Callbacks
from app.settings import PageLimits
from app.storage import Storage
from dwnet.comparison import load_networks
from tests.exported import textured_frame, write_clip

START_SECONDS = 180


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of six frames of 128 x 64 px."""
    frames = [textured_frame(index, shift_px=2) for index in range(6)]
    return write_clip(tmp_path_factory.mktemp("clips") / "street.mp4", frames)


@pytest.fixture
def callbacks(models: Path, tmp_path: Path) -> Callbacks:
    """The events of a page with the four tiny networks. Two comparisons may wait."""
    storage = Storage(max_mb=500, keep_hours=1, parent=tmp_path)
    return Callbacks(load_networks(models, threads=1), storage, PageLimits(waiting=2))


class PageProcess:
    """`python -m app` in a process of its own, with the tiny networks and a temporary folder of its own."""

    def __init__(self, folder: Path, models: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = (folder / "server.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "--no-browser", "--models", str(models), "--threads", "1", *arguments],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"TMPDIR": str(folder), "GRADIO_SERVER_PORT": str(self.port)} | environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait(self) -> "PageProcess":
        """Waits until the page answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the page did not start:\n{self.log()}")
                time.sleep(0.2)

    def log(self) -> str:
        """Returns what the process has printed."""
        return (self.folder / "server.log").read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal, and returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(60)
        self._log.close()
        return status


@pytest.fixture
def start_page(models: Path, tmp_path: Path) -> Iterator[Callable[..., PageProcess]]:
    """Starts pages; they are ended with the test."""
    started: list[PageProcess] = []

    def start(*arguments: str, **environment: str) -> PageProcess:
        folder = tmp_path / f"page {len(started)}"
        folder.mkdir()
        started.append(PageProcess(folder, models, arguments, environment))
        return started[-1].wait()

    yield start
    for page in started:
        page.end()
