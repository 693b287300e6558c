"""`dwnet demo`: the comparison page."""

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from dwnet.core.errors import DWNetError
from dwnet.deploy.runtime_names import DeviceName, RuntimeName


@dataclass(frozen=True)
class PageOptions:
    """Options of the comparison page."""

    host: str | None = None
    """Address to listen on; 0.0.0.0 lets other machines in. Default: the environment variable GRADIO_SERVER_NAME, else
    127.0.0.1."""
    port: int | None = None
    """Port to listen on; default: the environment variable GRADIO_SERVER_PORT, else the first free one from 7860."""
    root_path: str | None = None
    """Path of the page behind a proxy that removes it, such as /dwnet; default: the environment variable
    GRADIO_ROOT_PATH, else none."""
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
    decoder: Literal["pyav", "decord"] = "pyav"
    """Decoder of the pixels. decord reads MP4, Matroska and FLV; FFmpeg checks every frame beside it, and decodes the
    clips and frames in which decord is not exact. Reduced frames differ by some grey levels between the two, and so do
    the labels."""
    max_minutes: float = 60
    """Longest clip, in minutes."""
    max_waiting: int = 10
    """Largest number of comparisons that wait while one runs."""
    max_disk_mb: int = 10_000
    """Largest total size of uploads and results, in MB; the least recently used ones are removed first."""
    keep_hours: float = 6
    """Uploads and results that were not used for so many hours are removed. All are removed when the page ends."""
    upload_models: Literal["auto", "yes", "no"] = "auto"
    """Whether visitors may upload networks; auto: only if the address is one of this machine alone."""
    threads: int | None = None
    """CPU threads for each network; default: all."""
    runtime: RuntimeName = "auto"
    """Runtime of the networks: onnxruntime, openvino (extra openvino), or auto, the fastest that is installed."""
    device: DeviceName = "auto"
    """Device of the networks: cpu, cuda, tensorrt, coreml or directml (builds of ONNX Runtime), gpu (OpenVINO), or
    auto."""


def demo(page: tyro.conf.OmitArgPrefixes[PageOptions]) -> None:
    """Open the comparison page in the browser, and serve it until Ctrl+C."""
    # In a clone the page is the package app/ beside this one. In a wheel it is inside this one.
    for name in ("dwnet.app", "app"):
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(f"{name}.__main__").serve(page)
            return
    raise DWNetError("the page is not installed; it is in app/ of a clone, and in every wheel")
