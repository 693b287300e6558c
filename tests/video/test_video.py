"""Reading and writing of generated clips: exactness, damaged and unusual files, folders, prefetching, errors."""

import builtins
import itertools
import os
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dwnet.video import VideoError, VideoReader, VideoWriter, image_files, open_video, prefetch
from dwnet.video._types import target_size
from tests.video.plain_decode import plain_decode

CLIP = os.environ.get("DWNET_CLIP")


def picture(index: int, width: int = 128, height: int = 96) -> np.ndarray:
    """Returns a picture whose brightness encodes its index, with a bright quarter in the upper left corner."""
    image = np.full((height, width, 3), 20 + 4 * index, np.uint8)
    image[: height // 2, : width // 2] = (240, 60, 20)
    return image


def index_of(image: np.ndarray) -> int:
    return round((float(image[-8:, -8:].mean()) - 20) / 4)


def encode(
    path: Path,
    frames: int = 30,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (128, 96),
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    pts: list[int] | None = None,
    options: dict[str, str] | None = None,
    movflags: str = "",
    ticks: int = 100,
) -> Path:
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, pix_fmt, gop
        stream.time_base = stream.codec_context.time_base = Fraction(1, ticks)
        # Good enough for the brightness to tell neighbouring frames apart.
        stream.options = options or ({"crf": "8"} if codec == "libx264" else {})
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index % 50, *size), format="rgb24")
            frame.pts, frame.time_base = (pts[index] if pts else index * ticks // 25), Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def rotate(path: Path) -> Path:
    """Writes a display matrix of a quarter turn clockwise into the track header."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    matrix = [0, one, 0, -one, 0, 0, 0, 0, 1 << 30]
    data[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    return path


def forbid(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = builtins.__import__

    def fake(name, *args, **kwargs):
        if name.split(".")[0] in names:
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake)


# ---------------------------------------------------------------------------------------------------------- reading


def test_frames_times_and_facts_of_an_ordinary_clip(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", 45)
    with open_video(path) as video:
        info, frames = video.info, list(video)
    assert (info.width, info.height, info.fps, info.frames) == (128, 96, 25, 45)
    assert (info.reader, info.codec, info.duration_seconds) == ("pyav", "h264", pytest.approx(1.8))
    assert [frame.index for frame in frames] == list(range(45))
    assert [index_of(frame.image) for frame in frames] == list(range(45))
    other = plain_decode(path)
    for frame, image, seconds in zip(frames, other.images, other.times, strict=True):
        np.testing.assert_array_equal(frame.image, image)
        assert frame.pts_seconds == pytest.approx(seconds) == pytest.approx(frame.index / 25)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
    assert video.warning is None


@pytest.mark.parametrize("gop", [5, 7, 12, 60])
@pytest.mark.parametrize("open_gop", [False, True])
def test_frames_are_exact_wherever_the_key_frames_lie(tmp_path: Path, gop: int, open_gop: bool) -> None:
    options = {"x264-params": f"open-gop={int(open_gop)}:scenecut=0", "crf": "8"}
    with open_video(encode(tmp_path / "clip.mp4", 50, gop=gop, options=options)) as video:
        assert [index_of(frame.image) for frame in video] == list(range(50))
    assert video.warning is None


def test_rotation_is_applied(tmp_path: Path) -> None:
    path = rotate(encode(tmp_path / "clip.mp4"))
    for max_side, size in ((None, (96, 128)), (64, (48, 64))):
        with open_video(path, max_side=max_side) as video:
            assert (video.info.width, video.info.height) == size
            frames = list(video)
        assert frames[0].image.shape == (size[1], size[0], 3)
        # The red quarter of the upper left corner turned to the upper right.
        assert frames[0].image[5, -5, 0] > 200
        assert frames[0].image[5, 5, 0] < 100
        # Resizing shifts brightness by up to three levels.
        assert [index_of(frame.image[:, :40]) for frame in frames] == pytest.approx(range(30), abs=1)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("one.mp4", {"frames": 1}),
        ("odd.mp4", {"size": (101, 67), "pix_fmt": "yuv444p"}),
        ("narrow.mp4", {"size": (48, 36)}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
        ("mpeg4.avi", {"codec": "mpeg4"}),
        ("mpeg.mpg", {"codec": "mpeg1video", "ticks": 25}),
        ("mjpeg.mkv", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("av1.mp4", {"codec": "libsvtav1", "options": {"preset": "12"}}),
        ("pictures.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
        ("stream.ts", {}),
        ("name with spaces: ü.mp4", {}),
    ],
)
def test_formats_and_sizes(tmp_path: Path, name: str, settings: dict) -> None:
    try:
        path = encode(tmp_path / name, **{"frames": 20, **settings})
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV cannot write {name}: {error}")
    width, height = settings.get("size", (128, 96))
    with open_video(path) as video:
        frames = list(video)
        assert (video.info.width, video.info.height) == (width, height)
    assert len(frames) == settings.get("frames", 20)
    assert all(frame.image.shape == (height, width, 3) for frame in frames)
    # GIF has 256 colours.
    tolerance = 9 if name.endswith("gif") else 1
    assert [index_of(frame.image) for frame in frames] == pytest.approx(range(len(frames)), abs=tolerance)
    assert frames[0].pts_seconds == 0
    assert video.warning is None


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    pts = list(itertools.accumulate([0, 4, 4, 20, 1, 7, 33, 4, 4, 10]))
    with open_video(encode(tmp_path / "vfr.mkv", 10, pts=pts)) as video:
        times = [frame.pts_seconds for frame in video]
    assert times == pytest.approx([value / 100 for value in pts], abs=2e-3)


def test_an_edit_list_hides_frames(tmp_path: Path) -> None:
    # The track's media starts 0.4 s before the presentation: the first ten frames are never shown.
    path = encode(tmp_path / "clip.mp4", 30, options={"bf": "0"})
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4
    with av.open(str(path)) as container:
        ticks = container.streams.video[0].time_base.denominator
    assert data[at] == 0
    data[at + 12 : at + 16] = (ticks * 10 // 25).to_bytes(4, "big")
    path.write_bytes(data)
    with open_video(path) as video:
        frames = list(video)
    assert [index_of(frame.image) for frame in frames] == list(range(10, 30))
    assert frames[0].pts_seconds == 0


def test_a_reader_can_be_read_again_and_closed(tmp_path: Path) -> None:
    video = open_video(encode(tmp_path / "clip.mp4"))
    assert len(list(video)) == len(list(video)) == 30
    frames = iter(video)
    next(frames)
    video.close()
    assert list(frames) == []
    with pytest.raises(VideoError, match="is closed"):
        iter(video)


def test_max_side_keeps_the_aspect_and_never_enlarges() -> None:
    assert target_size(1920, 1080, 480) == (480, 270)
    assert target_size(1080, 1920, 480) == (270, 480)
    assert target_size(320, 240, 480) == (320, 240)
    assert target_size(320, 240, None) == (320, 240)


# ---------------------------------------------------------------------------------------------------------- damaged


@pytest.mark.parametrize("slow_seconds", [0, 0.01])
def test_a_truncated_clip_gives_its_good_frames(tmp_path: Path, slow_seconds: float) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "cut.mp4"
    with VideoWriter(path, fps=25, size=(128, 96)) as writer:
        for index in range(48):
            noise = rng.integers(0, 256, (96, 128, 3)).astype(np.uint8)
            noise[-16:] = picture(index)[-16:]
            writer.write(noise)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    video = open_video(path)
    frames = []
    for frame in video:
        frames.append(index_of(frame.image))
        time.sleep(slow_seconds)
    assert 20 <= len(frames) < 32
    assert frames == list(range(len(frames)))
    assert video.warning is not None
    assert f"cut.mp4: damaged after {len(frames)} good frames" in video.warning


def write_audio(path: Path, **settings: str) -> Path:
    with av.open(str(path), "w", **settings) as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def damage(path: Path) -> Path:
    """Keeps the header and replaces the pictures by random bytes."""
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = np.random.default_rng(0).bytes(len(data) - start)
    path.write_bytes(data)
    return path


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda tmp: tmp / "none.mp4", r"none.mp4: there is no such file; allowed is a video"),
        (lambda tmp: write(tmp / "empty.mp4", b""), r"empty.mp4: an empty file \(0 bytes\); allowed is a video"),
        (
            lambda tmp: write(tmp / "new.mp4", encode(tmp / "a.mp4").read_bytes().replace(b"avc1", b"vvcx")),
            r"new.mp4: coded in a way that FFmpeg has no decoder for",
        ),
        (lambda tmp: write(tmp / "text.mp4", b"hello"), r"text.mp4: is not a video, or is damaged \(5 bytes"),
        (lambda tmp: write(tmp / "text.txt", b"hello\n" * 500), r"text.txt: is (a text|not a video)"),
        (lambda tmp: write(tmp / "list.mp4", b"#EXTM3U\n/etc/passwd\n"), r"list.mp4: is a playlist"),
        (lambda tmp: write_audio(tmp / "audio.mp4"), r"audio.mp4: has audio only, and no video; allowed is a video"),
        (
            lambda tmp: damage(encode(tmp / "bad.mp4", movflags="faststart")),
            r"bad.mp4: no frame can be decoded .*allowed is a video",
        ),
        (
            lambda tmp: encode(tmp / "tiny.mp4", size=(128, 24)),
            r"tiny.mp4: frames are 128x24 pixels; allowed are sides of at least 32",
        ),
        (lambda tmp: tmp, r"is a folder without images; allowed are .bmp, .jpeg"),
    ],
)
def test_wrong_files_are_one_clear_error(tmp_path: Path, make, message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(VideoError, match=message):
        open_video(path)


def test_a_header_that_counts_too_many_frames_does_no_harm(tmp_path: Path) -> None:
    """One flipped bit: a decoder that reserves memory for 10^9 frames would abort the process, server and all."""
    good = encode(tmp_path / "good.mp4")
    count = len(list(open_video(good)))
    content = bytearray(good.read_bytes())
    content[content.index(b"stts") + 12] ^= 0x40  # of the first entry's count
    with open_video(write(tmp_path / "bit.mp4", content)) as video:
        assert len(list(video)) == count


def test_names_in_any_encoding(tmp_path: Path) -> None:
    """Cameras write the names of their tracks in the encoding of their country."""
    good = encode(tmp_path / "good.mp4")
    named = good.read_bytes().replace(b"VideoHandler", "视频".encode("gbk").ljust(12))
    assert named != good.read_bytes()
    with open_video(write(tmp_path / "named.mp4", named)) as video, open_video(good) as expected:
        assert [frame.image.tobytes() for frame in video] == [frame.image.tobytes() for frame in expected]


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="max_side is 16; allowed are whole numbers from 32"):
        open_video(tmp_path, max_side=16)
    with pytest.raises(VideoError, match="image_fps is 0; allowed are numbers above 0"):
        open_video(tmp_path, image_fps=0)
    with pytest.raises(VideoError, match="neither a file nor a folder"):
        open_video(os.devnull)
    assert issubclass(VideoError, ValueError)


# ---------------------------------------------------------------------------------------------------------- folders


def test_a_folder_of_images_is_a_clip(tmp_path: Path) -> None:
    for index in range(12):
        cv2.imwrite(str(tmp_path / f"f{index}.png"), picture(index)[..., ::-1])
    (tmp_path / "notes.txt").write_text("no frame")
    with open_video(tmp_path) as video:
        frames = list(video)
    assert (video.info.reader, video.info.frames, video.info.fps) == ("images", 12, 25)
    assert video.info.duration_seconds == pytest.approx(0.48)
    for frame in frames:
        np.testing.assert_array_equal(frame.image, picture(frame.index))
        assert frame.pts_seconds == frame.index / 25
    # f2 comes before f10, unlike in alphabetical order.
    assert [file.stem for file in image_files(tmp_path)] == [f"f{index}" for index in range(12)]
    with open_video(tmp_path, max_side=64, image_fps=10) as video:
        small = list(video)
    assert small[3].image.shape == (48, 64, 3)
    assert small[3].pts_seconds == pytest.approx(0.3)


def test_a_wrong_image_in_a_folder_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture(0))
    cv2.imwrite(str(tmp_path / "b.png"), picture(0, 64, 64))
    with pytest.raises(VideoError, match=r"b.png: is 64x64 pixels; allowed is 128x96, the size of the first"):
        list(open_video(tmp_path))
    (tmp_path / "b.png").write_bytes(b"broken")
    with pytest.raises(VideoError, match=r"b.png: is not an image that can be read \(6 bytes\)"):
        list(open_video(tmp_path))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(VideoError, match=r"a.png: is not an image that can be read \(0 bytes\)"):
        open_video(tmp_path)


# --------------------------------------------------------------------------------------------------------- prefetch


def test_prefetch_keeps_order_and_decodes_in_one_other_thread(tmp_path: Path) -> None:
    threads = set()

    class Spy(VideoReader):
        def _decode(self):
            threads.add(threading.get_ident())
            yield from super()._decode()

    video = open_video(encode(tmp_path / "clip.mp4"))
    frames = list(prefetch(Spy(video.path, video.info)))
    assert [index_of(frame.image) for frame in frames] == list(range(30))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_prefetch_runs_at_most_its_depth_ahead() -> None:
    made = []

    def numbers():
        for number in range(100):
            made.append(number)
            yield number

    items = prefetch(numbers(), depth=3)
    assert next(items) == 0
    time.sleep(0.1)
    # One taken, three waiting, one in hand.
    assert len(made) <= 5
    assert list(items) == list(range(1, 100))


def test_prefetch_stops_its_thread_when_the_consumer_stops() -> None:
    ended = threading.Event()

    def numbers():
        try:
            yield from itertools.count()
        finally:
            ended.set()

    before = threading.active_count()
    items = prefetch(numbers(), depth=2)
    assert [next(items), next(items)] == [0, 1]
    start = time.perf_counter()
    items.close()
    assert time.perf_counter() - start < 1
    assert ended.is_set()
    assert threading.active_count() == before


def test_prefetch_forwards_an_exception_after_the_good_items() -> None:
    def failing():
        yield 1
        yield 2
        raise KeyError("broken")

    items = prefetch(failing())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="broken"):
        next(items)
    with pytest.raises(TypeError, match="not iterable"):
        list(prefetch(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="depth is 0; allowed are whole numbers from 1"):
        prefetch([], depth=0)
    # An exception among the items is an item.
    error = ValueError("only an item")
    assert list(prefetch([error])) == [error]


# ---------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("size", [(128, 96), (101, 67)])
def test_what_is_written_is_read_again(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, fps=12.5, size=size) as writer:
        for index in range(20):
            writer.write(picture(index, *size))
            assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    with open_video(path) as video:
        frames = list(video)
    assert (video.info.codec, video.info.fps, len(frames)) == ("h264", 12.5, 20)
    assert (video.info.width, video.info.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    for frame in frames:
        # The padding repeats the last row and column; colours survive the trip.
        assert np.abs(frame.image[: size[1], : size[0]].astype(int) - picture(frame.index, *size)).mean() < 4
        assert np.abs(frame.image[8, 8].astype(int) - (240, 60, 20)).max() <= 6
        assert frame.pts_seconds == pytest.approx(frame.index / 12.5)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (6, 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot restrict a process to one CPU")
def test_the_same_frames_give_the_same_file_on_any_number_of_cpus(tmp_path: Path) -> None:
    """x264 chooses its number of threads by the CPUs, and its output depends on that number."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 240, 3)).astype(np.uint8)
    cpus = os.sched_getaffinity(0)
    contents = []
    for number, allowed in enumerate(({min(cpus)}, cpus)):
        os.sched_setaffinity(0, allowed)
        try:
            with VideoWriter(tmp_path / f"{number}.mp4", fps=25, size=(192, 288), preset="slow", crf=20) as writer:
                for index in range(12):
                    writer.write(np.ascontiguousarray(noise[index : index + 288, index : index + 192]))
        finally:
            os.sched_setaffinity(0, cpus)
        contents.append((tmp_path / f"{number}.mp4").read_bytes())
    assert contents[0] == contents[1]
    assert b" threads=4 " in contents[0]  # x264 writes its settings into the file


def test_nothing_remains_after_an_error_or_abort(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"before")

    def interrupted() -> None:
        with VideoWriter(path, fps=25, size=(64, 64)) as writer:
            writer.write(picture(0, 64, 64))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    writer = VideoWriter(path, fps=25, size=(64, 64))
    writer.write(picture(0, 64, 64))
    writer.abort()
    writer.abort()
    with pytest.raises(VideoError, match="no frame was written"):
        VideoWriter(path, fps=25, size=(64, 64)).close()
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    assert path.read_bytes() == b"before"


def test_a_finished_file_survives_abort_and_a_second_close(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "out.mp4", fps=25, size=(64, 64))
    writer.write(picture(0, 64, 64))
    writer.close()
    writer.close()
    writer.abort()
    assert len(list(open_video(tmp_path / "out.mp4"))) == 1
    with pytest.raises(VideoError, match="the writer is closed"):
        writer.write(picture(0, 64, 64))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("out.avi", {}, r"ends in '.avi'; allowed is '.mp4'"),
        ("none/out.mp4", {}, "there is no folder"),
        ("folder.mp4", {}, "is a folder"),
        ("out.mp4", {"fps": 0}, "fps is 0; allowed"),
        ("out.mp4", {"size": (1, 64)}, "size is 1x64; allowed"),
        ("out.mp4", {"preset": "no such preset"}, "cannot be written"),
    ],
)
def test_wrong_writers(tmp_path: Path, name: str, settings: dict, message: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(VideoError, match=message):
        VideoWriter(tmp_path / name, **{"fps": 25, "size": (64, 64), **settings})
    assert [file.name for file in tmp_path.iterdir()] == ["folder.mp4"]


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", fps=25, size=(64, 48)) as writer:
        with pytest.raises(VideoError, match=r"frame 0 is uint8 of shape \(64, 48, 3\); allowed is uint8 of shape"):
            writer.write(picture(0, 48, 64))
        with pytest.raises(VideoError, match="frame 0 is float64"):
            writer.write(picture(0, 64, 48) / 255)
        writer.write(picture(0, 64, 48))


def test_writing_without_pyav_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch, "av")
    with pytest.raises(VideoError, match="needs PyAV"):
        VideoWriter(tmp_path / "out.mp4", fps=25, size=(64, 64))


@pytest.mark.skipif(not CLIP or not Path(CLIP).is_file(), reason="DWNET_CLIP names no clip")
def test_a_real_clip_reads_whole() -> None:
    assert CLIP
    with open_video(CLIP, max_side=480) as video:
        count = sum(1 for _ in prefetch(video))
    assert count == video.info.frames
    assert video.warning is None
