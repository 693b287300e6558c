"""The summary of a comparison, and its JSON report."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dwnet.comparison.networks import baseline_of
from dwnet.core.launch import available_cpus
from dwnet.core.versions import installed_versions
from dwnet.deploy.runtime import NetworkInfo

REPORT_FORMAT = 1
LIBRARIES = ("dwnet", "onnxruntime", "numpy", "opencv-python-headless", "av")

LATENCY_CONTAINS = (
    "One frame: from the uint8 image to class ids (scaling, padding, ONNX Runtime, argmax), plus the flow to an "
    "earlier frame where the method needs one. Key-frame propagation runs its network on some frames only: the mean "
    "is its cost, the median is the time of most frames. Not included: the first run of each network, reading and "
    "resizing the video, overlays, metrics, files. The methods take turns at running first on a frame. With the "
    "setting overlap, reading, flow, metrics and files use the same CPUs at the same time, and so does the page; the "
    "flow uses one thread. Without overlap, only the method itself runs while it is measured."
)
FLIPS_MEANS = (
    "Percent of the pixels whose class differs from the class at the position in the previous compared frame to which "
    "the flow leads. Pixels that are occluded (forward-backward check of the flow) or leave the image are not counted."
)


@dataclass(frozen=True)
class MethodSummary:
    """The results of one method over all frames so far."""

    flips_percent: float | None
    """Label flips along the flow, in percent of the comparable pixels; None until two frames were compared."""
    class_flips_percent: tuple[float | None, ...]
    """Flips per class, by the current label; None for a class without comparable pixels."""
    temporal_consistency_percent: float | None
    """mIoU between the previous labels, moved along the flow, and the current ones (`metrics.FlickerMeter`)."""
    class_share_percent: tuple[float, ...]
    """Share of each class in the comparable pixels, which is the weight of its flips."""
    latency_ms_median: float
    """Time per frame, including the flow if the method needs it; exact within 0.5 % (`Spread`)."""
    latency_ms_quartiles: tuple[float, float]
    """First and third quartile of the time per frame."""
    latency_ms_mean: float
    latency_ratio_median: float
    """Ratio to the latency of the baseline on the same frame. Slow phases of the machine affect both equally."""
    latency_ratio_quartiles: tuple[float, float]
    flow_ms_median: float
    """Time of the flow, over the frames that needed it; 0 if the method needs none."""
    flow_ms_mean: float
    """Part of the mean latency that the flow takes; 0 if the method needs none."""


@dataclass(frozen=True)
class Outcome:
    """The results of a comparison and the networks that gave them."""

    summaries: Mapping[str, MethodSummary]
    """The summary of each method."""
    classes: Sequence[str]
    networks: Sequence[NetworkInfo]
    frames_compared: int
    scene_cuts: int
    threads_per_network: int


def relative_percent(value: float | None, reference: float | None) -> float | None:
    """Returns the difference of `value` to `reference` in percent of `reference`; None where that is undefined."""
    if value is None or reference is None or not reference:
        return None
    return 100 * (value - reference) / reference


def report(
    clip: Mapping[str, Any], settings: Mapping[str, Any], outcome: Outcome, *, stopped_early: bool
) -> dict[str, Any]:
    """Returns the report of a comparison as values for JSON. Undefined figures are None.

    Args:
        clip: facts about the clip.
        settings: settings of the comparison.
        outcome: results of the comparison.
        stopped_early: whether the comparison was stopped before the end of the clip.
    """
    return {
        "format": REPORT_FORMAT,
        "clip": dict(clip),
        "settings": dict(settings),
        "stopped_early": stopped_early,
        "frames_compared": outcome.frames_compared,
        "scene_cuts": outcome.scene_cuts,
        "methods": {method: _figures(summary, outcome) for method, summary in outcome.summaries.items()},
        "flips_percent_means": FLIPS_MEANS,
        "latency_ms_contains": LATENCY_CONTAINS,
        "models": [_describe(info) for info in outcome.networks],
        "machine": {
            "system": platform.platform(),
            "cpus": available_cpus(),
            "threads_per_network": outcome.threads_per_network,
        },
        "versions": installed_versions(LIBRARIES),
    }


def _figures(summary: MethodSummary, outcome: Outcome) -> dict[str, Any]:
    baseline = outcome.summaries[baseline_of(outcome.summaries)]
    return {
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
        "per_class": {
            name: {
                "flips_percent": flips,
                "relative_to_baseline_percent": relative_percent(flips, reference),
                "share_of_pixels_percent": share,
            }
            for name, flips, reference, share in zip(
                outcome.classes,
                summary.class_flips_percent,
                baseline.class_flips_percent,
                summary.class_share_percent,
                strict=True,
            )
        },
    }


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
