"""The player of a measured clip, for the report of one clip, or as a page of a corpus's clip."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from dwnet.core.classes import ClassSet, made_up_colour
from dwnet.core.files import atomic_write
from dwnet.flicker.flows import PairMotion
from dwnet.flicker.record import Record
from dwnet.flicker.tally import PairCount
from dwnet.video import VideoFrame
from dwnet.viewer import PlayerFrame, PlayerInfo, PlayerMethod, PlayerWriter, flip_states, player_page, relative_address

SMALLEST_MB = 1
"""Smallest budget of one clip, in MB."""


def share_mb(player_mb: int, clips: int) -> int:
    """Returns the budget of each clip in MB, for a budget of all clips together; 0 if there is no player."""
    return max(player_mb // clips, SMALLEST_MB) if player_mb else 0


class FlickerPlayer:
    """Collects the frames of a clip while it is measured (`measure.RowSink`), as a context manager.

    Args:
        folder: folder of the page; the temporary files are there, too. It is created with the first frame.
        name: name of the page without suffix; the folder of chunks is called ``NAME_frames``.
        budget_mb: largest size of the stored frames, in MB.
    """

    def __init__(self, folder: Path, name: str, budget_mb: int) -> None:
        self._folder, self._name, self._budget = folder, name, budget_mb
        self._scratch = folder / f".{name}_player"
        self._chunks = folder / f"{name}_frames"
        self._writer: PlayerWriter | None = None
        self._sets: tuple[str, ...] = ()
        self._palette: list[Sequence[int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._writer is not None:
            self._writer.__exit__(*error)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def begin(self, sets: Sequence[str], classes: ClassSet | None) -> None:
        """Must be called before the first frame, with the names of the sets and the classes, if they are known."""
        known = () if classes is None else classes.palette
        self._sets = tuple(sets)
        self._palette = [*known, *(made_up_colour(class_id) for class_id in range(len(known), 255))]

    def __call__(
        self,
        frame: VideoFrame,
        motion: PairMotion | None,
        counts: Sequence[PairCount | None],
        labels: Sequence[NDArray[np.uint8]],
    ) -> None:
        """Adds a measured frame."""
        if self._writer is None:
            shutil.rmtree(self._scratch, ignore_errors=True)  # of a run that was killed
            self._scratch.mkdir(parents=True)
            budget = self._budget * 1_000_000
            self._writer = PlayerWriter(self._scratch / "work", self._sets, self._palette, budget_bytes=budget)
            self._writer.__enter__()
        self._writer.add(
            PlayerFrame(
                number=frame.index,
                pts_seconds=frame.pts_seconds,
                image=frame.image,
                methods={
                    name: PlayerMethod(
                        ids,
                        None if count is None else flip_states(count.flipped, count.compared),
                        None if count is None else count.transitions,
                    )
                    for name, count, ids in zip(self._sets, counts, labels, strict=True)
                },
                scene_cut=motion is None and frame.index > 0,
                coarse_flow_px=None if motion is None else motion.to_previous_px,
            )
        )

    def finish(self, record: Record, files: Mapping[str, str]) -> Markup:
        """Returns the player, and moves its chunks into their folder, which replaces an older one.

        Args:
            record: the record of the clip.
            files: names of the files for download, relative to the page, by the text of the link.
        """
        assert self._writer is not None  # a measured clip has two frames or more
        clip, classes = record["clip"], record["classes"]
        info = PlayerInfo(
            title=f"Flicker of {clip['name']}",
            clip=clip["name"],
            classes=classes["names"],
            palette=classes["palette"],
            files=files,
        )
        player = self._writer.finish(info, self._scratch / "frames", address=relative_address(self._chunks.name))
        shutil.rmtree(self._chunks, ignore_errors=True)
        if player.chunks:
            (self._scratch / "frames").rename(self._chunks)
        return player.body

    def write_page(self, record: Record) -> None:
        """Writes a page with the player alone, ``NAME.html``."""
        body = self.finish(record, {"CSV": relative_address(f"{self._name}.csv")})
        clip, flow = record["clip"], record["flows"][0]
        lead = f"{clip['frames']} frames of {clip['width_px']} x {clip['height_px']} px · flow: {flow['name']}"
        html = player_page(body, title=f"Flicker of {clip['name']}", lead=lead, facts={"Flow": flow["description"]})
        with atomic_write(self._folder / f"{self._name}.html") as temporary:
            temporary.write_text(html, encoding="utf-8", errors="backslashreplace")


def player_link(name: str, frame: int, *, several: bool) -> str:
    """Returns the link from the report to a frame: in the report's own player, or in the page of a corpus's clip."""
    return f"clips/{quote(os.fsencode(name))}.html#frame={frame}" if several else f"#frame={frame}"
