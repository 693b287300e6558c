"""Training with its loader: our step compared with a plain loop, the time spent waiting for data, and GPU utilisation.

    python tests/benchmarks/training.py

The plain loop is `plain_loop.py`, in the style of the published trainer of ETC (Liu et al., 2020). Network, flow
estimator, files, batch size and number of loader processes are the same. The loss of a batch is also the same, which is
checked. In our trainer the loader's workers estimate the flow. On a CPU both loops compute in float32 at small sizes.
The wait for data is also measured at 768 x 768 crops of 2048 x 1024 frames, with the fastest network of Table 5. On a
GPU our loop uses bf16, and all sizes are the paper's: PSPNet-101 at output stride 8, 768 x 768, batch 8. --quick uses
small sizes and takes seconds.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.flop_counter import FlopCounterMode

from dwnet.method.specs import method_spec
from dwnet.method.training import DWNetMethod
from dwnet.segmentation import NetworkSpec
from tests.benchmarks.measure import described, devices, markdown, peak_tflops_of, side_by_side
from tests.benchmarks.plain_loop import Plain, plain_loss
from train.config.spec import DataSpec, Recipe
from train.engine.batches import stop_workers
from train.engine.build import unwrapped
from train.engine.loop import Trainer
from train.monitoring.progress import Clock


@dataclass(frozen=True)
class Size:
    """Sizes of a measurement: sides in pixels, (height, width) of a frame."""

    network: NetworkSpec
    frame: tuple[int, int]
    crop: int
    batch: int
    frames: int
    steps: int
    """Number of steps in a round."""
    precision: str


QUICK = Size(NetworkSpec(backbone="test_efficientnet", channels=16), (90, 120), 64, 2, 8, 2, "no")
LAPTOP = Size(NetworkSpec(backbone="mobilenetv2", channels=256), (360, 480), 288, 4, 24, 3, "no")
WAIT = Size(NetworkSpec(backbone="mobilenetv2", output_stride=8), (1024, 2048), 768, 2, 16, 2, "no")
PAPER = Size(NetworkSpec(backbone="resnet101", output_stride=8), (1024, 2048), 768, 8, 64, 10, "bf16")


def write_frames(root: Path, size: Size) -> Path:
    """Writes two splits in CamVid's layout: a sequence of textured, labelled frames with consecutive numbers."""
    rng = np.random.default_rng(0)
    height, width = size.frame
    for split, count in (("train", size.frames), ("val", 2)):
        for index in range(count):
            coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
            image = cv2.resize(coarse, (width, height)) // 2 + rng.integers(0, 128, (height, width, 3), dtype=np.uint8)
            labels = cv2.resize(coarse[..., 0] % 12, (width, height), interpolation=cv2.INTER_NEAREST)
            for kind, picture in (("images", image), ("labels", labels)):
                (root / split / kind).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / split / kind / f"0016E5_{8000 + index:05d}.png"), picture)
    return root


class Ours:
    """The trainer's own loader and step."""

    def __init__(self, recipe: Recipe) -> None:
        self.trainer = Trainer(recipe, Accelerator(mixed_precision=recipe.precision))
        self.clock = Clock()
        self.batches = self._forever()

    def _forever(self) -> Iterator[dict[str, Any]]:
        while True:
            self.trainer.begin_epoch()
            yield from self.trainer.loader

    def step(self) -> None:
        """Runs one iteration."""
        self.clock.start()
        batch = next(self.batches)
        self.clock.batch_came()
        self.trainer.train_batch(batch, 0)
        self.trainer.iteration += 1
        if self.trainer.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        self.clock.step_done(len(batch["name"]))


def recipe_of(root: Path, size: Size, workers: int) -> Recipe:
    """Returns the recipe that both loops train."""
    data = DataSpec(neighbours="labelled", crop=(size.crop, size.crop), workers=workers)
    recipe = Recipe(name="benchmark", root=root, data=data, network=size.network, method=method_spec("dwnet"))
    return replace(
        recipe, backbone_weights="none", batch_size=size.batch, epochs=10_000, precision=size.precision, pictures=0
    )  # type: ignore[arg-type]


def loops(root: Path, size: Size, device: torch.device, workers: int, rounds: int) -> str:
    """Returns the images per second of both loops, and the share of time in which our loop waits for data."""
    ours = Ours(recipe_of(root, size, workers))
    method = method_spec("dwnet").build(size.network.build(11))
    assert isinstance(method, DWNetMethod)
    plain = Plain(root, crop=size.crop, batch_size=size.batch, method=method, device=device, workers=workers)
    difference = loss_difference(ours.trainer, plain)

    def steps(step: Callable[[], None]) -> Callable[[], None]:
        return lambda: [step() for _ in range(size.steps)] and None

    measured = side_by_side({"plain loop": steps(plain.step), "ours": steps(ours.step)}, rounds=rounds, device=device)
    stop_workers(plain.loader)
    waiting = wait_share(ours, size, workers, rounds)
    title = f"{size.network.backbone}, {size.crop} x {size.crop}, {size.steps} steps of {size.batch} pairs"
    slow, fast = (1000 * size.steps * size.batch / one.median_ms for one in measured)
    precision = "float32" if size.precision == "no" else size.precision
    return "\n".join(
        [
            markdown(title, measured),
            "",
            f"images/s: plain loop {slow:.2f}, ours {fast:.2f} ({precision}); "
            f"their losses of the same batch are {difference:.1e} apart",
            waiting,
        ]
    )


def wait_share(ours: Ours, size: Size, workers: int, rounds: int) -> str:
    """Returns the share of time in which our loop, running alone, waits for data. Ends its loader."""
    for _ in range(2 * workers):  # consume the prefetched batches
        ours.step()
    ours.clock.read(0)
    for _ in range(rounds * size.steps):
        ours.step()
    read = ours.clock.read(0)
    stop_workers(ours.trainer.loader)
    return (
        f"ours waits for data {read.wait_share:.1%} of the time ({size.network.backbone}, {size.crop} x {size.crop}, "
        f"{read.images_per_second:.2f} images/s, {workers} loader processes)"
    )


def loss_difference(trainer: Trainer, plain: Plain) -> float:
    """Returns the relative difference of the losses of both loops, for one batch and the same weights.

    The weights are changed so that each term of the loss matters: initial weights do not refine the flow, and their
    logits are near 0.

    Raises:
        AssertionError: if the losses differ.
    """
    method = unwrapped(trainer.method, trainer.accelerator)
    assert isinstance(method, DWNetMethod)
    fresh = {name: value.clone() for name, value in method.state_dict().items()}
    lively = dict(fresh)
    for name, value in fresh.items():
        if name.endswith("refinement.flow.weight"):
            lively[name] = 0.05 * torch.randn_like(value)
        elif name.endswith("classifier.weight"):
            lively[name] = 300 * value
    batch = {name: value.to(plain.device) for name, value in next(plain.batches).items()}
    for one in (method, plain.method):
        one.load_state_dict(lively)
        one.eval()  # batch statistics differ between two passes of one frame and one pass of two
    with torch.no_grad():
        expected, found = plain_loss(plain.method, batch).item(), method(batch)["total"].item()
    for one in (method, plain.method):
        one.load_state_dict(fresh)
        one.train()
    allowed = 1e-4 if trainer.recipe.precision == "no" else 3e-2
    assert abs(found - expected) < allowed * abs(expected), f"plain loss {expected}, ours {found}"
    return abs(found - expected) / abs(expected)


def loader_alone(root: Path, size: Size, workers: int) -> str:
    """Returns the images per second of the loader without a network."""
    data = recipe_of(root, size, workers)
    trainer = Trainer(data, Accelerator(mixed_precision=data.precision))
    prefetched, counted = 4 * workers, 8 * workers
    clock, done = Clock(), 0
    while done < prefetched + counted:
        trainer.begin_epoch()
        trainer.iteration += trainer.order.steps
        for batch in trainer.loader:
            clock.batch_came()
            clock.step_done(len(batch["name"]))
            done += 1
            if done == prefetched:
                clock.read(0)
            if done == prefetched + counted:
                break
    stop_workers(trainer.loader)
    rate = clock.read(0).images_per_second
    return f"the loader alone, {workers} processes: {rate:.1f} images/s, {size.crop} x {size.crop} crops of pairs"


def utilisation(size: Size, device: torch.device, peak_tflops: float | None) -> str:
    """Returns the model FLOP utilisation of single-frame training with cross-entropy, in bf16 on a GPU."""
    cuda = device.type == "cuda"
    method = method_spec("baseline").build(size.network.build(19)).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(method.train().parameters(), lr=1e-4, momentum=0.9)
    frame = torch.rand(size.batch, 3, size.crop, size.crop, device=device).contiguous(memory_format=torch.channels_last)
    batch = {"frame": frame, "labels": torch.randint(19, (size.batch, size.crop, size.crop), device=device)}

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            loss = method(batch)["total"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    for _ in range(3 if cuda else 0):
        step()
    with FlopCounterMode(display=False) as counter:
        step()
    (measured,) = side_by_side({"step": step}, rounds=20 if cuda else 3, device=device)
    achieved = counter.get_total_flops() / measured.median_ms / 1e9
    name = torch.cuda.get_device_name(device) if cuda else "cpu"
    peak = peak_tflops or peak_tflops_of(name)
    share = f"{achieved / peak:.1%} of {peak:g} TFLOP/s" if peak else "of an unknown peak: --peak-tflops"
    return (
        f"model FLOP utilisation, {size.network.backbone} {size.crop} x {size.crop}, batch {size.batch}, "
        f"{'bf16' if cuda else 'float32'}: {measured.median_ms:.1f} ms a step of "
        f"{counter.get_total_flops() / 1e12:.3g} TFLOP, {achieved:.3g} TFLOP/s, {share}"
    )


def main(quick: bool = False, rounds: int = 3, workers: int | None = None, peak_tflops: float | None = None) -> None:
    """Prints the measurements, on the GPU if there is one.

    Args:
        quick: use a tiny network on small crops, to check that the benchmark runs.
        rounds: number of rounds of each measurement.
        workers: loader processes; default one for each core, at least two.
        peak_tflops: peak of the device, dense bf16 on a GPU and float32 on a CPU; default from `measure.PEAK_TFLOPS`.
    """
    device = devices()[-1]
    size = QUICK if quick else PAPER if device.type == "cuda" else LAPTOP
    count = max(2, os.cpu_count() or 1) if workers is None else workers
    print(f"{described(device)}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = write_frames(Path(folder), size)
        print(loops(root, size, device, count, rounds), flush=True)
        print(loader_alone(root, size, count), flush=True)
        if device.type == "cpu":
            large = replace(size, crop=2 * size.crop) if quick else WAIT
            root = write_frames(Path(folder) / "large", large)
            print(wait_share(Ours(recipe_of(root, large, count)), large, count, rounds), flush=True)
            print(loader_alone(root, large, count), flush=True)
    print(utilisation(size, device, peak_tflops), flush=True)


if __name__ == "__main__":
    import tyro  # not needed by gpu.py, which imports parts of this file

    tyro.cli(main)
