"""Decoding with PyAV, in every container. Frames are upright and in display order.

The decoder goes on after damage, as FFmpeg's command line does. `Findings` collects what was wrong.
"""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.video._clock import Clock
from dwnet.video._container import (
    Header,
    ending_problem,
    frame_per_packet,
    frames_per_second,
    header_of,
    index_length,
    lost_start,
    open_container,
    promised_seconds,
)
from dwnet.video._ffmpeg_log import ffmpeg_errors
from dwnet.video._findings import Findings
from dwnet.video._limits import ClipLimits, default_limits
from dwnet.video._orientation import UPRIGHT, Orientation
from dwnet.video._types import (
    READABLE,
    DecoderError,
    VideoError,
    VideoFrame,
    VideoInfo,
    check_side,
    one_line,
    target_size,
)


@dataclass(frozen=True)
class DecodedFrame:
    """One decoded frame whose pixels are converted on request."""

    index: int
    """0, 1, 2, ... in display order."""
    pts_seconds: float
    """Presentation time, in seconds since the first frame. It increases from frame to frame."""
    good: bool
    """Whether no damage was found in this frame or before it."""
    shown_size: tuple[int, int]
    """(width, height) of the upright first frame of the stream."""
    _stored: Any
    _orientation: Orientation

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the stored format, for example ``gray``."""
        return self._stored.format.name

    @property
    def upright(self) -> bool:
        """Whether the frame is stored as it is shown."""
        return self._orientation == UPRIGHT

    @property
    def own_size(self) -> tuple[int, int]:
        """(width, height) of this frame, upright. It differs from `shown_size` if the stream changes its size."""
        return self._orientation.size(self._stored.width, self._stored.height)

    def image(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Returns the upright frame, (H, W, 3) uint8 RGB, resized to `size` = (width, height), or to `shown_size`.

        Raises:
            DecoderError: for a pixel format that FFmpeg cannot convert.
        """
        width, height = self._orientation.size(*(size or self.shown_size))
        try:
            stored = self._stored.to_ndarray(format="rgb24", width=width, height=height, threads=1)
        except (ValueError, OSError) as error:
            raise DecoderError(f"{self.pixel_format} pixels cannot be converted to RGB ({one_line(error)})") from error
        return self._orientation.apply(stored)

    def plane(self) -> NDArray[np.uint8]:
        """Returns the upright first plane, (H, W) uint8, without colour conversion, for example palette indices.

        A conversion could stretch grey levels from 16..235 to 0..255. The format must have one byte per pixel.
        """
        plane = self._stored.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        return self._orientation.apply(np.ascontiguousarray(rows[: self._stored.height, : self._stored.width]))


class ExactVideo:
    """Iterates over all frames of a video file in which no frame may be missing: label videos, training frames.

    Each pass opens its own decoder. Unlike with `VideoReader`, a pass over a damaged file ends with an error.

    Args:
        path: the video file.
        allowed: description of allowed files, for error messages.
        strict: whether errors that FFmpeg reports without marking a frame, and changes of the frame size, are errors.
            Otherwise frames are resized to the first size, and `warning` has the reports.
        limits: limits on pixels and memory; None uses those of the process.

    Raises:
        VideoError: for a file that is not a video, or exceeds a limit. While iterating: for a frame that is damaged or
            missing, and for a change of the frame size.
    """

    def __init__(
        self, path: Path, *, allowed: str = READABLE, strict: bool = True, limits: ClipLimits | None = None
    ) -> None:
        self.path, self._allowed, self._strict = path, allowed, strict
        self._limits = limits or default_limits()
        self._findings = Findings(path)
        with open_container(path, self._limits, allowed) as (container, stream):
            header = header_of(container, stream)
            size = (stream.codec_context.width, stream.codec_context.height)
            self._limits.check_memory(path, *size, bits=header.pixel_bits, intra=header.intra, delivered=size)
            self.codec: str = stream.codec.canonical_name
            """FFmpeg's name, for example ``ffv1``."""
            self.pixel_format: str | None = stream.codec_context.pix_fmt
            """FFmpeg's name, for example ``gray``; None if it is known only after decoding."""

    @property
    def warning(self) -> str | None:
        """What the last pass found out of the ordinary and delivered nevertheless; None if nothing."""
        return self._findings.warning

    def __iter__(self) -> Iterator[DecodedFrame]:
        self._findings = findings = Findings(self.path)
        decoded = 0
        try:
            for frame in decode(self.path, findings, self._limits, self._allowed):
                if not frame.good and (self._strict or findings.hard_damage):
                    break
                if self._strict and frame.own_size != frame.shown_size:
                    found, first = ("x".join(map(str, size)) for size in (frame.own_size, frame.shown_size))
                    raise VideoError(
                        f"{self.path}: frame {frame.index} is {found} pixels; allowed is {first}, the size of the first"
                    )
                decoded += 1
                yield frame
        except DecoderError as error:
            raise self._damaged(decoded, str(error)) from error
        if self._strict and findings.left_out:
            raise VideoError(f"{self.path}: {findings.left_out}; allowed is {self._allowed}")
        if findings.hard_damage or findings.shortfall or (self._strict and findings.corrupt_frames):
            reason = findings.messages[0] if findings.messages else findings.shortfall
            raise self._damaged(decoded, reason or "FFmpeg marks it as corrupt")

    def _damaged(self, index: int, reason: str) -> VideoError:
        return VideoError(
            f"{self.path}: is damaged, frame {index} cannot be decoded ({reason}); allowed is {self._allowed}"
        )


def decode(
    path: Path, findings: Findings, limits: ClipLimits, allowed: str = READABLE
) -> Generator[DecodedFrame, None, None]:
    """Yields every frame of a video file that FFmpeg decodes, in display order.

    Args:
        path: the file.
        findings: collects what is missing, damaged or changed.
        limits: limits on the pixels of a frame.
        allowed: description of allowed files, for error messages.

    Raises:
        VideoError: for a file that is not a video.
        DecoderError: for a display matrix with other than quarter turns and mirrorings, or one that changes.
    """
    import av

    with open_container(path, limits, allowed, findings.messages) as (container, stream):
        may_jump = bool(container.format.flags & av.format.Flags.ts_discont.value)
        frame_seconds = 1 / frames_per_second(stream)
        clock = Clock(stream.time_base, frame_seconds, may_jump=may_jump)
        matroska = container.format.name == "matroska,webm"
        findings.expect(
            header_frames=stream.frames,
            header_seconds=promised_seconds(container, stream),
            frame_seconds=frame_seconds,
            ending=ending_problem(path, container.format.name, stream.id),
            clock=clock,
            index_length=index_length(container, stream),
            frame_per_packet=frame_per_packet(container, stream),
        )
        first: Orientation | None = None
        shown_size = (0, 0)
        for index, stored in enumerate(_stored_frames(container, stream, findings, clock)):
            orientation = Orientation.of_frame(stored)
            size = orientation.size(stored.width, stored.height)
            if first is None:
                first, shown_size = orientation, size
            if orientation != first:
                raise DecoderError(f"frame {index} has another display matrix than the first frame")
            if size != shown_size:
                found, wanted = ("x".join(map(str, one)) for one in (size, shown_size))
                findings.note(f"from frame {index} on, frames are {found} pixels and are resized to {wanted}")
            if stored.interlaced_frame:
                findings.two_fields()
            good = findings.frame(stored.pts, corrupt=stored.is_corrupt)
            yield DecodedFrame(index, clock.seconds(stored.pts), good, shown_size, stored, orientation)
        if matroska and findings.started > frame_seconds and lost_start(path, limits, findings.started):
            findings.note(f"the first {findings.started:.2f} s of the file are damaged and left out")


def _stored_frames(container: Any, stream: Any, findings: Findings, clock: Clock) -> Generator[Any, None, None]:
    """Yields the decoded frames of a stream. Errors of packets are noted, and decoding goes on."""
    import av

    packets = container.demux()
    context = stream.codec_context
    while not findings.ended:
        packet = None
        try:
            with ffmpeg_errors(findings.messages):
                packet = next(packets, None)
        except (av.error.FFmpegError, OSError) as error:
            findings.bad_packet(one_line(error), None)
        if packet is not None and packet.stream_index != stream.index:
            if packet.size:
                findings.packet(packet, of_video=False)
            continue
        pts = None
        if packet is not None and packet.size:
            clock.correct(packet)
            findings.packet(packet, of_video=True)
            pts = packet.pts
        else:
            # The empty packet at the end, or an error of the container: the decoder returns the frames that it holds.
            findings.ended = True
            packet = None
        yield from _decoded(context, packet, pts, findings)


def _decoded(context: Any, packet: Any, pts: int | None, findings: Findings) -> list[Any]:
    """Returns the frames that a packet completes; None returns the frames that the decoder holds."""
    import av

    before = len(findings.messages)
    try:
        with ffmpeg_errors(findings.messages):
            frames: list[Any] = context.decode(packet)
    except av.error.EOFError:
        return []
    except (av.error.FFmpegError, OSError) as error:
        findings.bad_packet(one_line(error), pts)
        if context.codec.name == "libdav1d" and findings.refused_in_a_row > 1:
            # dav1d can keep a packet that it cannot decode, and then refuses all packets after it.
            context.flush_buffers()
        return []
    findings.refused_in_a_row = 0
    if len(findings.messages) > before:
        findings.reported(pts)
    return frames


def probe_pyav(path: Path, max_side: int | None, limits: ClipLimits) -> VideoInfo:
    """Returns the facts of a clip.

    Raises:
        VideoError: for a file that is not a video, or a clip that exceeds a limit or has a side below 32 pixels.
        DecoderError: if no frame can be decoded.
    """
    header: Header
    with open_container(path, limits) as (container, stream):
        header = header_of(container, stream)
        coded = (stream.codec_context.width, stream.codec_context.height)
        limits.check_memory(
            path, *coded, bits=header.pixel_bits, intra=header.intra, delivered=target_size(*coded, max_side)
        )
    findings = Findings(path)
    with contextlib.closing(decode(path, findings, limits)) as frames:
        first = next(frames, None)
        if first is None:
            raise DecoderError(findings.messages[0] if findings.messages else "the stream has no frame")
        first.image((2, 2))  # raises if the pixel format cannot be converted
        width, height = first.shown_size
    check_side(path, width, height)
    return VideoInfo(
        *target_size(width, height, max_side),
        fps=header.fps,
        frames=header.frames,
        duration_seconds=header.duration_seconds,
        reader="pyav",
        codec=header.codec,
        source_width=width,
        source_height=height,
    )


def read_pyav(
    path: Path, size: tuple[int, int] | None, *, findings: Findings | None = None, limits: ClipLimits | None = None
) -> Generator[VideoFrame, None, None]:
    """Yields the upright frames of a file.

    Args:
        path: the file.
        size: (width, height) to resize to; None keeps the size of the first frame.
        findings: collects what is missing, damaged or changed.
        limits: limits on the pixels of a frame; None uses those of the process.

    Raises:
        DecoderError: for a display matrix or a pixel format that is not supported.
    """
    findings = findings or Findings(path)
    with contextlib.closing(decode(path, findings, limits or default_limits())) as frames:
        for frame in frames:
            yield VideoFrame(frame.index, frame.pts_seconds, frame.image(size))
