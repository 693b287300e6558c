"""Display matrices: page, training frames and label videos show the same upright picture for each orientation."""

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dwnet.cli.main import main
from dwnet.data.video_frames import extract
from dwnet.flicker.open_labels import open_label_maps
from dwnet.video import ExactVideo, VideoError, open_video
from dwnet.video._orientation import UPRIGHT, Orientation
from dwnet.video._types import DecoderError

HEIGHT, WIDTH = 48, 64
STORED = [[1, 2], [3, 4]]
"""The quarters of the stored picture. Each quarter's grey level is 50 times its number."""

# (a, b, c, d): the stored pixel (x, y) is shown at (a x + c y, b x + d y), plus a shift.
TURNS = {
    "as stored": ((1, 0, 0, 1), [[1, 2], [3, 4]]),
    "90 degrees clockwise": ((0, 1, -1, 0), [[3, 1], [4, 2]]),
    "180 degrees": ((-1, 0, 0, -1), [[4, 3], [2, 1]]),
    "270 degrees clockwise": ((0, -1, 1, 0), [[2, 4], [1, 3]]),
    "left and right exchanged": ((-1, 0, 0, 1), [[2, 1], [4, 3]]),
    "top and bottom exchanged": ((1, 0, 0, -1), [[3, 4], [1, 2]]),
    "transposed": ((0, 1, 1, 0), [[1, 3], [2, 4]]),
    "transposed the other way": ((0, -1, -1, 0), [[4, 2], [3, 1]]),
    "90 degrees clockwise, twice as high": ((0, 2, -1, 0), [[3, 1], [4, 2]]),
}


def quarters(numbers: list[list[int]], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.kron(np.array(numbers), np.ones((height // 2, width // 2), int)).astype(np.uint8)


def write_clip(path: Path, matrix: tuple[float, ...], *, codec: str, pixels: str, scale: int) -> Path:
    """Three frames of the stored picture, with a display matrix in the track header."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        stream.options = {"crf": "1"} if codec == "libx264" else {}
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scale * quarters(STORED), format="gray")))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(entry * 65536) for entry in matrix)
    entries = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    data[start : start + 36] = b"".join(entry.to_bytes(4, "big", signed=True) for entry in entries)
    path.write_bytes(data)
    return path


def numbers_in(image: np.ndarray, scale: int = 50) -> list[list[int]]:
    """The numbers of the quarters, from pixels near the corners."""
    grey = image.mean(axis=2) if image.ndim == 3 else image
    rows, columns = (5, grey.shape[0] - 6), (5, grey.shape[1] - 6)
    return [[round(float(grey[row, column]) / scale) for column in columns] for row in rows]


@pytest.mark.parametrize("turn", TURNS)
def test_all_readers_deliver_the_same_upright_picture(tmp_path: Path, turn: str) -> None:
    matrix, expected = TURNS[turn]
    size = (HEIGHT, WIDTH) if matrix[0] else (WIDTH, HEIGHT)
    clip = write_clip(tmp_path / "clip.mp4", matrix, codec="libx264", pixels="yuv420p", scale=50)
    with open_video(clip) as video:
        shown = [frame.image for frame in video]
    assert (video.info.height, video.info.width) == (video.info.source_height, video.info.source_width) == size
    extract(clip, {1: tmp_path / "1.jpg"})
    extracted = cv2.imread(str(tmp_path / "1.jpg"))
    assert len(shown) == 3
    for image in (*shown, extracted):
        assert image.shape == (*size, 3)
        assert numbers_in(image) == expected
    labels = write_clip(tmp_path / "labels.mov", matrix, codec="png", pixels="gray", scale=1)
    found = [one.labels for one in open_label_maps(labels, None) if one is not None]
    np.testing.assert_array_equal(found, [quarters(expected, *size)] * 3)


@pytest.mark.parametrize("turn", ["90 degrees clockwise", "left and right exchanged"])
def test_reduced_frames_are_upright(tmp_path: Path, turn: str) -> None:
    matrix, expected = TURNS[turn]
    clip = write_clip(tmp_path / "clip.mp4", matrix, codec="libx264", pixels="yuv420p", scale=50)
    with open_video(clip, max_side=48) as video:
        images = [frame.image for frame in video]
    assert {image.shape for image in images} == {(36, 48, 3) if matrix[0] else (48, 36, 3)}
    assert all(numbers_in(image) == expected for image in images)


def test_training_frames_of_a_turned_clip_fit_upright_labels(tmp_path: Path) -> None:
    matrix, expected = TURNS["90 degrees clockwise"]
    (tmp_path / "train/clips").mkdir(parents=True)
    (tmp_path / "train/labels/drive").mkdir(parents=True)
    classes = [{"name": str(number), "id": number} for number in range(5)]
    (tmp_path / "classes.json").write_text(json.dumps({"name": "quarters", "classes": classes}))
    write_clip(tmp_path / "train/clips/drive.mp4", matrix, codec="libx264", pixels="yuv420p", scale=50)
    cv2.imwrite(str(tmp_path / "train/labels/drive/000001.png"), quarters(expected, WIDTH, HEIGHT))
    assert main(["data", "frames", "--root", str(tmp_path), "--max-offset", "1"]) == 0
    for number in range(3):
        image = cv2.imread(str(tmp_path / "train/frames/drive" / f"{number:06d}.jpg"))
        assert numbers_in(image) == expected
    check = ["data", "check", "--dataset", "own", "--splits", "train"]
    assert main([*check, "--root", str(tmp_path), "--output", str(tmp_path / "out")]) == 0


def test_other_matrices_are_one_clear_error(tmp_path: Path) -> None:
    """A turn by 30 degrees cannot be shown in a frame of pixels; a nearly straight one is taken as straight."""
    tilted = (0.866, 0.5, -0.5, 0.866)
    clip = write_clip(tmp_path / "clip.mp4", tilted, codec="libx264", pixels="yuv420p", scale=50)
    message = r"clip\.mp4: .*the display matrix is \(0\.866, 0\.5, -0\.5, 0\.866\); allowed are turns by 90, 180"
    with pytest.raises(VideoError, match=message):
        open_video(clip)
    with pytest.raises(VideoError, match=message):
        list(ExactVideo(clip))
    with pytest.raises(ValueError, match=message):
        extract(clip, {0: tmp_path / "0.jpg"})
    labels = write_clip(tmp_path / "clip.mp4.mov", tilted, codec="png", pixels="gray", scale=1)
    with pytest.raises(ValueError, match="the display matrix is"):
        list(open_label_maps(labels, None))


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0, 0, 0, 0), UPRIGHT),
        ((1, 0.002, -0.002, 1), UPRIGHT),
        ((0, 0, 0, 1), None),
        ((1, 0, 1, 0), None),
        ((1, 1, -1, 1), None),
    ],
)
def test_matrices_by_hand(matrix: tuple[float, ...], expected: Orientation | None) -> None:
    a, b, c, d = (round(entry * 65536) for entry in matrix)
    stored = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32)
    if expected is not None:
        assert Orientation.of_matrix(stored) == expected
        return
    with pytest.raises(DecoderError, match="the display matrix is"):
        Orientation.of_matrix(stored)


def test_a_turn_within_the_clip_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4", (0, 1, -1, 0), codec="libx264", pixels="yuv420p", scale=50)
    video, real = open_video(clip), Orientation.of_frame
    later = iter([True, True, False])
    monkeypatch.setattr(Orientation, "of_frame", lambda frame: real(frame) if next(later) else UPRIGHT)
    assert len(list(video)) == 2
    assert video.warning is not None
    assert "after 2 good frames (frame 2 has another display matrix than the first frame)" in video.warning


def test_covers_playlists_and_texts_are_refused_by_all_readers(tmp_path: Path) -> None:
    (tmp_path / "list.mkv").write_text("#EXTM3U\n/etc/passwd\n")
    (tmp_path / "empty.mkv").write_bytes(b"")
    for name, message in (
        ("list.mkv", "is a playlist"),
        ("empty.mkv", r"an empty file \(0 bytes\)"),
        ("no.mkv", "no such"),
    ):
        for read in (open_video, ExactVideo, lambda path: extract(path, {0: tmp_path / "0.jpg"})):
            with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
                read(tmp_path / name)
        with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
            open_label_maps(tmp_path / name, None)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.gif", "gif", "rgb8"), ("a.avi", "mjpeg", "yuvj420p"), ("a.webm", "libvpx-vp9", "yuv420p")],
)
def test_training_frames_come_from_any_format(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(50 * quarters(STORED), format="gray")))
        container.mux(stream.encode(None))
    assert extract(tmp_path / name, {n: tmp_path / f"{n}.jpg" for n in range(4)}) == 3
    assert numbers_in(cv2.imread(str(tmp_path / "2.jpg"))) == STORED
