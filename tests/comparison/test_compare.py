"""The streaming comparison yields the labels of the networks. Flips and times follow their definitions.

The networks are the tiny ones of `tests/exported.py`, whose labels are known from the frames alone.
"""

import csv
import json
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dwnet.comparison import (
    ComparisonFiles,
    Networks,
    load_networks,
    stream,
)
from dwnet.metrics import flip_rate
from dwnet.video import open_video
from tests.comparison.colours import FRAMES, coloured, run
from tests.exported import (
    textured_frame,
    write_clip,
    write_keyframe,
    write_models,
    write_segmenter,
)


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
    # Three times the previous features outweigh the new colour at frame 3, so static warp changes at frame 4.
    assert [frame.methods["static_warp"].flips_percent for frame in frames] == [None, 0.0, 0.0, 0.0, 100.0, 0.0]

    last = frames[-1].summaries["baseline"]
    # The rate over the clip counts pixels: the weight of a pair is its number of comparable pixels.
    counted = [frame.comparable_percent or 0.0 for frame in frames]
    assert min(counted[1:]) > 90
    assert last.flips_percent == pytest.approx(100 * counted[3] / sum(counted))
    # Per class by the current label: red never follows another class; green does in the first of its three pairs.
    assert last.class_flips_percent[0] == 0.0
    assert last.class_flips_percent[1] == pytest.approx(100 * counted[3] / sum(counted[3:]))
    assert last.class_flips_percent[2] is None


def test_flow_points_to_the_previous_compared_frame(networks: Networks, tmp_path: Path) -> None:
    """The texture moves right by 3 px per frame. With every second frame the flow back is 6 px to the left."""
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
    """The clip turns green at frame 3. With key frames 0, 2 and 4 the labels change at frame 4."""
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
        # The flow to the previous frame is computed once for all methods. The flow to an earlier key frame is computed
        # separately (frames 2 and 5 at an interval of 3). The warm-up takes one flow, the occlusion check one per pair.
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
    # The static warp is reset at the cut: it does not use the red features of the other scene.
    assert np.unique(frames[2].methods["static_warp"].labels) == [1]
    assert frames[2].coarse_flow_px is None
    found = json.loads(ComparisonFiles.beside(tmp_path / "out", clip).json.read_text())
    assert found["scene_cuts"] == 1


def test_files_hold_what_was_yielded(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    frames = run(blinking, networks, tmp_path, opacity=0.25, video=True)
    files = ComparisonFiles.beside(tmp_path, blinking)
    assert sorted(tmp_path.iterdir()) == sorted([files.video, files.csv, files.json, files.page, files.worst])

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
    # Two columns: input and baseline above, static warp and DWNet below, each 128 x 64 below its caption.
    height, width = shown[0].image.shape[:2]
    assert width >= 2 * 128
    assert height >= 2 * 64
    overlay = shown[1].image[height // 4, width * 3 // 4].astype(float)
    expected = frames[1].methods["baseline"].overlay[20:40, 54:74].mean((0, 1))
    assert np.abs(overlay - expected).max() < 45  # the texture varies by less than the colours of overlays differ


def test_every_and_limit_choose_frames(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    frames = run(blinking, networks, tmp_path, every=2, limit=2, video=True)
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


def test_comparison_without_refinement_and_with_an_unknown_method(tmp_path: Path, blinking: Path) -> None:
    folder = tmp_path / "models"
    write_segmenter(folder / "a.onnx", "my_method")
    write_segmenter(folder / "b.onnx", "baseline")
    found = load_networks(folder, threads=1)
    assert list(found.segmenters) == ["baseline", "my_method"]
    frames = run(blinking, found, tmp_path / "out")
    assert frames[-1].refined_flow_px is None
    assert frames[3].methods["my_method"].flips_percent == 100.0
