"""What a comparison measured: accumulated in constant memory, written as CSV (a row per frame) and JSON (all of it)."""

import csv
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from dwnet.core.launch import available_cpus
from dwnet.deploy.runtime import NetworkInfo

REPORT_FORMAT = 1
BASELINE = "baseline"
"""The method that every other one is set against."""

LATENCY_CONTAINS = (
    "One frame: uint8 image to class ids (scaling, padding, ONNX Runtime, argmax), plus the flow to a frame before "
    "where the method needs it. Key-frame propagation runs its network on some frames only: its mean says what it "
    "costs, its median what most frames do. Not in it: the first run of each network, reading and resizing the video, "
    "overlays, metrics, the video file. Methods take turns at being a frame's first. The reader, the encoder and the "
    "page share the same CPUs meanwhile."
)
FLIPS_MEANS = (
    "Per cent of pixels whose class differs from the one where the flow leads to in the previous compared frame; "
    "pixels that are occluded (forward-backward check of the flow) or leave the image are not counted."
)


@dataclass(frozen=True)
class MethodSummary:
    """One method over all frames so far."""

    flips_percent: float | None
    """Flow-compensated label flips, per cent of the comparable pixels; None until two frames were compared."""
    class_flips_percent: tuple[float | None, ...]
    """The same per class, by the current label; None for a class with no comparable pixel."""
    temporal_consistency_percent: float | None
    """mIoU between the previous labels, moved along the flow, and the current ones (`metrics.FlickerMeter`)."""
    class_share_percent: tuple[float, ...]
    """Share of each class in the comparable pixels: how much its flips are worth."""
    latency_ms_median: float
    """Per frame, with flow where the method needs it; within half a per cent (see `Spread`)."""
    latency_ms_quartiles: tuple[float, float]
    """A quarter of the frames took less than the first, a quarter more than the second."""
    latency_ms_mean: float
    latency_ratio_median: float
    """To the baseline's latency of the same frame: what slows the machine for a while slows both."""
    latency_ratio_quartiles: tuple[float, float]
    flow_ms_median: float
    """The flow alone, of the frames that needed one; 0 where the method needs none."""
    flow_ms_mean: float
    """The part of the mean that is flow; 0 where the method needs none."""


class Spread:
    """Mean and quantiles of positive numbers in constant memory: the quantiles from a histogram with bins 1 % wide."""

    BIN_RATIO = 1.01
    LOWEST, HIGHEST = 1e-3, 1e6

    def __init__(self) -> None:
        bins = math.ceil(math.log(self.HIGHEST / self.LOWEST) / math.log(self.BIN_RATIO))
        self._counts = np.zeros(bins, np.int64)
        self._total = 0.0
        self.count = 0
        """Numbers so far."""

    def update(self, value: float) -> None:
        """Count one number; beyond the histogram's range it counts in the outermost bin."""
        position = math.log(max(value, self.LOWEST) / self.LOWEST) / math.log(self.BIN_RATIO)
        self._counts[min(int(position), len(self._counts) - 1)] += 1
        self._total += value
        self.count += 1

    @property
    def mean(self) -> float:
        """NaN before the first number."""
        return self._total / self.count if self.count else math.nan

    @property
    def median(self) -> float:
        """The (lower) median, within half a per cent; NaN before the first number."""
        return self.quantile(0.5)

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the numbers lie below the first, a quarter above the second; NaN before the first number."""
        return self.quantile(0.25), self.quantile(0.75)

    def quantile(self, share: float) -> float:
        """What `share`, 0..1, of all reach at most, within half a per cent; NaN before the first number."""
        if not self.count:
            return math.nan
        rank = max(math.ceil(share * self.count), 1)
        bin_index = int(np.searchsorted(np.cumsum(self._counts), rank))
        return self.LOWEST * self.BIN_RATIO ** (bin_index + 0.5)


@dataclass(frozen=True)
class ComparisonFiles:
    """Where the files of a finished comparison lie."""

    video: Path
    csv: Path
    json: Path

    @classmethod
    def beside(cls, folder: Path, clip: Path) -> Self:
        """Names in `folder` made from the clip's: `street.mp4` gives `street_comparison.mp4`, `.csv` and `.json`."""
        stem = f"{clip.stem}_comparison"
        return cls(folder / f"{stem}.mp4", folder / f"{stem}.csv", folder / f"{stem}.json")


class FrameTable:
    """The CSV file, a row per compared frame, written as they come."""

    def __init__(self, path: Path, methods: Sequence[str]) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._methods = tuple(methods)
        self._writer = csv.writer(self._file)
        columns = ["frame", "pts_seconds", "scene_cut", "comparable_percent"]
        for method in self._methods:
            columns += [f"{method}_flips_percent", f"{method}_latency_ms", f"{method}_flow_ms"]
        self._writer.writerow(columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(
        self,
        *,
        frame: int,
        pts_seconds: float,
        scene_cut: bool,
        comparable_percent: float | None,
        measured: Mapping[str, tuple[float | None, float, float]],
    ) -> None:
        """Add a row.

        Args:
            frame: index in the clip, from 0.
            pts_seconds: its time.
            scene_cut: whether it was taken for the first of another shot.
            comparable_percent: share of its pixels that have a match in the previous compared frame.
            measured: per method flips in per cent (None where there is nothing to compare with, an empty cell), latency
                and the flow's part of it in milliseconds.
        """
        row: list[object] = [frame, f"{pts_seconds:.6f}", int(scene_cut), _cell(comparable_percent)]
        for method in self._methods:
            flips_percent, latency_ms, flow_ms = measured[method]
            row += [_cell(flips_percent), f"{latency_ms:.3f}", f"{flow_ms:.3f}"]
        self._writer.writerow(row)


def relative_percent(value: float | None, reference: float | None) -> float | None:
    """How much `value` lies above (+) or below (-) `reference`, in per cent of it; None where that is undefined."""
    if value is None or reference is None or not reference:
        return None
    return 100 * (value - reference) / reference


def report(
    *,
    clip: Mapping[str, Any],
    settings: Mapping[str, Any],
    classes: Sequence[str],
    summaries: Mapping[str, MethodSummary],
    networks: Sequence[NetworkInfo],
    frames_compared: int,
    scene_cuts: int,
    stopped_early: bool,
    threads: int,
) -> dict[str, Any]:
    """The whole comparison as one JSON-ready dictionary; undefined figures are None."""
    baseline = summaries[BASELINE]
    methods = {}
    for method, summary in summaries.items():
        per_class = {
            name: {
                "flips_percent": flips,
                "relative_to_baseline_percent": relative_percent(flips, reference),
                "share_of_pixels_percent": share,
            }
            for name, flips, reference, share in zip(
                classes,
                summary.class_flips_percent,
                baseline.class_flips_percent,
                summary.class_share_percent,
                strict=True,
            )
        }
        methods[method] = {
            "flips_percent": summary.flips_percent,
            "flips_relative_to_baseline_percent": relative_percent(summary.flips_percent, baseline.flips_percent),
            "temporal_consistency_percent": summary.temporal_consistency_percent,
            "latency_ms_median": summary.latency_ms_median,
            "latency_ms_quartiles": list(summary.latency_ms_quartiles),
            "latency_ms_mean": summary.latency_ms_mean,
            "flow_ms_median": summary.flow_ms_median,
            "flow_ms_mean": summary.flow_ms_mean,
            "latency_ratio_to_baseline_median": summary.latency_ratio_median,
            "latency_ratio_to_baseline_quartiles": list(summary.latency_ratio_quartiles),
            "per_class": per_class,
        }
    return {
        "format": REPORT_FORMAT,
        "clip": dict(clip),
        "settings": dict(settings),
        "stopped_early": stopped_early,
        "frames_compared": frames_compared,
        "scene_cuts": scene_cuts,
        "methods": methods,
        "flips_percent_means": FLIPS_MEANS,
        "latency_ms_contains": LATENCY_CONTAINS,
        "models": [_describe(info) for info in networks],
        "machine": {"system": platform.platform(), "cpus": available_cpus(), "threads_per_network": threads},
        "versions": {
            name: _version(name) for name in ("dwnet", "onnxruntime", "numpy", "opencv-python-headless", "av")
        },
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON: a NaN is an error rather than a file that other programs refuse."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _describe(info: NetworkInfo) -> dict[str, Any]:
    return {
        "file": info.path.name,
        "sha256": info.sha256,
        "kind": info.kind,
        "method": info.method,
        "recipe": dict(info.recipe),
        "metrics": dict(info.metrics),
        "commit": info.commit,
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
