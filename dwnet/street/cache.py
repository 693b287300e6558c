"""What was rendered, kept on disk up to a size: drawing it takes long, reading it does not."""

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
"""Counts the changes to what a seed looks like: what an older renderer drew is not read."""
_COUNT_EVERY = 16
"""Files that a process writes between two counts of the folder, which takes longer the fuller it is."""


class ArrayCache:
    """Named arrays by key, each key one file. Once full it stays as it is: nothing is thrown out, and nothing added.

    Several processes may use one folder. Each writes whole files and counts all of them now and then, so together they
    exceed the limit by a few files for each process at most. A file that is damaged is made again; where none can be
    written, a warning says so once, and all is made each time.

    Args:
        folder: made when it is first written to.
        limit_bytes: all files together, above 0.

    Raises:
        ValueError: for a limit that is not.
    """

    def __init__(self, folder: str | Path, *, limit_bytes: int) -> None:
        if limit_bytes <= 0:
            raise DWNetError(f"limit_bytes: found {limit_bytes}; allowed are whole numbers above 0")
        self.folder, self.limit_bytes = Path(folder) / f"rendering_{RENDERING}", limit_bytes
        self.hits = 0
        """How often this process was given what it had not to make."""
        self.misses = 0
        """How often it was not."""
        self._full = False
        self._counted_bytes = self._stored_files = 0

    def size_bytes(self) -> int:
        """What the files take."""
        total = 0
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another process has given it its name meanwhile
                    total += entry.stat().st_size
        return total

    def fetch(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of `key`, read, or else made and stored if there is room."""
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
        # Nothing is taken out, so what is full once is full for good.
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
    """The arrays of a file; None where there is none, or a damaged one, which is removed."""
    if not path.is_file():
        return None
    try:
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception:  # damage can make NumPy raise anything, up to MemoryError for a wrong shape
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
