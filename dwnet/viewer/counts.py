"""The numbers of every frame of a player: times, latencies and counts, from which the browser computes each table."""

import array
import base64
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.viewer.frames import PlayerFrame, PlayerMethod

MOST_COUNTS = 8_000_000
"""Largest number of counts per class of a player (4 bytes each). Longer clips have sums over several frames."""


class FrameCounts:
    """Collects the numbers of every frame. The counts are kept in a file, because there are many.

    Args:
        path: a file for the counts; it is created.
        methods: number of methods.
        classes: number of classes at the start. A frame with more classes raises the number.
    """

    def __init__(self, path: Path, methods: int, classes: int) -> None:
        self._methods, self.classes = methods, classes
        self._path = path
        self._file = path.open("w+b")
        self.numbers = array.array("q")
        self.pts_seconds = array.array("d")
        self._scene_cuts = array.array("B")
        self._latency = array.array("f")
        self._flow = array.array("f")
        self.measures_time = False
        """Whether any frame has a latency."""

    def add(self, frame: PlayerFrame) -> list[float | None]:
        """Adds a frame. Returns the flips of each method in percent; None where the frame is not compared."""
        self.numbers.append(frame.number)
        self.pts_seconds.append(frame.pts_seconds)
        self._scene_cuts.append(frame.scene_cut)
        flips: list[float | None] = []
        for method in frame.methods.values():
            self._latency.append(method.latency_ms)
            self._flow.append(method.flow_ms)
            self.measures_time |= method.latency_ms == method.latency_ms
            flips.append(self._write(method))
        return flips

    def _write(self, method: PlayerMethod) -> float | None:
        """Writes the counts of one method: the number of classes K, then 3 K + 2 numbers (`packed`)."""
        if method.transitions is None:
            self._file.write(struct.pack("<i", 0))
            return None
        table = method.transitions.sum(axis=0)
        zone = method.transitions[1]
        numbers = [*np.diag(table), *table.sum(axis=1), *table.sum(axis=0), zone.sum(), zone.sum() - np.trace(zone)]
        self.classes = max(self.classes, len(table))
        self._file.write(struct.pack("<i", len(table)))
        self._file.write(np.asarray(numbers, "<i4").tobytes())
        counted = int(table.sum())
        return 100 * (counted - int(np.trace(table))) / counted if counted else None

    def packed(self) -> dict[str, Any]:
        """Returns all numbers of F frames and M methods as values for JSON (`pack`), and deletes the file.

        ``number`` (F,) int32, ``pts`` (F,) float64 in seconds, ``cut`` (F,) uint8, ``latency`` and ``flow`` (F, M)
        float32 in milliseconds, ``pixels`` (M, 2, F) int32: the counted pixels that keep their class, and all of them.
        ``counts`` (M, 3 K + 2, S) int32 are sums over steps of equal numbers of frames; a step is one frame while there
        are at most `MOST_COUNTS`. The 3 K + 2 counts of a step are, for each class, the pixels that keep it, the pixels
        that had it before, and the pixels that have it now; then the pixels near a boundary, and those of them that
        flip. ``step`` is the number of frames of a step.
        """
        frames, rows = len(self.numbers), 3 * self.classes + 2
        step = max(-(-frames * self._methods * rows // MOST_COUNTS), 1)
        counts = np.zeros((self._methods, rows, -(-frames // step)), "<i4")
        pixels = np.zeros((self._methods, 2, frames), "<i4")
        self._file.seek(0)
        for position in range(frames):
            for method in range(self._methods):
                row = self._read_row()
                if row is None:
                    continue
                counts[method, :, position // step] += row
                kept, now = row[: self.classes], row[2 * self.classes : 3 * self.classes]
                pixels[method, :, position] = kept.sum(), now.sum()
        self.close()
        shape = (frames, self._methods)
        return {
            "number": pack(np.asarray(self.numbers, "<i4")),
            "pts": pack(np.asarray(self.pts_seconds, "<f8")),
            "cut": pack(np.asarray(self._scene_cuts, "u1")),
            "latency": pack(np.asarray(self._latency, "<f4").reshape(shape)),
            "flow": pack(np.asarray(self._flow, "<f4").reshape(shape)),
            "pixels": pack(pixels),
            "counts": pack(counts),
            "step": step,
        }

    def _read_row(self) -> NDArray[np.int32] | None:
        """Returns the next row of the file, with the final number of classes; None for a frame that is not compared."""
        (found,) = struct.unpack("<i", self._file.read(4))
        if not found:
            return None
        stored = np.frombuffer(self._file.read(4 * (3 * found + 2)), "<i4")
        row = np.zeros(3 * self.classes + 2, np.int32)
        for part in range(3):
            row[part * self.classes : part * self.classes + found] = stored[part * found : (part + 1) * found]
        row[-2:] = stored[-2:]
        return row

    def close(self) -> None:
        """Closes and deletes the file. Does nothing the second time."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def pack(numbers: NDArray[Any]) -> dict[str, Any]:
    """Returns an array as values for JSON: ``type`` (NumPy's code), ``shape``, and ``data``, zlib in base64."""
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(numbers).tobytes(), 9)).decode("ascii")
    return {"type": numbers.dtype.str.lstrip("<|="), "shape": list(numbers.shape), "data": data}


def largest(flips: Sequence[float | None]) -> float | None:
    """Returns the largest of the flips; None if none is known."""
    known = [value for value in flips if value is not None]
    return max(known) if known else None
