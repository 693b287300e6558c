"""decord as the decoder of pixels: the same frames as FFmpeg, and FFmpeg's where decord is not exact."""

from pathlib import Path

import numpy as np
import pytest

from dwnet.core.bundled import sample_clip
from dwnet.video import VideoError, VideoWriter, _reader, open_video, set_default_decoder

pytest.importorskip("decord")


def both(path: Path, **options: int) -> tuple[list, list, str | None, str | None]:
    plain, other = open_video(path, **options), open_video(path, decoder="decord", **options)
    frames = list(plain), list(other)
    return *frames, plain.warning, other.warning


def test_an_intact_clip_gives_the_same_frames() -> None:
    plain, other, *warnings = both(sample_clip())
    assert len(plain) == len(other) > 100
    assert warnings == [None, None]
    for one, two in zip(plain, other, strict=True):
        assert (one.index, one.pts_seconds) == (two.index, two.pts_seconds)
        assert np.array_equal(one.image, two.image)


def test_a_reduced_clip_differs_by_the_filter_alone() -> None:
    plain, other, *_ = both(sample_clip(), max_side=160)
    assert [frame.image.shape for frame in plain] == [frame.image.shape for frame in other]
    difference = [np.abs(a.image.astype(int) - b.image).mean() for a, b in zip(plain, other, strict=True)]
    assert max(difference) < 4


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_damaged_clip_gives_ffmpegs_frames_and_warning(tmp_path: Path, place: float) -> None:
    data = bytearray((sample_clip()).read_bytes())
    start = int(len(data) * place)
    for position in range(start, start + 4000, 7):
        data[position] ^= 0x5A
    (tmp_path / "damaged.mp4").write_bytes(data)
    plain, other, warning, other_warning = both(tmp_path / "damaged.mp4")
    assert warning is not None
    assert warning == other_warning
    assert [frame.pts_seconds for frame in plain] == [frame.pts_seconds for frame in other]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(plain, other, strict=True))


def test_a_container_that_decord_does_not_read_exactly_is_ffmpegs(tmp_path: Path) -> None:
    import av

    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    plain, other, *warnings = both(path)
    assert len(plain) == len(other) == 30
    assert warnings[0] == warnings[1]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(plain, other, strict=True))


def test_other_decoders_are_refused() -> None:
    with pytest.raises(VideoError, match="decoder is 'cv2'; allowed are pyav, decord"):
        open_video(sample_clip(), decoder="cv2")  # type: ignore[arg-type]


def test_several_passes_and_an_early_end(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, fps=25, size=(64, 48)) as writer:
        for level in range(40):
            writer.write(np.full((48, 64, 3), 6 * level, np.uint8))
    reader = open_video(path, decoder="decord")
    first = next(iter(reader))
    assert [frame.index for frame in reader] == list(range(40))
    assert np.array_equal(next(iter(reader)).image, first.image)


def test_a_command_chooses_the_decoder_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reader, "_default_decoder", "pyav")
    assert open_video(sample_clip()).info.reader == "pyav"
    set_default_decoder("decord")
    assert open_video(sample_clip()).info.reader == "decord"
    assert open_video(sample_clip(), decoder="pyav").info.reader == "pyav"
    with pytest.raises(VideoError, match="allowed are pyav, decord"):
        set_default_decoder("opencv")  # type: ignore[arg-type]
