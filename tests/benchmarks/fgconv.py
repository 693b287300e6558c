"""Cost of FG-Conv (Eq. 2-3), compared with torchvision's deformable convolution, which computes the same.

    python tests/benchmarks/fgconv.py

Forward and backward, 512 channels, a flow for each tap. --quick uses small maps and takes seconds.
"""

from collections.abc import Callable

import torch
import tyro
from torch import Tensor
from torchvision.ops import deform_conv2d

from dwnet.method.fgconv import FlowGuidedConv2d
from tests.benchmarks.measure import described, devices, markdown, side_by_side


def compare(channels: int, size: tuple[int, int], s: int, device: torch.device, rounds: int, *, compiled: bool) -> str:
    """Returns a table of deformable convolution, FG-Conv and compiled FG-Conv, and the difference of their outputs."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, channels, *size, generator=generator).to(device).requires_grad_()
    flow = (3 * torch.randn(1, 2 * s * s, *size, generator=generator)).to(device).requires_grad_()
    upstream = torch.randn(1, channels, *size, generator=generator).to(device)
    fg_conv = FlowGuidedConv2d(channels, kernel_size=s).to(device)
    torch.nn.init.normal_(fg_conv.weight, std=(channels * s * s) ** -0.5)

    def deformable() -> Tensor:
        """The offsets of deform_conv2d are (dy, dx) for each tap."""
        offsets = flow.unflatten(1, (s * s, 2)).flip(2).flatten(1, 2)
        return deform_conv2d(features, offsets, fg_conv.weight, padding=s // 2)

    def gradients(forward: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(forward(), (features, flow, fg_conv.weight), upstream)

    variants: dict[str, Callable[[], Tensor]] = {
        "torchvision.ops.deform_conv2d": deformable,
        "FlowGuidedConv2d": lambda: fg_conv(features, flow)[0],
    }
    if compiled:
        graph = torch.compile(fg_conv)
        variants["FlowGuidedConv2d, torch.compile"] = lambda: graph(features, flow)[0]
    runs = {name: lambda forward=forward: gradients(forward) for name, forward in variants.items()}
    table = markdown(
        f"{channels} channels, {size[0]} x {size[1]}, s = {s}, forward + backward",
        side_by_side(runs, rounds=rounds, device=device),
    )
    with torch.no_grad():
        expected = deformable()
        apart = max(((forward() - expected).abs().max() / expected.abs().max()).item() for forward in variants.values())
    return f"{table}\n\nLargest difference of the outputs: {apart:.1e} of the largest value."


def main(quick: bool = False, rounds: int = 7, compiled: bool = True) -> None:
    """Prints Markdown tables.

    Args:
        quick: use small maps, to check that the benchmark runs.
        rounds: number of rounds of each measurement.
        compiled: measure `torch.compile` too, which compiles for a minute.
    """
    for device in devices():
        print(f"{described(device)}\n", flush=True)
        channels, sizes = (64, [(6, 8)]) if quick else (512, [(45, 60), (96, 96)])
        for size in sizes:
            for s in (1, 3):
                print(compare(channels, size, s, device, rounds, compiled=compiled), end="\n\n", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
