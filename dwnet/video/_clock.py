"""Times of frames that strictly increase, also where the times in the file jump or are missing."""

from fractions import Fraction
from typing import Any

_JUMP_SECONDS = 10.0
_BACK_SECONDS = 0.1
"""FFmpeg's thresholds: larger jumps of a transport or program stream are jumps of its clock, and not gaps."""
_RESTART_SECONDS = 1.0
"""Times that go back by more start anew. Smaller steps back come from frames that were lost or exchanged."""


class Clock:
    """Turns the times of one stream into seconds since the first frame.

    Args:
        time_base: unit of the times in the file, in seconds.
        frame_seconds: duration of a frame, for frames without a time.
        may_jump: whether the clock of the container may jump, as in MPEG-TS and MPEG-PS, for example where two
            recordings were joined. Jumps are then removed as FFmpeg's command line does.
    """

    def __init__(self, time_base: Fraction, frame_seconds: float, *, may_jump: bool) -> None:
        self.raised = 0
        """Number of frames whose time was not after that of the frame before."""
        self.jumps = 0
        """Number of jumps of the clock that were removed."""
        self._base, self._frame_seconds, self._may_jump = time_base, frame_seconds, may_jump
        self._tick = max(float(time_base), 1e-6)
        self._shift = 0
        self._latest_dts: int | None = None
        self._next_dts: int | None = None
        self._start: float | None = None
        self._back = 0.0
        self._last = 0.0
        self._returned = 0.0

    def correct(self, packet: Any) -> None:
        """Removes jumps of the clock from the times of the next packet."""
        if not self._may_jump or packet.dts is None:
            return
        if packet.pts is not None and abs(packet.pts - packet.dts) * self._base > _JUMP_SECONDS:
            # Where two program streams were joined, a packet can have the old decoding time and the new display time.
            packet.pts = packet.dts
        dts = packet.dts - self._shift
        if self._next_dts is not None and self._latest_dts is not None:
            jump = dts - self._next_dts
            forward_or_far = abs(jump) * self._base > _JUMP_SECONDS
            if forward_or_far or dts * self._base + _BACK_SECONDS < self._latest_dts * self._base:
                self._shift += jump
                self.jumps += 1
        if self._shift:
            packet.dts -= self._shift
            if packet.pts is not None:
                packet.pts -= self._shift
        duration = packet.duration or round(self._frame_seconds / float(self._base))
        self._next_dts = packet.dts + duration
        self._latest_dts = packet.dts if self._latest_dts is None else max(self._latest_dts, packet.dts)

    def seconds(self, pts: int | None) -> float:
        """Returns the time of the next frame in display order, in seconds since the first frame."""
        if self._start is None:
            self._start = float(pts * self._base) if pts is not None else 0.0
            return 0.0
        if pts is None:
            time = self._last + self._frame_seconds
        else:
            time = float(pts * self._base) - self._start + self._back
            if time <= self._last:
                self.raised += 1
                if self._last - time > _RESTART_SECONDS:
                    # All later times would be too early as well.
                    self._back += self._last + self._frame_seconds - time
                    time = self._last + self._frame_seconds
                else:
                    time = self._last + self._tick
        self._last = time
        # Two times must differ after rounding too.
        self._returned = max(round(time, 6), round(self._returned + 1e-6, 6))
        return self._returned
