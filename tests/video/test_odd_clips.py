"""The reader against a plain decode, on clips of every format, on damaged clips and on odd ones."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from dwnet.video import VideoError, VideoFrame, open_video
from tests.video.clip_writer import Encoding, encode, encoded, number_in
from tests.video.odd_clips import (
    CUT,
    FASTSTART,
    INTACT,
    MPEG4,
    VP9,
    Case,
    flipped_clips,
    intact_clips,
    truncated_clips,
)
from tests.video.odd_structures import odd_clips
from tests.video.plain_decode import PlainDecode, plain_decode

SAMPLE = (
    "x264.mp4",
    "vp9.webm",
    "mpeg2.mpg",
    "gif.gif",
    "x264.h264",
    "cut_50_x264_faststart.mp4",
    "cut_50_x264.ts",
    "cut_50_x264.mkv",
    "cut_70_vp9.webm",
    "cut_35_mpeg4.avi",
    "flip_body_1_x264.ts",
    "flip_body_2_x264.flv",
    "no_first_key_frame.mp4",
    "edit_list_hides_7.mp4",
    "turn_mirrored.mp4",
    "vfr_uneven.mkv",
    "joined_back.ts",
    "other_size_after_24.ts",
    "large_stream_second.mkv",
    "cover_first.mp4",
    "%d.png",
    "new\nline.mp4",
    "huge.gif",
    "huge.png",
)
"""Clips for the fast tests."""

# A packet that these formats lose leaves no trace, so a cut between two packets cannot be seen.
NO_TRACE = ("x265.ts", "x264.ts", "x264.h264")
# FFmpeg gives up on damaged AV1, at another frame than the reader.
FRAGILE = ("av1.ivf",)


def all_clips() -> dict[str, Case]:
    cases = [*intact_clips(), *truncated_clips(), *flipped_clips(), *odd_clips()]
    by_name = {case.name: case for case in cases}
    assert len(by_name) == len(cases)
    return by_name


def params(cases: Sequence[Case]) -> list[object]:
    return [pytest.param(case, id=case.name.encode("ascii", "backslashreplace").decode()[:60]) for case in cases]


def check(case: Case, folder: Path) -> None:
    """Compares what the reader delivers with the plain decode of the same file."""
    path = folder / case.name
    case.write(path)
    plain = None if case.refused else plain_of(case, path)
    if plain is None or not plain.images:
        with pytest.raises(VideoError) as refusal:
            open_video(path)
        assert case.refused in str(refusal.value)
        assert case.name in str(refusal.value)
        return
    with open_video(path) as video:
        frames = list(video)
    times = [frame.pts_seconds for frame in frames]
    assert times[0] == 0
    assert all(later > earlier for earlier, later in itertools.pairwise(times)), times
    assert [frame.index for frame in frames] == list(range(len(frames)))
    if not case.name.endswith(FRAGILE):
        assert len(frames) == len(plain.images)
    if video.warning is None:
        assert_same(frames, plain)
    if case.intact:
        assert video.warning is None
        if case.frames is not None:
            assert len(frames) == case.frames
    elif case.says:
        assert case.says in (video.warning or "")
    else:
        assert_nothing_lost_in_silence(case, frames, plain, video.warning)


def plain_of(case: Case, path: Path) -> PlainDecode | None:
    try:
        return plain_decode(path, turn=case.turn, stream=case.stream)
    except (av.error.FFmpegError, OSError, UnicodeError):
        return None


def assert_same(frames: list[VideoFrame], plain: PlainDecode) -> None:
    for frame, image in zip(frames, plain.images, strict=True):
        np.testing.assert_array_equal(frame.image, image)
    stored = [time for time in plain.times if time is not None]
    if len(stored) == len(frames):
        assert [frame.pts_seconds for frame in frames] == pytest.approx([time - stored[0] for time in stored], abs=2e-6)


def assert_nothing_lost_in_silence(
    case: Case, frames: list[VideoFrame], plain: PlainDecode, warning: str | None
) -> None:
    """Checks a damaged clip: what FFmpeg notices is in the warning, and so is every missing frame."""
    if plain.corrupt or plain.errors:
        assert warning is not None
    base = next(name for name in CUT if case.name.endswith(f"_{name}"))
    if len(frames) < INTACT[base].frames and not base.endswith(NO_TRACE):
        assert warning is not None, f"{len(frames)} frames"


@pytest.mark.parametrize("case", params([all_clips()[name] for name in SAMPLE]))
def test_a_sample_of_odd_clips(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", params([case for name, case in all_clips().items() if name not in SAMPLE]))
def test_all_odd_clips(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def test_there_are_more_than_300_clips() -> None:
    cases = all_clips()
    assert len(cases) > 700
    assert sum(not case.intact for case in cases.values()) > 300


# ------------------------------------------------------------------------------------------------- words of warnings


def damaged_motion_jpeg(offset: int, length: int, value: int, *, frames: int) -> bytes:
    """Overwrites bytes of frame 9 of a motion JPEG of 24 frames, and keeps the first `frames` frames."""
    data = bytearray(encoded("avi", INTACT["mjpeg.avi"]))
    starts = [place for place in range(data.index(b"movi"), len(data) - 4) if data[place : place + 4] == b"00dc"]
    data[starts[9] + offset : starts[9] + offset + length] = bytes([value] * length)
    return bytes(data if frames == 24 else data[: starts[frames]])


def test_the_warning_counts_good_and_damaged_frames(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(damaged_motion_jpeg(300, 40, 170, frames=14))
    with open_video(path) as video:
        numbers = [number_in(frame.image) for frame in video]
    assert numbers[:9] == list(range(9))
    assert numbers[10:] == list(range(10, 14))
    assert video.warning is not None
    assert video.warning.startswith(f"{path}: damaged after 9 good frames (mjpeg: error count")
    assert "; 1 of the 14 frames are damaged; the header promises 0.96 s, the data end at 0.56 s" in video.warning
    assert video.warning.endswith("the header promises 24 frames, 14 were decoded")


def test_a_frame_that_ffmpeg_skips_without_a_message_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(damaged_motion_jpeg(1000, 30, 0, frames=24))
    with open_video(path) as video:
        numbers = [number_in(frame.image) for frame in video]
    assert len(numbers) == 23
    assert video.warning == f"{path}: 1 of the 24 frames in the index are missing"


def test_a_warning_belongs_to_a_pass(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    data = encoded("mkv", INTACT["x264.mkv"])
    path.write_bytes(data[: len(data) * 7 // 10])
    video = open_video(path)
    assert video.warning is None
    frames = iter(video)
    next(frames)
    assert video.warning is None
    assert len(list(frames)) > 5
    first = video.warning
    assert first is not None
    assert "File ended prematurely" in first
    list(video)
    assert video.warning == first


def test_frames_before_the_first_key_frame_are_counted(tmp_path: Path) -> None:
    case = all_clips()["no_first_key_frame.mp4"]
    case.write(tmp_path / case.name)
    with open_video(tmp_path / case.name) as video:
        numbers = [number_in(frame.image) for frame in video]
    # Packets 0..4 are frames 0..4 in some order; the next key frame is frame 8.
    assert numbers == list(range(8, 24))
    assert video.warning is not None
    assert "3 frames at the start are left out, because the key frame before is missing" in video.warning


@pytest.mark.parametrize(("suffix", "how"), [("webm", VP9), ("mp4", FASTSTART), ("avi", MPEG4)])
def test_a_lost_second_half_is_named_whatever_was_cut(suffix: str, how: Encoding, tmp_path: Path) -> None:
    """The cut lies exactly behind a packet, so that no packet is damaged."""
    path = encode(tmp_path / f"clip.{suffix}", how)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        end = packets[12].pos + packets[12].size
    if suffix == "webm":
        end = packets[13].pos - 8  # the position of a Matroska packet is that of its content
    path.write_bytes(path.read_bytes()[:end])
    with open_video(path) as video:
        frames = list(video)
    assert 8 <= len(frames) <= 14
    assert [number_in(frame.image) for frame in frames][:8] == list(range(8))
    assert video.warning is not None


# -------------------------------------------------------------------------------------------------------------- limits


def test_limits_are_checked_before_decoding(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", Encoding(size=(640, 360), frames=3))
    with pytest.raises(VideoError, match=r"clip.mp4: frames are 640x360 pixels, 230400; allowed are 230399 per frame"):
        open_video(path, max_pixels=230_399)
    # 640 x 360 pixels: 17 frames of 1.5 bytes and two of 3 bytes in the decoder, ten of 3 bytes delivered.
    needed = 640 * 360 * (17 * 1.5 + 2 * 3 + 10 * 3) / 2**20
    assert 13 < needed < 14
    with pytest.raises(VideoError, match=r"need about 14 MiB of memory; allowed are 13 MiB \(--max-memory-mb"):
        open_video(path, max_memory_mb=13)
    assert len(list(open_video(path, max_pixels=230_400, max_memory_mb=14))) == 3
    assert len(list(open_video(path, max_pixels=230_400, max_memory_mb=9, max_side=64))) == 3
    for wrong in (0, -1, 1.5):
        with pytest.raises(ValueError, match="max_pixels is"):
            open_video(path, max_pixels=wrong)  # type: ignore[arg-type]


def test_images_of_a_folder_have_the_same_limit(tmp_path: Path) -> None:
    all_clips()["huge.png"].write(tmp_path / "a.png")
    with pytest.raises(VideoError, match=r"a.png: .*(400 million|decompression bomb).*allowed are 4"):
        open_video(tmp_path)
    encode(tmp_path / "a.png", INTACT["picture.png"])
    with pytest.raises(VideoError, match=r"a.png: frames are 96x64 pixels, 6144; allowed are 6143 per frame"):
        open_video(tmp_path, max_pixels=6143)
    # 320 x 256 pixels: two images of 3 bytes and two more in the reader, ten delivered.
    encode(tmp_path / "a.png", replace(INTACT["picture.png"], size=(320, 256)))
    assert 3 < 320 * 256 * (2 * 3 + 2 * 3 + 10 * 3) / 2**20 < 4
    with pytest.raises(VideoError, match=r"a.png: frames of 320x256 pixels need about 4 MiB of memory; allowed are 3"):
        open_video(tmp_path, max_memory_mb=3)
    (tmp_path / "._a.png").write_bytes(b"what macOS writes beside a file")
    assert len(list(open_video(tmp_path))) == 1


def test_empty_packets_of_an_avi_file_are_no_frames(tmp_path: Path) -> None:
    """24 frames in 1.24 s, of a fixed rate of 1000 per second."""
    case = all_clips()["vfr_empty_packets.avi"]
    case.write(tmp_path / case.name)
    with open_video(tmp_path / case.name) as video:
        times = [frame.pts_seconds for frame in video]
    assert times == pytest.approx([(index + index // 3) / 25 for index in range(24)])
    assert video.info.frames == 24
    assert video.info.fps == pytest.approx(24 / 1.24, rel=0.05)
    assert video.warning is None
