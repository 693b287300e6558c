"""Speed of a comparison of networks on a clip (`dwnet.compare`), on the CPU.

    python tests/benchmarks/comparison.py

Whole and bare: the bundled networks on the sample clip. Bare is each network and one flow on every frame, in one loop
and without anything else. The ratio is bare over whole: 1 means that everything else costs nothing. Processor time
counts all threads. The stages are measured one at a time; when they overlap, a frame takes at least the longest of
them, and at least the sum divided by the number of CPUs.

Against a plain loop: `cv2.VideoCapture`, PyTorch eager, argmax, colours and `cv2.VideoWriter` for one network, and
`dwnet.compare` with the same network and an MP4, which also computes flow and flips. Weights are random, because time
does not depend on them.

Variants take turns in one process; each figure is the median over the rounds. Wall time needs an idle machine.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import tyro

import dwnet
from dwnet.comparison import Comparator, Networks, load_networks
from dwnet.comparison.files import ComparisonWriter
from dwnet.comparison.player import ComparisonPlayer
from dwnet.core.bundled import models_folder, sample_clip
from dwnet.core.classes import ClassSet
from dwnet.core.launch import available_cpus
from dwnet.deploy import export_segmenter
from dwnet.flow.dis import dis_flow
from dwnet.segmentation.specs import NetworkSpec
from dwnet.video import open_video

SIDE = 480
"""Longer side of the frames, in pixels."""

Variant = Callable[[], int]
"""Runs once; returns the number of frames."""


def bare(networks: Networks, images: list[np.ndarray]) -> int:
    """Runs every network and one flow on each frame."""
    segmenters = [network.fresh() for network in networks.segmenters.values()]
    previous = None
    for image in images:
        flow_px = None if previous is None else dis_flow(image, previous)
        for network in segmenters:
            network.labels(image, flow_px)
        previous = image
    return len(images)


def whole(networks: Networks, limit: int, *, painted: bool = False, **settings: Any) -> int:
    """Runs a comparison; with `painted` every overlay is computed."""
    frames = 0
    with tempfile.TemporaryDirectory() as folder:
        for frame in dwnet.compare(sample_clip(), networks, output_dir=folder, max_side=SIDE, limit=limit, **settings):
            frames += 1
            if painted:
                for method in frame.methods.values():
                    _ = method.overlay
    return frames


def plain_loop(network: torch.nn.Module, palette: np.ndarray, limit: int, target: Path) -> int:
    """What a user would write: one loop that reads, segments, paints and writes."""
    clip = cv2.VideoCapture(str(sample_clip()))
    size = (int(clip.get(cv2.CAP_PROP_FRAME_WIDTH)), int(clip.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), clip.get(cv2.CAP_PROP_FPS), size)
    frames = 0
    with torch.inference_mode():
        while frames < limit:
            good, image = clip.read()
            if not good:
                break
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            tensor = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
            labels = network(tensor)[0].argmax(0).numpy()
            writer.write(cv2.addWeighted(image, 0.4, palette[labels], 0.6, 0))
            frames += 1
    clip.release()
    writer.release()
    return frames


def in_turns(variants: Mapping[str, Variant], rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Runs the variants in turns; returns wall and processor milliseconds per frame of every round."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in variants}
    for round_ in range(rounds + 1):
        for name, run in variants.items():
            wall, processor = time.perf_counter(), time.process_time()
            frames = run()
            times = (time.perf_counter() - wall, time.process_time() - processor)
            if round_:  # the first round warms up
                for column, seconds in zip(found[name], times, strict=True):
                    column.append(1000 * seconds / frames)
    return found


def table(title: str, found: Mapping[str, tuple[list[float], list[float]]]) -> None:
    """Prints medians, and the ratios of the first variant over each."""
    print(f"\n| {title} | frames/s | ratio | processor ms/frame | ratio of processor time |\n|---|---|---|---|---|")
    first = next(iter(found.values()))
    for name, times in found.items():
        ratios = [
            statistics.median(base / own for base, own in zip(*columns, strict=True))
            for columns in zip(first, times, strict=True)
        ]
        wall, processor = map(statistics.median, times)
        print(f"| {name} | {1000 / wall:.1f} | {ratios[0]:.2f} | {processor:.1f} | {ratios[1]:.2f} |", flush=True)


def stages(networks: Networks, limit: int) -> None:
    """Prints the processor time of each stage, measured one at a time."""
    comparator, spent, frames = Comparator(networks, dis_flow), dict[str, float](), 0
    methods = tuple(networks.segmenters)

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        spent[name] = spent.get(name, 0.0) + time.process_time() - start

    def player(scratch: Path) -> ComparisonPlayer:
        colours = networks.palette
        return ComparisonPlayer(
            scratch, methods, networks.classes, colours, budget_mb=200, worst=10, refined_flow=False
        )

    with (
        tempfile.TemporaryDirectory() as folder,
        open_video(sample_clip(), max_side=SIDE) as reader,
        ComparisonWriter(Path(folder) / "rows", "clip", methods, 25, video=False) as rows,
        ComparisonWriter(Path(folder) / "page", "clip", methods, 25, player=player, video=False) as page,
        ComparisonWriter(Path(folder) / "video", "clip", methods, 25) as video,
    ):
        decoded = islice(reader, limit)
        while True:
            with timed("decoding, resizing"):
                frame = next(decoded, None)
            if frame is None:
                break
            with timed("flow both ways, visible pixels"):
                moved = comparator.move(frame)
            with timed("networks"):
                labelled = comparator.label(moved)
            with timed("counting"):
                compared = comparator.count(labelled)
            with timed("CSV"):
                rows.write(compared)
            with timed("player, if written"):
                page.write(compared)
            with timed("overlays and MP4, if written"):
                video.write(compared)
            frames += 1
    print("\n| stage | processor ms/frame |\n|---|---|")
    for name, seconds in spent.items():
        print(f"| {name} | {1000 * seconds / frames:.1f} |", flush=True)


def several(limit: int, rounds: int) -> None:
    """Prints bare networks against whole comparisons."""
    networks = load_networks(models_folder(), runtime="onnxruntime", device="cpu")
    with open_video(sample_clip(), max_side=SIDE) as reader:
        images = [frame.image for frame in islice(reader, limit)]
    run = partial(whole, networks, limit)
    variants: dict[str, Variant] = {
        "networks and one flow": partial(bare, networks, images),
        "comparison: labels, flips, CSV": partial(run, player_mb=0, worst=0),
        "with the player": run,
        "with the player and MP4": partial(run, video=True),
        "one step at a time: labels, flips, CSV": partial(run, player_mb=0, worst=0, overlap=False),
    }
    table(f"{len(networks.segmenters)} networks, float32, {available_cpus()} CPUs", in_turns(variants, rounds))
    stages(networks, limit)


def one(limit: int, rounds: int) -> None:
    """Prints the plain loop of a user against comparisons of one network."""
    classes = ClassSet("benchmark", tuple(f"class {i}" for i in range(11)), tuple((20 * i, 90, 200) for i in range(11)))
    spec = NetworkSpec(segmenter="pspnet_decoder", backbone="efficientnet_lite0", output_stride=16, channels=128)
    torch.manual_seed(0)
    network = spec.build(len(classes)).eval()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "models/baseline.onnx"
        target.parent.mkdir()
        export_segmenter(network, target, classes=classes, method="baseline")
        loop = partial(plain_loop, network, np.array(classes.palette, np.uint8), limit, Path(folder) / "plain.mp4")
        variants: dict[str, Variant] = {"plain loop, PyTorch eager": loop}
        for runtime in ("onnxruntime", "openvino"):
            if runtime == "openvino" and find_spec("openvino") is None:
                continue
            networks = load_networks(target.parent, runtime=runtime, device="cpu")
            choice = next(iter(networks.segmenters.values())).session.choice
            run = partial(whole, networks, limit, player_mb=0, worst=0)
            name = f"comparison, {choice.runtime} {choice.precision}"
            variants[f"{name}: labels, flips, MP4"] = partial(run, video=True)
            variants[f"{name}: labels, flips, overlays"] = partial(run, painted=True)
        table(f"one network, {available_cpus()} CPUs", in_turns(variants, rounds))


def main(frames: int = 60, rounds: int = 5, quick: bool = False) -> None:
    """Prints all tables.

    Args:
        frames: number of frames of the clip.
        rounds: rounds that count; one more warms up.
        quick: use a few frames, to check that the benchmark runs.
    """
    if quick:
        frames, rounds = 2, 1
    print(f"The sample clip, {SIDE} px, {frames} frames")
    several(frames, rounds)
    one(frames, rounds)


if __name__ == "__main__":
    tyro.cli(main)
