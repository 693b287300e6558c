"""Runs train/main.py in subprocesses. A failure of one run, such as out of memory, does not affect the others."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from train.engine.stopping import StopSignals

MAIN = Path(__file__).resolve().parents[1] / "main.py"


class SubprocessTraining(StopSignals):
    """Runs trainings, also from several threads. Within `with`, SIGTERM and SIGINT stop all and set `stopped`.

    Each run has its own process group. This class sends SIGTERM to the whole group. A terminal's Ctrl+C does not reach
    the group, so each process gets one signal.

    Args:
        accelerate: options of `accelerate launch`, as one string; None runs one process without the launcher.
    """

    def __init__(self, accelerate: str | None = None) -> None:
        super().__init__()
        self._accelerate = accelerate
        self._processes: set[subprocess.Popen[str]] = set()

    def request_stop(self, *_: object) -> None:
        """Sets `stopped` and sends SIGTERM to the current runs."""
        super().request_stop()
        for process in tuple(self._processes):
            _terminate(process)

    def run(self, arguments: list[str], on_line: Callable[[str], None]) -> int:
        """Runs a training until all its processes have ended; returns the exit status, or -N if signal N killed it.

        Args:
            arguments: of train/main.py.
            on_line: called with each line of stdout and stderr.
        """
        with subprocess.Popen(
            self._command(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            self._processes.add(process)
            try:
                if self.stopped:  # the signal came while the process was starting
                    _terminate(process)
                assert process.stdout is not None
                # The output ends when the last process ends. A launcher may end before the processes that it launched.
                for line in process.stdout:
                    on_line(line.rstrip())
                return process.wait()
            except BaseException:
                _terminate(process)
                raise
            finally:
                self._processes.discard(process)

    def _command(self, arguments: list[str]) -> list[str]:
        launcher: list[str] = []
        if self._accelerate is not None:
            launcher = ["-m", "accelerate.commands.launch", *shlex.split(self._accelerate)]
        return [sys.executable, *launcher, str(MAIN), *arguments]


def _terminate(process: subprocess.Popen[str]) -> None:
    """Sends SIGTERM to the process group of a run."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:  # it has already ended
        return
