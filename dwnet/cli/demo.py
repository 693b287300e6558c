"""`dwnet demo`: the comparison page."""

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import tyro

from dwnet.core.errors import DWNetError


@dataclass(frozen=True)
class PageOptions:
    """Options of the comparison page."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in."""
    port: int | None = None
    """Port to listen on; default: the first free one from 7860."""
    browser: bool = True
    """Open the page in the browser."""
    models: Path | None = None
    """Folder of exported networks (.onnx); default: the bundled ones."""
    smooth: tuple[str, ...] = ()
    """Also show these methods with their class probabilities averaged along the flow at run time, each NAME or
    NAME=KEEP; KEEP is the weight of the past, 0 to below 1, default 0.5."""
    clip: Path | None = None
    """Clip that is selected at the start; default: the bundled one."""
    max_mb: int = 500
    """Largest upload, in megabytes."""
    max_pixels: int | None = None
    """Largest number of pixels of a frame of a clip; default: 40 million, which allows 8192 x 4320."""
    max_memory_mb: int | None = None
    """Largest memory in MiB for decoding a clip, estimated from its header; default: 4096."""
    threads: int | None = None
    """CPU threads for each network; default: all."""


def demo(page: tyro.conf.OmitArgPrefixes[PageOptions]) -> None:
    """Open the comparison page in the browser, and serve it until Ctrl+C."""
    # In a clone the page is the package app/ beside this one. In a wheel it is inside this one.
    for name in ("dwnet.app", "app"):
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(f"{name}.__main__").serve(page)
            return
    raise DWNetError("the page is not installed; it is in app/ of a clone, and in every wheel")
