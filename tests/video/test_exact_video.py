"""Videos in which no frame may be missing: label videos are strict, training frames take what FFmpeg decodes."""

from pathlib import Path

import numpy as np
import pytest

from dwnet.data.pairs import DataError
from dwnet.data.video_frames import decode, extract
from dwnet.flicker.open_labels import open_label_maps
from dwnet.video import ExactVideo, VideoError
from tests.video.clip_writer import Encoding, encode, encoded, flipped
from tests.video.odd_clips import INTACT
from tests.video.odd_structures import odd_clips
from tests.video.plain_decode import plain_decode

ODD = {case.name: case for case in odd_clips()}


def test_training_frames_of_a_clip_without_its_first_key_frame(tmp_path: Path) -> None:
    case, warnings = ODD["no_first_key_frame.mp4"], []
    case.write(tmp_path / case.name)
    frames = list(decode(tmp_path / case.name, 100, warnings.append))
    plain = plain_decode(tmp_path / case.name)
    for frame, image in zip(frames, plain.images, strict=True):
        np.testing.assert_array_equal(frame.image(), image)
    assert len(warnings) == 1
    assert "3 frames at the start are left out" in warnings[0]
    with pytest.raises(VideoError, match="3 frames at the start are left out, because the key frame before is missing"):
        list(ExactVideo(tmp_path / case.name))


def test_frames_before_the_damage_can_be_extracted(tmp_path: Path) -> None:
    data = encoded("mkv", INTACT["x264.mkv"])
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) // 2])
    whole = len(plain_decode(path).images)
    assert 4 < whole < 24
    assert extract(path, {n: tmp_path / f"{n}.jpg" for n in range(4)}) == 4
    with pytest.raises(DataError, match=r"cut.mkv: is damaged, frame \d+ cannot be decoded .*ended prematurely"):
        extract(path, {n: tmp_path / f"{n}.jpg" for n in range(24)})


def test_a_label_video_with_one_damaged_slice_is_refused(tmp_path: Path) -> None:
    """FFV1 has checksums. FFmpeg delivers the frame, and reports the wrong checksum."""
    path = encode(tmp_path / "labels.mkv", Encoding("ffv1", "gray", options=(("slicecrc", "1"), ("slices", "4"))))
    assert sum(1 for _ in ExactVideo(path)) == 24
    path.write_bytes(flipped(path.read_bytes(), 3, 0.4, 0.6, 1))
    assert len(plain_decode(path).images) == 24
    with pytest.raises(VideoError, match="CRC mismatch"):
        list(ExactVideo(path))
    with pytest.raises(ValueError, match="CRC mismatch"):
        list(open_label_maps(path, None))


def test_a_label_video_has_one_size(tmp_path: Path) -> None:
    case = ODD["other_size_after_24.mjpeg"]
    case.write(tmp_path / case.name)
    with pytest.raises(VideoError, match="frame 24 is 160x96 pixels; allowed is 96x64, the size of the first"):
        list(ExactVideo(tmp_path / case.name))
    warnings: list[str] = []
    frames = list(decode(tmp_path / case.name, 48, warnings.append))
    assert {frame.image().shape for frame in frames} == {(64, 96, 3)}
    assert len(warnings) == 1
    assert "from frame 24 on, frames are 160x96 pixels and are resized to 96x64" in warnings[0]


def test_limits_apply_to_label_videos(tmp_path: Path) -> None:
    ODD["huge.gif"].write(tmp_path / "huge.gif")
    with pytest.raises(VideoError, match="16000x16000 pixels, 256 million; allowed are 40 million"):
        ExactVideo(tmp_path / "huge.gif")
