"""Writing in a background thread."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class WriteBehind(Generic[T]):
    """Calls a function for each item, in order, in one background thread, as a context manager.

    The caller waits while `depth` items are unwritten. An error of the function is raised by the next call or by
    `finish`. Leaving the context without `finish` drops the items that are not written yet.

    Args:
        write: the function.
        depth: largest number of unwritten items, at least 1.
    """

    def __init__(self, write: Callable[[T], None], depth: int) -> None:
        self._write, self._depth = write, depth
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="dwnet-write")
        return self

    def __call__(self, item: T) -> None:
        """Gives an item to the thread."""
        while self._waiting and (len(self._waiting) >= self._depth or self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._write, item))

    def finish(self) -> None:
        """Waits until every item is written."""
        while self._waiting:
            self._waiting.popleft().result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
