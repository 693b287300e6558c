"""What a pass over a video file found missing, damaged or changed, and the warning about it."""

from pathlib import Path
from typing import Any

from dwnet.video._clock import Clock

_START_PACKETS = 100_000


class Findings:
    """Collects what is wrong with a clip during one pass, frame by frame.

    Args:
        path: the file, for the warning.
    """

    def __init__(self, path: Path) -> None:
        self.delivered = 0
        """Number of frames delivered so far."""
        self.good = 0
        """Number of frames before the first damaged one."""
        self.corrupt_frames = 0
        """Number of delivered frames that FFmpeg marks as damaged, or whose packets it reports errors in."""
        self.hard_damage = False
        """Whether FFmpeg marked a frame as damaged, or refused a packet. Reported errors alone are not counted."""
        self.bad_packets = 0
        """Number of packets that could not be decoded, errors of the container included."""
        self.refused_in_a_row = 0
        """Number of packets since the last one that was decoded."""
        self.messages: list[str] = []
        """FFmpeg's error messages."""
        self.ended = False
        """Whether the pass reached the end of the file."""
        self._path, self._ending = path, ""
        self._header_frames = 0
        self._header_seconds: float | None = None
        self._frame_seconds = 0.04
        self._clock: Clock | None = None
        self._hidden = 0
        self._hidden_first = False
        self._packets = 0
        self._index_length = 0
        self._frame_per_packet = False
        self._reached: float | None = None
        self._started: float | None = None
        self._bad_pts: int | None = None
        self._reported: set[int | None] = set()
        self._damaged = False
        self._before_first: list[int] = []
        self._left_out = 0
        self._notes: list[str] = []

    # ------------------------------------------------------------------------------------------------ collecting

    def expect(
        self,
        *,
        header_frames: int,
        header_seconds: float | None,
        frame_seconds: float,
        ending: str,
        clock: Clock,
        index_length: int = 0,
        frame_per_packet: bool = False,
    ) -> None:
        """Sets what the file promises.

        Args:
            header_frames: number of frames that the header promises; 0 if it promises none.
            header_seconds: duration that the header promises; None if it promises none.
            frame_seconds: mean duration of a frame.
            ending: a problem with the end of the file that is known without decoding; empty if there is none.
            clock: counts the times that were changed.
            index_length: number of packets in the index of the whole file; 0 if there is no such index.
            frame_per_packet: whether every packet holds exactly one frame.
        """
        self._index_length, self._frame_per_packet = index_length, frame_per_packet
        self._header_frames, self._header_seconds = header_frames, header_seconds
        self._frame_seconds, self._ending, self._clock = frame_seconds, ending, clock

    def packet(self, packet: Any, *, of_video: bool) -> None:
        """Notes a packet of any stream before it is decoded."""
        start = packet.pts if packet.pts is not None else packet.dts
        if start is not None and packet.time_base is not None and not packet.is_discard:
            begin = float(start * packet.time_base)
            duration = float((packet.duration or 0) * packet.time_base) or (self._frame_seconds if of_video else 0)
            self._started = begin if self._started is None else min(self._started, begin)
            self._reached = max(begin + duration, self._reached or begin)
        if not of_video or not packet.size:
            return
        self._packets += 1
        if packet.is_discard:
            self._hidden += 1
            self._hidden_first = self._hidden_first or self._packets == 1
        elif not self.delivered and packet.pts is not None and len(self._before_first) < _START_PACKETS:
            self._before_first.append(packet.pts)

    def bad_packet(self, reason: str, pts: int | None) -> None:
        """Notes a packet that could not be decoded, or an error of the container."""
        self.bad_packets += 1
        self.hard_damage = True
        self.refused_in_a_row += 1
        self.messages.append(reason)
        self._damage_at(pts)

    def reported(self, pts: int | None) -> None:
        """Notes that the decoder reported errors in a packet. Its frame may be delivered without a mark."""
        self._reported.add(pts)
        self._damage_at(pts)

    def _damage_at(self, pts: int | None) -> None:
        self._damaged = True
        if pts is not None:
            self._bad_pts = pts if self._bad_pts is None else min(self._bad_pts, pts)

    def frame(self, pts: int | None, *, corrupt: bool) -> bool:
        """Notes a decoded frame. Returns whether no damage was found in it or before it, in display order."""
        if not self.delivered and pts is not None:
            self._left_out = sum(1 for waiting in self._before_first if waiting < pts)
            self._before_first.clear()
        self.delivered += 1
        self.hard_damage = self.hard_damage or corrupt
        if pts in self._reported:
            self._reported.discard(pts)
            corrupt = True
        if corrupt:
            self.corrupt_frames += 1
            self._damage_at(pts)
        good = not self._damaged or (pts is not None and self._bad_pts is not None and pts < self._bad_pts)
        if good:
            self.good += 1
        return good

    def two_fields(self) -> None:
        """Notes an interlaced frame: each of its two fields can have a packet of its own."""
        self._frame_per_packet = False

    def note(self, what: str) -> None:
        """Notes something to tell about the frames that is not damage. Only the first note is kept."""
        if not self._notes:
            self._notes.append(what)

    # ------------------------------------------------------------------------------------------------- reporting

    @property
    def started(self) -> float:
        """The earliest time of a packet, in seconds as stored; 0 if no packet has a time."""
        return self._started or 0.0

    @property
    def shortfall(self) -> str:
        """What the header promises and the file does not hold; empty if nothing is missing, or before the end."""
        if not self.ended or self._reached is None:
            return self._ending if self.ended else ""
        expected = self._header_frames - self._hidden
        parts = [self._ending] if self._ending else []
        # An edit list that hides the start moves all frames, and the stated duration is often that of the whole.
        moved = self._hidden_first and 0 < self._index_length <= self._packets and not self.damage_found
        if self._header_seconds is not None and not moved:
            reached = max(self._reached, self._reached - self.started)
            if reached < self._header_seconds - 1.5 * self._frame_seconds - 0.05:
                parts.append(f"the header promises {self._header_seconds:.2f} s, the data end at {reached:.2f} s")
        lost = self._index_length - self._packets
        if lost > 0 and not parts:
            return f"{lost} of the {self._index_length} frames in the index are missing"
        undecoded = self._packets - self._hidden - self._left_out - self.delivered
        if self._frame_per_packet and undecoded > 0:
            parts.append(f"{undecoded} of the {self._packets - self._hidden} frames in the file could not be decoded")
        elif self.delivered < expected - self._left_out and (parts or self.damage_found):
            parts.append(f"the header promises {expected} frames, {self.delivered} were decoded")
        return ", and ".join(parts)

    @property
    def left_out(self) -> str:
        """The frames at the start that FFmpeg leaves out; empty if there are none."""
        if not self._left_out:
            return ""
        frames = "1 frame at the start is" if self._left_out == 1 else f"{self._left_out} frames at the start are"
        return f"{frames} left out, because the key frame before is missing"

    @property
    def damage_found(self) -> bool:
        """Whether FFmpeg found damage so far."""
        return self._damaged or bool(self.messages)

    @property
    def damage(self) -> str:
        """The damage found so far; empty if there is none."""
        if not self.damage_found:
            return ""
        good = "no good frame" if not self.good else f"{self.good} good frame{'s' if self.good != 1 else ''}"
        reason = self.messages[0] if self.messages else "FFmpeg marks the next frame as corrupt"
        more = f", and {len(self.messages) - 1} more messages" if len(self.messages) > 1 else ""
        return f"damaged after {good} ({reason}{more}); {self._consequence()}"

    def _consequence(self) -> str:
        if self.corrupt_frames:
            return f"{self.corrupt_frames} of the {self.delivered} frames are damaged"
        if self.delivered > self.good:
            return f"{self.delivered - self.good} frames after the damage are delivered too"
        if not self._damaged and not self.shortfall:
            return "all frames found are delivered"
        return "the rest is left out"

    @property
    def warning(self) -> str | None:
        """One sentence that names the file and everything found; None if nothing was found."""
        parts = [self.damage, self.shortfall]
        parts.append(self.left_out)
        if self._clock is not None and self._clock.raised:
            parts.append(f"{self._clock.raised} frame times did not increase and were raised")
        if self._clock is not None and self._clock.jumps:
            parts.append(f"the clock of the file jumps {self._clock.jumps} times; the parts follow each other")
        parts += self._notes
        found = [part for part in parts if part]
        return f"{self._path}: {'; '.join(found)}" if found else None
