"""The streaming comparison: what it yields is what the networks answer, flips and times are those of the definitions,
files appear whole or not at all, and memory does not grow with the clip. The networks are the tiny ones of
`tests/exported.py`, whose labels are known from the frames alone.
"""

import csv
import gc
import json
import threading
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dwnet.comparison import (
    ComparedFrame,
    ComparisonFiles,
    ComparisonSettings,
    MethodFrame,
    Networks,
    compare,
    load_networks,
    relative_percent,
    stream,
)
from dwnet.comparison.files import frame_columns, frame_row, write_json
from dwnet.comparison.spread import Spread
from dwnet.core.errors import DWNetError
from dwnet.core.tables import CsvTable
from dwnet.deploy.runtime import NetworkFileError
from dwnet.metrics import flip_rate
from dwnet.video import VideoError, open_video
from tests.exported import (
    metadata,
    textured_frame,
    write_clip,
    write_keyframe,
    write_models,
    write_segmenter,
)

FRAMES = 6


def coloured(frame: np.ndarray, colour: int) -> np.ndarray:
    """The frame with one channel raised everywhere: the tiny baseline labels every pixel `colour`."""
    tinted = frame.copy()
    tinted[..., colour] += 20
    return tinted


@pytest.fixture(scope="module")
def networks(models: Path) -> Networks:
    return load_networks(models, threads=1)


@pytest.fixture(scope="module")
def blinking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still texture that turns from red to green after three frames: every pixel flips exactly once, at frame 3."""
    path = tmp_path_factory.mktemp("clips") / "blink.mp4"
    return write_clip(path, [coloured(textured_frame(), 0 if index < 3 else 1) for index in range(FRAMES)])


def run(clip: Path, networks: Networks, folder: Path, **settings: object) -> list[ComparedFrame]:
    return list(compare(clip, networks, output_dir=folder, **settings))  # type: ignore[arg-type]


def test_flips_are_the_ones_that_were_made(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    frames = run(blinking, networks, tmp_path)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [frame.compared for frame in frames] == list(range(1, FRAMES + 1))
    assert all(frame.expected == FRAMES for frame in frames)
    np.testing.assert_allclose([frame.pts_seconds for frame in frames], np.arange(FRAMES) / 10, atol=1e-6)
    flips = [frame.methods["baseline"].flips_percent for frame in frames]
    assert flips == [None, 0.0, 0.0, 100.0, 0.0, 0.0]
    assert [frame.methods["dwnet"].flips_percent for frame in frames] == [None, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert np.unique(frames[0].methods["baseline"].labels) == [0]
    assert np.unique(frames[3].methods["baseline"].labels) == [1]
    # 3 x the previous frame's features outweigh the new colour for one frame: it follows later, at frame 4.
    assert [frame.methods["static_warp"].flips_percent for frame in frames] == [None, 0.0, 0.0, 0.0, 100.0, 0.0]

    last = frames[-1].summaries["baseline"]
    # The rate over the clip counts pixels: every pair weighs as much as it has comparable ones.
    counted = [frame.comparable_percent or 0.0 for frame in frames]
    assert min(counted[1:]) > 90
    assert last.flips_percent == pytest.approx(100 * counted[3] / sum(counted))
    # Per class by the current label: red never follows another class; green does in the first of its three pairs.
    assert last.class_flips_percent[0] == 0.0
    assert last.class_flips_percent[1] == pytest.approx(100 * counted[3] / sum(counted[3:]))
    assert last.class_flips_percent[2] is None


def test_flow_points_to_the_previous_compared_frame(networks: Networks, tmp_path: Path) -> None:
    """The texture moves right by 3 px per frame, so with every 2nd frame the flow back is 6 px to the left."""
    clip = write_clip(tmp_path / "moving.mp4", [textured_frame(index, shift_px=3) for index in range(5)])
    frames = run(clip, networks, tmp_path / "out", every=2)
    assert [frame.index for frame in frames] == [0, 2, 4]
    assert frames[0].coarse_flow_px is None
    assert frames[0].refined_flow_px is None
    for before, frame in pairwise(frames):
        assert frame.coarse_flow_px is not None
        assert frame.refined_flow_px is not None
        assert np.median(frame.coarse_flow_px[0]) == pytest.approx(-6, abs=0.3)
        assert np.median(frame.coarse_flow_px[1]) == pytest.approx(0, abs=0.3)
        assert frame.refined_flow_px.shape == (2, 64, 128)
        assert np.median(frame.refined_flow_px[0]) == pytest.approx(-6, abs=1)
        assert frame.comparable_percent is not None
        assert 50 < frame.comparable_percent < 100
        flips = flip_rate(before.methods["baseline"].labels, frame.methods["baseline"].labels, frame.coarse_flow_px)
        assert flips is not None


def test_static_warp_pays_for_its_flow_and_the_others_do_not(
    blinking: Path, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        threading.Event().wait(0.05)
        return np.zeros((2, *frame.shape[:2]), np.float32)

    monkeypatch.setattr(stream, "flow_function", lambda name, *, weights: slow_flow)
    frames = run(blinking, networks, tmp_path, limit=3)
    assert frames[0].methods["static_warp"].flow_ms == 0
    for frame in frames[1:]:
        slow = frame.methods["static_warp"]
        assert 50 <= slow.flow_ms <= slow.latency_ms
        assert frame.methods["dwnet"].flow_ms == frame.methods["baseline"].flow_ms == 0
    summary = frames[-1].summaries
    assert summary["static_warp"].flow_ms_mean == pytest.approx(
        sum(frame.methods["static_warp"].flow_ms for frame in frames) / 3
    )
    assert summary["baseline"].flow_ms_mean == 0
    ratios = [frame.methods["static_warp"].latency_ms / frame.methods["baseline"].latency_ms for frame in frames]
    assert summary["static_warp"].latency_ratio_median == pytest.approx(np.median(ratios), rel=0.0051)
    assert summary["baseline"].latency_ratio_quartiles == pytest.approx((1, 1), rel=0.0051)
    assert summary["baseline"].latency_ms_mean == pytest.approx(
        sum(frame.methods["baseline"].latency_ms for frame in frames) / 3
    )


def test_key_frames_cost_no_flow_and_the_others_the_one_to_their_key_frame(
    blinking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clip turns green at frame 3. With key frames 0, 2, 4 the labels turn with frame 4."""
    folder = write_models(tmp_path / "models")
    write_keyframe(folder / "keyframe.onnx", key_interval=2)
    asked: list[tuple[int, int]] = []

    def slow_flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        asked.append((id(frame), id(neighbour)))
        threading.Event().wait(0.02)
        return np.zeros((2, *frame.shape[:2]), np.float32)

    monkeypatch.setattr(stream, "flow_function", lambda name, *, weights: slow_flow)
    networks = load_networks(folder, threads=1)
    assert list(networks.segmenters) == ["baseline", "keyframe", "static_warp", "dwnet"]
    for interval, expected in ((2, [False, True] * 3), (3, [False, True, True] * 2)):
        write_keyframe(folder / "keyframe.onnx", key_interval=interval)
        asked.clear()
        frames = run(blinking, load_networks(folder, threads=1), tmp_path / "out")
        assert [frame.methods["keyframe"].flow_ms > 0 for frame in frames] == expected
        for frame in frames:
            key = frame.methods["keyframe"]
            assert key.flow_ms == 0 or 20 <= key.flow_ms <= key.latency_ms
        # The flow to the previous frame is computed once for all; one to a key frame before that, apart (frames 2 and 5
        # at an interval of 3). Warming up takes one; the occlusion check one for each pair.
        assert len(asked) == 1 + 2 * 5 + (2 if interval == 3 else 0)
        pairs = {(id(frames[i].image), id(frames[i - 2].image)) for i in (2, 5)}
        assert pairs <= set(asked) if interval == 3 else not pairs & set(asked)
        labels = [int(np.unique(frame.methods["keyframe"].labels)[0]) for frame in frames]
        assert labels == ([0, 0, 0, 0, 1, 1] if interval == 2 else [0, 0, 0, 1, 1, 1])
    found = json.loads(ComparisonFiles.beside(tmp_path / "out", blinking).json.read_text())
    assert found["methods"]["keyframe"]["flow_ms_mean"] > 0
    assert {"kind": "keyframe", "method": "keyframe"}.items() <= found["models"][1].items()


def test_another_flow_is_used_and_named(
    blinking: Path, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def record(name: str, *, weights: str | Path) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        asked.append((name, weights))
        return lambda frame, neighbour: np.full((2, *frame.shape[:2]), 0.25, np.float32)

    monkeypatch.setattr(stream, "flow_function", record)
    frames = run(blinking, networks, tmp_path, flow="flownet2", flow_weights=tmp_path / "flownet2.pth", limit=2)
    assert asked == [("flownet2", tmp_path / "flownet2.pth")]
    assert frames[1].coarse_flow_px is not None
    assert (frames[1].coarse_flow_px == 0.25).all()
    settings = json.loads(ComparisonFiles.beside(tmp_path, blinking).json.read_text())["settings"]
    assert (settings["flow"], settings["flow_weights"]) == ("flownet2", "flownet2.pth")


def test_nothing_is_compared_across_a_scene_cut(networks: Networks, tmp_path: Path) -> None:
    dark = (textured_frame() // 4).astype(np.uint8)
    clip = write_clip(tmp_path / "cut.mp4", [coloured(dark, 0)] * 2 + [coloured(textured_frame(), 1)] * 2)
    frames = run(clip, networks, tmp_path / "out")
    assert [frame.scene_cut for frame in frames] == [False, False, True, False]
    assert [frame.methods["baseline"].flips_percent for frame in frames] == [None, 0.0, None, 0.0]
    # The static warp starts anew there: it does not drag the red of the other scene along.
    assert np.unique(frames[2].methods["static_warp"].labels) == [1]
    assert frames[2].coarse_flow_px is None
    found = json.loads(ComparisonFiles.beside(tmp_path / "out", clip).json.read_text())
    assert found["scene_cuts"] == 1


def test_files_hold_what_was_yielded(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    frames = run(blinking, networks, tmp_path, opacity=0.25)
    files = ComparisonFiles.beside(tmp_path, blinking)
    assert sorted(tmp_path.iterdir()) == sorted([files.video, files.csv, files.json])

    with files.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(FRAMES))
    assert [row["baseline_flips_percent"] for row in rows] == ["", "0.0000", "0.0000", "100.0000", "0.0000", "0.0000"]
    for row, frame in zip(rows, frames, strict=True):
        assert float(row["pts_seconds"]) == pytest.approx(frame.pts_seconds, abs=1e-6)
        assert float(row["static_warp_latency_ms"]) == pytest.approx(frame.methods["static_warp"].latency_ms, abs=1e-3)

    found = json.loads(files.json.read_text())
    assert found["frames_compared"] == FRAMES
    assert found["stopped_early"] is False
    assert found["settings"]["opacity"] == 0.25
    assert found["clip"]["name"] == "blink.mp4"
    baseline, static_warp = found["methods"]["baseline"], found["methods"]["static_warp"]
    assert baseline["flips_percent"] == frames[-1].summaries["baseline"].flips_percent
    assert baseline["flips_relative_to_baseline_percent"] == 0
    assert found["methods"]["dwnet"]["flips_relative_to_baseline_percent"] == -100
    assert static_warp["flow_ms_mean"] > 0
    assert list(baseline["per_class"]) == ["Red", "Green", "Blue"]
    assert baseline["per_class"]["Blue"]["flips_percent"] is None
    assert [model["file"] for model in found["models"]] == [
        "baseline.onnx",
        "static_warp.onnx",
        "dwnet.onnx",
        "flow_refinement.onnx",
    ]
    assert found["models"][0]["metrics"] == {"miou_percent": 12.5}
    assert found["machine"]["threads_per_network"] == 1

    with open_video(files.video) as reader:
        shown = list(reader)
        assert reader.info.fps == pytest.approx(10)
    assert len(shown) == FRAMES
    # Two columns: input and baseline above, static warp and DWNet below, each 128 x 64 under its caption.
    height, width = shown[0].image.shape[:2]
    assert width >= 2 * 128
    assert height >= 2 * 64
    overlay = shown[1].image[height // 4, width * 3 // 4].astype(float)
    expected = frames[1].methods["baseline"].overlay[20:40, 54:74].mean((0, 1))
    assert np.abs(overlay - expected).max() < 45  # the texture varies; red is far from green's or blue's overlay


def test_the_generator_may_change_threads(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    """A page's steps run in whatever worker thread is free; OpenCV's and decord's objects mind."""
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
    """They share the sessions, not static warp's memory of the frame before."""
    alone = [frame.methods["static_warp"].labels for frame in run(blinking, networks, tmp_path / "alone")]
    first = compare(blinking, networks, output_dir=tmp_path / "a")
    second = compare(blinking, networks, output_dir=tmp_path / "b")
    next(second)
    for labels, one, two in zip(alone, first, second, strict=False):
        np.testing.assert_array_equal(one.methods["static_warp"].labels, labels)
        assert two.index == one.index + 1


def test_stop_keeps_what_was_compared(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    seen: list[int] = []
    frames = compare(blinking, networks, output_dir=tmp_path, stop=lambda: len(seen) == 4)
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


def test_every_and_limit_choose_frames(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    frames = run(blinking, networks, tmp_path, every=2, limit=2)
    assert [frame.index for frame in frames] == [0, 2]
    assert frames[0].expected == 2
    with open_video(ComparisonFiles.beside(tmp_path, blinking).video) as reader:
        assert reader.info.fps == pytest.approx(5)
    with pytest.raises(ValueError, match=r"1 frame to compare \(every: 6, limit: none\)"):
        run(blinking, networks, tmp_path, every=6)


def test_odd_sizes(networks: Networks, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "odd.mp4", [textured_frame(index, (77, 131), 1) for index in range(3)])
    frames = run(clip, networks, tmp_path / "out")
    assert frames[-1].image.shape == (77, 131, 3)
    assert frames[-1].methods["static_warp"].labels.shape == (77, 131)
    frames = run(clip, networks, tmp_path / "out", max_side=96)
    assert max(frames[0].image.shape) == 96


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flow": "raft"}, "unknown flow 'raft'; allowed: dis"),
        ({"max_side": 8}, "max_side is 64 to 4096 px, found 8"),
        ({"every": 0}, "every is at least 1"),
        ({"limit": 1}, "limit is at least 2 frames"),
        ({"opacity": 1.5}, "opacity is 0 to 1, found 1.5"),
    ],
)
def test_settings_out_of_range(
    blinking: Path, networks: Networks, tmp_path: Path, settings: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(blinking, networks, tmp_path, **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_video(networks: Networks, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("Dear diary, this is not a video.\n" * 50)
    with pytest.raises(VideoError, match=r"notes\.mp4"):
        run(text, networks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_clip(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Python and NumPy hold after 20 and after 80 frame differs by less than two frames' pixels: a
    thirtieth of a frame kept for each frame would show.
    """
    # How many frames wait in the queue differs from moment to moment; with one place it differs by one at most.
    monkeypatch.setattr(stream, "PREFETCHED_FRAMES", 1)
    clip = write_clip(tmp_path / "long.mp4", [textured_frame(index, shift_px=1) for index in range(90)])
    held, frame_bytes = [], 0
    tracemalloc.start()
    try:
        for frame in compare(clip, networks, output_dir=tmp_path / "out"):
            frame_bytes = frame.image.nbytes
            if frame.compared in (20, 25, 30, 80, 85, 90):
                gc.collect()  # cycles that wait for the collector are no growth
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert min(held[3:]) - min(held[:3]) < 2 * frame_bytes


def test_folder_of_networks(models: Path, tmp_path: Path) -> None:
    found = load_networks(models, threads=1)
    assert list(found.segmenters) == ["baseline", "static_warp", "dwnet"]
    assert found.flow_refinement is not None
    with pytest.raises(NetworkFileError, match=r"no \.onnx file in"):
        load_networks(tmp_path)
    only = write_segmenter(tmp_path / "only" / "dwnet.onnx", "dwnet").parent
    with pytest.raises(NetworkFileError, match=r"no network of method 'baseline' in .*; found: dwnet"):
        load_networks(only)
    write_segmenter(only / "again.onnx", "dwnet")
    with pytest.raises(NetworkFileError, match=r"again\.onnx and .*dwnet\.onnx are both of method 'dwnet'"):
        load_networks(only)
    mixed = write_models(tmp_path / "mixed")
    write_segmenter(mixed / "dwnet.onnx", meta=metadata("segmenter", "dwnet", classes=["A", "B", "C"]))
    with pytest.raises(NetworkFileError, match=r"dwnet\.onnx predicts A, B, C; .*baseline\.onnx predicts Red"):
        load_networks(mixed)
    twice = write_models(tmp_path / "twice")
    (twice / "other.onnx").write_bytes((twice / "flow_refinement.onnx").read_bytes())
    with pytest.raises(NetworkFileError, match="both refine the flow"):
        load_networks(twice)
    with pytest.raises(ValueError, match="found the methods none; baseline must be among them"):
        Networks({}, None)


def test_comparison_without_refinement_and_with_an_unknown_method(tmp_path: Path, blinking: Path) -> None:
    folder = tmp_path / "models"
    write_segmenter(folder / "a.onnx", "my_method")
    write_segmenter(folder / "b.onnx", "baseline")
    found = load_networks(folder, threads=1)
    assert list(found.segmenters) == ["baseline", "my_method"]
    frames = run(blinking, found, tmp_path / "out")
    assert frames[-1].refined_flow_px is None
    assert frames[3].methods["my_method"].flips_percent == 100.0


def test_spread_against_numpy() -> None:
    spread = Spread()
    assert np.isnan([spread.mean, spread.median, *spread.quartiles]).all()
    numbers = np.random.default_rng(0).lognormal(3, 1, 1001)
    for number in numbers:
        spread.update(float(number))
    assert spread.count == 1001
    assert spread.mean == pytest.approx(numbers.mean())
    assert spread.median == pytest.approx(np.median(numbers), rel=0.0051)
    assert spread.quartiles == pytest.approx(np.quantile(numbers, (0.25, 0.75), method="inverted_cdf"), rel=0.0051)
    for extreme in (0.0, 1e9):
        alone = Spread()
        alone.update(extreme)
        assert np.isfinite(alone.median)


def test_relative_percent() -> None:
    assert relative_percent(3.0, 2.0) == 50.0
    assert relative_percent(1.0, 2.0) == -50.0
    assert relative_percent(1.0, 0.0) is None
    assert relative_percent(None, 2.0) is None
    assert relative_percent(1.0, None) is None


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "bad.json", {"value": float("nan")})


def test_the_table_leaves_unknown_cells_empty(tmp_path: Path) -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    found = MethodFrame(picture[..., 0], picture, latency_ms=1.5, flow_ms=0.0, flips_percent=None)
    frame = ComparedFrame(
        index=3,
        pts_seconds=0.5,
        compared=1,
        expected=None,
        image=picture,
        methods={"baseline": found},
        summaries={},
        scene_cut=True,
        coarse_flow_px=None,
        refined_flow_px=None,
        comparable_percent=None,
    )
    with CsvTable(tmp_path / "table.csv", frame_columns(["baseline"])) as table:
        table.write(frame_row(frame, ["baseline"]))
    assert (tmp_path / "table.csv").read_text().splitlines() == [
        "frame,pts_seconds,scene_cut,comparable_percent,baseline_flips_percent,baseline_latency_ms,baseline_flow_ms",
        "3,0.500000,1,,,1.500,0.000",
    ]


def test_wrong_settings_are_an_error_before_the_first_frame(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    with pytest.raises(DWNetError, match="every is at least 1"):
        compare(blinking, networks, output_dir=tmp_path / "out", every=0)
    assert not (tmp_path / "out").exists()


def test_frames_that_settings_expect() -> None:
    settings = ComparisonSettings(every=3, limit=4)
    assert [settings.expected_frames(frames) for frames in (None, 0, 1, 7, 100)] == [4, 4, 1, 3, 4]
    assert settings.stop_index() == 10
    assert ComparisonSettings(every=3).stop_index() is None
    assert [settings.video_fps(fps) for fps in (30, 1e6, 0.1)] == [10, 120, 0.5]
