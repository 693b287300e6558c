"""Extraction of frames from a raw video, tested with a synthetic video in which each frame shows its number."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dwnet.data import open_data
from dwnet.data.camvid import FrameName
from dwnet.data.camvid_video import DECODED_MINUS_NUMBER, extract_neighbours
from dwnet.data.pairs import DataError, read_image

av = pytest.importorskip("av")
HEIGHT, WIDTH = 48, 64


def numbered(position: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Returns a frame whose upper half shows the bits of its position as eight black or white columns."""
    bits = np.array([[255 * (position >> bit & 1) for bit in range(8)], [90] * 8], np.uint8)
    return cv2.cvtColor(cv2.resize(bits, (width, height), interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2RGB)


def number_shown(image: np.ndarray) -> int:
    row = image[image.shape[0] // 4, image.shape[1] // 16 :: image.shape[1] // 8, 1]
    return sum(1 << bit for bit in range(8) if row[bit] > 127)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "0016E5.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = 12
        stream.codec_context.max_b_frames = 2
        for position in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(position), format="rgb24")))
        container.mux(stream.encode())
    return path


def write_stills(root: Path, names: tuple[str, ...], *, split: str = "train", size: tuple[int, int] = (36, 48)) -> Path:
    for name in names:
        place = FrameName.parse(name)
        still = numbered(max(0, place.number + DECODED_MINUS_NUMBER[place.sequence]) % 256, *size)
        for folder, image in (("images", still[..., ::-1]), ("labels", np.zeros(size, np.uint8))):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(root / split / folder / f"{name}.png"), image)
    return root


def extracted(root: Path) -> dict[str, int]:
    return {path.stem: number_shown(read_image(path)) for path in (root / "video_frames").iterdir()}


def test_neighbours_are_the_frames_around_each_label(tmp_path: Path, video: Path) -> None:
    """In 0016E5 label n is decoded frame n + 1. Around label 20, for numbers 18..22, the video shows 19..23."""
    write_stills(tmp_path, ("0016E5_00020",))
    write_stills(tmp_path, ("0016E5_00022",), split="val")
    report = extract_neighbours(video, tmp_path, max_offset=2)
    assert extracted(tmp_path) == {
        "0016E5_00018": 19, "0016E5_00019": 20, "0016E5_00020": 21, "0016E5_00021": 22, "0016E5_00022": 23,
        "0016E5_00023": 24, "0016E5_00024": 25,
    }  # fmt: skip
    assert (report.sequence, report.written, report.present, report.outside) == ("0016E5", 7, 0, 0)
    assert report.still_difference is not None
    assert report.still_difference < 12, "the stills are not the video's frames"
    assert read_image(tmp_path / "video_frames" / "0016E5_00018.jpg").shape == (36, 48, 3)
    data = open_data("camvid", tmp_path, "train", neighbours="video", max_offset=2)
    sample = data[0]
    shown = number_shown((sample["neighbour"].numpy().transpose(1, 2, 0) * 255).astype(np.uint8))  # type: ignore[typeddict-item]
    assert shown == 21 + sample["offset"]  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("file", "still", "first"),
    [
        ("01TP_extract.mkv", "0001TP_006690", 30),
        ("0001TP_raw.mkv", "0001TP_006690", 30),
        ("0005VD.mkv", "Seq05VD_f00030", 31),
        ("0006r0.mkv", "0006R0_f00030", 31),
    ],
)
def test_each_sequence_has_its_own_shift(tmp_path: Path, video: Path, file: str, still: str, first: int) -> None:
    renamed = tmp_path / file
    renamed.write_bytes(video.read_bytes())
    root = write_stills(tmp_path / "data", (still,))
    extract_neighbours(renamed, root, max_offset=1)
    place = FrameName.parse(still)
    assert extracted(root) == {place.shifted(-1): first - 1, place.shifted(1): first + 1}


def test_the_sequence_may_be_told(tmp_path: Path, video: Path) -> None:
    root = write_stills(tmp_path / "data", ("0006R0_f00010",))
    renamed = tmp_path / "drive.mkv"
    renamed.write_bytes(video.read_bytes())
    with pytest.raises(DataError, match=r"drive\.mkv: cannot tell the sequence .* allowed are names with one of 01TP"):
        extract_neighbours(renamed, root)
    assert not (root / "video_frames").exists()
    assert extract_neighbours(renamed, root, max_offset=1, sequence="0006R0").written == 2
    with pytest.raises(DataError, match="sequence: found 'drive'; allowed are 0001TP, 0006R0, 0016E5, Seq05VD"):
        extract_neighbours(renamed, root, sequence="drive")


def test_ends_of_the_video_are_left_out(tmp_path: Path, video: Path) -> None:
    """Label 0 has no frames before it. Label 57 is frame 58 of 0..59, so it has one frame after it."""
    write_stills(tmp_path, ("0016E5_00000", "0016E5_00057"))
    report = extract_neighbours(video, tmp_path, max_offset=3)
    assert sorted(extracted(tmp_path).values()) == [2, 3, 4, 55, 56, 57, 59]
    assert (report.written, report.outside) == (7, 2)


def test_a_second_run_writes_only_what_is_missing(tmp_path: Path, video: Path) -> None:
    write_stills(tmp_path, ("0016E5_00020",))
    extract_neighbours(video, tmp_path, max_offset=2)
    folder = tmp_path / "video_frames"
    (folder / "0016E5_00019.jpg").unlink()
    kept = folder / "0016E5_00018.jpg"
    kept.write_bytes(b"mine")
    report = extract_neighbours(video, tmp_path, max_offset=2)
    assert (report.written, report.present) == (1, 3)
    assert kept.read_bytes() == b"mine"
    assert number_shown(read_image(folder / "0016E5_00019.jpg")) == 20
    report = extract_neighbours(video, tmp_path, max_offset=2)
    assert (report.written, report.present, report.still_difference) == (0, 4, None)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stills(tmp_path, ("0016E5_00020",))

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("dwnet.core.files.os.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        extract_neighbours(video, tmp_path, max_offset=1)
    assert list((tmp_path / "video_frames").iterdir()) == []


def test_the_wrong_video_is_refused_or_shows_in_the_difference(tmp_path: Path, video: Path) -> None:
    write_stills(tmp_path, ("0016E5_00100",))
    with pytest.raises(DataError, match=r"found 60 frames, but 0016E5_00100 is frame 101 .* of 0016E5"):
        extract_neighbours(video, tmp_path)
    root = write_stills(tmp_path / "other", ("0016E5_00020",))
    cv2.imwrite(str(root / "train" / "images" / "0016E5_00020.png"), 255 - numbered(21, 36, 48))
    report = extract_neighbours(video, root, max_offset=1)
    assert report.still_difference is not None
    assert report.still_difference > 60


def test_bad_input_is_one_clear_error(tmp_path: Path, video: Path) -> None:
    root = write_stills(tmp_path / "data", ("0006R0_f00010",))
    with pytest.raises(DataError, match=r"gone_0016E5\.mkv: no such file"):
        extract_neighbours(tmp_path / "gone_0016E5.mkv", root)
    with pytest.raises(DataError, match="no labelled frame of sequence 0016E5; found are frames of 0006R0"):
        extract_neighbours(video, root)
    with pytest.raises(ValueError, match="max_offset: found 0"):
        extract_neighbours(video, root, max_offset=0)
    text = tmp_path / "0006R0.MXF"
    text.write_text("no video")
    with pytest.raises(
        DataError, match=r"0006R0\.MXF: is not a video, or is damaged \(8 bytes, .*; allowed is a video file"
    ):
        extract_neighbours(text, root)
    early = write_stills(tmp_path / "early", ("0001TP_000030",))
    with pytest.raises(DataError, match=r"0001TP_000030\.png: lies before the first frame .* at least 6660"):
        extract_neighbours(video, early, sequence="0001TP")
