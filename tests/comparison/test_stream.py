"""Threads, stopping, failures and memory of a comparison, and the files that remain."""

import gc
import json
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dwnet.comparison import (
    ComparedFrame,
    ComparisonFiles,
    Networks,
    compare,
    stream,
)
from dwnet.video import VideoError, open_video
from tests.comparison.colours import FRAMES, run
from tests.exported import (
    textured_frame,
    write_clip,
)


def test_the_generator_may_change_threads(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    """The steps of a page run in any worker thread, and objects of OpenCV and PyAV depend on threads."""
    frames = compare(blinking, networks, output_dir=tmp_path)
    seen: list[ComparedFrame] = []

    def step() -> None:
        frame = next(frames, None)
        if frame is not None:
            seen.append(frame)

    for _ in range(FRAMES + 1):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert len(seen) == FRAMES
    assert seen[3].methods["baseline"].flips_percent == 100.0
    assert ComparisonFiles.beside(tmp_path, blinking).json.exists()


def test_two_comparisons_at_a_time_do_not_mix(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    """Comparisons share the sessions of networks, but not static warp's features of the previous frame."""
    alone = [frame.methods["static_warp"].labels for frame in run(blinking, networks, tmp_path / "alone")]
    first = compare(blinking, networks, output_dir=tmp_path / "a")
    second = compare(blinking, networks, output_dir=tmp_path / "b")
    next(second)
    for labels, one, two in zip(alone, first, second, strict=False):
        np.testing.assert_array_equal(one.methods["static_warp"].labels, labels)
        assert two.index == one.index + 1


def test_stop_keeps_what_was_compared(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    seen: list[int] = []
    frames = compare(blinking, networks, output_dir=tmp_path, stop=lambda: len(seen) == 4, video=True)
    seen.extend(frame.index for frame in frames)
    assert seen == [0, 1, 2, 3]
    files = ComparisonFiles.beside(tmp_path, blinking)
    found = json.loads(files.json.read_text())
    assert (found["stopped_early"], found["frames_compared"]) == (True, 4)
    assert len(files.csv.read_text().splitlines()) == 1 + 4
    with open_video(files.video) as reader:
        assert len(list(reader)) == 4


@pytest.mark.parametrize("after", [0, 1])
def test_stop_before_two_frames_leaves_nothing(blinking: Path, networks: Networks, tmp_path: Path, after: int) -> None:
    seen: list[int] = []
    frames = compare(blinking, networks, output_dir=tmp_path, stop=lambda: len(seen) == after)
    seen.extend(frame.index for frame in frames)
    assert len(seen) == after
    assert list(tmp_path.iterdir()) == []


def test_closing_the_generator_leaves_nothing_and_ends_the_decoder(
    blinking: Path, networks: Networks, tmp_path: Path
) -> None:
    before = threading.active_count()
    frames = compare(blinking, networks, output_dir=tmp_path)
    next(frames)
    next(frames)
    assert list(tmp_path.iterdir())
    frames.close()
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == before


def failing(call: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    calls = iter(range(1000))

    def flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        if next(calls) == call:
            raise RuntimeError("no flow today")
        return np.zeros((2, *frame.shape[:2]), np.float32)

    return flow


def test_a_failure_midway_leaves_nothing_and_older_files_alone(
    blinking: Path, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = ComparisonFiles.beside(tmp_path, blinking).csv
    older.write_text("from an earlier run")
    monkeypatch.setattr(stream, "flow_function", lambda name, *, weights: failing(5))
    with pytest.raises(RuntimeError, match="no flow today"):
        run(blinking, networks, tmp_path)
    assert list(tmp_path.iterdir()) == [older]
    assert older.read_text() == "from an earlier run"


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, r"one\.mp4 has 1 frame"), ({"clip_name": "street.mov"}, r"street\.mov has 1 frame")],
)
def test_one_frame_is_not_enough(networks: Networks, tmp_path: Path, settings: dict, message: str) -> None:
    clip = write_clip(tmp_path / "one.mp4", [textured_frame()])
    with pytest.raises(ValueError, match=message + ".*flicker needs two or more"):
        run(clip, networks, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_video(networks: Networks, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("Dear diary, this is not a video.\n" * 50)
    with pytest.raises(VideoError, match=r"notes\.mp4"):
        run(text, networks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_clip(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory of Python and NumPy after 20 and after 80 frames differs by less than two frames.

    The test detects a leak of 1/30 of a frame per frame.
    """
    # The number of frames in the queues varies. The smallest number is seen among enough frames.
    monkeypatch.setattr(stream, "PREFETCHED_FRAMES", 1)
    clip = write_clip(tmp_path / "long.mp4", [textured_frame(index, shift_px=1) for index in range(90)])
    held, frame_bytes = [], 0
    tracemalloc.start()
    try:
        for frame in compare(clip, networks, output_dir=tmp_path / "out"):
            frame_bytes = frame.image.nbytes
            if frame.compared in (22, 24, 26, 28, 30, 82, 84, 86, 88, 90):
                gc.collect()  # uncollected reference cycles do not count
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert min(held[5:]) - min(held[:5]) < 2 * frame_bytes
