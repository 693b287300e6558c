"""The columns of a comparison: which network each one runs, smoothed or not, and its name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dwnet.comparison import BASELINE, Networks
from dwnet.core.class_files import read_class_file
from dwnet.core.errors import DWNetError
from dwnet.deploy.adopt import adopt
from dwnet.deploy.adoption import sidecar_path
from dwnet.deploy.runtime import NetworkFileError, OnnxSegmenter, load_any
from dwnet.deploy.smoothing import SmoothedSegmenter, smoothed_name
from dwnet.flow.registry import flow_function

from .style import method_name

MOST_COLUMNS = 4
MOST_ADDED = 4
"""Largest number of networks that one visitor can add. Each stays in memory as long as the page is open."""
LONGEST_NAME = 40
PAGE_FLOWS = ("dis", "farneback")
"""Flows that need neither PyTorch nor weights."""


@dataclass(frozen=True)
class Column:
    """The choice of one column."""

    model: str | None
    """Name of the network; None leaves the column out."""
    keep: float = 0.0
    """Weight of the past in the run-time average, 0 to below 1; 0 does not smooth."""
    name: str = ""
    """Name of the column; empty uses the network's."""


@dataclass
class Models:
    """The networks that a visitor can choose: those of the server and those that the visitor added."""

    networks: Networks
    added: dict[str, dict[str, OnnxSegmenter]] = field(default_factory=dict)
    """Networks by name, for each page (Gradio session)."""

    def available(self, page: str) -> dict[str, OnnxSegmenter]:
        """Returns the networks of a page by name."""
        return dict(self.networks.segmenters) | self.added.get(page, {})

    def defaults(self) -> list[Column]:
        """Returns the columns that are chosen at the start, always `MOST_COLUMNS` of them."""
        chosen = [Column(model) for model in list(self.networks.segmenters)[:MOST_COLUMNS]]
        return chosen + [Column(None)] * (MOST_COLUMNS - len(chosen))

    def compared(self, page: str, columns: Sequence[Column], flow: str) -> Networks:
        """Returns the networks of the columns. The first one is the reference.

        Raises:
            DWNetError: for no column, an unknown network, a wrong name, or networks with different classes.
        """
        available = self.available(page)
        filled = [column for column in columns if column.model]
        if not filled:
            raise DWNetError("no column has a network; choose one or more under Settings")
        segmenters: dict[str, OnnxSegmenter] = {}
        for place, column in enumerate(filled):
            if column.model not in available:
                raise DWNetError(f"unknown network {column.model}; allowed: {', '.join(available)}")
            name = _free_name(_column_name(column, first=place == 0), segmenters)
            network = available[str(column.model)].fresh()
            if column.keep:
                network = SmoothedSegmenter(network, float(column.keep), flow=flow_function(flow))
            segmenters[name] = network
        return Networks(segmenters, self.networks.flow_refinement)

    def add(self, page: str, files: Sequence[Path]) -> str:
        """Opens a network that a visitor has uploaded, and returns its name.

        Args:
            page: the visitor's page.
            files: one `.onnx` file, and for a network of another package a classes file or a sidecar of `dwnet adopt`.

        Raises:
            DWNetError: for other files, a network that cannot be used, or too many networks.
        """
        own = self.added.setdefault(page, {})
        if len(own) >= MOST_ADDED:
            raise DWNetError(f"{len(own)} networks were added; allowed are {MOST_ADDED} for each visitor")
        models = [file for file in files if file.suffix.lower() == ".onnx"]
        others = [file for file in files if file not in models]
        if len(models) != 1 or len(others) > 1:
            names = ", ".join(file.name for file in files) or "no file"
            raise DWNetError(f"found {names}; allowed are one .onnx file and, beside it, one classes file")
        network = _opened(models[0], others[0] if others else None)
        name = _free_name(models[0].stem[:LONGEST_NAME], self.available(page))
        own[name] = network
        return name

    def leave(self, page: str) -> None:
        """Frees the networks that a visitor added."""
        self.added.pop(page, None)


def _opened(model: Path, beside: Path | None) -> OnnxSegmenter:
    """Opens a network. `beside`: a classes file, or a sidecar that `dwnet adopt` wrote."""
    if beside is not None and _is_sidecar(beside):
        sidecar_path(model).write_bytes(beside.read_bytes())
        beside = None
    if beside is not None:
        return adopt(model, read_class_file(beside)).network
    try:
        network = load_any(model)
    except NetworkFileError as error:
        if "`dwnet adopt" in str(error):  # a valid network of another package
            raise NetworkFileError(
                f"{model.name} does not name its classes; choose its classes file together with it"
            ) from error
        raise
    if not isinstance(network, OnnxSegmenter):
        raise NetworkFileError(f"{model.name} refines the flow; allowed is a network that labels frames")
    return network


def _is_sidecar(path: Path) -> bool:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, OSError):
        return False
    return isinstance(content, dict) and "sha256" in content


def _column_name(column: Column, *, first: bool) -> str:
    """Returns the name of a column, checked."""
    name = " ".join(column.name.split())
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise DWNetError(f"the name of a column has {len(name)} characters; allowed are {LONGEST_NAME} printable ones")
    if not name:
        model = str(column.model)
        name = smoothed_name(model, column.keep) if column.keep else model
    # A network called `BASELINE` is the reference wherever it stands. Here the first column is.
    return method_name(name) if name == BASELINE and not first else name


def _free_name(name: str, taken: Mapping[str, object]) -> str:
    """Returns the name, with a number if it is taken."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name} {number}", number + 1
    return found
