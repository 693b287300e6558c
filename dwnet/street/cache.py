"""A disk cache of limited size for rendered frames: rendering is slow, reading is fast."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write

Arrays = dict[str, NDArray]
RENDERING = 1
"""Version of the renderer's output. Files of another version are not read."""
_COUNT_EVERY = 16
"""Number of files that a process writes between two counts of the folder. Counting a full folder takes long."""


class ArrayCache:
    """Named arrays by key, one file for each key. A full cache does not change: files are neither removed nor added.

    Several processes may use one folder. Each writes whole files and counts all files at intervals, so together they
    exceed the limit by a few files per process at most. A damaged file is replaced. If a file cannot be written, a
    warning is given, and this process stores nothing more.

    Args:
        folder: created at the first write.
        limit_bytes: largest size of all files together, above 0.

    Raises:
        DWNetError: for a limit of 0 or below.
    """

    def __init__(self, folder: str | Path, *, limit_bytes: int) -> None:
        if limit_bytes <= 0:
            raise DWNetError(f"limit_bytes: found {limit_bytes}; allowed are whole numbers above 0")
        self.folder, self.limit_bytes = Path(folder) / f"rendering_{RENDERING}", limit_bytes
        self.hits = 0
        """Number of keys that this process read from the cache."""
        self.misses = 0
        """Number of keys whose arrays this process had to make."""
        self._full = False
        self._counted_bytes = self._stored_files = 0

    def size_bytes(self) -> int:
        """Returns the size of all files together."""
        total = 0
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another process has renamed it
                    total += entry.stat().st_size
        return total

    def fetch(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Returns the arrays of `key`: read, or made and, if there is room, stored."""
        path = self.folder / f"{key}.npz"
        arrays = _read(path)
        if arrays is not None:
            self.hits += 1
            return arrays
        self.misses += 1
        arrays = make()
        if not self._full:
            self._store(path, arrays)
        return arrays

    def _store(self, path: Path, arrays: Arrays) -> None:
        if self._stored_files % _COUNT_EVERY == 0:
            self._counted_bytes = self.size_bytes()
        size = sum(array.nbytes for array in arrays.values())
        # Files are never removed, so a full cache stays full.
        self._full = self._counted_bytes + size > self.limit_bytes
        if self._full:
            return
        try:
            with atomic_write(path) as temporary:
                np.savez(temporary, **arrays)  # type: ignore[arg-type]
                self._counted_bytes += temporary.stat().st_size
        except OSError as error:
            self._full = True
            warnings.warn(f"{self.folder}: nothing more is kept here ({error.strerror or error})", stacklevel=2)
        self._stored_files += 1


def _read(path: Path) -> Arrays | None:
    """Returns the arrays of a file; None if it is missing or damaged. A damaged file is removed."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception:  # damage can make NumPy raise anything, up to MemoryError for a wrong shape
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
