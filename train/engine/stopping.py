"""SIGTERM and SIGINT: remembered until the step is done."""

import ctypes
import os
import signal
import sys
from types import TracebackType
from typing import Self

from accelerate import Accelerator

_PR_SET_PDEATHSIG = 1  # of sys/prctl.h


def stop_with_launcher() -> None:
    """SIGTERM comes to this process too when Accelerate's launcher, which started it, ends before it.

    The launcher of a single process does not pass a SIGTERM on: the run would go on, seen by nobody. Linux only.
    """
    if launched() and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def launched() -> bool:
    """Whether Accelerate's launcher started this process: it always sets both."""
    return {"ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND"} <= os.environ.keys()


class StopSignals:
    """Within `with`, SIGTERM and SIGINT do nothing but `ask`; afterwards they do what they did before."""

    def __init__(self) -> None:
        self.stopped = False
        """Whether this process was asked to stop."""

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self.ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ask(self, *_: object) -> None:
        """This process is to stop."""
        self.stopped = True


class StopRequest(StopSignals):
    """The same for all processes of a run."""

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__()
        self._accelerator = accelerator

    def anywhere(self) -> bool:
        """Whether any process was asked: all must stop after the same step, so all ask after each."""
        if self.stopped:
            self._accelerator.set_trigger()
        return self._accelerator.check_trigger()
