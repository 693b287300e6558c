"""OpenCV's own threads, which are one setting of the whole process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_lock = threading.Lock()
_users = 0
_before = 0


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Keeps OpenCV at one thread while this thread or another is inside; the last one to leave restores the number.

    Work that runs in several threads of its own is slower if OpenCV starts further ones.
    """
    global _users, _before
    with _lock:
        if not _users:
            _before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                cv2.setNumThreads(_before)
