"""Side-by-side measurement in one process. Variants take turns, so that other load on the machine affects all of them.

Time is wall-clock time, with the GPU synchronised before and after. Memory is the peak of PyTorch's allocator above the
start: on a GPU `torch.cuda.max_memory_allocated`, on a CPU the allocations that PyTorch's profiler reports. Memory that
libraries allocate themselves (MKL, cuDNN outside the allocator, OpenCV) is not included.
"""

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

Run = Callable[[], object]

PEAK_TFLOPS = {
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H200": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "A10G": 70.0,
}
"""Peak of dense bf16 in TFLOP/s, from the manufacturer's data sheets, by a part of the card's name."""


@dataclass(frozen=True)
class Measured:
    """Measurements of one variant."""

    name: str
    median_ms: float
    ratio: float
    """Time relative to the first variant: median of the ratios of all rounds."""
    peak_mib: float
    """Peak memory above the start, in MiB."""


def side_by_side(variants: Mapping[str, Run], *, rounds: int, device: torch.device) -> list[Measured]:
    """Measures variants in turns. The first one is the reference of the ratios.

    Args:
        variants: by name. Each is run once to measure memory and to warm up, and then once in every round.
        rounds: number of rounds.
        device: device that the variants run on.
    """
    if not variants or rounds < 1:
        raise ValueError(f"measuring needs a variant and a round, found {len(variants)} and {rounds}")
    peaks = {name: peak_bytes(run, device) for name, run in variants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            seconds[name].append(_seconds(run, device))
    first = next(iter(seconds.values()))
    return [
        Measured(
            name=name,
            median_ms=1000 * statistics.median(times),
            ratio=statistics.median(own / base for own, base in zip(times, first, strict=True)),
            peak_mib=peaks[name] / 2**20,
        )
        for name, times in seconds.items()
    ]


def peak_bytes(run: Run, device: torch.device) -> int:
    """Returns the peak memory that PyTorch allocated on the device during `run`, above the memory before it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with tempfile.TemporaryDirectory() as folder:
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            run()
        trace = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = [event for event in events if event.get("name") == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: float(event["ts"])):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


def markdown(title: str, measured: list[Measured]) -> str:
    """Returns a Markdown table of the results of `side_by_side`."""
    lines = [f"| {title} | median ms | ratio | peak MiB |", "|---|---|---|---|"]
    lines += [f"| {m.name} | {m.median_ms:.1f} | {m.ratio:.3f} | {m.peak_mib:.0f} |" for m in measured]
    return "\n".join(lines)


def peak_tflops_of(name: str) -> float | None:
    """Returns the peak of dense bf16 in TFLOP/s of a GPU with this name; None if it is not in `PEAK_TFLOPS`."""
    return next((value for key, value in PEAK_TFLOPS.items() if key in name), None)


def devices() -> list[torch.device]:
    """Returns the devices to measure on: the CPU, and the GPU if there is one."""
    return [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else [])


def described(device: torch.device) -> str:
    """Returns the name of the device and the version of PyTorch."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    names = [
        line.partition(":")[2].strip()
        for line in (Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else [])
        if line.startswith("model name")
    ]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def _seconds(run: Run, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
