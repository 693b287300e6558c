"""Runs every benchmark that the documentation quotes; prints Markdown and writes Markdown and JSON.

    python -m tests.benchmarks --output benchmarks

Each benchmark is a process of its own, one after another. Ratios compare variants in one process and are medians of
interleaved rounds. The whole run takes hours on two cores; --only chooses benchmarks. --quick checks in minutes that
every benchmark runs; its figures mean nothing. The exit status is 1 if a benchmark failed. benchmarks.json holds, for
each benchmark, its command, its seconds, its printed tables (columns and rows) and its other lines.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from dwnet.core.files import code_commit
from dwnet.core.launch import available_cpus
from tests.benchmarks.measure import described, devices

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "onnxruntime", "openvino", "av")


@dataclass(frozen=True)
class Benchmark:
    """One script of this folder.

    Attributes:
        options: for the figures of the documentation.
        quick: for a run of seconds.
        needs: environment variable whose value is put in place of {} in the options; the script is left out without it.
        gpu: the script is left out without a GPU.
    """

    options: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)
    needs: str = ""
    gpu: bool = False


BENCHMARKS: Mapping[str, Benchmark] = {
    "fgconv": Benchmark(quick=("--quick", "--rounds", "2", "--no-compiled")),
    "feature_consistency": Benchmark(),
    "flow": Benchmark(quick=("--quick", "--rounds", "2")),
    "pair_step": Benchmark(quick=("--quick", "--rounds", "2")),
    "training": Benchmark(options=("--rounds", "2"), quick=("--quick", "--rounds", "1")),
    "memory": Benchmark(options=("--count", "2")),
    "street": Benchmark(),
    "flicker": Benchmark(options=("1000",)),
    "comparison": Benchmark(),
    "flow_refinement": Benchmark(),
    "flicker_correlation": Benchmark(options=("{}/val",), quick=("{}/val",), needs="DWNET_CAMVID"),
    "gpu": Benchmark(gpu=True),
}
"""Every benchmark, by the name of its file, in the order in which they run."""


def machine() -> dict[str, Any]:
    """Returns the machine, its load, and the versions."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "devices": [described(device) for device in devices()],
        "cores": available_cpus(),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": code_commit(),
        "versions": versions,
    }


def left_out(benchmark: Benchmark) -> str:
    """Returns why a benchmark cannot run here; empty if it can."""
    if benchmark.gpu and not torch.cuda.is_available():
        return "needs a GPU"
    if benchmark.needs and not os.environ.get(benchmark.needs):
        return f"needs the variable {benchmark.needs}"
    return ""


def command(name: str, *, quick: bool) -> list[str]:
    """Returns the command of a benchmark, from "python" on."""
    benchmark = BENCHMARKS[name]
    value = os.environ.get(benchmark.needs, "") if benchmark.needs else ""
    options = benchmark.quick if quick else benchmark.options
    return ["python", f"tests/benchmarks/{name}.py", *(option.replace("{}", value) for option in options)]


def run(name: str, *, quick: bool, timeout: float | None) -> dict[str, Any]:
    """Runs one benchmark and returns its results. What it writes to stderr appears on stderr.

    Args:
        name: of `BENCHMARKS`.
        quick: use the options for a run of seconds.
        timeout: seconds after which it is ended.

    Returns:
        "command", "seconds", "tables" and "lines", or "left_out", with "error" if it failed or printed nothing.
    """
    told = " ".join(command(name, quick=quick))
    reason = left_out(BENCHMARKS[name])
    if reason:
        return {"command": told, "left_out": reason}
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    process = subprocess.Popen(
        [sys.executable, *command(name, quick=quick)[1:]], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        printed, _ = process.communicate(timeout=timeout)
        error = f"ended with {process.returncode}" if process.returncode else "" if printed else "printed nothing"
    except subprocess.TimeoutExpired:
        process.kill()
        printed, _ = process.communicate()
        error = f"ended after {timeout:g} s"
    tables, lines = parsed(printed)
    result = {"command": told, "seconds": round(time.perf_counter() - start, 1), "tables": tables, "lines": lines}
    return result | ({"error": error} if error else {})


def parsed(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Splits Markdown into its tables and its other lines.

    Returns:
        Tables as {"columns": [...], "rows": [[...], ...]}, with numbers as numbers, and the lines that are not empty.
    """
    tables: list[dict[str, Any]] = []
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        row = line.startswith("|")
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not row:
            lines += [line] if line.strip() else []
        elif not inside:
            tables.append({"columns": cells, "rows": []})
        elif not set("".join(cells)) <= set("-: "):
            tables[-1]["rows"].append([_number(cell) for cell in cells])
        inside = row
    return tables, lines


def _number(cell: str) -> float | str:
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return cell


def markdown(results: Mapping[str, Any]) -> str:
    """Returns the results as one Markdown page."""
    about = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    parts = [
        f"# Benchmarks{' (quick: the figures mean nothing)' if results['quick'] else ''}",
        f"{'; '.join(about['devices'])}. {about['cores']} cores, load {about['load']} at the start. {about['system']}, "
        f"Python {about['python']}, {versions}. Commit {about['commit']}, {about['time']}.",
    ]
    for name, result in results["benchmarks"].items():
        parts += [f"## {name}", f"`{result['command']}`"]
        if "left_out" in result:
            parts.append(f"Left out: {result['left_out']}.")
            continue
        parts += [f"Failed: {result['error']}."] if "error" in result else []
        for table in result["tables"]:
            rows = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
            parts.append("\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows))
        parts += ["\n".join(result["lines"])] if result["lines"] else []
    return "\n\n".join(parts) + "\n"


def _cell(cell: float | str) -> str:
    return f"{cell:g}" if isinstance(cell, float) else cell


def measured(names: list[str], *, quick: bool, timeout: float | None, save: Callable[[dict], None]) -> dict[str, Any]:
    """Runs benchmarks in turn; `save` takes all results after each of them."""
    results: dict[str, Any] = {"machine": machine(), "quick": quick, "benchmarks": {}}
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results["benchmarks"][name] = run(name, quick=quick, timeout=timeout)
        save(results)
    return results


def main(arguments: list[str] | None = None) -> int:
    """Prints the page; returns 1 if a benchmark failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to check that the benchmarks run")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), metavar="NAME", help="benchmarks to run")
    parser.add_argument("--timeout", type=float, help="seconds after which a benchmark is ended (default: none)")
    parser.add_argument("--output", type=Path, help="folder of benchmarks.md and benchmarks.json (default: none)")
    options = parser.parse_args(arguments)

    def save(results: dict) -> None:
        if options.output is not None:
            options.output.mkdir(parents=True, exist_ok=True)
            (options.output / "benchmarks.json").write_text(json.dumps(results, indent=1) + "\n")
            (options.output / "benchmarks.md").write_text(markdown(results))

    results = measured(options.only or list(BENCHMARKS), quick=options.quick, timeout=options.timeout, save=save)
    print(markdown(results))
    failed = [name for name, result in results["benchmarks"].items() if "error" in result]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
