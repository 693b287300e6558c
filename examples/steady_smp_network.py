"""Makes a network of segmentation_models_pytorch steadier with DWNet, saves its own weights and exports it as ONNX.

    python examples/steady_smp_network.py --steps 8 --output runs/steady_unet

The example trains a U-Net on pairs of frames of the rendered street. For your own network replace `network`, for your
own data replace `pairs`. It writes network.pt, the state dict of the U-Net, and network.onnx for `dwnet compare` and
`dwnet flicker`. It needs the extra `train` and segmentation_models_pytorch.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from torch.utils.data import default_collate

from dwnet.adapters import adapt
from dwnet.data import CAMVID_11
from dwnet.data.pairs import PairSample, make_sample
from dwnet.deploy.export import export_segmenter
from dwnet.method import DWNetSpec
from dwnet.street import StreetScene


def pairs(count: int, size: tuple[int, int]) -> Iterator[PairSample]:
    """Yields `count` labelled frames of a rendered street, each with the frame three frames later.

    Args:
        count: number of pairs.
        size: (width, height) in pixels.
    """
    street = StreetScene(seed=0, width=size[0], height=size[1])
    for index in range(count):
        frame, neighbour = street.render(4 * index), street.render(4 * index + 3)
        yield make_sample(
            name="street",
            index=index,
            frame=frame.image,
            labels=frame.labels,
            neighbour=neighbour.image,
            offset=3,
        )


def main() -> None:
    """Trains the network for a few steps, saves it and exports it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/steady_unet"), help="folder of the two files")
    parser.add_argument("--weights", type=Path, help="state dict of the U-Net to start from; default: random weights")
    parser.add_argument("--steps", type=int, default=8, help="training steps of two pairs each")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 192), metavar=("WIDTH", "HEIGHT"))
    options = parser.parse_args()

    network = smp.Unet("resnet18", encoder_weights=None, classes=len(CAMVID_11))
    if options.weights is not None:
        network.load_state_dict(torch.load(options.weights, weights_only=True))
    segmenter = adapt(network)
    method = DWNetSpec().build(segmenter).train()
    optimiser = torch.optim.AdamW(method.parameters(), lr=1e-4)
    samples = list(pairs(2 * options.steps, tuple(options.size)))
    for step in range(options.steps):
        losses = method(default_collate(samples[2 * step : 2 * step + 2]))
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        print(f"step {step + 1}: " + ", ".join(f"{name} {float(loss.detach()):.4f}" for name, loss in losses.items()))

    options.output.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), options.output / "network.pt")
    report = export_segmenter(segmenter.eval(), options.output / "network.onnx", classes=CAMVID_11)
    print(f"{report.path}: {report.bytes / 1e6:.1f} MB, differs from PyTorch by {report.stored_difference:.1e}")


if __name__ == "__main__":
    main()
