"""Sidecar files: what this library must know of an ONNX network of another package, in a JSON file beside it.

`adopt` writes one. Exports of Ultralytics' semantic task and of D-FINE-seg need none: `recognise` reads their metadata
and their graphs.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from dwnet.core.classes import IGNORE_LABEL, ClassSet, made_up_classes, made_up_colour
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write
from dwnet.core.validation import first_problem
from dwnet.deploy.graph_facts import output_facts
from dwnet.deploy.layout import Layout
from dwnet.deploy.network_info import NetworkFileError
from dwnet.deploy.sessions import Port, Session

WHOLE_NUMBERS = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
INPUT_TYPES = ("float32", "float16", "float64", "uint8")


@dataclass(frozen=True)
class Adoption:
    """A network of another package: its interface and its classes."""

    layout: Layout
    classes: ClassSet
    origin: str
    """Where the description comes from, in words."""


class _Sidecar(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    format: Literal[1]
    sha256: str
    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    layout: Layout


def sidecar_path(model: Path) -> Path:
    """Returns the path of a model's sidecar file: ``NAME.dwnet.json`` beside ``NAME.onnx``."""
    return model.with_suffix(".dwnet.json")


def write_sidecar(model: Path, sha256: str, adoption: Adoption) -> Path:
    """Writes the sidecar file of a model, and returns its path."""
    content = _Sidecar(
        format=1,
        sha256=sha256,
        name=adoption.classes.name,
        classes=adoption.classes.classes,
        palette=adoption.classes.palette,
        layout=adoption.layout,
    )
    path = sidecar_path(model)
    with atomic_write(path) as temporary:
        temporary.write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return path


def read_sidecar(model: Path, sha256: str) -> Adoption | None:
    """Returns the content of a model's sidecar file; None if there is none.

    Raises:
        NetworkFileError: for a sidecar file that cannot be used, or that describes another file.
    """
    path = sidecar_path(model)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise NetworkFileError(f"{path}: cannot be read ({error}); `dwnet adopt` writes it") from error
    try:
        content = _Sidecar.model_validate_json(text)
        classes = ClassSet(content.name, content.classes, content.palette)
    except ValidationError as error:
        raise NetworkFileError(f"{path}: {first_problem(error)}; `dwnet adopt` writes this file") from error
    except DWNetError as error:
        raise NetworkFileError(f"{path}: {error}; `dwnet adopt` writes this file") from error
    if content.sha256 != sha256:
        raise NetworkFileError(
            f"{path} describes another file than {model.name} is now (SHA-256 {content.sha256[:12]}, found "
            f"{sha256[:12]}); run `dwnet adopt` again"
        )
    if len(content.layout.ids) != len(classes):
        raise NetworkFileError(f"{path}: {len(content.layout.ids)} ids for {len(classes)} classes; allowed is one each")
    return Adoption(content.layout, classes, f"described by {path.name}")


def single_input(path: Path, session: Session) -> Port:
    """Returns the one input of a graph: an image.

    Raises:
        NetworkFileError: for a graph that does not take one RGB image.
    """
    if len(session.inputs) != 1:
        names = ", ".join(port.name for port in session.inputs)
        raise NetworkFileError(f"{path} has the inputs {names}; allowed is one, the image")
    port = session.inputs[0]
    shape = described(port)
    if port.dtype not in INPUT_TYPES:
        raise NetworkFileError(f"{path}: input {shape}; allowed types are {', '.join(INPUT_TYPES)}")
    if len(port.shape) != 4:
        raise NetworkFileError(f"{path}: input {shape}; allowed is (1, 3, H, W) or (1, H, W, 3)")
    if port.shape[0] not in (1, None):
        raise NetworkFileError(f"{path}: input {shape} takes {port.shape[0]} images; allowed is 1, or an open size")
    if not {port.shape[1], port.shape[3]} & {3, None}:
        raise NetworkFileError(f"{path}: input {shape} has no axis of 3 channels; allowed is RGB or BGR")
    return port


def chosen_output(path: Path, session: Session, name: str | None) -> Port:
    """Returns the output of that name; without a name, the only output.

    Raises:
        NetworkFileError: if there is no such output, or if there are several and no name.
    """
    found = ", ".join(described(port) for port in session.outputs)
    if name is None and len(session.outputs) != 1:
        raise NetworkFileError(f"{path} has the outputs {found}; --output NAME chooses one")
    for port in session.outputs:
        if name in (None, port.name):
            return port
    raise NetworkFileError(f"{path} has no output {name!r}; allowed: {found}")


def described(port: Port) -> str:
    """Returns name, type and shape of an input or output in words, such as ``logits float32 (1, 19, ?, ?)``."""
    return f"{port.name} {port.dtype} ({', '.join('?' if side is None else str(side) for side in port.shape)})"


def recognise(path: Path, session: Session) -> Adoption | None:
    """Returns the description of an export that this library knows; None for any other network.

    Raises:
        NetworkFileError: for an export of a known package that does not segment images.
    """
    try:
        if session.metadata.get("author") == "Ultralytics":
            return _ultralytics(path, session, session.metadata)
        # The one output of D-FINE-seg's semantic export is a map of int32 ids; other exports have three outputs.
        ports = session.outputs
        if len(ports) == 1 and (ports[0].name, ports[0].dtype, len(ports[0].shape)) == ("sem_seg", "int32", 3):
            return _dfine_seg(path, session)
    except (ValidationError, ValueError, KeyError, SyntaxError) as error:
        if isinstance(error, NetworkFileError):
            raise
        reason = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise NetworkFileError(f"{path}: metadata of another package that cannot be used: {reason}") from error
    return None


def _ultralytics(path: Path, session: Session, metadata: Mapping[str, str]) -> Adoption:
    """Returns the description of an export by Ultralytics: frames in grey borders, RGB 0..1; ids or logits."""
    task = metadata.get("task")
    if task != "semantic":
        raise NetworkFileError(f"{path} is an Ultralytics export of the task {task!r}; allowed is 'semantic'")
    source, target = single_input(path, session), chosen_output(path, session, None)
    names = ast.literal_eval(metadata["names"])
    ids, classes = tuple(names), [str(name) for name in names.values()]
    if len(classes) == 1:  # one score or one bit: the class, or none
        ids, classes = (0, 1), ["background", *classes]
    whole = target.dtype in WHOLE_NUMBERS
    size = fixed_size(source)
    sides = ast.literal_eval(metadata.get("imgsz", "640"))
    layout = Layout(
        input=source.name,
        input_type=_input_type(source),
        input_axes=input_axes(source),
        size=size,
        longest=None if size else max(sides) if isinstance(sides, list | tuple) else int(sides),
        fit="letterbox",
        resampling="linear",
        multiple=1 if size else int(metadata.get("stride", "32")),
        output=target.name,
        kind="labels" if whole else "binary" if len(names) == 1 else "scores",
        ids=ids,
        ignored=(IGNORE_LABEL,) if whole and IGNORE_LABEL not in ids else (),
    )
    return Adoption(layout, _coloured(path.stem, classes), "an export of Ultralytics' semantic task")


def _dfine_seg(path: Path, session: Session) -> Adoption:
    """Returns the description of a semantic export by D-FINE-seg: stretched frames, RGB 0..1; ids, without names."""
    source, target = single_input(path, session), session.outputs[0]
    classes = output_facts(path, target.name).classes
    if classes is None or not 1 <= classes <= IGNORE_LABEL:
        raise NetworkFileError(
            f"{path} is an export of D-FINE-seg, whose number of classes is not in the graph; `dwnet adopt "
            f"{path.name} --classes FILE` names them"
        )
    layout = Layout(
        input=source.name,
        input_type=_input_type(source),
        size=fixed_size(source),
        resampling="linear",
        multiple=32 if fixed_size(source) is None else 1,
        output=target.name,
        kind="labels",
        ids=tuple(range(classes)),
    )
    return Adoption(layout, made_up_classes(classes), "a semantic export of D-FINE-seg, which stores no class names")


def input_axes(port: Port) -> Literal["nchw", "nhwc"]:
    """Returns the order of an image input's axes. Channels come first unless only the last axis can have 3."""
    return "nhwc" if port.shape[1] != 3 and port.shape[3] == 3 else "nchw"


def fixed_size(port: Port) -> tuple[int, int] | None:
    """Returns (H, W) of an image input; None if one of them is open."""
    axes = (1, 2) if input_axes(port) == "nhwc" else (2, 3)
    height, width = (port.shape[axis] for axis in axes)
    return None if height is None or width is None else (height, width)


def _input_type(port: Port) -> Any:
    """Returns the type of an input, which `single_input` has checked."""
    return port.dtype


def _coloured(name: str, classes: Sequence[str]) -> ClassSet:
    return ClassSet(name, tuple(classes), tuple(made_up_colour(place) for place in range(len(classes))))
