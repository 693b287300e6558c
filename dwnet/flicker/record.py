"""One measured clip as a record that JSON can hold, and records put together to what the reports show."""

import csv
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from dwnet import __version__
from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError
from dwnet.core.files import code_commit
from dwnet.flicker.definitions import DEFINITIONS, HEADLINE
from dwnet.flicker.flows import FlowSource, PairMotion
from dwnet.flicker.measure import ClipResult, clip_facts
from dwnet.flicker.pictures import HEAT_PX, Moment, data_uri, heat_picture
from dwnet.flicker.predictions import PredictionSet
from dwnet.flicker.tally import PairCount, SetTally
from dwnet.video import VideoFrame, VideoReader, image_files

FORMAT = 2
"""Of the JSON report."""
RECORD_FORMAT = 3
"""Of a clip's record; a record of another format is measured again."""
LIBRARIES = ("dwnet", "numpy", "opencv-python-headless", "onnxruntime", "av", "torch", "plotly")
COLUMNS = ("flips_percent", "flicker_error_percent", "logit_jitter")

Record = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What a measurement was asked to do; a record made with others is measured anew."""

    flow: str = "dis"
    flow_weights: str = "published"
    second_flow: str = "dis_fast"
    second_every: int = 30
    ignore: int | None = None
    max_side: int | None = None
    fps: float = 25.0
    """Of clips that are folders."""
    published: bool = False
    """Also the published definitions of temporal consistency."""


class FrameTable:
    """The CSV file: a row a frame, written as they come. Column names are the sets' names and what is measured."""

    def __init__(self, path: Path, clip: str, sets: Sequence[str]) -> None:
        self._clip = clip
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        columns = [f"{name}_{column}" for name in sets for column in COLUMNS]
        self._writer.writerow(["clip", "frame", "pts_seconds", "scene_cut", "compared_percent", *columns])

    def __call__(self, frame: VideoFrame, motion: PairMotion | None, counts: Sequence[PairCount | None]) -> None:
        """Add a row; what nothing is known of stays empty."""
        compared = None if motion is None else 100 * float(motion.visible.mean())
        cells: list[float | None] = [compared]
        for count in counts:
            cells += [None] * 3 if count is None else [count.flips_percent, count.error_percent, count.jitter]
        cut = int(motion is None and frame.index > 0)
        row = ["" if cell is None else f"{cell:.6g}" for cell in cells]
        self._writer.writerow([self._clip, frame.index, f"{frame.pts_seconds:.6f}", cut, *row])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def make_record(
    name: str,
    clip: VideoReader,
    result: ClipResult,
    sets: Sequence[PredictionSet],
    truth: PredictionSet | None,
    flows: Sequence[FlowSource],
    sha256: Mapping[Path, str],
) -> Record:
    """A clip's result as JSON has it.

    Args:
        name: of the clip.
        clip: the frames it was measured on.
        result: what was found.
        sets: the predictions.
        truth: the true labels, if there were any.
        flows: the flow, and the second one if there was one.
        sha256: of every input.
    """
    heats = {one: found.heat.percent() for one, found in result.sets.items()}
    # The colours reach to what all but 0.5 % of the pixels stay below, in the set that flickers most.
    top = max(1.0, *(float(np.percentile(heat, 99.5)) for heat in heats.values()))
    return {
        "format": RECORD_FORMAT,
        "clip": {
            "name": name,
            "path": str(clip.path),
            "sha256": sha256[clip.path],
            "frames": result.frames,
            "scene_cuts": result.scene_cuts,
            "warning": result.warning,
            **clip_facts(clip),
        },
        "flows": [{"name": flow.name, "description": flow.description} for flow in flows],
        "truth": None if truth is None else {"path": str(truth.path), "sha256": sha256[truth.path]},
        "classes": {"names": list(result.classes.classes), "palette": [list(c) for c in result.classes.palette]},
        "classes_made_up": result.classes.name == "unnamed",
        "heat_top_percent": top,
        "sets": {
            one.name: {
                "path": str(one.path),
                "kind": one.kind,
                "sha256": sha256[one.path],
                "tally": result.sets[one.name].tally.state(),
                "curve": result.sets[one.name].curve.points(),
                "frames_per_step": result.sets[one.name].curve.frames_per_step,
                "moments": [asdict(moment) | _image_of(clip, moment) for moment in result.sets[one.name].moments],
                "heat": data_uri(heat_picture(heats[one.name], result.mean_frame, top), HEAT_PX),
            }
            for one in sets
        },
    }


def _image_of(clip: VideoReader, moment: Moment) -> dict[str, str]:
    """The file behind a moment, where the clip is a folder."""
    return {"file": image_files(clip.path)[moment.frame].name} if clip.path.is_dir() else {}


def assemble(records: Sequence[Record], settings: Settings) -> dict[str, Any]:
    """The JSON report of one or several clips: every figure, nothing that is only a picture.

    The clips' tables are added up in the order given, so that the result does not depend on who measured them when.

    Raises:
        ValueError: clips with other sets, or other classes, than the first.
    """
    first = records[0]
    for record in records[1:]:
        if list(record["sets"]) != list(first["sets"]):
            raise DWNetError(
                f"clip {record['clip']['name']} has the sets {', '.join(record['sets'])}; allowed are those of "
                f"{first['clip']['name']}, {', '.join(first['sets'])}"
            )
        if record["classes"] != first["classes"] and not (record["classes_made_up"] and first["classes_made_up"]):
            raise DWNetError(f"clip {record['clip']['name']} has other classes than {first['clip']['name']}")
    classes = max((record["classes"] for record in records), key=lambda found: len(found["names"]))
    tallies = {name: _added(records, name) for name in first["sets"]}
    for tally in tallies.values():
        tally.grow(len(classes["names"]))
    return {
        "format": FORMAT,
        "headline": HEADLINE,
        "settings": asdict(settings),
        "flow": first["flows"][0],
        "second_flow": first["flows"][1] if len(first["flows"]) > 1 else None,
        "classes": classes["names"],
        "sets": {
            name: {
                **tally.summary(),
                "per_class": dict(zip(classes["names"], tally.per_class(), strict=True)),
            }
            for name, tally in tallies.items()
        },
        "clips": [
            {
                **record["clip"],
                "truth": record["truth"],
                "sets": {
                    name: {
                        "path": found["path"],
                        "kind": found["kind"],
                        "sha256": found["sha256"],
                        **SetTally.from_state(found["tally"]).summary(),
                    }
                    for name, found in record["sets"].items()
                },
            }
            for record in records
        ],
        "moments": {
            name: [
                {key: value for key, value in moment.items() if key != "pictures"}
                for moment in worst_moments(records, name)
            ]
            for name in first["sets"]
        },
        "definitions": {key: meaning for key, (_, meaning) in DEFINITIONS.items()},
        "versions": {name: _version(name) for name in LIBRARIES} | {"python": platform.python_version()},
        "commit": code_commit(),
    }


def _added(records: Sequence[Record], name: str) -> SetTally:
    total = SetTally()
    for record in records:
        total.merge(SetTally.from_state(record["sets"][name]["tally"]))
    return total


def worst_moments(records: Sequence[Record], name: str) -> list[dict[str, Any]]:
    """The ten worst of a set over all clips, the worst first, each with its clip."""
    moments = [
        {"clip": record["clip"]["name"], **moment} for record in records for moment in record["sets"][name]["moments"]
    ]
    return sorted(moments, key=lambda moment: -moment["share_percent"])[:10]


def class_set(record: Record) -> ClassSet:
    """The classes of a record."""
    names, palette = record["classes"]["names"], record["classes"]["palette"]
    return ClassSet("report", tuple(names), tuple((colour[0], colour[1], colour[2]) for colour in palette))


def _version(distribution: str) -> str | None:
    if distribution == "dwnet":
        return __version__
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
