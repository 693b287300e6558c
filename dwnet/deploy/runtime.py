"""Opens networks in a runtime, without PyTorch: exports of this library, and adopted networks of other packages.

`load` validates a file's metadata, runs the network once on a small frame, and returns the class for its kind.
"""

import hashlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Literal, overload

from dwnet.core.errors import DWNetError, first_line
from dwnet.deploy.adoption import read_sidecar, recognise
from dwnet.deploy.foreign import ForeignSegmenter
from dwnet.deploy.network_info import INTERFACES, METADATA_KEY, NetworkFileError, NetworkInfo, read_info
from dwnet.deploy.onnx_networks import (
    OnnxFlowRefinement,
    OnnxKeyframe,
    OnnxNetwork,
    OnnxSegmenter,
    OnnxStaticWarp,
    argmax_labels,
)
from dwnet.deploy.probe import probe
from dwnet.deploy.sessions import Session, open_session

__all__ = [
    "ForeignSegmenter",
    "NetworkFileError",
    "NetworkInfo",
    "OnnxFlowRefinement",
    "OnnxKeyframe",
    "OnnxNetwork",
    "OnnxSegmenter",
    "OnnxStaticWarp",
    "argmax_labels",
    "check_same_classes",
    "file_digest",
    "load",
    "load_any",
    "start_session",
]


@overload
def load(
    path: str | Path,
    *,
    kind: Literal["flow_refinement"],
    threads: int | None = None,
    runtime: str = "auto",
    device: str = "auto",
) -> OnnxFlowRefinement: ...


@overload
def load(
    path: str | Path,
    *,
    kind: Literal["segmenter", "static_warp", "keyframe"] | None = None,
    threads: int | None = None,
    runtime: str = "auto",
    device: str = "auto",
) -> OnnxSegmenter: ...


def load(
    path: str | Path,
    *,
    kind: str | None = None,
    threads: int | None = None,
    runtime: str = "auto",
    device: str = "auto",
) -> OnnxSegmenter | OnnxFlowRefinement:
    """Returns a network, ready to run: one that labels frames, unless `kind` says "flow_refinement".

    Args:
        path: an `.onnx` file written by `dwnet export`, or one of another package that `dwnet adopt` described.
        kind: the required kind (a key of `INTERFACES`); None allows any that labels frames.
        threads: CPU threads of a run; None uses all CPUs of this process.
        runtime: "onnxruntime", "openvino", or "auto" (`dwnet.deploy.sessions.open_session`).
        device: "cpu", "cuda" or another of `DeviceName`, or "auto".

    Returns:
        `OnnxSegmenter`, `ForeignSegmenter`, `OnnxStaticWarp`, `OnnxKeyframe` or `OnnxFlowRefinement`, by the file's
        kind. `session.choice` says which runtime runs it.

    Raises:
        NetworkFileError: if the file is missing, not ONNX, neither written by `dwnet export` nor adopted, of another
            kind, or if it cannot run on a small frame.
        RuntimeChoiceError: for a runtime or device that this machine does not have.
        DWNetError: if `kind` is unknown or `threads` is not positive.
    """
    network = load_any(path, kind=kind, threads=threads, runtime=runtime, device=device)
    if kind is None and not isinstance(network, OnnxSegmenter):
        raise NetworkFileError(
            f"{path} holds a network of kind {network.info.kind!r}, which labels no frames; load it with "
            f"kind={network.info.kind!r}"
        )
    return network


def load_any(
    path: str | Path,
    *,
    kind: str | None = None,
    threads: int | None = None,
    runtime: str = "auto",
    device: str = "auto",
) -> OnnxSegmenter | OnnxFlowRefinement:
    """Returns a network of any kind, ready to run; arguments, result and errors are those of `load`."""
    path = Path(path)
    if kind is not None and kind not in INTERFACES:
        raise DWNetError(f"unknown kind {kind!r}; allowed: {', '.join(INTERFACES)}")
    if threads is not None and threads < 1:
        raise DWNetError(f"threads must be at least 1, found {threads}")
    if path.is_dir():
        raise NetworkFileError(f"{path} is a folder; allowed is one exported network, an .onnx file")
    if not path.is_file():
        raise NetworkFileError(f"no exported network at {path}; `dwnet export CHECKPOINT` writes one")
    session = start_session(path, threads=threads, runtime=runtime, device=device)
    digest = file_digest(path)
    network: OnnxSegmenter | OnnxFlowRefinement
    if METADATA_KEY in session.metadata:
        info = read_info(path, digest, session)
        if kind is not None and info.kind != kind:
            raise NetworkFileError(f"{path} holds a network of kind {info.kind!r}; expected {kind!r}")
        network = _exported(info, session)
    else:
        network = _foreign(path, digest, session)
        if kind not in (None, "segmenter"):
            raise NetworkFileError(f"{path} holds a network of kind 'segmenter'; expected {kind!r}")
    probe(network)
    return network


def start_session(path: Path, *, threads: int | None = None, runtime: str = "auto", device: str = "auto") -> Session:
    """Returns a session of an ONNX file; arguments are those of `load`.

    Raises:
        NetworkFileError: for a file that the runtime cannot open.
        RuntimeChoiceError: for a runtime or device that this machine does not have.
    """
    try:
        return open_session(path, threads=threads, runtime=runtime, device=device)
    except DWNetError:
        raise
    except Exception as error:  # runtimes' errors have no other base class
        raise NetworkFileError(f"{path} is not an ONNX file that ONNX Runtime can open: {first_line(error)}") from error


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _exported(info: NetworkInfo, session: Session) -> OnnxSegmenter | OnnxFlowRefinement:
    if info.kind == "keyframe":
        start = partial(
            open_session, threads=session.threads, runtime=session.choice.runtime, device=session.choice.device
        )
        return OnnxKeyframe.open(info, start)
    network_class: type[OnnxSegmenter | OnnxFlowRefinement] = {
        "segmenter": OnnxSegmenter,
        "static_warp": OnnxStaticWarp,
        "flow_refinement": OnnxFlowRefinement,
    }[info.kind]
    return network_class(info, session)


def _foreign(path: Path, digest: str, session: Session) -> ForeignSegmenter:
    """Returns a network of another package, by its sidecar file or by what is known of its package."""
    adoption = read_sidecar(path, digest) or recognise(path, session)
    if adoption is None:
        raise NetworkFileError(
            f"{path} is ONNX, but has no {METADATA_KEY!r} metadata; `dwnet export` writes it, and `dwnet adopt "
            f"{path.name} --classes FILE` describes a network of another package"
        )
    return ForeignSegmenter.open(path, digest, session, adoption)


def check_same_classes(networks: Iterable[OnnxNetwork]) -> None:
    """Raises NetworkFileError, with both files, unless all networks predict the same classes in the same order."""
    first: OnnxNetwork | None = None
    for network in networks:
        if first is None:
            first = network
        elif network.info.classes != first.info.classes:
            raise NetworkFileError(
                f"{network.info.path} predicts {', '.join(network.info.classes)}; {first.info.path} predicts "
                f"{', '.join(first.info.classes)}; allowed are the same classes in the same order"
            )
