"""What an exported network says about itself, in one metadata entry of its file, and whether the graph bears it out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from dwnet.core.errors import DWNetError

METADATA_KEY = "dwnet"
METADATA_FORMAT = 1

INTERFACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "segmenter": (("image",), ("logits",)),
    "static_warp": (("image", "previous_features", "flow"), ("logits", "features")),
    # Two graphs that share the classifier: image to key_logits and features, key_features and flow to logits.
    "keyframe": (("image", "key_features", "flow"), ("logits", "key_logits", "features")),
    "flow_refinement": (("frame", "neighbour", "flow"), ("refined_flow",)),
}
"""The inputs and outputs of every kind of exported network, in order."""


class NetworkFileError(DWNetError):
    """A file that is not the exported network it should be; the message names the file and what is allowed."""


@dataclass(frozen=True)
class NetworkInfo:
    """What an exported network says about itself."""

    path: Path
    sha256: str
    """Of the file."""
    kind: str
    """A key of `INTERFACES`."""
    method: str
    """`baseline`, `static_warp`, `keyframe` or `dwnet`."""
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """RGB 0..255 per class."""
    stride: int
    """Image pixels per pixel of the feature map."""
    multiple: int
    """Height and width of the graph's inputs are multiples of this, in pixels."""
    channels: int
    """Of the feature map that enters the classifier."""
    recipe: Mapping[str, Any]
    metrics: Mapping[str, Any]
    commit: str
    key_interval: int
    """Every n-th frame is a key frame; 1 where the network runs on each."""


def read_info(path: Path, sha256: str, session: onnxruntime.InferenceSession) -> NetworkInfo:
    """The metadata of the file at `path`, whose graph is open in `session`.

    Raises:
        NetworkFileError: no such metadata, or a graph that differs from it.
    """
    entry = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if entry is None:
        raise NetworkFileError(f"{path} is ONNX, but has no {METADATA_KEY!r} metadata; `dwnet export` writes it")
    try:
        meta = json.loads(entry)
        if meta["format"] != METADATA_FORMAT:
            raise NetworkFileError(f"{path} has metadata format {meta['format']!r}; allowed: {METADATA_FORMAT}")
        info = NetworkInfo(
            path=path,
            sha256=sha256,
            kind=str(meta["kind"]),
            method=str(meta["method"]),
            classes=tuple(str(name) for name in meta["classes"]),
            palette=tuple((int(red), int(green), int(blue)) for red, green, blue in meta["palette"]),
            stride=int(meta["stride"]),
            multiple=int(meta.get("multiple", meta["stride"])),
            channels=int(meta["channels"]),
            recipe=meta.get("recipe") or {},
            metrics=meta.get("metrics") or {},
            commit=str(meta.get("commit", "")),
            key_interval=int(meta.get("key_interval", 1)),
        )
    except NetworkFileError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise NetworkFileError(f"{path} has unreadable {METADATA_KEY!r} metadata: {error!r}") from error
    _check_info(info, session)
    return info


def _check_info(info: NetworkInfo, session: onnxruntime.InferenceSession) -> None:
    if info.kind not in INTERFACES:
        raise NetworkFileError(f"{info.path} is of kind {info.kind!r}; allowed: {', '.join(INTERFACES)}")
    found = (tuple(i.name for i in session.get_inputs()), tuple(o.name for o in session.get_outputs()))
    for direction, found_names, names in zip(("inputs", "outputs"), found, INTERFACES[info.kind], strict=True):
        if sorted(found_names) != sorted(names):
            raise NetworkFileError(
                f"{info.path} has the {direction} {', '.join(found_names)}; a {info.kind} has {', '.join(names)}"
            )
    if not 1 <= len(info.classes) <= 255 or len(info.palette) != len(info.classes):
        raise NetworkFileError(
            f"{info.path} names {len(info.classes)} classes and {len(info.palette)} colours; "
            "allowed: 1 to 255 classes with one colour each"
        )
    if info.key_interval < 1:
        raise NetworkFileError(f"{info.path} has a key_interval of {info.key_interval}; it starts at 1")
    if info.stride < 1 or info.channels < 1 or info.multiple < 1 or info.multiple % info.stride:
        raise NetworkFileError(
            f"{info.path} has stride {info.stride}, multiple {info.multiple} and {info.channels} channels; all start "
            "at 1, and the stride divides the multiple"
        )
    outputs = {output.name: output.shape for output in session.get_outputs()}
    if "logits" in outputs:
        scores = outputs["logits"][1]  # an int, or a name where the graph leaves it open
        if isinstance(scores, int) and scores != len(info.classes):
            raise NetworkFileError(f"{info.path} scores {scores} classes, but names {len(info.classes)}")
