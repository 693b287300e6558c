"""Handling of SIGTERM and SIGINT: a signal is recorded, and the run stops after the current step."""

import ctypes
import os
import signal
import sys
from types import TracebackType
from typing import Self

from accelerate import Accelerator

_PR_SET_PDEATHSIG = 1  # of sys/prctl.h


def stop_with_launcher() -> None:
    """Makes Linux send SIGTERM to this process when the Accelerate launcher that started it ends first.

    The launcher of a single process does not forward SIGTERM. Without this the run would continue in the background.
    Other systems: no effect.
    """
    if launched() and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def launched() -> bool:
    """Returns whether Accelerate's launcher started this process. The launcher always sets both variables."""
    return {"ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND"} <= os.environ.keys()


class StopSignals:
    """Within `with`, SIGTERM and SIGINT only call `request_stop`. The previous handlers are restored at the end."""

    def __init__(self) -> None:
        self.stopped = False
        """Whether this process received a stop signal."""

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self.request_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def request_stop(self, *_: object) -> None:
        """Records that this process is to stop."""
        self.stopped = True


class StopRequest(StopSignals):
    """Stop signals of all processes of a run."""

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__()
        self._accelerator = accelerator

    def on_any_process(self) -> bool:
        """Returns whether any process received a signal, so that all stop after the same step. Collective."""
        if self.stopped:
            self._accelerator.set_trigger()
        return self._accelerator.check_trigger()
