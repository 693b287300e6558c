"""Cost of a DWNet training step on a pair, compared with two single-frame steps of the same network, and of its parts.

    python tests/benchmarks/pair_step.py

PSPNet-50 at output stride 8, 768 x 768 crops, batch 1 on a CPU and 4 on a GPU, forward and backward, with a given flow.
Batch norm uses its running statistics, because a single image has no batch statistics in the pyramid's 1 x 1 bin.
--quick uses small crops and takes seconds.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dwnet.flow.base import FlowEstimator
from dwnet.method.losses import feature_consistency, occlusion_weight, prediction_consistency
from dwnet.method.specs import method_spec
from dwnet.method.training import DWNetMethod
from dwnet.ops.resize import resize, resize_flow
from dwnet.segmentation import NetworkSpec
from tests.benchmarks.measure import described, devices, markdown, side_by_side


class GivenFlow(FlowEstimator):
    """Returns a given flow. The cost of flow estimators is measured in flow.py."""

    def __init__(self, flow_px: Tensor) -> None:
        super().__init__()
        self.flow_px = flow_px

    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:
        """(B, 2, H, W) pixels."""
        return self.flow_px


def batch_of(batch: int, crop: int, classes: int, device: torch.device) -> dict[str, Any]:
    """Random frames, neighbours and labels."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(2, batch, 3, crop, crop, generator=generator).to(device, memory_format=torch.preserve_format)
    labels = torch.randint(classes, (batch, crop, crop), generator=generator).to(device)
    layout = torch.channels_last
    return {
        "frame": frames[0].contiguous(memory_format=layout),
        "neighbour": frames[1].contiguous(memory_format=layout),
        "labels": labels,
    }


def backward(module: nn.Module, loss: Callable[[], Tensor]) -> None:
    """One forward and backward pass; gradients are dropped."""
    loss().backward()
    module.zero_grad(set_to_none=True)


def steps(network: NetworkSpec, crop: int, batch: int, device: torch.device, rounds: int) -> str:
    """Returns the table of the steps and the table of DWNet's parts."""
    classes = 19
    data = batch_of(batch, crop, classes, device)
    generator = torch.Generator().manual_seed(1)
    flow = resize(torch.randn(batch, 2, 6, 6, generator=generator) * 8, (crop, crop)).to(device)

    segmenter = network.build(classes)
    baseline = method_spec("baseline").build(segmenter)
    method = method_spec("dwnet").build(segmenter)
    assert isinstance(method, DWNetMethod)
    method.flow = GivenFlow(flow)
    for module in (baseline, method):
        module.to(device, memory_format=torch.channels_last).train()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
    neighbour = {**data, "frame": data["neighbour"]}

    def two_single_steps() -> None:
        for frames in (data, neighbour):
            backward(baseline, lambda frames=frames: baseline(frames)["total"])

    def pair_step() -> None:
        backward(method, lambda: method(data)["total"])

    title = f"{network.segmenter}, {network.backbone}, {crop} x {crop}, batch {batch}, forward + backward"
    whole = {"two single-frame steps": two_single_steps, "one DWNet pair step": pair_step}
    return (
        markdown(title, side_by_side(whole, rounds=rounds, device=device))
        + "\n\n"
        + markdown("of that, alone", side_by_side(parts(method, data, flow, classes), rounds=rounds, device=device))
    )


def parts(method: DWNetMethod, data: dict[str, Any], flow: Tensor, classes: int) -> dict[str, Callable[[], object]]:
    """Returns the parts that a pair step has in addition to two single-frame steps, each forward and backward."""
    refinement, fg_conv = method.network.refinement, method.network.fg_conv
    assert refinement is not None
    assert fg_conv is not None
    segmenter = method.segmenter
    batch, crop = flow.shape[0], flow.shape[-1]
    side = crop // segmenter.stride
    shape = (batch, segmenter.channels, side, side)
    features, warped = (torch.randn(shape, device=flow.device).requires_grad_() for _ in range(2))
    logits, other = (torch.randn(batch, classes, side, side, device=flow.device).requires_grad_() for _ in range(2))
    flow_on_map = resize_flow(flow, (side, side)).repeat(1, fg_conv.kernel_size**2, 1, 1).requires_grad_()
    size = (crop, crop)

    def refine() -> None:
        backward(refinement, lambda: refinement(data["frame"], data["neighbour"], flow).square().mean())

    def warp() -> None:
        backward(fg_conv, lambda: fg_conv(features, flow_on_map)[0].square().mean())

    def feature_loss() -> None:
        backward(method, lambda: feature_consistency(features, warped))

    def prediction_loss() -> None:
        weight, valid = occlusion_weight(data["frame"], data["neighbour"], flow)
        backward(
            method,
            lambda: prediction_consistency(resize(logits, size), resize(other, size), weight=weight, valid=valid),
        )

    return {
        "FG-Conv (Eq. 2-3)": warp,
        "FRM (section 3.2)": refine,
        "feature consistency (Eq. 4-5)": feature_loss,
        "prediction consistency (Eq. 6-7)": prediction_loss,
    }


def main(quick: bool = False, rounds: int = 5, backbone: str = "resnet50") -> None:
    """Prints two Markdown tables for each device.

    Args:
        quick: use MobileNetV2 on small crops, to check that the benchmark runs.
        rounds: number of rounds of each measurement.
        backbone: backbone of the PSPNet.
    """
    for device in devices():
        print(f"{described(device)}\n", flush=True)
        if quick:
            print(steps(NetworkSpec(backbone="mobilenetv2", channels=64), 64, 1, device, rounds), flush=True)
        else:
            network = NetworkSpec(backbone=backbone, output_stride=8)
            print(steps(network, 768, 4 if device.type == "cuda" else 1, device, rounds), end="\n\n", flush=True)


if __name__ == "__main__":
    import tyro  # not needed by gpu.py, which imports parts of this file

    tyro.cli(main)
