"""Writes damaged and odd clips, and decodes clips with a plain PyAV loop that shares no code with `dwnet.video`.

`intact_clips`, `truncated_clips`, `flipped_clips` and `odd_clips` return cases. A case writes one file. The frames of
all clips have a pattern that encodes the frame number, so that lost, repeated and exchanged frames are seen.
"""

import functools
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FRAMES = 96, 64, 24
QUARTER_TURNS = {
    "upright": (1, 0, 0, 1),
    "clockwise": (0, 1, -1, 0),
    "half": (-1, 0, 0, -1),
    "anticlockwise": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside_down": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "transversed": (0, -1, -1, 0),
}
"""Display matrices (a, b, c, d): the stored pixel (x, y) is shown at (a x + c y, b x + d y)."""


@dataclass(frozen=True)
class Case:
    """One clip of the collection."""

    name: str
    """File name; unique."""
    write: Callable[[Path], Any]
    """Writes the file at the path."""
    intact: bool = True
    """Whether nothing is missing or damaged, so that the reader must not warn."""
    frames: int | None = None
    """Number of frames that the intact clip has; None if the plain decode decides."""
    turn: str = "upright"
    """Name of the display matrix."""
    stream: int | None = None
    """Index of the stream that FFmpeg's command line takes; None if there is only one video stream."""
    says: str = ""
    """A part of the warning, for a clip that is readable but not intact."""
    refused: str = ""
    """A part of the error, for a clip that is refused."""


# ------------------------------------------------------------------------------------------------------- encoding


@functools.cache
def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Returns a picture with a moving square, noise that is fixed, and the index as six black or white bars below."""
    rng = np.random.default_rng(7)
    image = rng.integers(60, 190, (height, width, 3)).astype(np.uint8)
    left = (5 * index) % max(width - 16, 1)
    image[8:24, left : left + 16] = (230, 40, 30)
    bar = width // 6
    for bit in range(6):
        image[-12:, bit * bar : (bit + 1) * bar] = 235 if index >> bit & 1 else 16
    return image


def number_in(image: NDArray[np.uint8]) -> int:
    """Returns the index in a picture at any scale."""
    height, width = image.shape[:2]
    row = image[round(height - 6 * height / HEIGHT)].astype(int).mean(axis=1)
    return sum(int(row[int((bit + 0.5) * (width // 6))] > 125) << bit for bit in range(6))


@dataclass(frozen=True)
class Encoding:
    """How a clip is encoded."""

    codec: str = "libx264"
    pixels: str = "yuv420p"
    size: tuple[int, int] = (WIDTH, HEIGHT)
    frames: int = FRAMES
    first: int = 0
    """Index of the first picture."""
    rate: int = 25
    gop: int = 8
    ticks: Sequence[int] | None = None
    """Times of the frames in units of 1 / 1000 s; None for a constant rate."""
    options: tuple[tuple[str, str], ...] = ()
    format: str | None = None
    muxing: tuple[tuple[str, str], ...] = ()
    audio: bool = False
    shift: int = 0
    """Added to all times, in units of 1 / `rate` s."""
    attributes: tuple[tuple[str, Any], ...] = ()
    """Attributes of the codec context, for example ``color_range``."""


def encode(path: Path, how: Encoding) -> Path:
    """Writes a clip."""
    with av.open(str(path), "w", format=how.format, options=dict(how.muxing)) as container:
        _add_video(container, how)
    return path


def _add_video(container: Any, *hows: Encoding) -> None:
    streams = []
    for how in hows:
        stream = container.add_stream(how.codec, rate=how.rate)
        stream.width, stream.height, stream.pix_fmt = *how.size, how.pixels
        base = Fraction(1, 1000) if how.ticks else Fraction(1, how.rate)
        stream.time_base = stream.codec_context.time_base = base
        stream.options = dict(how.options) or ({"crf": "10", "threads": "1"} if how.codec == "libx264" else {})
        if how.gop:
            stream.codec_context.gop_size = how.gop
        for name, value in how.attributes:
            setattr(stream.codec_context, name, value)
        streams.append((stream, base, how))
    sound = (
        container.add_stream("aac" if container.format.name != "avi" else "mp2", rate=32000) if hows[0].audio else None
    )
    for index in range(max(how.frames for how in hows)):
        for stream, base, how in streams:
            if index < how.frames:
                image = picture((how.first + index) % 64, *how.size)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = (how.ticks[index] if how.ticks else index) + how.shift
                frame.time_base = base
                container.mux(stream.encode(frame))
        if sound is not None:
            _add_sound(container, sound, index, hows[0].rate)
    for stream, _, _ in streams:
        container.mux(stream.encode(None))
    if sound is not None:
        container.mux(sound.encode(None))


def _add_sound(container: Any, sound: Any, index: int, rate: int) -> None:
    size = 1152 if sound.codec_context.name == "mp2" else 1024
    for block in range(index * 32000 // rate // size, (index + 1) * 32000 // rate // size):
        layout, kind = "mono", "s16" if size == 1152 else "fltp"
        silence = np.zeros((1, size), np.int16 if size == 1152 else np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format=kind, layout=layout)
        frame.rate, frame.pts = 32000, block * size
        container.mux(sound.encode(frame))


@functools.cache
def encoded(suffix: str, how: Encoding) -> bytes:
    """Returns the bytes of a clip. Each clip is encoded once for each process."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return encode(Path(folder) / f"clip.{suffix}", how).read_bytes()


def remux(
    source: Path,
    target: Path,
    *,
    keep: Callable[[int, Any], bool] = lambda index, packet: True,
    change: Callable[[int, Any], None] = lambda index, packet: None,
    metadata: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
) -> Path:
    """Copies the packets of the first video stream that `keep` accepts, after `change`."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=muxing or {}) as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        copy.metadata.update(metadata or {})
        for index, packet in enumerate(old.demux(stream)):
            if packet.dts is None and packet.pts is None:
                continue
            if keep(index, packet):
                change(index, packet)
                packet.stream = copy
                new.mux(packet)
    return target


def with_matrix(data: bytes, matrix: Sequence[float]) -> bytes:
    """Returns an MP4 or MOV file with another display matrix in the header of its first track."""
    content = bytearray(data)
    start = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(entry * 65536) for entry in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return bytes(content)


def flipped(data: bytes, seed: int, start: float, stop: float, bits: int) -> bytes:
    """Returns the file with `bits` bits flipped between two fractions of its length."""
    rng = np.random.default_rng(seed)
    content = bytearray(data)
    for place in rng.integers(int(start * len(data)), max(int(stop * len(data)), 1), bits):
        content[place] ^= 1 << int(rng.integers(8))
    return bytes(content)


# ---------------------------------------------------------------------------------------------------------- cases

_X264 = Encoding()
_FRAGMENTED = Encoding(muxing=(("movflags", "frag_keyframe+empty_moov"),))
_FASTSTART = Encoding(muxing=(("movflags", "+faststart"),))
_X265 = Encoding("libx265", options=(("x265-params", "log-level=none:pools=none:frame-threads=1"), ("preset", "fast")))
_VP9 = Encoding("libvpx-vp9", options=(("deadline", "realtime"), ("cpu-used", "8")))
_VP8 = Encoding("libvpx", options=(("deadline", "realtime"), ("cpu-used", "8")))
_AV1 = Encoding("libsvtav1", options=(("preset", "12"),))
_MPEG4 = Encoding("mpeg4", options=(("b", "3M"), ("bf", "2")))
_MPEG2 = Encoding("mpeg2video", options=(("b", "4M"), ("bf", "2")))
_MPEG1 = Encoding("mpeg1video", options=(("b", "4M"),))
_MJPEG = Encoding("mjpeg", "yuvj420p", options=(("q", "3"),))

INTACT: dict[str, Encoding] = {
    "x264.mp4": _X264,
    "x264_faststart.mp4": _FASTSTART,
    "x264_fragmented.mp4": _FRAGMENTED,
    "x264_audio.mp4": Encoding(audio=True),
    "x264.mov": _X264,
    "x264.m4v": Encoding(format="ipod"),
    "x264.mkv": _X264,
    "x264_audio.mkv": Encoding(audio=True),
    "x264.avi": Encoding(options=(("bf", "0"), ("crf", "10"))),
    "x264_audio.avi": Encoding(options=(("bf", "0"), ("crf", "10")), audio=True),
    "x264.ts": _X264,
    "x264_audio.ts": Encoding(audio=True),
    "x264.m2ts": Encoding(muxing=(("mpegts_m2ts_mode", "1"),), format="mpegts"),
    "x264.flv": _X264,
    "x264_audio.flv": Encoding(audio=True),
    "x264.nut": _X264,
    "x264.h264": _X264,
    "x264.3gp": _X264,
    "x264_intra.mp4": Encoding(gop=1),
    "x264_long_gop.mp4": Encoding(gop=250),
    "x264_open_gop.mkv": Encoding(options=(("x264-params", "open-gop=1"), ("crf", "10"))),
    "x264_pyramid.mp4": Encoding(options=(("bf", "5"), ("b-pyramid", "normal"), ("crf", "10"))),
    "x264_interlaced.ts": Encoding(options=(("x264-params", "tff=1"), ("crf", "10"))),
    "x264_444.mp4": Encoding(pixels="yuv444p"),
    "x264_422.mkv": Encoding(pixels="yuv422p"),
    "x264_10bit.mp4": Encoding(pixels="yuv420p10le"),
    "x264_grey.mkv": Encoding(pixels="gray"),
    "x264_full_range.mp4": Encoding(pixels="yuvj420p"),
    "x264_lossless.mkv": Encoding("libx264rgb", "rgb24", options=(("qp", "0"),)),
    "x264_one_frame.mp4": Encoding(frames=1),
    "x264_two_frames.ts": Encoding(frames=2),
    "x264_slow_rate.mp4": Encoding(rate=1),
    "x264_fast_rate.mkv": Encoding(rate=240),
    "x265.mp4": _X265,
    "x265.mkv": _X265,
    "x265.ts": _X265,
    "x265.hevc": _X265,
    "x265_hdr.mp4": Encoding(
        "libx265",
        "yuv420p10le",
        options=(("x265-params", "log-level=none:pools=none:hdr10=1:colorprim=bt2020:transfer=smpte2084"),),
    ),
    "av1.mp4": _AV1,
    "av1.webm": _AV1,
    "av1.mkv": _AV1,
    "av1.ivf": _AV1,
    "av1.obu": _AV1,
    "vp9.webm": _VP9,
    "vp9.mp4": _VP9,
    "vp9.ivf": _VP9,
    "vp9_alt_ref.webm": Encoding(
        "libvpx-vp9", options=(("auto-alt-ref", "1"), ("lag-in-frames", "16"), ("cpu-used", "8"))
    ),
    "vp8.webm": _VP8,
    "vp8.ivf": _VP8,
    "mpeg4.mp4": _MPEG4,
    "mpeg4.avi": Encoding("mpeg4", options=(("b", "3M"),)),
    "mpeg4_b_frames.avi": _MPEG4,
    "mpeg4.mkv": _MPEG4,
    "mpeg4.m4v": Encoding("mpeg4", format="m4v"),
    "mpeg2.mpg": _MPEG2,
    "mpeg2.vob": _MPEG2,
    "mpeg2.ts": _MPEG2,
    "mpeg2.mkv": _MPEG2,
    "mpeg2.mxf": Encoding("mpeg2video", options=(("b", "4M"),)),
    "mpeg2.m2v": _MPEG2,
    "mpeg1.mpg": _MPEG1,
    "mpeg1.m1v": _MPEG1,
    "mjpeg.avi": _MJPEG,
    "mjpeg.mov": _MJPEG,
    "mjpeg.mkv": _MJPEG,
    "mjpeg.mjpeg": _MJPEG,
    "mjpeg_422.avi": Encoding("mjpeg", "yuvj422p"),
    "flv1.flv": Encoding("flv", options=(("b", "3M"),)),
    "h263.3gp": Encoding("h263", size=(176, 144), options=(("b", "2M"),)),
    "wmv2.wmv": Encoding("wmv2", options=(("b", "3M"),)),
    "wmv1.asf": Encoding("wmv1", options=(("b", "3M"),)),
    "rv10.rm": Encoding("rv10", size=(176, 144), options=(("b", "2M"),)),
    "prores.mov": Encoding("prores_ks", "yuv422p10le"),
    "prores_alpha.mov": Encoding("prores_ks", "yuva444p10le", options=(("profile", "4444"),)),
    "qtrle.mov": Encoding("qtrle", "rgb24"),
    "qtrle_alpha.mov": Encoding("qtrle", "argb"),
    "png.mov": Encoding("png", "rgb24"),
    "png_alpha.nut": Encoding("png", "rgba"),
    "v210.mov": Encoding("v210", "yuv422p10le"),
    "raw.mov": Encoding("rawvideo", "uyvy422"),
    "raw.avi": Encoding("rawvideo", "bgr24"),
    "raw.mkv": Encoding("rawvideo", "yuv420p"),
    "raw.nut": Encoding("rawvideo", "rgb24"),
    "raw.y4m": Encoding("wrapped_avframe", "yuv420p", format="yuv4mpegpipe"),
    "ffv1.mkv": Encoding("ffv1", "yuv420p"),
    "ffv1.avi": Encoding("ffv1", "bgr0"),
    "ffv1_16bit.mkv": Encoding("ffv1", "gray16le"),
    "huffyuv.avi": Encoding("huffyuv", "yuv422p"),
    "ffvhuff.avi": Encoding("ffvhuff", "yuv444p"),
    "utvideo.avi": Encoding("utvideo", "gbrp"),
    "magicyuv.avi": Encoding("magicyuv", "gbrp"),
    "cfhd.mov": Encoding("cfhd", "yuv422p10le"),
    "dnxhr.mov": Encoding("dnxhd", "yuv422p", size=(256, 128), options=(("profile", "dnxhr_hq"),)),
    "dv.dv": Encoding("dvvideo", "yuv420p", size=(720, 576), frames=5),
    "dv.avi": Encoding("dvvideo", "yuv420p", size=(720, 576), frames=5),
    "jpeg2000.mkv": Encoding("jpeg2000", "rgb24", options=(("pred", "1"),)),
    "snow.avi": Encoding("snow", "yuv420p"),
    "zmbv.avi": Encoding("zmbv", "bgr0"),
    "cinepak.avi": Encoding("cinepak", "rgb24"),
    "gif.gif": Encoding("gif", "rgb8"),
    "apng.apng": Encoding("apng", "rgb24"),
    "apng_alpha.png": Encoding("apng", "rgba", format="apng"),
    "jpegls.nut": Encoding("jpegls", "rgb24"),
    "picture.png": Encoding("png", "rgb24", frames=1, format="image2", muxing=(("update", "1"),)),
    "picture.jpg": Encoding("mjpeg", "yuvj420p", frames=1, format="image2", muxing=(("update", "1"),)),
    "picture.bmp": Encoding("bmp", "bgr24", frames=1, format="image2", muxing=(("update", "1"),)),
    "picture.tiff": Encoding("tiff", "rgb24", frames=1, format="image2", muxing=(("update", "1"),)),
    "picture.webp": Encoding("libwebp", "bgra", frames=1, format="webp"),
}
"""Encodings by file name."""


def _bytes_case(name: str, data: Callable[[], bytes], **facts: Any) -> Case:
    return Case(name, lambda path: path.write_bytes(data()), **facts)


def intact_clips() -> list[Case]:
    """Returns one clip for each container and codec."""
    return [
        _bytes_case(name, functools.partial(encoded, name.rsplit(".", 1)[1], how), frames=how.frames)
        for name, how in INTACT.items()
    ]


CUT = (
    "x264_faststart.mp4",
    "x264_fragmented.mp4",
    "x264.mkv",
    "x264_audio.mkv",
    "mpeg4.avi",
    "x264.ts",
    "x264.flv",
    "vp9.webm",
    "mpeg2.mpg",
    "mjpeg.avi",
    "ffv1.mkv",
    "gif.gif",
    "wmv2.wmv",
    "x264.nut",
    "x264.h264",
    "x265.ts",
    "av1.ivf",
    "apng.apng",
    "mpeg2.mxf",
)
"""Clips that are truncated and damaged."""


def truncated_clips(steps: int = 20) -> list[Case]:
    """Returns clips cut at every 1/steps of their length."""
    cases = []
    for name in CUT:
        suffix = name.rsplit(".", 1)[1]
        for step in range(1, steps):

            def cut(suffix: str = suffix, name: str = name, step: int = step) -> bytes:
                data = encoded(suffix, INTACT[name])
                return data[: len(data) * step // steps]

            cases.append(_bytes_case(f"cut_{100 * step // steps:02}_{name}", cut, intact=False))
    return cases


def flipped_clips(seeds: int = 4) -> list[Case]:
    """Returns clips with flipped bits in the header (the first 4 %) and in the body."""
    cases = []
    for name in CUT:
        suffix = name.rsplit(".", 1)[1]
        for seed in range(seeds):
            for part, start, stop, bits in (("head", 0.0, 0.04, 2), ("body", 0.1, 0.95, 2 + 4 * seed)):

                def flip(
                    suffix: str = suffix,
                    name: str = name,
                    seed: int = seed,
                    start: float = start,
                    stop: float = stop,
                    bits: int = bits,
                ) -> bytes:
                    return flipped(encoded(suffix, INTACT[name]), seed, start, stop, bits)

                cases.append(_bytes_case(f"flip_{part}_{seed}_{name}", flip, intact=False))
    return cases


# --------------------------------------------------------------------------------------------- the independent decode


@dataclass
class PlainDecode:
    """All frames of a file as a plain loop over its packets gives them."""

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    """Upright RGB, at the size of the first frame."""
    times: list[float | None] = field(default_factory=list)
    """In seconds, as stored."""
    corrupt: int = 0
    """Number of frames that the decoder marks as corrupt."""
    errors: int = 0
    """Number of packets that the decoder refuses, and errors of the demuxer."""


def plain_decode(path: Path, *, turn: str = "upright", stream: int | None = None) -> PlainDecode:
    """Decodes a file packet by packet, and goes on after errors, as FFmpeg's command line does."""
    found = PlainDecode()
    with av.open(str(path.resolve()), metadata_errors="ignore") as container:
        chosen = container.streams[stream] if stream is not None else container.streams.video[0]
        # What a decoder puts in the place of lost data differs between one thread and several.
        chosen.codec_context.thread_count = 1
        packets = container.demux(chosen)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except (av.error.FFmpegError, OSError):
                found.errors += 1
                packet = None
            found.corrupt += packet is not None and packet.is_corrupt
            try:
                frames = chosen.codec_context.decode(packet)
            except av.error.EOFError:
                frames = []
            except (av.error.FFmpegError, OSError):
                found.errors += 1
                frames = []
            for frame in frames:
                size = (
                    {"width": found_size(found, turn)[0], "height": found_size(found, turn)[1]} if found.images else {}
                )
                found.images.append(_turned(frame.to_ndarray(format="rgb24", **size), turn))
                found.times.append(frame.time)
                found.corrupt += frame.is_corrupt
            if packet is None:
                break
    return found


def found_size(found: PlainDecode, turn: str) -> tuple[int, int]:
    """Returns the stored (width, height) of the first frame."""
    height, width = found.images[0].shape[:2]
    return (height, width) if QUARTER_TURNS[turn][0] == 0 else (width, height)


def _turned(image: NDArray[np.uint8], turn: str) -> NDArray[np.uint8]:
    """Moves every pixel to where the display matrix shows it."""
    a, b, c, d = QUARTER_TURNS[turn]
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    shown_x, shown_y = a * x + c * y, b * x + d * y
    shown_x, shown_y = shown_x - shown_x.min(), shown_y - shown_y.min()
    shown = np.empty((shown_y.max() + 1, shown_x.max() + 1, 3), np.uint8)
    shown[shown_y, shown_x] = image
    return shown


def shown_by(cases: Sequence[Case]) -> Iterator[str]:
    """Yields the names of cases, for test ids."""
    yield from (case.name for case in cases)
