"""What a data set is, in one line: to see that a resumed run trains on other data than before."""

import hashlib
from pathlib import Path
from typing import Any

from dwnet.data.frames import FileSource
from dwnet.data.pair_dataset import PairDataset
from dwnet.data.pairs import EpochData


def parts_of(data: Any) -> list[PairDataset]:
    """Returns the data sets of files inside one that mixes, wraps or augments them: the attributes that hold them."""
    if isinstance(data, PairDataset):
        return [data]
    inside = [getattr(data, name, None) for name in ("data", "pairs", "singles")]
    return [part for one in inside if isinstance(one, EpochData) for part in parts_of(one)]


def data_key(data: Any) -> str:
    """Returns the number of frames and a key that changes with their names, their classes and the sizes of their files.

    The folder and the times of the files do not count, so a copy has the same key.
    """
    digest, count = hashlib.sha256(), 0
    for part in parts_of(data):
        own = part.source.class_file if isinstance(part.source, FileSource) else None
        digest.update(repr((part.classes.classes, None if own is None else sorted(own.as_dict().items()))).encode())
        count += len(part)
        for frame in part.frames:
            files = (frame.image, frame.labels) if isinstance(part.source, FileSource) else ()
            digest.update(f"{frame.name} {' '.join(str(_size(file)) for file in files)}\n".encode())
    return f"{count} frames ({digest.hexdigest()[:12]})"


def left_out(data: Any) -> str:
    """Returns a sentence about labelled frames that are left out because they have no neighbour; empty without any."""
    parts = parts_of(data)
    labelled = sum(len(part.source.frames) for part in parts)
    lost = labelled - sum(len(part) for part in parts)
    return f"{lost} of {labelled} labelled frames have no neighbour and are left out" if lost else ""


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else -1
