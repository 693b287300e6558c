"""Comparisons take turns: one at a time, first come, first served. Two at once would distort the measured times."""

import threading

from dwnet.core.errors import DWNetError


class BusyError(DWNetError):
    """Too many comparisons wait, or the page is being closed."""


class Turns:
    """The line of comparisons. The first one runs.

    Args:
        most_waiting: largest number of waiting comparisons beside the running one.
    """

    def __init__(self, most_waiting: int) -> None:
        self.most_waiting = most_waiting
        self.closed = False
        """Whether the page is being closed. Running comparisons then end after the current frame."""
        self._line: list[Turn] = []
        self._changed = threading.Condition()

    def join(self) -> "Turn":
        """Returns a place at the end of the line. It is a context manager that gives the place back.

        Raises:
            BusyError: if too many wait already.
        """
        with self._changed:
            if self.closed:
                raise BusyError("the server is being stopped")
            if len(self._line) > self.most_waiting:
                raise BusyError(
                    f"{len(self._line) - 1} comparisons are waiting already; allowed are {self.most_waiting}. "
                    "Try again later."
                )
            turn = Turn(self)
            self._line.append(turn)
            return turn

    def __len__(self) -> int:
        """Number of comparisons that run or wait."""
        return len(self._line)

    def close(self) -> None:
        """Ends waiting and running comparisons, and accepts no more."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def wait_until_idle(self, seconds: float) -> bool:
        """Waits until no comparison runs. Returns False after `seconds` if one still does."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._line, seconds)


class Turn:
    """A place in the line (`Turns.join`)."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    @property
    def ahead(self) -> int:
        """Number of comparisons before this one; 0 for the one that runs."""
        with self._turns._changed:
            return self._turns._line.index(self)

    def wait(self, seconds: float) -> bool:
        """Waits for at most `seconds`. Returns whether it is this comparison's turn."""
        turns = self._turns
        with turns._changed:
            turns._changed.wait_for(lambda: turns.closed or turns._line[0] is self, seconds)
            return turns._line[0] is self and not turns.closed

    def __enter__(self) -> "Turn":
        return self

    def __exit__(self, *_: object) -> None:
        with self._turns._changed:
            self._turns._line.remove(self)
            self._turns._changed.notify_all()
