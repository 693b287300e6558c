"""The files of a comparison: page with the player, side-by-side MP4, CSV, JSON report, frames for relabelling."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dwnet.comparison.frame import ComparedFrame
from dwnet.comparison.player import ComparisonPlayer
from dwnet.core.tables import CsvTable
from dwnet.core.temporary import temporary_folder
from dwnet.video import VideoWriter
from dwnet.viewer import relative_address
from dwnet.viz import caption, grid

_STEM_BYTES = 200


@dataclass(frozen=True)
class ComparisonFiles:
    """Paths of the files of a finished comparison."""

    video: Path
    """Side-by-side MP4; missing unless it is asked for (`ComparisonSettings.video`)."""
    csv: Path
    json: Path
    page: Path
    """HTML page with the player; missing if the player is off (`ComparisonSettings.player_mb`)."""
    frames: Path
    """Folder of frames that the page loads; missing if the page contains them."""
    worst: Path
    """Folder of the worst frames for relabelling; missing if no label flips, or if none are wanted."""

    @classmethod
    def beside(cls, folder: Path, clip: Path) -> Self:
        """Returns paths in `folder` named after the clip: ``street_comparison.mp4``, .csv, ... for street.mp4.

        A long name is cut, because file names have at most 255 bytes.
        """
        name = os.fsencode(clip.stem)
        short = clip.stem if len(name) <= _STEM_BYTES else name[:_STEM_BYTES].decode("utf-8", "ignore")
        stem = f"{short}_comparison"
        names = (f"{stem}.mp4", f"{stem}.csv", f"{stem}.json", f"{stem}.html", f"{stem}_frames", f"{stem}_worst")
        return cls(*(folder / name for name in names))


class ComparisonWriter:
    """Writes the files of a comparison frame by frame, as a context manager.

    The files are written in a temporary folder inside `folder`. `publish` moves them to `folder`. Without `publish`, or
    after an exception, they are deleted, and older files of the same names are unchanged. What a killed comparison left
    in `folder` is deleted by the next one.

    Args:
        folder: folder of the files; created if missing.
        clip: name of the clip; the file names contain it.
        methods: names of the methods, in the order of the columns.
        fps: frame rate of the video.
        player: collects the frames for the page and the relabelling folder; called with a scratch folder. None writes
            neither.
        page: whether the page is written.
        worst: whether the relabelling folder is written.
        video: whether the side-by-side MP4 is written.
    """

    def __init__(
        self,
        folder: Path,
        clip: str,
        methods: Sequence[str],
        fps: float,
        *,
        player: Callable[[Path], ComparisonPlayer] | None = None,
        page: bool = True,
        worst: bool = True,
        video: bool = True,
    ) -> None:
        self._folder, self._clip, self._methods, self._fps = folder, Path(clip), tuple(methods), fps
        self._make_player, self._with_page, self._with_worst, self._with_video = player, page, worst, video

    def __enter__(self) -> Self:
        self._new_folder = not self._folder.exists()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folders = ExitStack()
        self._scratch = self._folders.enter_context(temporary_folder(self._folder, "comparison"))
        self._written = ComparisonFiles.beside(self._scratch, self._clip)
        self._open_files = ExitStack()
        self._table = self._open_files.enter_context(CsvTable(self._written.csv, frame_columns(self._methods)))
        self._video: VideoWriter | None = None
        self._player = None
        if self._make_player is not None:
            self._player = self._open_files.enter_context(self._make_player(self._scratch / "player"))
        return self

    def write(self, frame: ComparedFrame) -> None:
        """Adds a frame to the table, and to the video and the player where there are any."""
        if self._with_video:
            picture = side_by_side(frame)
            if self._video is None:
                size = (picture.shape[1], picture.shape[0])
                self._video = self._open_files.enter_context(VideoWriter(self._written.video, fps=self._fps, size=size))
            self._video.write(picture)
        self._table.write(frame_row(frame, self._methods))
        if self._player is not None:
            self._player.add(frame)

    def publish(self, report: Mapping[str, Any]) -> ComparisonFiles:
        """Closes the files, writes report and page, moves everything to `folder` and returns the paths.

        Files and folders of an earlier comparison with the same names are replaced or removed.
        """
        final = ComparisonFiles.beside(self._folder, self._clip)
        if self._player is not None and self._with_worst:
            self._player.write_worst(self._written.worst, report["clip"]["name"])
        if self._player is not None and self._with_page:
            links = {"MP4": relative_address(final.video.name)} if self._with_video else {}
            links |= {"CSV": relative_address(final.csv.name), "JSON": relative_address(final.json.name)}
            self._player.write_page(self._written.page, self._written.frames, report, links)
        self._open_files.close()
        write_json(self._written.json, report)
        for name in ("video", "csv", "json", "frames", "worst", "page"):
            new, target = getattr(self._written, name), getattr(final, name)
            if target.is_dir():
                shutil.rmtree(target)
            elif not new.exists():
                target.unlink(missing_ok=True)
            if new.exists():
                new.replace(target)
        return final

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # The files get the error, so that they are dropped and raise none of their own instead of it.
            self._open_files.__exit__(kind, error, trace)
        finally:
            self._folders.close()
            if self._new_folder and not any(self._folder.iterdir()):
                self._folder.rmdir()


def frame_columns(methods: Sequence[str]) -> list[str]:
    """Returns the headings of the CSV file."""
    columns = ["frame", "pts_seconds", "scene_cut", "comparable_percent"]
    for method in methods:
        columns += [f"{method}_flips_percent", f"{method}_latency_ms", f"{method}_flow_ms"]
    return columns


def frame_row(frame: ComparedFrame, methods: Sequence[str]) -> list[object]:
    """Returns the CSV row of a frame. Cells are empty if the frame cannot be compared with the previous one."""
    row: list[object] = [frame.index, f"{frame.pts_seconds:.6f}", int(frame.scene_cut)]
    row.append(_percent_cell(frame.comparable_percent))
    for method in methods:
        found = frame.methods[method]
        row += [_percent_cell(found.flips_percent), f"{found.latency_ms:.3f}", f"{found.flow_ms:.3f}"]
    return row


def side_by_side(frame: ComparedFrame) -> NDArray[np.uint8]:
    """Returns a picture, uint8 (H', W', 3): the input and each method's overlay in two columns, with name and flips."""
    tiles = [caption(frame.image, f"input  {frame.pts_seconds:.2f} s")]
    for method, found in frame.methods.items():
        flips = "" if found.flips_percent is None else f"  {found.flips_percent:.2f} % flipped"
        tiles.append(caption(found.overlay, method.replace("_", " ") + flips))
    return grid(tiles, columns=2)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes strict JSON. Raises ValueError for NaN, which strict JSON does not allow."""
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    # A file name may have bytes that are no text. They are written as an escape, which JSON has too.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _percent_cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
