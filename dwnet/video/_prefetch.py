"""Iteration in a background thread."""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

from dwnet.core.errors import DWNetError

T = TypeVar("T")

_STOP_SECONDS = 5.0


def prefetch(iterable: Iterable[T], depth: int = 8) -> Generator[T, None, None]:
    """Iterates in a background thread, at most `depth` items ahead of the consumer.

    The iterator is created, advanced and closed in that thread, so a decoder stays in one thread. An exception of the
    iterator is raised to the consumer after the items before it. When the consumer stops (break, `close()`, an
    exception), the thread stops after its current item.

    Args:
        iterable: for example a `VideoReader`.
        depth: largest number of waiting items, at least 1.

    Raises:
        DWNetError: for a depth below 1.
    """
    if depth < 1:
        raise DWNetError(f"depth is {depth}; allowed are whole numbers from 1")
    return _prefetch(iterable, depth)


def _prefetch(iterable: Iterable[T], depth: int) -> Generator[T, None, None]:
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def work() -> None:
        try:
            iterator = iter(iterable)
            try:
                for item in iterator:
                    if stop.is_set():
                        return
                    ready.put(("item", item))
                    if stop.is_set():
                        return
            finally:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()
            ready.put(("end", None))
        except BaseException as error:  # the consumer raises any exception
            ready.put(("error", error))

    thread = threading.Thread(target=work, name="dwnet-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if isinstance(value, BaseException) and kind == "error":
                raise value
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        # The thread may be waiting for space in the queue. After this it adds at most one item and then sees `stop`.
        with contextlib.suppress(queue.Empty):
            while True:
                ready.get_nowait()
        # With a timeout, because the iterable may block for ever. The thread is a daemon.
        thread.join(_STOP_SECONDS)
