"""Training steps for gpu.py on given batches: ours as the trainer makes it, and the plain one of published trainers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import TorchDynamoPlugin
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dwnet.method.specs import method_spec
from dwnet.method.training import DWNetMethod, Method
from dwnet.ops.resize import resize
from dwnet.segmentation import NetworkSpec
from tests.benchmarks.pair_step import GivenFlow
from tests.benchmarks.plain_loop import plain_loss
from train.config.spec import OptimiserSpec
from train.engine.optimiser import build_optimiser, gradient_norm

Batch = dict[str, Any]
CLASSES = 19


class Step:
    """One optimiser step of ours, as `train.engine.loop.Trainer.train_batch` makes it, for one process.

    Accelerate chooses the precision, scales the loss (fp16) and compiles. Loss and gradient are checked to be finite.

    Args:
        method: the method to train; moved to the device.
        precision: "no", "bf16" or "fp16".
        backend: of torch.compile; None does not compile. The trainer's is inductor.
        rate: learning rate.
        searched: let cuDNN measure its algorithms in the first step (`torch.backends.cudnn.benchmark`).
    """

    def __init__(
        self, method: Method, precision: str, *, backend: str | None = None, rate: float = 1e-4, searched: bool = False
    ) -> None:
        self.searched = searched
        AcceleratorState._reset_state(reset_partial_state=True)  # it keeps the precision of the last accelerator
        GradientState._reset_state()
        self.accelerator = Accelerator(
            mixed_precision=precision, dynamo_plugin=TorchDynamoPlugin(backend=backend) if backend else None
        )
        method = method.to(memory_format=torch.channels_last).train()
        optimiser = build_optimiser(method, OptimiserSpec(rate=rate))
        self.method, self.optimiser = self.accelerator.prepare(method, optimiser)
        self.skipped = 0
        """Number of steps that the fp16 scaler skipped."""

    def __call__(self, batch: Batch) -> Tensor:
        """Runs the step; returns the loss, a scalar."""
        with torch.backends.cudnn.flags(enabled=True, benchmark=self.searched, deterministic=False, allow_tf32=True):
            losses = self.method(batch)
            self.accelerator.backward(losses["total"])
        finite = losses["total"].isfinite()
        if self.accelerator.scaler is None:
            finite &= gradient_norm(self.optimiser).isfinite()
        if not finite:
            raise FloatingPointError("the loss or its gradient is not finite")
        self.optimiser.step()
        self.skipped += self.optimiser.step_was_skipped
        self.optimiser.zero_grad()
        return losses["total"].detach()


class PlainStep:
    """One step as published trainers write it: NCHW, no autocast by default, SGD, and for pairs `plain_loss`.

    Args:
        method: the method to train: DWNet or the baseline.
        device: of the training.
        bf16: run the forward pass under bf16 autocast.
    """

    def __init__(self, method: Method, device: torch.device, *, bf16: bool = False) -> None:
        self.method = method.to(device, memory_format=torch.contiguous_format).train()
        self.optimiser = torch.optim.SGD(method.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
        self.device, self.bf16 = device, bf16

    def __call__(self, batch: Batch) -> Tensor:
        """Runs the step; returns the loss, a scalar."""
        batch = {
            name: value.contiguous() if isinstance(value, Tensor) else value for name, value in batch.items()
        }  # NCHW
        self.optimiser.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self._loss(batch)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def _loss(self, batch: Batch) -> Tensor:
        method = self.method
        if isinstance(method, DWNetMethod):
            method.flow = GivenFlow(batch["coarse_flow"])
            return plain_loss(method, batch)
        features, auxiliary = method.segmenter.features_and_auxiliary(batch["frame"])
        size = (batch["frame"].shape[-2], batch["frame"].shape[-1])
        outputs = [(1.0, method.segmenter.classify(features))]
        outputs += [(method.spec.auxiliary_weight, logits) for logits in auxiliary]
        terms = [w * F.cross_entropy(resize(o, size), batch["labels"], ignore_index=255) for w, o in outputs]
        return torch.stack(terms).sum()


def new_method(name: str, network: NetworkSpec, device: torch.device, classes: int = CLASSES) -> Method:
    """Returns a method with random weights, the same for each call."""
    torch.manual_seed(0)
    with torch.device(device):
        return method_spec(name).build(network.build(classes))  # type: ignore[arg-type]


def random_batch(batch: int, crop: int, device: torch.device, *, classes: int = CLASSES) -> Batch:
    """Returns random pairs in channels-last layout, with labels and a smooth flow of about 8 pixels."""
    generator = torch.Generator(device).manual_seed(0)
    frames = torch.rand(2, batch, 3, crop, crop, generator=generator, device=device)
    flow = resize(8 * torch.randn(batch, 2, 6, 6, generator=generator, device=device), (crop, crop))
    labels = torch.randint(classes, (batch, crop, crop), generator=generator, device=device)
    frame, neighbour = (one.contiguous(memory_format=torch.channels_last) for one in frames)
    return {"frame": frame, "neighbour": neighbour, "labels": labels, "coarse_flow": flow}


def street_batches(count: int, batch: int, size: tuple[int, int], device: torch.device) -> list[Batch]:
    """Returns batches of rendered pairs of one drive, with exact labels (11 classes) and exact flow.

    Args:
        count: number of batches.
        batch: pairs in each.
        size: (height, width) of the frames.
        device: where they are kept.
    """
    from dwnet.street import StreetScene  # only one section needs its packages

    scene = StreetScene(10_000, width=size[1], height=size[0])
    numbers = np.linspace(10, len(scene) - 20, count * batch).round().astype(int)
    batches = []
    for first in range(0, count * batch, batch):
        rows = []
        for t in map(int, numbers[first : first + batch]):
            frame, neighbour = scene.render(t), scene.render(t + 1)
            images = (torch.from_numpy(one.image).permute(2, 0, 1).float() / 255 for one in (frame, neighbour))
            flow_px, _ = scene.flow(t, 1)
            rows.append((*images, torch.from_numpy(frame.labels).long(), torch.from_numpy(flow_px)))
        stacked = (torch.stack(column).to(device) for column in zip(*rows, strict=True))
        batches.append(dict(zip(("frame", "neighbour", "labels", "coarse_flow"), stacked, strict=True)))
    return batches


def flops(run: Callable[[], object]) -> int:
    """Returns the floating-point operations of convolutions and matrix products in `run`, backward passes included."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())
