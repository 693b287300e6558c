"""Time of training steps with and without keeping the memory that PyTorch frees (`train.engine.build`).

    python tests/benchmarks/memory.py

Each round trains a few steps of DWNet on random images in a separate process, because the glibc setting cannot be
reset: PSPNet (256 channels) on EfficientNet-Lite0, 288 x 288, pairs in batches of 8. The script prints seconds and page
faults per step, and the ratio of the times of each round.
"""

import json
import resource
import statistics
import subprocess
import sys
import time

import torch
import tyro

from dwnet.method.specs import method_spec
from dwnet.segmentation import NetworkSpec
from train.engine.build import _keep_freed_memory


def steps(kept: bool, count: int, batch_size: int, side: int) -> dict[str, float]:
    """Returns the mean seconds and page faults of `count` steps, after one warm-up step."""
    if kept:
        _keep_freed_memory()
    torch.manual_seed(0)
    method = method_spec("dwnet").build(NetworkSpec(channels=256).build(11)).train()
    method.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(method.parameters(), lr=1e-4, momentum=0.9)
    batch = {
        "frame": torch.rand(batch_size, 3, side, side),
        "neighbour": torch.rand(batch_size, 3, side, side),
        "labels": torch.randint(11, (batch_size, side, side)),
        "coarse_flow": torch.zeros(batch_size, 2, side, side),
    }
    start, faults = 0.0, 0
    for index in range(count + 1):
        if index == 1:
            start, faults = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        method(batch)["total"].backward()
        optimiser.step()
        optimiser.zero_grad()
    seconds = (time.perf_counter() - start) / count
    return {"seconds": seconds, "faults": (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / count}


def main(
    rounds: int = 3, count: int = 4, batch_size: int = 8, side: int = 288, only: str = "", quick: bool = False
) -> None:
    """Prints the measurements.

    Args:
        rounds: number of rounds with and without kept memory.
        count: steps in a round.
        batch_size: pairs in a step.
        side: side of a crop, in pixels.
        only: "given_back" or "kept": runs one round of this kind and prints JSON; used for the subprocesses.
        quick: one round of small steps, to check that the benchmark runs.
    """
    if quick:
        rounds, count, batch_size, side = 1, 1, 2, 64
    if only:
        print(json.dumps(steps(only == "kept", count, batch_size, side)))
        return
    found: dict[str, list[dict[str, float]]] = {"given_back": [], "kept": []}
    options = ["--count", str(count), "--batch-size", str(batch_size), "--side", str(side)]
    for _ in range(rounds):
        for name, results in found.items():
            run = subprocess.run([sys.executable, __file__, *options, "--only", name], capture_output=True, check=True)
            results.append(json.loads(run.stdout.splitlines()[-1]))
    print(f"{torch.get_num_threads()} thread(s), torch {torch.__version__}\n")
    for name, results in found.items():
        seconds, faults = (statistics.median(one[key] for one in results) for key in ("seconds", "faults"))
        print(f"{name.replace('_', ' ')}: {seconds:.2f} s a step, {faults:.0f} page faults")
    ratios = [kept["seconds"] / back["seconds"] for kept, back in zip(found["kept"], found["given_back"], strict=True)]
    print(f"kept / given back: {statistics.median(ratios):.2f} (rounds: {', '.join(f'{r:.2f}' for r in ratios)})")


if __name__ == "__main__":
    tyro.cli(main)
