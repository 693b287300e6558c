"""Adopts an ONNX network of another package: finds out how it is fed and read, and writes a sidecar file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from dwnet.core.class_files import ClassFile
from dwnet.core.classes import ClassSet, made_up_colour
from dwnet.core.errors import first_line
from dwnet.core.validation import first_problem
from dwnet.deploy.adoption import (
    WHOLE_NUMBERS,
    Adoption,
    chosen_output,
    described,
    fixed_size,
    input_axes,
    recognise,
    sidecar_path,
    single_input,
    write_sidecar,
)
from dwnet.deploy.foreign import ForeignSegmenter
from dwnet.deploy.graph_facts import OutputFacts, output_facts
from dwnet.deploy.layout import Layout, Triple, prepare
from dwnet.deploy.network_info import METADATA_KEY, NetworkFileError
from dwnet.deploy.probe import probe, trial_frame
from dwnet.deploy.runtime import file_digest, start_session
from dwnet.deploy.sessions import Port, Session

MULTIPLES = (1, 2, 4, 8, 14, 16, 28, 32, 56, 64, 112, 128)
"""Multiples of the input's sides that are tried, in pixels."""
TRIAL_SIDE = 128
"""Smallest side of a trial frame in pixels, so that the deepest map has a few pixels."""


@dataclass(frozen=True)
class AdoptOptions:
    """What the user says of a network. None leaves it to the file, or to the default."""

    mean: Triple | None = None
    """Subtracted from the frame, in units of `white`, in the order of the network's channels. Default: zeros."""
    std: Triple | None = None
    """Divides the difference. Default: ones."""
    white: Literal[1, 255] | None = None
    """Largest value of a frame: 1 or 255. Default: 255 for a network that takes uint8, else 1."""
    bgr: bool = False
    """Whether the channels are blue, green, red."""
    size: tuple[int, int] | None = None
    """(H, W) that frames are resized to. Default: the file's size; the frame's own size if the file leaves it open."""
    output: str | None = None
    """Name of the output. Default: the only one."""
    threshold: float | None = None
    """Of a network with one score. Default: 0.5 after a sigmoid, else 0."""
    scale: float | None = None
    """Scale of the frame at which the network runs. Default: 1."""


@dataclass(frozen=True)
class AdoptReport:
    """Result of an adoption."""

    sidecar: Path
    """The file that was written."""
    network: ForeignSegmenter
    """The network, opened."""
    lines: tuple[str, ...]
    """The description in words."""


def adopt(model: str | Path, classes: ClassFile | None, options: AdoptOptions | None = None) -> AdoptReport:
    """Writes the sidecar file of an ONNX network of another package. The model itself is not changed.

    Args:
        model: an `.onnx` file with one image input.
        classes: names, ids and colours of its classes. The id of a class is the channel of its score, or its number in
            a map of ids. None is allowed for exports that store their classes.
        options: what the file does not say; None leaves all to the file and the defaults.

    Raises:
        NetworkFileError: for a file that is not such a network, that does not fit the classes or the options, or that
            cannot run.
    """
    path, options = Path(model), options or AdoptOptions()
    if path.suffix != ".onnx" or not path.is_file():
        raise NetworkFileError(f"{path}: {'not an .onnx file' if path.is_file() else 'no such file'}; allowed is .onnx")
    session = start_session(path, runtime="onnxruntime", device="cpu")
    if METADATA_KEY in session.metadata:
        raise NetworkFileError(f"{path} was written by `dwnet export` and needs no adoption")
    known = recognise(path, session) if classes is None or session.metadata.get("author") == "Ultralytics" else None
    if known is not None:
        adoption = _refined(path, known, classes, options)
    elif classes is None:
        raise NetworkFileError(f"{path} does not name its classes; --classes FILE names them")
    else:
        adoption = _derived(path, session, classes, options)
    digest = file_digest(path)
    network = ForeignSegmenter.open(path, digest, session, adoption)
    probe(network)
    return AdoptReport(write_sidecar(path, digest, adoption), network, tuple(_lines(path, session, adoption)))


def _derived(path: Path, session: Session, classes: ClassFile, options: AdoptOptions) -> Adoption:
    """Returns the description of any network, from its graph, the options and a few trials."""
    source, target = single_input(path, session), chosen_output(path, session, options.output)
    facts = output_facts(path, target.name)
    size = fixed_size(source)
    if size is not None and options.size not in (None, size):
        raise NetworkFileError(
            f"{path}: input {described(source)} has the fixed size {size[0]} x {size[1]}; --size allows no other"
        )
    bytes_ = source.dtype == "uint8"
    entries: dict[str, Any] = {
        "input": source.name,
        "input_type": source.dtype,
        "input_axes": input_axes(source),
        "channels": "bgr" if options.bgr else "rgb",
        "range": options.white or (255 if bytes_ else 1),
        "mean": options.mean or (0.0, 0.0, 0.0),
        "std": options.std or (1.0, 1.0, 1.0),
        "size": size or options.size,
        "output": target.name,
        "scale": options.scale or 1.0,
    }
    # The classes' entries follow the output's kind, which the first trial shows.
    entries["multiple"], found = _multiple(path, session, entries, whole=facts.argmax or target.dtype in WHOLE_NUMBERS)
    class_set, about = _classes(path, target, facts, classes, found)
    if about["kind"] == "binary":
        about["activation"] = facts.activation
        default = 0.5 if facts.activation == "sigmoid" else 0.0
        about["threshold"] = default if options.threshold is None else options.threshold
    elif options.threshold is not None:
        raise NetworkFileError(
            f"{path}: --threshold is for a network with one score; output {described(target)} is not"
        )
    elif about["kind"] == "scores":
        about["activation"] = facts.activation
    return Adoption(_layout(path, entries | about), class_set, "adopted")


def _classes(
    path: Path, target: Port, facts: OutputFacts, classes: ClassFile, shape: tuple[int, ...]
) -> tuple[ClassSet, dict[str, Any]]:
    """Returns the classes, and the entries of the layout that depend on them and on the output's shape (1, ...)."""
    whole = facts.argmax or target.dtype in WHOLE_NUMBERS
    if target.dtype not in (*WHOLE_NUMBERS, "float32", "float16", "float64"):
        raise NetworkFileError(f"{path}: output {described(target)}; allowed are whole numbers and floating point")
    single = len(shape) < 4 or 1 in (shape[1], shape[3])
    if whole and not single:
        raise NetworkFileError(f"{path}: output {target.name} {target.dtype} {shape}; allowed is one id per pixel")
    if whole:
        return classes.classes, {
            "kind": "labels",
            "ids": classes.ids,
            "ignored": tuple(sorted(classes.ignored - set(classes.ids))),
        }
    if single:
        return _two(path, classes.classes), {"kind": "binary", "ids": (0, 1)}
    number = len(classes.classes)
    axes = [axis for axis, place in (("first", 1), ("last", 3)) if shape[place] == number]
    if not axes:
        raise NetworkFileError(
            f"{path}: output {target.name} {shape} scores {shape[1]} classes; the class file names {number}"
        )
    by_id = sorted(classes.ids) == list(range(number))
    return classes.classes, {
        "kind": "scores",
        "scores_axis": axes[0],
        "ids": classes.ids if by_id else tuple(range(number)),
    }


def _two(path: Path, classes: ClassSet) -> ClassSet:
    """Returns the two classes that one score decides between; a single name is the second, beside "background"."""
    if len(classes) == 1:
        background = next(colour for colour in map(made_up_colour, range(255)) if colour not in classes.palette)
        return ClassSet(classes.name, ("background", *classes.classes), (background, *classes.palette))
    if len(classes) != 2:
        raise NetworkFileError(
            f"{path} gives one score per pixel, which decides between 2 classes; the class file names {len(classes)}"
        )
    return classes


def _multiple(path: Path, session: Session, entries: dict[str, Any], *, whole: bool) -> tuple[int, tuple[int, ...]]:
    """Returns the multiple of the input's sides, and the shape of the output for a trial frame.

    A multiple is right if the network runs at odd multiples of it, and if the output's sides divide the input's.
    """
    reason = ""
    for multiple in (1,) if entries["size"] else MULTIPLES:
        shapes = []
        try:
            for height, width in ((1, 3), (3, 5)):
                often = -(-TRIAL_SIDE // (multiple * height)) | 1
                size = (multiple * height * often, multiple * width * often)
                shapes.append((size, _try(session, _layout(path, entries | _ANY), size)))
                if entries["size"]:
                    return 1, _trial_shape(path, entries["output"], shapes[0][1])
            if all(_whole_stride(size, shape) for size, shape in shapes):
                return multiple, _trial_shape(path, entries["output"], shapes[0][1])
            reason = reason or f"the output of a frame of {shapes[0][0]} has the shape {shapes[0][1]}"
        except NetworkFileError:
            raise
        except Exception as error:  # runtimes' errors have no other base class
            reason = first_line(error)
    tried = "its size" if entries["size"] else f"sides that are multiples of {', '.join(map(str, MULTIPLES))}"
    raise NetworkFileError(f"{path} does not run with {tried} ({reason}); --size H W sets the size it was made for")


_ANY: dict[str, Any] = {"kind": "labels", "ids": (0,)}


def _try(session: Session, layout: Layout, size: tuple[int, int]) -> tuple[int, ...]:
    inputs, _ = prepare(layout, trial_frame(size))
    return session.run([layout.output], {layout.input: inputs})[0].shape


def _trial_shape(path: Path, output: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) not in (2, 3, 4) or (len(shape) > 2 and shape[0] != 1):
        raise NetworkFileError(
            f"{path}: output {output} {shape} for one frame; allowed are scores (1, K, h, w) or (1, h, w, K), and "
            "one score or id per pixel (1, 1, h, w), (1, h, w), (h, w)"
        )
    return shape


def _whole_stride(size: tuple[int, int], shape: tuple[int, ...]) -> bool:
    """Returns whether the input's sides are one whole multiple of the output's, wherever its channels are."""
    candidates = [shape[-2:]] + ([shape[1:3]] if len(shape) == 4 else [])
    return any(
        0 not in sides and not (size[0] % sides[0] or size[1] % sides[1]) and size[0] // sides[0] == size[1] // sides[1]
        for sides in candidates
    )


def _layout(path: Path, entries: dict[str, Any]) -> Layout:
    try:
        return Layout(**entries)
    except ValidationError as error:
        raise NetworkFileError(f"{path}: {first_problem(error)}") from error


def _refined(path: Path, known: Adoption, classes: ClassFile | None, options: AdoptOptions) -> Adoption:
    """Returns the description of a recognised export with the user's classes; its interface is known."""
    if options != AdoptOptions():
        raise NetworkFileError(f"{path} is {known.origin}, whose interface is known; allowed is --classes alone")
    if classes is None:
        return known
    if known.layout.kind != "labels" and len(classes.classes) != len(known.classes):
        raise NetworkFileError(
            f"{path} scores {len(known.classes)} classes; the class file names {len(classes.classes)}"
        )
    if known.layout.kind != "labels":
        return Adoption(known.layout, classes.classes, known.origin)
    ignored = tuple(sorted(classes.ignored - set(classes.ids)))
    layout = known.layout.model_copy(update={"ids": classes.ids, "ignored": ignored})
    return Adoption(layout, classes.classes, known.origin)


def _lines(path: Path, session: Session, adoption: Adoption) -> list[str]:
    layout, names = adoption.layout, adoption.classes.classes
    source = next(port for port in session.inputs if port.name == layout.input)
    target = next(port for port in session.outputs if port.name == layout.output)
    fed = f"{layout.channels.upper()} 0..{layout.range}"
    plain = layout.mean == (0, 0, 0) and layout.std == (1, 1, 1)
    fed += ", not normalised" if plain else f", minus {_numbers(layout.mean)}, divided by {_numbers(layout.std)}"
    if layout.size is None:
        where = f"at the frame's size{'' if layout.scale == 1 else f' times {layout.scale:g}'}"
        where += f", padded to multiples of {layout.multiple} px" if layout.multiple > 1 else ""
    else:
        kept = "in grey borders at" if layout.fit == "letterbox" else "resized to"
        where = f"{kept} {layout.size[0]} x {layout.size[1]} px (height x width)"
    read = {
        "scores": f"one score for each of {len(names)} classes",
        "labels": "the id of a class",
        "binary": f"one score; above {layout.threshold:g} is {names[-1]}",
    }[layout.kind]
    if layout.activation != "none":
        read += f", after a {layout.activation}"
    lines = [
        f"{path.name}: {adoption.origin}; {sidecar_path(path)} describes it",
        f"input {described(source)}: {fed}, {where}",
        f"output {described(target)}: {read}",
        "classes: " + ", ".join(f"{own} {name}" for own, name in zip(layout.ids, names, strict=True)),
    ]
    if plain and layout.input_type != "uint8" and adoption.origin == "adopted":
        lines.append(
            "networks of torchvision, smp and transformers usually need --mean 0.485 0.456 0.406 "
            "--std 0.229 0.224 0.225"
        )
    return lines


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
