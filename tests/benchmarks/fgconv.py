"""Cost of FG-Conv (Eq. 2-3), compared with torchvision's deformable convolution and a loop over its taps.

    python tests/benchmarks/fgconv.py

Forward and backward, 512 channels, a flow for each tap. --quick uses small maps and takes seconds.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

from dwnet.method.fgconv import FlowGuidedConv2d
from dwnet.ops.warp import pixel_grid
from tests.benchmarks.measure import described, devices, markdown, side_by_side


def looped(features: Tensor, flow_px: Tensor, weight: Tensor) -> Tensor:
    """Eq. 2-3 as published code writes such an operator: one sampling and one 1x1 convolution for each tap."""
    s, (height, width) = weight.shape[-1], features.shape[-2:]
    grid = pixel_grid(height, width, device=features.device)
    scale = torch.tensor((2 / width, 2 / height), device=features.device)
    total = torch.zeros_like(features)
    for tap in range(s * s):
        y, x = divmod(tap, s)
        p = torch.tensor((x - s // 2, y - s // 2), device=features.device)[:, None, None]
        positions = (grid + p + flow_px[:, 2 * tap : 2 * tap + 2]).permute(0, 2, 3, 1)
        sampled = F.grid_sample(features, (positions + 0.5) * scale - 1, align_corners=False)
        total = total + F.conv2d(sampled, weight[:, :, y, x, None, None])
    return total


def forwards(fg_conv: FlowGuidedConv2d, features: Tensor, flow_px: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Returns three computations of the same FG-Conv; torchvision's is the first."""
    s = fg_conv.kernel_size

    def deformable() -> Tensor:
        """The offsets of deform_conv2d are (dy, dx) for each tap."""
        offsets = flow_px.unflatten(1, (s * s, 2)).flip(2).flatten(1, 2)
        return deform_conv2d(features, offsets, fg_conv.weight, padding=s // 2)

    return {
        "torchvision.ops.deform_conv2d": deformable,
        "a loop over the taps": lambda: looped(features, flow_px, fg_conv.weight),
        "FlowGuidedConv2d": lambda: fg_conv(features, flow_px)[0],
    }


def compare(channels: int, size: tuple[int, int], s: int, device: torch.device, rounds: int, *, compiled: bool) -> str:
    """Returns a table of deformable convolution, FG-Conv and compiled FG-Conv, and the difference of their outputs."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, channels, *size, generator=generator).to(device).requires_grad_()
    flow = (3 * torch.randn(1, 2 * s * s, *size, generator=generator)).to(device).requires_grad_()
    upstream = torch.randn(1, channels, *size, generator=generator).to(device)
    fg_conv = FlowGuidedConv2d(channels, kernel_size=s).to(device)
    torch.nn.init.normal_(fg_conv.weight, std=(channels * s * s) ** -0.5)

    def gradients(forward: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(forward(), (features, flow, fg_conv.weight), upstream)

    variants = forwards(fg_conv, features, flow)
    if compiled:
        graph = torch.compile(fg_conv)
        variants["FlowGuidedConv2d, torch.compile"] = lambda: graph(features, flow)[0]
    runs = {name: lambda forward=forward: gradients(forward) for name, forward in variants.items()}
    table = markdown(
        f"{channels} channels, {size[0]} x {size[1]}, s = {s}, forward + backward",
        side_by_side(runs, rounds=rounds, device=device),
    )
    with torch.no_grad():
        expected = variants["torchvision.ops.deform_conv2d"]()
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
    import tyro  # not needed by gpu.py, which imports parts of this file

    tyro.cli(main)
