"""Clips that are odd but legal, clips whose frames or times are odd, and files that must be refused."""

import functools
import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.video.clip_writer import (
    FRAMES,
    HEIGHT,
    QUARTER_TURNS,
    WIDTH,
    Encoding,
    add_sound,
    add_video,
    encoded,
    picture,
    remux,
    with_matrix,
)
from tests.video.odd_clips import FASTSTART, INTACT, MJPEG, MPEG2, MPEG4, VP9, X264, X265, Case, bytes_case


def _turned_clips() -> Iterator[Case]:
    for suffix in ("mp4", "mov"):
        for name, matrix in QUARTER_TURNS.items():

            def turn(suffix: str = suffix, matrix: Sequence[float] = matrix) -> bytes:
                return with_matrix(encoded(suffix, X264), matrix)

            yield bytes_case(f"turn_{name}.{suffix}", turn, frames=FRAMES, turn=name)
    yield Case("rotate_tag.mkv", lambda path: _remuxed(path, metadata={"rotate": "90"}), frames=FRAMES)
    mpeg4 = INTACT["mpeg4.avi"]
    yield Case(
        "rotate_tag.avi",
        lambda path: _remuxed(path, mpeg4, "avi", metadata={"rotate": "180"}),
        frames=FRAMES,
    )


def _remuxed(path: Path, how: Encoding = X264, source: str = "mp4", **options: Any) -> Path:
    original = path.with_name(f"original_of_{path.name}.{source}")
    original.write_bytes(encoded(source, how))
    try:
        return remux(original, path, **options)
    finally:
        original.unlink()


def _without_packets(first: int, stop: int) -> Callable[[int, Any], bool]:
    return lambda index, packet: not first <= index < stop


def _clips_without_packets() -> Iterator[Case]:
    for suffix in ("mp4", "mkv", "ts", "flv", "nut"):
        name = f"no_first_key_frame.{suffix}"
        keep = _without_packets(0, 5)
        yield Case(name, lambda path, keep=keep: _remuxed(path, keep=keep), intact=False, says="key frame")
        name = f"no_key_frame_at_8.{suffix}"
        keep = _without_packets(8, 9)
        yield Case(name, lambda path, keep=keep: _remuxed(path, keep=keep), intact=False, says="did not increase")
        name = f"no_packets_3_to_6.{suffix}"
        keep = _without_packets(3, 6)
        # Only frames that no other frame needs are missing, which no file format tells.
        yield Case(name, lambda path, keep=keep: _remuxed(path, keep=keep), frames=FRAMES - 3)


def _edited(data: bytes, media_start_seconds: float) -> bytes:
    """Returns an MP4 file whose edit list shows it from `media_start_seconds` on."""
    content = bytearray(data)
    entry = content.index(b"elst") + 12
    with av.open(io.BytesIO(data)) as container:
        base = container.streams.video[0].time_base
    start = struct.unpack(">i", content[entry + 4 : entry + 8])[0] + round(media_start_seconds / base)
    content[entry + 4 : entry + 8] = struct.pack(">i", start)
    return bytes(content)


def _clips_with_odd_times() -> Iterator[Case]:
    no_b_frames = Encoding(options=(("bf", "0"), ("crf", "10")))
    for frames in (1, 7, 12):
        yield bytes_case(
            f"edit_list_hides_{frames}.mp4",
            lambda frames=frames: _edited(encoded("mp4", no_b_frames), frames / 25),
            frames=FRAMES - frames,
        )
    uneven = tuple(int(sum(10 + 37 * (step % 5) for step in range(index))) for index in range(FRAMES))
    slow = tuple(2000 * index for index in range(FRAMES))
    pause = tuple(40 * index + (7000 if index > 9 else 0) for index in range(FRAMES))
    for name, ticks in (("uneven", uneven), ("slow", slow), ("pause", pause)):
        for suffix in ("mp4", "mkv", "ts", "mov", "nut"):
            how = Encoding(ticks=ticks)
            yield bytes_case(f"vfr_{name}.{suffix}", functools.partial(encoded, suffix, how), frames=FRAMES)
    # AVI has a fixed rate: between the frames are empty packets.
    empty = replace(MPEG4, ticks=tuple(40 * (index + index // 3) for index in range(FRAMES)), options=(("b", "3M"),))
    yield bytes_case("vfr_empty_packets.avi", functools.partial(encoded, "avi", empty), frames=FRAMES)
    for shift in (-10, 250, 100_000):
        for suffix in ("mp4", "mkv", "ts", "mov", "nut", "flv"):
            # MP4 hides frames before time 0; the other formats move them.
            shown = FRAMES + shift if shift < 0 and suffix in ("mp4", "mov") else FRAMES
            how = Encoding(shift=shift)
            yield bytes_case(f"starts_at_{shift}.{suffix}", functools.partial(encoded, suffix, how), frames=shown)
    for suffix in ("mkv",):
        yield Case(
            f"two_frames_at_one_time.{suffix}",
            lambda path: _remuxed(path, no_b_frames, change=_same_time_as_before(10, 14)),
            intact=False,
            says="did not increase",
        )
    for name, first, second in (("back", 2500, 0), ("forward", 0, 2500), ("same", 0, 0)):
        hows = (Encoding(shift=first), Encoding(shift=second, first=FRAMES))
        yield bytes_case(
            f"joined_{name}.ts",
            lambda hows=hows: b"".join(encoded("ts", how) for how in hows),
            intact=False,
            says="clock",
        )
        hows = (replace(MPEG2, shift=first), replace(MPEG2, shift=second, first=FRAMES))
        yield bytes_case(
            f"joined_{name}.mpg",
            lambda hows=hows: b"".join(encoded("mpg", how) for how in hows),
            intact=False,
            says="clock",
        )


def _same_time_as_before(first: int, stop: int) -> Callable[[int, Any], None]:
    def change(index: int, packet: Any) -> None:
        if first <= index < stop and packet.pts is not None:
            packet.pts -= round((index - first + 1) * Fraction(1, 25) / packet.time_base)
            packet.dts = packet.pts

    return change


def _without_header_facts() -> Iterator[Case]:
    muxings: dict[str, tuple[str, Encoding]] = {
        "live.mkv": ("mkv", Encoding(muxing=(("live", "1"),))),
        "live.webm": ("webm", replace(VP9, muxing=(("live", "1"),))),
        "no_cues.mkv": ("mkv", Encoding(muxing=(("cues_to_front", "0"), ("reserve_index_space", "0")))),
        "no_duration.flv": ("flv", Encoding(muxing=(("flvflags", "no_duration_filesize"),))),
        "every_frame_a_fragment.mp4": ("mp4", Encoding(muxing=(("movflags", "frag_every_frame+empty_moov"),))),
        "dash.mp4": ("mp4", Encoding(muxing=(("movflags", "dash+delay_moov+frag_keyframe"),))),
        "no_edit_list.mp4": ("mp4", Encoding(muxing=(("use_editlist", "0"),))),
        "negative_cts.mp4": ("mp4", Encoding(muxing=(("movflags", "negative_cts_offsets"),))),
        "no_index.avi": ("avi", replace(MPEG4, muxing=(("write_bext", "0"),))),
    }
    for name, (suffix, how) in muxings.items():
        if name != "no_index.avi":
            yield bytes_case(f"header_{name}", functools.partial(encoded, suffix, how), frames=FRAMES)
    yield bytes_case(
        "header_no_index.avi",
        lambda: encoded("avi", INTACT["mjpeg.avi"]).partition(b"idx1")[0],
        frames=FRAMES,
    )


def _clips_of_odd_sizes() -> Iterator[Case]:
    for width, height in ((33, 35), (35, 32), (97, 61), (32, 32), (2048, 32), (32, 1080), (4096, 64), (640, 360)):
        how = Encoding(pixels="yuv444p", size=(width, height), frames=6)
        yield bytes_case(f"size_{width}x{height}.mp4", functools.partial(encoded, "mp4", how), frames=6)
        vp9 = replace(VP9, size=(width, height), frames=6)
        yield bytes_case(f"size_{width}x{height}.webm", functools.partial(encoded, "webm", vp9), frames=6)
    tiny = Encoding(size=(96, 24))
    yield bytes_case("tiny.mp4", functools.partial(encoded, "mp4", tiny), refused="at least 32")
    yield bytes_case("huge.gif", _huge_gif, refused="--max-pixels")
    yield bytes_case("huge.png", _huge_png, refused="--max-pixels")
    yield bytes_case("huge.avi", _huge_mjpeg, refused="--max-pixels")


def _huge_gif() -> bytes:
    screen = struct.pack("<6sHHBBB", b"GIF89a", 16000, 16000, 0x80, 0, 0) + bytes(6)
    image = struct.pack("<BHHHHB", 0x2C, 0, 0, 16000, 16000, 0) + b"\x02\x02\x44\x01\x00"
    return screen + 2 * image + b";"


def _huge_png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _huge_mjpeg() -> bytes:
    """A motion JPEG whose every frame states 20000 x 20000 pixels."""
    content = encoded("avi", INTACT["mjpeg.avi"])
    size = struct.pack(">HH", 20000, 20000)
    content = content.replace(
        b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", HEIGHT, WIDTH), b"\xff\xc0\x00\x11\x08" + size
    )
    return content.replace(struct.pack("<II", WIDTH, HEIGHT), struct.pack("<II", 20000, 20000))


def _clips_that_change_their_size() -> Iterator[Case]:
    other = (160, 96)
    for suffix, how in (("h264", X264), ("ts", X264), ("m2v", MPEG2), ("mjpeg", MJPEG), ("hevc", X265)):
        hows = (how, replace(how, size=other, first=FRAMES, shift=FRAMES))
        yield bytes_case(
            f"other_size_after_24.{suffix}",
            lambda suffix=suffix, hows=hows: b"".join(encoded(suffix, one) for one in hows),
            intact=False,
            says="160x96",
        )


def _clips_of_several_streams() -> Iterator[Case]:
    small, large = Encoding(), Encoding(size=(160, 96))
    # The first stream of an MP4 file is its default stream.
    for suffix, chosen in (("mkv", 1), ("mp4", 0), ("ts", 1)):
        yield Case(
            f"large_stream_second.{suffix}", lambda path: _several(path, small, large), stream=chosen, frames=FRAMES
        )
        yield Case(f"large_stream_first.{suffix}", lambda path: _several(path, large, small), stream=0, frames=FRAMES)
    yield Case("default_stream.mkv", lambda path: _several(path, small, large, default=0), stream=0, frames=FRAMES)
    # MP4 stores covers behind the streams.
    yield Case("cover_first.mp4", lambda path: _several(path, large, small, cover=0), stream=0, frames=FRAMES)
    yield Case("cover_only.mp4", lambda path: _several(path, large, cover=0), refused="a cover image only")
    yield Case("cover.mkv", _with_attached_cover, stream=0, frames=FRAMES)


def _several(path: Path, *hows: Encoding, cover: int | None = None, default: int | None = None) -> Path:
    """Writes several video streams. `cover` and `default` are the numbers of the cover image and the default stream."""
    flags = av.stream.Disposition
    with av.open(str(path), "w") as container:
        streams = []
        for number, how in enumerate(hows):
            is_cover = number == cover
            stream = container.add_stream("mjpeg" if is_cover else how.codec, rate=25)
            stream.width, stream.height = how.size
            stream.pix_fmt = "yuvj420p" if is_cover else how.pixels
            stream.options = {} if is_cover else {"crf": "10", "threads": "1"}
            if default is not None:
                stream.disposition = flags.default if number == default else flags(0)
            if is_cover:
                stream.disposition = flags.attached_pic
            streams.append((stream, how, 1 if is_cover else how.frames))
        for index in range(FRAMES):
            for stream, how, count in streams:
                if index < count:
                    frame = av.VideoFrame.from_ndarray(picture(index, *how.size), format="rgb24")
                    frame.pts, frame.time_base = index, Fraction(1, 25)
                    container.mux(stream.encode(frame))
        for stream, _, _ in streams:
            container.mux(stream.encode(None))
    return path


def _with_attached_cover(path: Path) -> Path:
    """Writes a Matroska file with a cover image larger than its video."""
    cover = encoded("jpg", replace(INTACT["picture.jpg"], size=(640, 480)))
    with av.open(str(path), "w") as container:
        container.add_attachment("cover.jpg", "image/jpeg", cover)
        add_video(container, X264)
    return path


_NAMES = (
    "percent_%03d.mp4",
    "%d.png",
    "spaces and tabs\t.mp4",
    "ümlaut.mp4",
    "u\u0308mlaut_decomposed.mp4",
    "-dash.mp4",
    "colon:name.mp4",
    "pipe:1",
    "concat:a|b.mp4",
    "http:__host.mp4",
    "emoji \U0001f697.mp4",
    "new\nline.mp4",
    "quotes'\".mp4",
    "star*[1-9]?.mp4",
    "no_suffix",
    "wrong_suffix.avi",
    "wrong_suffix.jpg",
    "wrong_suffix.txt",
    "UPPER.MP4",
    ".hidden.mp4",
    "dots...mp4",
    "long_" + "x" * 240 + ".mp4",
    "right_to_left_\u05d0\u05d1.mp4",
    "bytes_\udcff.mp4",
    "$HOME `id` ;.mp4",
    "back\\slash.mp4",
)


def _clips_of_odd_names() -> Iterator[Case]:
    for name in _NAMES:
        yield bytes_case(name, lambda: encoded("mp4", X264), frames=FRAMES)


def _refused_files() -> Iterator[Case]:
    yield bytes_case("empty.mp4", bytes, refused="an empty file (0 bytes)")
    yield bytes_case("text.mp4", lambda: b"no video\n" * 200, refused="text.mp4: is")
    yield bytes_case("list.m3u8", lambda: b"#EXTM3U\n/etc/passwd\n", refused="is a playlist")
    yield bytes_case("zeros.mp4", lambda: bytes(5000), refused="is not a video")
    yield bytes_case("noise.mp4", lambda: np.random.default_rng(0).bytes(5000), refused="is not a video")
    yield bytes_case("moov_lost.mp4", lambda: encoded("mp4", X264).partition(b"moov")[0], refused="is not a video")
    yield bytes_case(
        "header_only.mp4", lambda: encoded("mp4", FASTSTART).partition(b"mdat")[0], refused="no frame can be decoded"
    )
    yield bytes_case("archive.mp4", lambda: b"PK\x03\x04" + bytes(4000), refused="is not a video")
    yield Case("audio.mp4", _audio_only, refused="has audio only")
    yield Case("audio.mkv", _audio_only, refused="has audio only")


def _audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=32000)
        for index in range(FRAMES):
            add_sound(container, sound, index, 25)
        container.mux(sound.encode(None))


def odd_clips() -> list[Case]:
    """Returns clips that are odd but legal, clips whose frames or times are odd, and files that must be refused."""
    return [
        *_turned_clips(),
        *_clips_without_packets(),
        *_clips_with_odd_times(),
        *_without_header_facts(),
        *_clips_of_odd_sizes(),
        *_clips_that_change_their_size(),
        *_clips_of_several_streams(),
        *_clips_of_odd_names(),
        *_refused_files(),
    ]
