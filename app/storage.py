"""Folders of the page's uploads and results: with a largest total size and a largest age, removed at the end."""

import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dwnet.core.errors import DWNetError

PREFIX = "dwnet-page-"
GRACE_SECONDS = 60.0
"""Files younger than this are not removed for their size: an upload may be about to be used."""
MB = 1_000_000


class StorageFullError(DWNetError):
    """The page's files have reached their largest total size."""


@dataclass(frozen=True)
class _Entry:
    path: Path
    size: int
    changed: float


class Storage:
    """Uploads and results of one page, in one folder, as a context manager. At the end the folder is removed.

    Folders that earlier pages left behind because they were killed are removed at the start.

    Args:
        max_mb: largest total size in MB.
        keep_hours: files that were not used for so many hours are removed.
        parent: folder in which the folder is made; None uses the system's temporary folder.
    """

    def __init__(self, *, max_mb: int, keep_hours: float, parent: Path | None = None) -> None:
        self.max_bytes, self.keep_seconds = max_mb * MB, keep_hours * 3600
        parent = Path(tempfile.gettempdir()) if parent is None else parent
        _remove_abandoned(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
        self.uploads, self.runs = self.folder / "uploads", self.folder / "runs"
        self.uploads.mkdir()
        self.runs.mkdir()
        self._in_use: Counter[Path] = Counter()
        self._lock = threading.RLock()
        self._ended = threading.Event()

    def __enter__(self) -> "Storage":
        threading.Thread(target=self._sweep_regularly, name="storage", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with self._lock:
            shutil.rmtree(self.folder, ignore_errors=True)

    def new_run(self) -> Path:
        """Returns a new, empty folder for the results of a run. Its name is hard to guess."""
        folder = self.runs / secrets.token_urlsafe(12)
        folder.mkdir()
        return folder

    def run(self, name: str) -> Path | None:
        """Returns the folder of a run; None if there is no such run, or no longer. Asking for it counts as use."""
        folder = self.runs / name
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or not folder.is_dir():
            return None
        os.utime(folder)
        return folder

    @contextmanager
    def using(self, path: Path) -> Iterator[None]:
        """Keeps the upload or the run that contains a path from being removed. Other paths are not touched."""
        entry = self._entry_of(path)
        if entry is None:  # a clip of the operator
            yield
            return
        with self._lock:
            self._in_use[entry] += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_use[entry] -= 1
                if not self._in_use[entry]:
                    del self._in_use[entry]
            if entry.exists():
                os.utime(entry)

    def used_bytes(self) -> int:
        """Returns the size of all files."""
        return sum(entry.size for entry in self._entries())

    def check_room(self, wanted_bytes: int = 0) -> None:
        """Makes room for new files by removing those that were not used for the longest time.

        Raises:
            StorageFullError: if the files in use leave too little room, or the disk itself is full.
        """
        self.sweep(wanted_bytes)
        used, free = self.used_bytes(), shutil.disk_usage(self.folder).free
        if used + wanted_bytes > self.max_bytes:
            raise StorageFullError(
                f"the server's files have {used / MB:.0f} MB; allowed are {self.max_bytes / MB:.0f} MB. "
                "Try again later."
            )
        if wanted_bytes > free or free < MB:
            raise StorageFullError("the server's disk is full. Try again later.")

    def sweep(self, wanted_bytes: int = 0) -> None:
        """Removes files that are too old, then the least recently used ones until the total is small enough."""
        with self._lock:
            now = time.time()
            kept = []
            for entry in sorted(self._entries(), key=lambda entry: entry.changed):
                if now - entry.changed > self.keep_seconds and entry.path not in self._in_use:
                    _remove(entry.path)
                else:
                    kept.append(entry)
            total = wanted_bytes + sum(entry.size for entry in kept)
            for entry in kept:
                if total <= self.max_bytes:
                    return
                if entry.path not in self._in_use and now - entry.changed > GRACE_SECONDS:
                    _remove(entry.path)
                    total -= entry.size

    def _entry_of(self, path: Path) -> Path | None:
        """Returns the folder below `uploads` or `runs` that contains a path; None if none does."""
        for parent in (self.uploads, self.runs):
            if path.is_relative_to(parent) and path != parent:
                return parent / path.relative_to(parent).parts[0]
        return None

    def _entries(self) -> list[_Entry]:
        parents = (parent for parent in (self.uploads, self.runs) if parent.exists())
        found = (_measured(path) for parent in parents for path in parent.iterdir())
        return [entry for entry in found if entry is not None]

    def _sweep_regularly(self) -> None:
        while not self._ended.wait(min(60.0, max(self.keep_seconds / 10, 0.1))):
            self.sweep()


def _measured(path: Path) -> _Entry | None:
    """Returns size and last change of a file or folder; None if it has just been removed."""
    size, changed = 0, 0.0
    try:
        for one in (path, *(path.rglob("*") if path.is_dir() else ())):
            facts = one.stat()
            changed = max(changed, facts.st_mtime)
            size += facts.st_size if one.is_file() else 0
    except FileNotFoundError:
        return None if not path.exists() else _Entry(path, size, time.time())
    return _Entry(path, size, changed)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_abandoned(parent: Path) -> None:
    """Removes the folders of pages whose process does not exist any more."""
    for folder in parent.glob(f"{PREFIX}*"):
        number = folder.name.removeprefix(PREFIX).partition("-")[0]
        # The same number is an earlier process, too: in a container the page always has number 1.
        if number.isdigit() and (int(number) == os.getpid() or not _alive(int(number))):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True
