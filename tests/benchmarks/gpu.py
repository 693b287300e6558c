"""Measures training and flow on a GPU, and prints one JSON.

    PYTHONPATH=. python tests/benchmarks/gpu.py --output gpu.json

It needs PyTorch with CUDA, torchvision, timm, accelerate, OpenCV, NumPy and this repository; no package of the light
install besides. Sections run one after another. One that fails is reported with its error, and the others go on. The
file is written after every section. --quick runs every section with tiny sizes, on a CPU too; its figures mean nothing.

| section | measures |
|---|---|
| ceilings | a large matrix product and a large copy |
| fg_conv | FG-Conv, the deformable convolution and a loop over the taps |
| feature_loss | Eq. 4-5 and the paper's N x N maps |
| single_frames | cross-entropy training of PSPNet-101, 768 x 768, batch 8: images/s, model FLOP utilisation, kernels |
| pairs | the same for the whole DWNet step |
| precisions | short trainings in float32, bf16 and fp16, and their last losses |
| flows | RAFT and FlowNet2 at 1024 x 2048, DIS on the CPU |
| single_frames_compiled, pairs_compiled | the training steps with torch.compile |
"""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch

from dwnet import __version__
from dwnet.core.files import code_commit
from tests.benchmarks import gpu_sections as measure
from tests.benchmarks.measure import described

Section = Callable[[measure.Setting], dict[str, Any]]

SECTIONS: dict[str, tuple[Section, float]] = {
    "ceilings": (measure.ceilings, 3),
    "fg_conv": (measure.fg_conv, 8),
    "feature_loss": (measure.feature_loss, 4),
    "single_frames": (measure.single_frames, 15),
    "pairs": (measure.pairs, 30),
    "precisions": (measure.precisions, 25),
    "flows": (measure.flows, 12),
    "single_frames_compiled": (partial(measure.single_frames, compiled=True), 50),
    "pairs_compiled": (partial(measure.pairs, compiled=True), 60),
}
"""Each section, and about how many seconds it takes on an H100. A section starts only if so much time is left."""


class OutOfTime(Exception):  # noqa: N818
    """The time limit came while a section ran."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises OutOfTime in the main thread after some seconds."""

    def stop(*_: object) -> None:
        raise OutOfTime(f"stopped by the time limit after {seconds:.0f} s of this section")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.1))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def machine(device: torch.device) -> dict[str, Any]:
    """Returns the machine and the versions."""
    cuda = device.type == "cuda"
    return {
        "device": described(device),
        "gpu_memory_gib": round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1) if cuda else None,
        "cpu_cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "timm": timm.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "dwnet": __version__,
        "commit": code_commit(),
    }


def run(
    names: list[str], setting: measure.Setting, *, time_limit: float, begun: float, save: Callable[[dict], None]
) -> dict[str, Any]:
    """Runs sections in turn.

    Args:
        names: of `SECTIONS`.
        setting: device and sizes.
        time_limit: seconds of the whole script.
        begun: its start, by time.monotonic.
        save: takes the results after each section.

    Returns:
        The results by section, each with its seconds. A section that failed or was left out has "error" instead.
    """
    results: dict[str, Any] = {"machine": machine(setting.device)}
    for name in names:
        section, expected = SECTIONS[name]
        left = time_limit - (time.monotonic() - begun)
        if left < (0 if setting.quick else expected):
            results[name] = {"error": f"left out: takes about {expected:.0f} s, {max(left, 0):.0f} s are left"}
            setting.notes(f"{name} {results[name]['error']}")
            continue
        setting.notes(f"{name} ...")
        start = time.monotonic()
        try:
            with limited(left):
                results[name] = section(setting)
        except Exception as error:  # each library has its own
            results[name] = {"error": measure.first_words(error)}
            setting.notes(f"{name} failed: {results[name]['error']}")
        results[name]["section_seconds"] = round(time.monotonic() - start, 1)
        measure.free(setting.device)
        save(results)
    return results


def main(arguments: list[str] | None = None) -> int:
    """Prints the JSON; the exit status is 1 if a section failed."""
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to check that the script runs")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="names, separated by commas (default: all)")
    parser.add_argument("--time-limit", type=float, default=200, help="seconds; sections that do not fit are left out")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison (default: 5)")
    parser.add_argument("--output", type=Path, help="file for the JSON, written after every section")
    options = parser.parse_args(arguments)
    names = options.sections.split(",")
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        parser.error(f"unknown section {unknown[0]!r}, allowed are {', '.join(SECTIONS)}")
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}, allowed are whole numbers of at least 1")
    if not torch.cuda.is_available() and not options.quick:
        parser.error("no CUDA device was found; on a CPU only --quick runs")

    def note(text: str) -> None:
        print(f"[{time.monotonic() - begun:6.1f} s] {text}", file=sys.stderr, flush=True)

    def save(results: dict) -> None:
        if options.output is not None:
            options.output.write_text(json.dumps(results, indent=1) + "\n")

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    setting = measure.Setting(device=device, quick=options.quick, rounds=options.rounds, notes=note)
    note(described(device))
    results = run(names, setting, time_limit=options.time_limit, begun=begun, save=save)
    results["seconds"] = round(time.monotonic() - begun, 1)
    save(results)
    note("done")
    print(json.dumps(results, indent=1))
    return int(any("error" in value for name, value in results.items() if name in SECTIONS))


if __name__ == "__main__":
    sys.exit(main())
