"""SIGTERM and SIGINT: remembered until the step is done."""

import signal
from types import TracebackType

from accelerate import Accelerator


class StopRequest:
    """Within `with`, SIGTERM and SIGINT do nothing but set `here`; afterwards they do what they did before."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.here = False
        """Whether this process was asked to stop."""
        self._accelerator = accelerator

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def anywhere(self) -> bool:
        """Whether any process was asked: all must stop after the same step, so all ask after each."""
        if self.here:
            self._accelerator.set_trigger()
        return self._accelerator.check_trigger()

    def _ask(self, *_: object) -> None:
        self.here = True
