"""Rendered samples kept on disk, up to a size: drawing one takes long, reading it does not."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dwnet.files import written_whole

Arrays = dict[str, NDArray]
RENDERING = 1
"""Counts the changes to what a seed looks like: what an older renderer drew is not read."""


class ArrayCache:
    """Named arrays by key, each key one file. Once full it stays as it is: nothing is thrown out, and nothing added.

    Several processes may use one folder. Each writes whole files and counts all of them first, so together they exceed
    the limit by one file for each process at most.

    Args:
        folder: made when it is first written to.
        limit_bytes: all files together, above 0.

    Raises:
        ValueError: for a limit that is not.
    """

    def __init__(self, folder: str | Path, *, limit_bytes: int) -> None:
        if limit_bytes <= 0:
            raise ValueError(f"limit_bytes: found {limit_bytes}; allowed are whole numbers above 0")
        self.folder, self.limit_bytes = Path(folder) / f"rendering_{RENDERING}", limit_bytes
        self._full = False

    def size_bytes(self) -> int:
        """What the files take."""
        if not self.folder.is_dir():
            return 0
        with os.scandir(self.folder) as entries:
            return sum(entry.stat().st_size for entry in entries)

    def fetch(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of `key`, read, or else made and stored if there is room; a file that cannot be read is made
        again."""
        path = self.folder / f"{key}.npz"
        if path.is_file():
            try:
                with np.load(path) as stored:
                    return {name: stored[name] for name in stored.files}
            except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
                path.unlink(missing_ok=True)
        arrays = make()
        # Nothing is taken out, so what is full once is full for good.
        self._full = self._full or self.size_bytes() + sum(a.nbytes for a in arrays.values()) > self.limit_bytes
        if not self._full:
            with written_whole(path) as temporary:
                np.savez(temporary, **arrays)  # type: ignore[arg-type]
        return arrays
