"""The worst moments: the frames with the most flips, some time apart."""

import bisect
from collections.abc import Sequence

GAP_SECONDS = 0.2
"""Two moments are at least this far apart."""


def worst_moments(flips: Sequence[float | None], pts_seconds: Sequence[float], most: int) -> list[int]:
    """Returns the positions of the worst moments, the worst first.

    The frame with the most flips is taken first, then the next one that is at least `GAP_SECONDS` from all taken ones,
    and so on. Frames without a value or without a flip are never taken. Of equal values the earlier frame comes first.

    Args:
        flips: a value for each frame; None if it has none.
        pts_seconds: times of the frames, in ascending order.
        most: largest number of moments.
    """
    ranked = sorted((-value, position) for position, value in enumerate(flips) if value)
    taken: list[int] = []
    times: list[float] = []
    for _, position in ranked:
        if len(taken) == most:
            break
        time = pts_seconds[position]
        place = bisect.bisect_left(times, time)
        near = [*times[place - 1 : place], *times[place : place + 1]] if place else times[:1]
        # Times are rounded in files; without the tolerance, frames exactly GAP_SECONDS apart would depend on it.
        if all(abs(other - time) >= GAP_SECONDS - 1e-6 for other in near):
            taken.append(position)
            times.insert(place, time)
    return taken
