"""The player of a comparison: its frames, and the page with it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dwnet.comparison.frame import ComparedFrame
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.tables import number_cell
from dwnet.viewer import (
    Player,
    PlayerFrame,
    PlayerInfo,
    PlayerMethod,
    PlayerWriter,
    flip_states,
    occlusion_weight,
    player_page,
)

METHOD_TITLES = {"baseline": "Baseline", "keyframe": "Key frames", "static_warp": "Static warp", "dwnet": "DWNet"}
"""Names of the known methods on the page; other networks are shown by their own name."""


def player_frame(frame: ComparedFrame, previous: ComparedFrame | None, *, refined_flow: bool = True) -> PlayerFrame:
    """Returns what the player shows of a frame.

    Args:
        frame: the frame.
        previous: the compared frame before it; None for the first frame.
        refined_flow: whether the player has the refined flow, which is computed here.
    """
    flow, visible = frame.coarse_flow_px, frame.visible
    methods = {}
    for name, found in frame.methods.items():
        flips, warped = None, found.warped_labels
        if warped is not None and visible is not None:
            counted = visible & (warped != IGNORE_LABEL) & (found.labels != IGNORE_LABEL)
            flips = flip_states(counted & (warped != found.labels), counted)
        methods[name] = PlayerMethod(found.labels, flips, found.transitions, found.latency_ms, found.flow_ms)
    weight = None if previous is None or flow is None else occlusion_weight(frame.image, previous.image, flow)
    return PlayerFrame(
        number=frame.index,
        pts_seconds=frame.pts_seconds,
        image=frame.image,
        methods=methods,
        scene_cut=frame.scene_cut,
        coarse_flow_px=flow,
        refined_flow_px=frame.refined_flow_px if refined_flow else None,
        occlusion_weight=weight,
    )


class ComparisonPlayer:
    """Collects the frames of a comparison for the player and the relabelling folder, as a context manager.

    Args:
        scratch: a folder for temporary files; created.
        methods: names of the methods.
        classes: names of the classes.
        palette: RGB colours of the classes.
        budget_mb: largest size of the stored frames, in MB.
        worst: number of worst frames.
        refined_flow: whether the player has the refined flow.
    """

    def __init__(
        self,
        scratch: Path,
        methods: Sequence[str],
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        *,
        budget_mb: int,
        worst: int,
        refined_flow: bool = True,
    ) -> None:
        self._writer = PlayerWriter(scratch, methods, palette, budget_bytes=budget_mb * 1_000_000)
        self._classes, self._palette, self._worst = classes, palette, worst
        self._refined_flow = refined_flow
        self._previous: ComparedFrame | None = None

    def __enter__(self) -> "ComparisonPlayer":
        self._writer.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)

    def add(self, frame: ComparedFrame) -> None:
        """Adds the next frame."""
        self._writer.add(player_frame(frame, self._previous, refined_flow=self._refined_flow))
        self._previous = frame

    def write_worst(self, folder: Path, clip: str) -> None:
        """Writes the worst frames for relabelling into `folder`; writes no folder if no label flips."""
        if not self._writer.worst(1):
            return
        folder.mkdir()
        self._writer.write_worst(folder, self._worst, self._info(clip, {}))

    def write_page(self, page: Path, chunks: Path, report: Mapping[str, Any], files: Mapping[str, str]) -> None:
        """Writes the page, and its chunks beside it if it is not small. No frame can be added afterwards.

        Args:
            page: path of the HTML file.
            chunks: folder of the chunks; its name is part of the page.
            report: the report of the comparison (`report.report`).
            files: names of the files for download, relative to the page, by the text of the link.
        """
        info = self._info(report["clip"]["name"], files)
        player: Player = self._writer.finish(info, chunks)
        html = player_page(player.body, title=info.title, lead=_lead(report), facts=_facts(report))
        page.write_text(html, encoding="utf-8", errors="backslashreplace")

    def _info(self, clip: str, files: Mapping[str, str]) -> PlayerInfo:
        return PlayerInfo(
            title=f"Comparison on {clip}",
            clip=clip,
            classes=self._classes,
            palette=self._palette,
            files=files,
            names=METHOD_TITLES,
            worst=max(self._worst, 1),
        )


def _lead(report: Mapping[str, Any]) -> str:
    clip = report["clip"]
    parts = [
        f"{report['frames_compared']} frames of {clip['compared_width_px']} x {clip['compared_height_px']} px",
        f"flow: {report['settings']['flow']}",
        f"{report['scene_cuts']} scene cuts" if report["scene_cuts"] else "",
        "stopped before the end" if report["stopped_early"] else "",
        clip["warning"] or "",
    ]
    return " · ".join(part for part in parts if part)


def _facts(report: Mapping[str, Any]) -> dict[str, str]:
    machine, clip = report["machine"], report["clip"]
    models = (f"{model['file']} ({model['method']}, SHA-256 {model['sha256'][:12]})" for model in report["models"])
    return {
        "Flips": report["flips_percent_means"],
        "Time per frame": report["latency_ms_contains"],
        "Clip": f"{clip['name']}, {clip['width_px']} x {clip['height_px']} px, {number_cell(clip['fps'])} frames/s, "
        f"{clip['codec']}, read with {clip['reader']}",
        "Settings": ", ".join(f"{name} {value}" for name, value in report["settings"].items() if value is not None),
        "Networks": "; ".join(models),
        "Machine": f"{machine['system']}, {machine['cpus']} CPUs, {machine['threads_per_network']} threads per network",
        "Versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items() if version),
    }
