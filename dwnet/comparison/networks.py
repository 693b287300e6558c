"""The exported networks of a comparison: one per method, all with the same classes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dwnet.core.errors import DWNetError
from dwnet.deploy.runtime import (
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
"""The method that all others are compared with."""
METHOD_ORDER = ("baseline", "keyframe", "static_warp", "dwnet")
"""Display order of the known methods; other methods follow."""


@dataclass(frozen=True)
class Networks:
    """The networks of one comparison; `load_networks` reads them from a folder."""

    segmenters: Mapping[str, OnnxSegmenter]
    """The network of each method, including the baseline. All have the same classes."""
    flow_refinement: OnnxFlowRefinement | None
    """The network that refines the displayed flow; no method uses it at inference."""

    def __post_init__(self) -> None:
        if BASELINE not in self.segmenters:
            raise DWNetError(f"found the methods {', '.join(self.segmenters) or 'none'}; {BASELINE} must be among them")
        check_same_classes(self.segmenters.values())

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by id."""
        return self.segmenters[BASELINE].info.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Colours of the classes by id, RGB 0..255."""
        return self.segmenters[BASELINE].info.palette

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


def load_networks(folder: str | Path, *, threads: int | None = None) -> Networks:
    """Opens every `.onnx` file in a folder.

    Args:
        folder: folder with one network per method, including the baseline, and at most one flow refinement.
        threads: CPU threads of one run; None uses every CPU that this process may use.

    Raises:
        NetworkFileError: for a folder without networks or without the baseline, two files of one method, networks with
            different classes, or a file that is not an exported network.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("*.onnx"))
    if not paths:
        raise NetworkFileError(f"no .onnx file in {folder}; `dwnet export CHECKPOINT` writes one per method")
    segmenters: dict[str, OnnxSegmenter] = {}
    refinement: OnnxFlowRefinement | None = None
    for path in paths:
        network = load_any(path, threads=threads)
        if isinstance(network, OnnxFlowRefinement):
            if refinement is not None:
                raise NetworkFileError(f"{refinement.info.path} and {path} both refine the flow; allowed: one of them")
            refinement = network
        elif isinstance(network, OnnxSegmenter):
            method = network.info.method
            if method in segmenters:
                raise NetworkFileError(
                    f"{segmenters[method].info.path} and {path} are both of method {method!r}; allowed: one of each"
                )
            segmenters[method] = network
    if BASELINE not in segmenters:
        found = ", ".join(segmenters) or "none"
        raise NetworkFileError(f"no network of method {BASELINE!r} in {folder}; found: {found}")
    known = {method: segmenters.pop(method) for method in METHOD_ORDER if method in segmenters}
    return Networks(segmenters=known | segmenters, flow_refinement=refinement)
