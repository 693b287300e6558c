"""The stages of a comparison overlap. Every number and label is that of a plain loop, which is written out here."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dwnet.comparison import ComparedFrame, ComparisonFiles, Networks, compare, load_networks, stream
from dwnet.comparison.behind import WriteBehind
from dwnet.core.bundled import models_folder, sample_clip
from dwnet.core.class_files import read_class_file
from dwnet.deploy.adopt import AdoptOptions, adopt
from dwnet.flow.dis import dis_flow
from dwnet.metrics import FlickerMeter, occlusion_mask
from dwnet.video import VideoReader, VideoWriter, is_scene_cut, open_video
from tests.comparison.colours import run
from tests.exported import CLASSES, textured_frame, write_clip, write_keyframe, write_models, write_segmenter
from tests.foreign import class_file, colour_network


@dataclass
class PlainFrame:
    """What the plain loop finds on one frame."""

    labels: dict[str, np.ndarray]
    flips: dict[str, float | None]
    flow_px: np.ndarray | None
    visible: np.ndarray | None


def plain_loop(
    clip: Path, networks: Networks, *, every: int = 1, max_side: int = 480, limit: int | None = None
) -> tuple[list[PlainFrame], dict[str, FlickerMeter]]:
    """One frame after another in one thread; every flow is computed where it is needed."""
    segmenters = {name: network.fresh() for name, network in networks.segmenters.items()}
    meters = {name: FlickerMeter(len(networks.classes)) for name in segmenters}
    found: list[PlainFrame] = []
    before: np.ndarray | None = None
    with open_video(clip, max_side=max_side) as reader:
        images = [frame.image for frame in reader][::every][:limit]
    for image in images:
        follows = before is not None and not is_scene_cut(before, image)
        flow_px = visible = None
        if before is not None and follows:
            flow_px = dis_flow(image, before)
            visible = occlusion_mask(flow_px, dis_flow(before, image))
        labels, flips = {}, dict.fromkeys(segmenters, None)
        for name, network in segmenters.items():
            if not follows:
                network.reset()
            to_reference = None if network.reference is None else dis_flow(image, network.reference)
            labels[name] = network.labels(image, to_reference)
            if flow_px is not None:
                flips[name] = meters[name].update(found[-1].labels[name], labels[name], flow_px, visible)
        found.append(PlainFrame(labels, flips, flow_px, visible))
        before = image
    return found, meters


def noisy(index: int, size: tuple[int, int] = (72, 136)) -> np.ndarray:
    """A moving texture whose strongest colour changes from place to place and from frame to frame."""
    noise = np.random.default_rng(index).normal(0, 12, (*size, 3))
    return (textured_frame(index, size, 2) + cv2.GaussianBlur(noise, (5, 5), 0) * 3).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    """Networks of every kind, also smoothed, with key frames, and of another package."""
    folder = write_models(tmp_path_factory.mktemp("kinds"))
    write_segmenter(folder / "mixed.onnx", "mixed", weight=np.array([[1, 0.2, 0], [0, 1, 0.3], [0.1, 0, 1]]))
    write_keyframe(folder / "keyframe.onnx", key_interval=3)
    foreign = colour_network(folder / "foreign.onnx", stride=4)
    # The class file lies elsewhere, because every file beside the networks is theirs.
    adopt(
        foreign, read_class_file(class_file(tmp_path_factory.mktemp("classes") / "own.json", *CLASSES)), AdoptOptions()
    )
    return load_networks(folder, threads=1).smoothed(["baseline", "static_warp=0.7"])


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    dark = [noisy(index) // 5 for index in range(4)]
    return {
        "moving": write_clip(folder / "moving.mp4", [noisy(index) for index in range(9)]),
        "cut": write_clip(folder / "cut.mp4", [*dark, *(noisy(index) for index in range(5))]),
        "odd": write_clip(folder / "odd.mp4", [noisy(index, (77, 131)) for index in range(5)]),
    }


def check_equal(frames: list[ComparedFrame], plain: list[PlainFrame], meters: dict[str, FlickerMeter]) -> None:
    assert len(frames) == len(plain)
    for frame, expected in zip(frames, plain, strict=True):
        for found, wanted in ((frame.coarse_flow_px, expected.flow_px), (frame.visible, expected.visible)):
            assert (found is None) == (wanted is None)
            if found is not None and wanted is not None:
                np.testing.assert_array_equal(found, wanted)
        for name, method in frame.methods.items():
            np.testing.assert_array_equal(method.labels, expected.labels[name], err_msg=name)
            assert method.flips_percent == expected.flips[name], name
    for name, meter in meters.items():
        summary, wanted = frames[-1].summaries[name], meter.compute()
        assert summary.flips_percent == wanted.flips_percent
        assert summary.class_flips_percent == wanted.per_class_percent
        assert summary.temporal_consistency_percent == wanted.temporal_consistency_percent


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize(
    ("name", "settings"), [("moving", {}), ("cut", {}), ("odd", {"max_side": 96}), ("moving", {"every": 2, "limit": 3})]
)
def test_every_number_is_that_of_the_plain_loop(
    clips: dict[str, Path], every_kind: Networks, tmp_path: Path, name: str, settings: dict[str, Any], overlap: bool
) -> None:
    plain, meters = plain_loop(clips[name], every_kind, **settings)
    frames = run(clips[name], every_kind, tmp_path, overlap=overlap, **settings)
    assert len(frames[0].methods) == 8
    check_equal(frames, plain, meters)
    assert frames[-1].methods["baseline"].flips_percent not in (0, None)
    # The report and the last frame agree, whatever ran ahead.
    found = json.loads(ComparisonFiles.beside(tmp_path, clips[name]).json.read_text())
    for method, figures in found["methods"].items():
        assert figures["flips_percent"] == frames[-1].summaries[method].flips_percent
    assert found["settings"]["overlap"] is overlap


def test_the_bundled_networks_on_a_real_clip(tmp_path: Path) -> None:
    networks = load_networks(models_folder(), threads=1)
    plain, meters = plain_loop(sample_clip(), networks, max_side=160, limit=4)
    check_equal(run(sample_clip(), networks, tmp_path, max_side=160, limit=4), plain, meters)


def test_frames_that_ran_ahead_of_a_stop_are_not_counted(
    clips: dict[str, Path], every_kind: Networks, tmp_path: Path
) -> None:
    plain, meters = plain_loop(clips["moving"], every_kind, limit=3)
    seen: list[ComparedFrame] = []
    for frame in compare(clips["moving"], every_kind, output_dir=tmp_path, stop=lambda: len(seen) == 3):
        time.sleep(0.05)  # the other stages run on meanwhile
        seen.append(frame)
    check_equal(seen, plain, meters)
    found = json.loads(ComparisonFiles.beside(tmp_path, clips["moving"]).json.read_text())
    assert found["frames_compared"] == 3
    assert found["methods"]["mixed"]["flips_percent"] == meters["mixed"].compute().flips_percent


def test_the_stages_run_at_the_same_time(
    blinking: Path, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the caller holds a frame, later ones are decoded, moved and labelled, in threads of their own."""
    threads: set[str] = set()
    flow_of_third = threading.Event()
    calls = iter(range(1000))

    def flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        threads.add(threading.current_thread().name)
        if next(calls) == 4:  # the warm-up, two for the second frame, two for the third
            flow_of_third.set()
        return dis_flow(frame, neighbour)

    monkeypatch.setattr(stream, "flow_function", lambda name, *, weights: flow)
    frames = compare(blinking, networks, output_dir=tmp_path)
    next(frames)
    assert flow_of_third.wait(10), "the flow of the third frame waits for the first one to be taken"
    frames.close()
    assert threading.current_thread().name not in threads
    frames = compare(blinking, networks, output_dir=tmp_path, overlap=False)
    threads.clear()
    next(frames)
    assert threads == {threading.current_thread().name}
    frames.close()


def test_nothing_is_computed_that_nobody_sees(
    blinking: Path, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert networks.flow_refinement is not None
    refined: list[np.ndarray] = []
    original = type(networks.flow_refinement).refine

    def refine(self: Any, *images: np.ndarray) -> np.ndarray:
        refined.append(images[0])
        return original(self, *images)

    monkeypatch.setattr(type(networks.flow_refinement), "refine", refine)
    painted: list[np.ndarray] = []
    from dwnet.comparison import comparator

    overlay = comparator.overlay
    monkeypatch.setattr(
        comparator, "overlay", lambda image, *more, **named: painted.append(image) or overlay(image, *more, **named)
    )
    frames = run(blinking, networks, tmp_path)
    assert not refined
    assert not painted
    assert not ComparisonFiles.beside(tmp_path, blinking).video.exists()
    assert frames[0].refined_flow_px is None
    for _ in range(2):
        assert frames[2].refined_flow_px is not None
        assert frames[2].methods["baseline"].overlay.shape == frames[2].image.shape
    assert [len(refined), len(painted)] == [1, 1]
    run(blinking, networks, tmp_path, refined_flow=True)
    assert len(refined) == 1 + len(frames) - 1


def test_a_failure_of_a_stage_comes_after_the_frames_before_it(
    clips: dict[str, Path], networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = threading.active_count()
    calls = iter(range(1000))

    def flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        if next(calls) == 7:
            raise RuntimeError("no flow today")
        return dis_flow(frame, neighbour)

    monkeypatch.setattr(stream, "flow_function", lambda name, *, weights: flow)
    seen: list[int] = []
    frames = compare(clips["moving"], networks, output_dir=tmp_path)
    with pytest.raises(RuntimeError, match="no flow today"):
        seen.extend(frame.index for frame in frames)
    assert seen == [0, 1, 2, 3]  # the warm-up takes one call, each pair two: the fourth pair fails
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == threads


def test_a_failure_of_the_writer_ends_the_comparison(
    clips: dict[str, Path], networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: VideoWriter, image: np.ndarray) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(VideoWriter, "write", full)
    with pytest.raises(OSError, match="no space left"):
        run(clips["moving"], networks, tmp_path, video=True)
    assert list(tmp_path.iterdir()) == []


def test_the_decoder_does_not_read_beyond_the_limit(
    clips: dict[str, Path], networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    original = VideoReader.__iter__

    def counted(self: VideoReader) -> Iterator[Any]:
        for frame in original(self):
            decoded.append(frame.index)
            yield frame

    monkeypatch.setattr(VideoReader, "__iter__", counted)
    run(clips["moving"], networks, tmp_path, every=2, limit=3)
    assert decoded == [0, 1, 2, 3, 4]


def test_opencv_gets_its_threads_back(blinking: Path, networks: Networks, tmp_path: Path) -> None:
    """Two comparisons that begin and end in turns must not leave each other's setting."""
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        first = compare(blinking, networks, output_dir=tmp_path / "a")
        second = compare(blinking, networks, output_dir=tmp_path / "b")
        next(first)
        next(second)
        assert cv2.getNumThreads() == 1
        first.close()
        assert cv2.getNumThreads() == 1
        second.close()
        assert cv2.getNumThreads() == 2
        with pytest.raises(ValueError, match="no such file"):
            run(tmp_path / "gone.mp4", networks, tmp_path / "c")
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_writing_behind_keeps_order_and_raises_the_first_error() -> None:
    written: list[int] = []
    gate = threading.Event()

    def write(item: int) -> None:
        gate.wait(10)
        if item == 2:
            raise ValueError("item 2")
        written.append(item)

    with WriteBehind(write, 2) as behind:
        behind(0)
        behind(1)
        assert not written
        gate.set()
        behind(2)
        with pytest.raises(ValueError, match="item 2"):
            behind.finish()
    assert written == [0, 1]
    with WriteBehind(written.append, 2) as behind:
        for item in range(3, 9):
            behind(item)
        behind.finish()
    assert written == [0, 1, *range(3, 9)]
