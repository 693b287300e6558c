"""Encoded frames of a clip on disk, within a budget: all, or a lower rate and all frames near the worst moments."""

import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

from dwnet.viewer.moments import worst_moments

AROUND_SECONDS = 0.4
"""Every frame within this time of a worst moment is kept."""
KEPT_MOMENTS = 20
"""Largest number of worst moments whose neighbours are kept."""
MOMENT_SHARE = 0.5
"""Largest share of the budget for the frames around the worst moments."""


class FrameStore:
    """Encoded frames in a folder, in at most `budget_bytes`.

    While the frames fit, all are kept. When they do not, frames whose position is no multiple of `every` are deleted,
    and `every` is doubled as often as needed. The frames around the worst moments so far stay. The last frame added
    always stays, so one frame may exceed a very small budget.

    Args:
        folder: an existing folder for the frames.
        budget_bytes: largest size of all frames.
    """

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self._folder, self._budget = folder, budget_bytes
        self.every = 1
        """Every n-th frame is kept, apart from those near worst moments."""
        self.flips = array.array("d")
        """Flips of every frame added, the largest over the methods; 0 without a value."""
        self.pts_seconds = array.array("d")
        self._sizes = array.array("q")
        """Size of every frame; 0 for a deleted one."""
        self._stored = 0
        self._bytes = 0

    @property
    def positions(self) -> list[int]:
        """Positions of the stored frames in the order of the frames added, ascending."""
        return [position for position, size in enumerate(self._sizes) if size]

    @property
    def thinned(self) -> bool:
        """Whether frames were deleted."""
        return self._stored < len(self.pts_seconds)

    @property
    def bytes(self) -> int:
        """Size of all stored frames."""
        return self._bytes

    def add(self, encoded: str, flips: float | None, pts_seconds: float) -> None:
        """Stores the next frame.

        Args:
            encoded: the frame (`frames.encode_frame`).
            flips: the largest flips of a method; None if the frame is not compared.
            pts_seconds: time of the frame.
        """
        position = len(self.pts_seconds)
        self.flips.append(flips or 0.0)
        self.pts_seconds.append(pts_seconds)
        data = encoded.encode("ascii")
        self._path(position).write_bytes(data)
        self._sizes.append(len(data))
        self._stored += 1
        self._bytes += len(data)
        if self._bytes > self._budget:
            self._thin()

    def take(self, position: int) -> str:
        """Returns a stored frame and deletes its file."""
        path = self._path(position)
        encoded = path.read_text("ascii")
        path.unlink()
        return encoded

    def read(self, position: int) -> str:
        """Returns a stored frame."""
        return self._path(position).read_text("ascii")

    def _path(self, position: int) -> Path:
        return self._folder / f"{position}.json"

    def _thin(self) -> None:
        """Deletes frames until a tenth of the budget is free, so that this happens seldom."""
        target = 0.9 * self._budget
        last = len(self.pts_seconds) - 1
        # The next frame may be a worst moment, so the frames before it are kept for now.
        near = self._near_moments(target * MOMENT_SHARE) | set(around_moment(last, self.pts_seconds))
        while self._bytes > target and self._stored > 1:
            for position in self.positions:
                if position % self.every and position not in near and position != last:
                    self._delete(position)
            if self._bytes <= target:
                return
            if self.every > last:  # only the first frame, the last one and those near moments are left
                for position in [one for one in self.positions if one != last]:
                    self._delete(position)
                return
            self.every *= 2

    def _near_moments(self, most_bytes: float) -> set[int]:
        """Returns the positions near the worst moments, as many moments as fit into `most_bytes`, the worst first."""
        near: set[int] = set()
        used = 0
        for moment in worst_moments(self.flips, self.pts_seconds, KEPT_MOMENTS):
            around = set(around_moment(moment, self.pts_seconds)) - near
            used += sum(self._sizes[position] for position in around)
            if used > most_bytes:
                break
            near |= around
        return near

    def _delete(self, position: int) -> None:
        self._path(position).unlink()
        self._bytes -= self._sizes[position]
        self._sizes[position] = 0
        self._stored -= 1


def around_moment(position: int, pts_seconds: Sequence[float]) -> range:
    """Returns the positions of the frames within `AROUND_SECONDS` of a frame."""
    time = pts_seconds[position]
    return range(
        bisect_left(pts_seconds, time - AROUND_SECONDS - 1e-6), bisect_right(pts_seconds, time + AROUND_SECONDS + 1e-6)
    )
