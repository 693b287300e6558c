"""Cost of the feature consistency loss (Eq. 4-5), compared with the paper's map of N x N similarities.

    python tests/benchmarks/feature_consistency.py

Forward and backward at N = 96 x 96 = 9216 pixels and 512 channels, and the error against float64 for maps that differ
by a tenth and by a thousandth. --quick uses small maps and takes seconds.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dwnet.method.losses import feature_consistency
from tests.benchmarks.measure import described, devices, markdown, side_by_side


def direct(features: Tensor, warped: Tensor) -> Tensor:
    """Eq. 4-5 as written: two N x N maps of cosine similarities, and their mean squared difference."""
    first, second = (torch.nn.functional.normalize(map_.flatten(2), dim=1) for map_ in (features, warped))
    return (first.transpose(1, 2) @ first - second.transpose(1, 2) @ second).square().mean()


def maps(channels: int, size: tuple[int, int], difference: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Two maps of features after a ReLU, (1, C, H, W). They differ by noise of standard deviation `difference`."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(1, channels, *size, generator=generator)
    second = first + difference * torch.randn(1, channels, *size, generator=generator)
    return first.relu().to(device), second.relu().to(device)


def cost(channels: int, size: tuple[int, int], device: torch.device, rounds: int) -> str:
    """One table of times and memory."""
    features, warped = (map_.requires_grad_() for map_ in maps(channels, size, 0.1, device))
    variants: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "N x N maps": direct,
        "dwnet.method.losses.feature_consistency": feature_consistency,
    }
    runs = {
        name: lambda loss=loss: torch.autograd.grad(loss(features, warped), (features, warped))
        for name, loss in variants.items()
    }
    title = f"{channels} channels, N = {size[0] * size[1]}, forward + backward"
    return markdown(title, side_by_side(runs, rounds=rounds, device=device))


def errors(channels: int, size: tuple[int, int], difference: float, device: torch.device) -> str:
    """Relative errors of loss and gradient against float64."""
    features, warped = maps(channels, size, difference, device)
    double = (features.double().requires_grad_(), warped.double().requires_grad_())
    expected = direct(*double)
    gradient = torch.autograd.grad(expected, double)[0]
    found = (features.requires_grad_(), warped.requires_grad_())
    loss = feature_consistency(*found)
    own = torch.autograd.grad(loss, found)[0]
    loss_error = abs(loss.item() - expected.item()) / expected.item()
    gradient_error = ((own.double() - gradient).norm() / gradient.norm()).item()
    return (
        f"Maps that differ by {difference:g}: relative error against float64 {loss_error:.1e}, of the gradient "
        f"{gradient_error:.1e}."
    )


def main(quick: bool = False, rounds: int = 5) -> None:
    """Prints a table and the errors.

    Args:
        quick: use small maps, to check that the benchmark runs.
        rounds: number of rounds of each measurement.
    """
    channels, size = (16, (12, 12)) if quick else (512, (96, 96))
    for device in devices():
        print(f"{described(device)}\n", flush=True)
        print(cost(channels, size, device, rounds), end="\n\n", flush=True)
        for difference in (1e-1, 1e-3):
            print(errors(channels, size, difference, device), flush=True)


if __name__ == "__main__":
    import tyro  # not needed by gpu.py, which imports parts of this file

    tyro.cli(main)
