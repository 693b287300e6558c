"""The record of one measured clip as values for JSON, and the JSON report of one or more records."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dwnet.core.errors import DWNetError
from dwnet.core.files import code_commit
from dwnet.core.versions import installed_versions
from dwnet.flicker.definitions import DEFINITIONS, HEADLINE
from dwnet.flicker.flows import FlowSource
from dwnet.flicker.measure import ClipResult, clip_facts
from dwnet.flicker.pictures import HEAT_PX, Moment, data_uri, heat_picture
from dwnet.flicker.predictions import PredictionSet
from dwnet.flicker.settings import Settings
from dwnet.flicker.tally import SetTally
from dwnet.video import VideoReader, image_files

FORMAT = 2
"""Version of the JSON report."""
RECORD_FORMAT = 5
"""Version of a clip's record. A clip with a record of another version is measured again."""
LIBRARIES = ("dwnet", "numpy", "opencv-python-headless", "onnxruntime", "av", "torch")

Record = dict[str, Any]
"""The result of one clip as values for JSON."""


def make_record(
    name: str,
    clip: VideoReader,
    result: ClipResult,
    sets: Sequence[PredictionSet],
    truth: PredictionSet | None,
    flows: Sequence[FlowSource],
    sha256: Mapping[Path, str],
) -> Record:
    """Returns the record of a measured clip.

    Args:
        name: name of the clip.
        clip: the frames.
        result: result of the measurement.
        sets: the predictions.
        truth: the true labels; None without truth.
        flows: the flow, and the second flow if there is one.
        sha256: SHA-256 of every input path.
    """
    heats = {one: found.heat.percent() for one, found in result.sets.items()}
    # The brightest colour is the rate that only 0.5 % of the pixels exceed, in the set with the highest such rate.
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
        "truth": None if truth is None else {"path": str(truth.path), "kind": truth.kind, "sha256": sha256[truth.path]},
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
    """Returns the image file name of a moment as {"file": name}; empty if the clip is a video."""
    return {"file": image_files(clip.path)[moment.frame].name} if clip.path.is_dir() else {}


def assemble(records: Sequence[Record], settings: Settings) -> dict[str, Any]:
    """Returns the JSON report of one or more clips: all figures, without pictures.

    The counts of the clips are added in the order given, so the result does not depend on the order of measurement.

    Raises:
        DWNetError: for clips whose sets or classes differ from those of the first clip.
    """
    first = records[0]
    for record in records[1:]:
        _check_alike(first, record)
    classes = max((record["classes"] for record in records), key=lambda found: len(found["names"]))
    tallies = {name: _added(records, name) for name in first["sets"]}
    for tally in tallies.values():
        tally.grow(len(classes["names"]))
    return {
        "format": FORMAT,
        "headline": HEADLINE,
        "settings": {key: list(one) if isinstance(one, tuple) else one for key, one in asdict(settings).items()},
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
        "clips": [_clip_document(record) for record in records],
        "moments": {name: worst_moments(records, name) for name in first["sets"]},
        "definitions": {key: meaning for key, (_, meaning) in DEFINITIONS.items()},
        "versions": installed_versions(LIBRARIES) | {"python": platform.python_version()},
        "commit": code_commit(),
    }


def _check_alike(first: Record, record: Record) -> None:
    """Raises DWNetError if the counts of two clips cannot be added because sets or classes differ."""
    name, other = first["clip"]["name"], record["clip"]["name"]
    if list(record["sets"]) != list(first["sets"]):
        raise DWNetError(
            f"clip {other} has the sets {', '.join(record['sets'])}; allowed are those of {name}, "
            f"{', '.join(first['sets'])}"
        )
    if record["classes"] != first["classes"] and not (record["classes_made_up"] and first["classes_made_up"]):
        raise DWNetError(
            f"clip {other} has the classes {', '.join(record['classes']['names'])}; allowed are those of {name}, "
            f"{', '.join(first['classes']['names'])}, in the same colours"
        )


def _clip_document(record: Record) -> dict[str, Any]:
    """Returns the part of the JSON report about one clip."""
    sets = {
        name: {key: found[key] for key in ("path", "kind", "sha256")} | SetTally.from_state(found["tally"]).summary()
        for name, found in record["sets"].items()
    }
    return {**record["clip"], "truth": record["truth"], "sets": sets}


def _added(records: Sequence[Record], name: str) -> SetTally:
    total = SetTally()
    for record in records:
        total.merge(SetTally.from_state(record["sets"][name]["tally"]))
    return total


def worst_moments(records: Sequence[Record], name: str) -> list[dict[str, Any]]:
    """Returns the ten worst moments of a set over all clips, the worst first, each with the name of its clip."""
    moments = [
        {"clip": record["clip"]["name"], **moment} for record in records for moment in record["sets"][name]["moments"]
    ]
    return sorted(moments, key=lambda moment: -moment["share_percent"])[:10]
