"""Metadata of exported networks: one JSON entry in each file, validated and compared with the file's graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from dwnet.core.errors import DWNetError
from dwnet.core.validation import first_problem
from dwnet.deploy.sessions import Session

METADATA_KEY = "dwnet"
METADATA_FORMAT = 1

MIN_SCALE, MAX_SCALE = 0.125, 4.0
"""Allowed scales at which a network runs."""

Kind = Literal["segmenter", "static_warp", "keyframe", "flow_refinement"]
"""Kind of an exported network."""

INTERFACES: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "segmenter": (("image",), ("logits",)),
    "static_warp": (("image", "previous_features", "flow"), ("logits", "features")),
    # Two graphs that share the classifier: image to key_logits and features, key_features and flow to logits.
    "keyframe": (("image", "key_features", "flow"), ("logits", "key_logits", "features")),
    "flow_refinement": (("frame", "neighbour", "flow"), ("refined_flow",)),
}
"""Inputs and outputs of each kind of exported network, in order."""


class NetworkFileError(DWNetError):
    """A file that is not the expected exported network; the message names the file and what is allowed."""


@dataclass(frozen=True)
class NetworkInfo:
    """Metadata of an exported network."""

    path: Path
    sha256: str
    """SHA-256 of the file."""
    kind: Kind
    """A key of `INTERFACES`."""
    method: str
    """`baseline`, `static_warp`, `keyframe` or `dwnet`."""
    classes: tuple[str, ...]
    """Class names in the order of the ids."""
    palette: tuple[tuple[int, int, int], ...]
    """RGB 0..255 per class."""
    stride: int
    """Image pixels per pixel of the feature map."""
    multiple: int
    """Height and width of the graph's inputs are multiples of this, in pixels."""
    channels: int
    """Channels of the feature map that enters the classifier."""
    recipe: Mapping[str, Any]
    """The training configuration."""
    metrics: Mapping[str, Any]
    """Metrics of the last evaluation, by name."""
    commit: str
    """Commit of the code that trained it."""
    key_interval: int
    """Every n-th frame is a key frame; 1 if the network runs on every frame."""
    scale: float = 1.0
    """Scale of the frame at which the network runs; the scores are resized to the frame."""
    size: tuple[int, int] | None = None
    """(H, W) in pixels that frames are resized to; None if the network takes any size."""
    precision: str = "float32"
    """Number format of the computation: float32 or int8."""


_Positive = Annotated[int, Field(ge=1)]
_Level = Annotated[int, Field(ge=0, le=255)]


class _Metadata(BaseModel):
    """The JSON object of the metadata entry. Unknown entries are ignored, so that newer files stay readable."""

    model_config = ConfigDict(strict=True, frozen=True)

    format: Literal[1]
    kind: Kind
    method: str
    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=255)]
    palette: tuple[tuple[_Level, _Level, _Level], ...]
    stride: _Positive
    multiple: _Positive | None = None  # missing in files of the first version, where it equals the stride
    channels: _Positive
    key_interval: _Positive = 1
    scale: Annotated[float, Field(ge=MIN_SCALE, le=MAX_SCALE)] = 1.0
    size: tuple[_Positive, _Positive] | None = None
    precision: Literal["float32", "int8"] = "float32"
    recipe: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    commit: str = ""

    @field_validator("palette")
    @classmethod
    def _one_colour_per_class(cls, palette: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        classes = info.data.get("classes", palette)
        if len(palette) != len(classes):
            raise ValueError(f"{len(palette)} colours for {len(classes)} classes; allowed is one colour per class")
        return palette

    @field_validator("multiple")
    @classmethod
    def _multiple_of_stride(cls, multiple: int | None, info: ValidationInfo) -> int | None:
        stride = info.data.get("stride", 1)
        if multiple is not None and multiple % stride:
            raise ValueError(f"allowed are multiples of the stride {stride}")
        return multiple


def check_metadata(entry: str, path: Path) -> None:
    """Raises NetworkFileError unless `entry` is metadata that `read_info` accepts; `path` is for the message."""
    _parse(entry, path)


def read_info(path: Path, sha256: str, session: Session) -> NetworkInfo:
    """Returns the validated metadata of a file.

    Args:
        path: the file.
        sha256: SHA-256 of the file.
        session: session with the file's graph.

    Raises:
        NetworkFileError: if there is no such metadata, if it is not valid, or if the graph does not match it.
    """
    entry = session.metadata.get(METADATA_KEY)
    if entry is None:
        raise NetworkFileError(f"{path} is ONNX, but has no {METADATA_KEY!r} metadata; `dwnet export` writes it")
    metadata = _parse(entry, path)
    info = NetworkInfo(
        path=path,
        sha256=sha256,
        kind=metadata.kind,
        method=metadata.method,
        classes=metadata.classes,
        palette=metadata.palette,
        stride=metadata.stride,
        multiple=metadata.multiple or metadata.stride,
        channels=metadata.channels,
        recipe=metadata.recipe or {},
        metrics=metadata.metrics or {},
        commit=metadata.commit,
        key_interval=metadata.key_interval,
        scale=metadata.scale,
        size=metadata.size,
        precision=metadata.precision,
    )
    _check_graph(info, session)
    return info


def _parse(entry: str, path: Path) -> _Metadata:
    try:
        return _Metadata.model_validate_json(entry)
    except ValidationError as error:
        raise NetworkFileError(f"{path}: {METADATA_KEY!r} metadata: {first_problem(error)}") from error


def _check_graph(info: NetworkInfo, session: Session) -> None:
    """Raises NetworkFileError unless the graph has the inputs, outputs and number of classes of the metadata."""
    found = (tuple(port.name for port in session.inputs), tuple(port.name for port in session.outputs))
    for direction, found_names, names in zip(("inputs", "outputs"), found, INTERFACES[info.kind], strict=True):
        if sorted(found_names) != sorted(names):
            raise NetworkFileError(
                f"{info.path} has the {direction} {', '.join(found_names)}; a {info.kind} has {', '.join(names)}"
            )
    outputs = {port.name: port.shape for port in session.outputs}
    if "logits" in outputs:
        scores = outputs["logits"][1]
        if scores is not None and scores != len(info.classes):
            raise NetworkFileError(f"{info.path} scores {scores} classes, but names {len(info.classes)}")
