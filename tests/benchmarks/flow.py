"""Cost of FlowNet2's correlation, compared with a loop over 441 shifts, and of every flow estimator per image pair.

    python tests/benchmarks/flow.py > flow.md

Weights are random, because they do not affect the cost. On a CPU a run takes many minutes, and RAFT-large at
1024 x 2048 needs over 16 GB of memory. --quick uses small maps and takes seconds.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from dwnet.flow.base import FlowEstimator
from dwnet.flow.registry import FLOWS, build_flow
from dwnet.ops.correlation import correlation
from tests.benchmarks.measure import described, devices, markdown, side_by_side

REACH = 20
"""FlowNet2's largest displacement, in pixels of the feature map. The step is 2."""


def plain_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Correlation as a loop: one product and one mean for each displacement."""
    height, width = first.shape[-2:]
    padded = F.pad(second, (REACH,) * 4)
    shifts = range(0, 2 * REACH + 1, 2)
    maps = [(first * padded[..., y : y + height, x : x + width]).mean(dim=1) for y in shifts for x in shifts]
    return torch.stack(maps, dim=1)


def correlations(size: tuple[int, int], device: torch.device, rounds: int) -> str:
    """Returns a table of forward and backward at 256 channels, as in FlowNetC."""
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(1, 256, *size, generator=generator).to(device).requires_grad_() for _ in range(2))
    upstream = torch.randn(1, 441, *size, generator=generator).to(device)

    def gradients(function: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(function(first, second), (first, second), upstream)

    variants = {"loop over 441 shifts": plain_correlation, "products along rows": correlation}
    runs = {name: lambda function=function: gradients(function) for name, function in variants.items()}
    measured = side_by_side(runs, rounds=rounds, device=device)
    return markdown(f"correlation, 1 x 256 x {size[0]} x {size[1]}, forward + backward", measured)


def pairs(size: tuple[int, int], device: torch.device, rounds: int, estimators: dict[str, FlowEstimator]) -> str:
    """Returns a table for one pair of images, without gradient. DIS always runs on the CPU."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 1, 3, size[0] // 8, size[1] // 8, generator=generator)
    frame, neighbour = (F.interpolate(image, size=size, mode="bicubic").clamp(0, 1).to(device) for image in coarse)

    def flow(estimator: FlowEstimator) -> Tensor:
        with torch.inference_mode():
            return estimator(frame, neighbour)

    runs = {name: lambda estimator=estimator: flow(estimator) for name, estimator in estimators.items()}
    measured = side_by_side(runs, rounds=rounds, device=device)
    return markdown(f"flow of one {size[1]} x {size[0]} pair", measured)


def main(quick: bool = False, rounds: int = 5, large_rounds: int = 1) -> None:
    """Prints Markdown tables.

    Args:
        quick: use small maps and images, to check that the benchmark runs.
        rounds: number of rounds of each measurement.
        large_rounds: number of rounds of the 1024 x 2048 pairs, which take most of the time.
    """
    for device in devices():
        print(f"{described(device)}\n", flush=True)
        for size in [(8, 8)] if quick else [(48, 64), (96, 96)]:  # of padded 480 x 360 images and of 768 x 768 crops
            print(correlations(size, device, rounds), end="\n\n", flush=True)
        estimators = {name: build_flow(name, weights="none").to(device) for name in FLOWS}
        for size, times in [((64, 64), 1)] if quick else [((360, 480), rounds), ((1024, 2048), large_rounds)]:
            print(pairs(size, device, times, estimators), end="\n\n", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
