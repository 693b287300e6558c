"""The exported networks of a comparison: one per method, all with the same classes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dwnet.core.errors import DWNetError
from dwnet.deploy.runtime import (
    ForeignSegmenter,
    NetworkFileError,
    OnnxFlowRefinement,
    OnnxSegmenter,
    check_same_classes,
    load_any,
)
from dwnet.deploy.smoothing import SmoothedSegmenter, parse_smooth, smoothed_name
from dwnet.flow.dis import dis_flow
from dwnet.flow.registry import FlowFunction

BASELINE = "baseline"
"""Name of the network that all others are compared with, if there is one of this name."""
METHOD_ORDER = ("baseline", "keyframe", "static_warp", "dwnet")
"""Display order of the known methods; other networks follow."""


def baseline_of(names: Iterable[str]) -> str:
    """Returns the name of the network that all others are compared with: `BASELINE`, or the first without it."""
    listed = list(names)
    return BASELINE if BASELINE in listed else listed[0]


@dataclass(frozen=True)
class Networks:
    """The networks of one comparison; `load_networks` reads them from a folder."""

    segmenters: Mapping[str, OnnxSegmenter]
    """The networks by name, at least one. All have the same classes."""
    flow_refinement: OnnxFlowRefinement | None
    """The network that refines the displayed flow; no method uses it at inference."""

    def __post_init__(self) -> None:
        if not self.segmenters:
            raise DWNetError("found no network; a comparison needs one or more")
        check_same_classes(self.segmenters.values())

    @property
    def baseline(self) -> str:
        """Name of the network that all others are compared with: `BASELINE`, or the first if none is called so."""
        return baseline_of(self.segmenters)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by id."""
        return self.segmenters[self.baseline].info.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Colours of the classes by id, RGB 0..255."""
        return self.segmenters[self.baseline].info.palette

    def smoothed(self, smooth: Iterable[str], *, flow: FlowFunction = dis_flow) -> "Networks":
        """Returns these networks, each smoothed one after the network that it smooths.

        Args:
            smooth: the methods to smooth, each ``NAME`` or ``NAME=KEEP`` (`dwnet.deploy.smoothing`).
            flow: computes the flows that a smoothed network is not given.

        Raises:
            DWNetError: for an unknown method, a keep out of range, or a network that cannot be smoothed.
        """
        wanted = parse_smooth(smooth, self.segmenters)
        segmenters: dict[str, OnnxSegmenter] = {}
        for method, network in self.segmenters.items():
            segmenters[method] = network
            for name, keep in wanted:
                if name == method:
                    segmenters[smoothed_name(name, keep)] = SmoothedSegmenter(network.fresh(), keep, flow=flow)
        return replace(self, segmenters=segmenters)


def load_networks(
    folder: str | Path, *, threads: int | None = None, runtime: str = "auto", device: str = "auto"
) -> Networks:
    """Opens every `.onnx` file in a folder: exported networks and adopted ones of other packages.

    A network is called by its method if no other file in the folder has the same method, else by its file's name. An
    adopted network is called by its file's name.

    Args:
        folder: folder with one or more networks of the same classes, and at most one flow refinement.
        threads: CPU threads of one run; None uses every CPU that this process may use.
        runtime: as in `dwnet.load`.
        device: as in `dwnet.load`.

    Raises:
        NetworkFileError: for a folder without networks, networks with different classes, or a file that is no network
            or cannot run.
        RuntimeChoiceError: for a runtime or device that this machine does not have.
    """
    folder = Path(folder)
    # macOS writes files called ._NAME beside the real ones on other file systems.
    paths = sorted(path for path in folder.glob("*.onnx") if not path.name.startswith("."))
    if not paths:
        raise NetworkFileError(f"no .onnx file in {folder}; `dwnet export CHECKPOINT` writes one per method")
    segmenters: list[OnnxSegmenter] = []
    refinement: OnnxFlowRefinement | None = None
    for path in paths:
        network = load_any(path, threads=threads, runtime=runtime, device=device)
        if isinstance(network, OnnxSegmenter):
            segmenters.append(network)
            continue
        if refinement is not None:
            raise NetworkFileError(f"{refinement.info.path} and {path} both refine the flow; allowed: one of them")
        refinement = network
    if not segmenters:
        raise NetworkFileError(f"no network in {folder} labels frames; `dwnet export CHECKPOINT` writes one per method")
    named = _named(segmenters)
    known = {method: named.pop(method) for method in METHOD_ORDER if method in named}
    return Networks(segmenters=known | named, flow_refinement=refinement)


def _named(segmenters: list[OnnxSegmenter]) -> dict[str, OnnxSegmenter]:
    """Returns the networks of a folder by name: the method if it is unique, else the name of the file."""
    methods = [network.info.method for network in segmenters]
    names = [
        network.info.path.stem if methods.count(method) > 1 or isinstance(network, ForeignSegmenter) else method
        for network, method in zip(segmenters, methods, strict=True)
    ]
    if len(set(names)) < len(names):  # a file is called like another file's method
        names = [network.info.path.stem for network in segmenters]
    return dict(zip(names, segmenters, strict=True))
