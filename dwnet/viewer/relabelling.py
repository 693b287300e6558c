"""The worst frames of a run as a folder for relabelling: images, every method's labels, a list and the classes."""

import base64
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from dwnet.core.tables import CsvTable

README = """The frames in which labels flicker most, for relabelling.

frames.csv    rank, frame number in the clip (counted from 0), time in seconds, flips of each method in percent
classes.json  names and colours of the classes; the id of a class is its place in the list, counted from 0
images/       the frames, JPEG
labels/       for each method, its labels of the same frames: 8-bit palette PNGs, whose indices are the ids;
              255 is no class
"""


def folder_names(methods: Sequence[str]) -> list[str]:
    """Returns a folder name for each method: letters, digits, ``-``, ``_`` and ``.`` only, and no name twice."""
    names: list[str] = []
    for method in methods:
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", method).strip("._") or "method"
        name, number = plain, 2
        while name.lower() in {other.lower() for other in names}:
            name, number = f"{plain}_{number}", number + 1
        names.append(name)
    return names


def write_relabelling(
    folder: Path,
    frames: Iterable[tuple[int, float, Sequence[float | None], str]],
    methods: Sequence[str],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> None:
    """Writes the folder. The player's download has the same files (`player/export.js`).

    Args:
        folder: an existing, empty folder.
        frames: number, time in seconds, flips of each method in percent, and encoded frame (`frames.encode_frame`) of
            each frame, the worst first.
        methods: names of the methods.
        classes: names of the classes.
        palette: colours of the classes.
    """
    names = folder_names(methods)
    (folder / "images").mkdir()
    for name in names:
        (folder / "labels" / name).mkdir(parents=True)
    (folder / "README.txt").write_text(README, encoding="utf-8")
    listed = {"classes": list(classes), "palette": [list(colour) for colour in palette]}
    (folder / "classes.json").write_text(json.dumps(listed, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    columns = ["rank", "frame", "pts_seconds", "image", *(f"{method}_flips_percent" for method in methods)]
    with CsvTable(folder / "frames.csv", columns) as table:
        for rank, (number, pts_seconds, flips, encoded) in enumerate(frames, start=1):
            content, stem = json.loads(encoded), f"{number:06d}"
            (folder / "images" / f"{stem}.jpg").write_bytes(base64.b64decode(content["i"]))
            for name, labels in zip(names, content["l"], strict=True):
                (folder / "labels" / name / f"{stem}.png").write_bytes(base64.b64decode(labels))
            cells = ["" if value is None else f"{value:.4f}" for value in flips]
            table.write([rank, number, f"{pts_seconds:.6f}", f"images/{stem}.jpg", *cells])
