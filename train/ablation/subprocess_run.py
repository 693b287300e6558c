"""Training runs as processes of their own: what breaks one, be it lack of memory, leaves the others alone."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from train.engine.stopping import StopSignals

MAIN = Path(__file__).resolve().parents[1] / "main.py"


class Children(StopSignals):
    """Training runs, one after another. Within `with`, SIGTERM and SIGINT stop the one that runs, and set `stopped`.

    Each gets a process group, so that the signal reaches all its processes, and a terminal's Ctrl+C none of them twice.

    Args:
        accelerate: options of `accelerate launch`, as one string; None does without the launcher, in one process.
    """

    def __init__(self, accelerate: str | None = None) -> None:
        super().__init__()
        self._accelerate = accelerate
        self._process: subprocess.Popen[str] | None = None

    def ask(self, *_: object) -> None:
        """This process is to stop, and the run with it."""
        super().ask()
        self._terminate()

    def run(self, arguments: list[str], on_line: Callable[[str], None]) -> int:
        """One run, to the end of all its processes; returns the exit status (below 0: killed by that signal).

        Args:
            arguments: of train/main.py.
            on_line: called with each line of its output and errors, as they come.
        """
        with subprocess.Popen(
            self._command(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            self._process = process
            try:
                if self.stopped:  # asked while it was being started
                    self._terminate()
                assert process.stdout is not None
                # Until the last of its processes is gone: a launcher may end before those that it launched.
                for line in process.stdout:
                    on_line(line.rstrip())
                return process.wait()
            except BaseException:
                self._terminate()
                raise
            finally:
                self._process = None

    def _command(self, arguments: list[str]) -> list[str]:
        launcher: list[str] = []
        if self._accelerate is not None:
            launcher = ["-m", "accelerate.commands.launch", *shlex.split(self._accelerate)]
        return [sys.executable, *launcher, str(MAIN), *arguments]

    def _terminate(self) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGTERM)
            except ProcessLookupError:  # it ended by itself
                return
