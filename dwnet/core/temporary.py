"""Temporary files and folders that a later run removes if their process was killed.

A living process holds a lock (`flock`) on each of its temporary files and folders. The system releases the lock when
the process ends in any way. A temporary file without a lock is therefore left over.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_MARK = ".dwnet-"
_LEFT_OVER = re.compile(r"\..*\.dwnet-[0-9a-f]{10}(\.[^.]*)?", re.DOTALL)
_NAME_BYTES = 255
_SECONDS_BETWEEN_SEARCHES = 1.0
_searched: dict[Path, float] = {}
_searching = threading.Lock()


@contextmanager
def temporary_file(target: Path) -> Iterator[Path]:
    """Yields the path of a new empty file beside `target`, with its suffix, and removes the file at the end.

    Files that killed processes left in the folder are removed first. The caller may rename the file.
    """
    _search(target.parent)
    path, lock = _locked(target.parent, target.stem, target.suffix, folder=False)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def temporary_folder(parent: Path, name: str, rescue: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Yields a new empty hidden folder in `parent`, and removes it with its content at the end.

    Folders of the same name that killed processes left are removed first.

    Args:
        parent: an existing folder.
        name: appears in the name of the folder.
        rescue: called with each left-over folder before it is removed.
    """
    start = _start(name, "")
    for entry in sorted(parent.iterdir()):
        if entry.name.startswith(start) and _LEFT_OVER.fullmatch(entry.name):
            _remove_if_left_over(entry, rescue)
    _search(parent)
    path, lock = _locked(parent, name, "", folder=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _start(stem: str, suffix: str) -> str:
    """Returns how the name of a temporary file starts. A long stem is cut, because names have at most 255 bytes."""
    room = _NAME_BYTES - len(f".{_MARK}") - 10 - len(os.fsencode(suffix))
    return f".{os.fsencode(stem)[: max(room, 0)].decode('utf-8', 'ignore')}{_MARK}"


def _locked(parent: Path, stem: str, suffix: str, *, folder: bool) -> tuple[Path, int]:
    """Creates a temporary file or folder and returns its path and the descriptor that holds its lock."""
    while True:
        path = parent / f"{_start(stem, suffix)}{secrets.token_hex(5)}{suffix}"
        if folder:
            path.mkdir(mode=0o700)
            lock = os.open(path, os.O_RDONLY)
        else:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between creation and lock, another process may have taken it for a left-over one.
        if _is(path, lock):
            return path, lock
        os.close(lock)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except OSError:
        return False


def _search(parent: Path) -> None:
    """Removes the left-over files and folders of a folder; at most once a second, because folders may be large."""
    key = parent.absolute()
    with _searching:
        now = time.monotonic()
        if now - _searched.get(key, -_SECONDS_BETWEEN_SEARCHES) < _SECONDS_BETWEEN_SEARCHES:
            return
        _searched[key] = now
    with os.scandir(parent) as entries:
        found = [Path(entry.path) for entry in entries if _LEFT_OVER.fullmatch(entry.name)]
    for entry in found:
        if not entry.is_dir():  # a folder can hold data to rescue, which only its own name's user knows
            _remove_if_left_over(entry, None)


def _remove_if_left_over(path: Path, rescue: Callable[[Path], None] | None) -> None:
    """Removes a temporary file or folder unless a living process holds its lock."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is(path, lock):
            return
        if path.is_dir():
            if rescue is not None:
                rescue(path)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return  # in use, or the file system has no locks
    finally:
        os.close(lock)
