"""The plain training loop that the trainer is compared with, in the style of the published trainer of ETC (2020).

The data set uses OpenCV, one sample after another: it scales whole frames and then crops them. The two frames pass the
network one after the other, in float32 and NCHW. The flow is computed in the training process, and Eq. 5 with N x N
maps.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dwnet.core.launch import available_cpus
from dwnet.method.losses import occlusion_weight
from dwnet.method.training import DWNetMethod
from dwnet.ops.resize import resize, resize_flow
from tests.benchmarks.feature_consistency import direct


class PlainPairs(Dataset[dict[str, Tensor]]):
    """Pairs read with OpenCV: the whole frames are scaled by 0.5 to 2, flipped and cropped."""

    def __init__(self, root: Path, crop: int) -> None:
        self.images = sorted((root / "train/images").iterdir())
        self.labels = sorted((root / "train/labels").iterdir())
        self.crop = crop

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([int(torch.initial_seed()) % 2**32, index])
        other = index - 1 if index else 1
        pictures = [cv2.cvtColor(cv2.imread(str(self.images[i])), cv2.COLOR_BGR2RGB) for i in (index, other)]
        pictures = [np.float32(picture) for picture in pictures]
        labels = cv2.imread(str(self.labels[index]), cv2.IMREAD_GRAYSCALE)
        labels[labels == 11] = 255
        scale = rng.uniform(0.5, 2.0)
        pictures = [cv2.resize(p, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR) for p in pictures]
        labels = cv2.resize(labels, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        if rng.random() < 0.5:
            pictures, labels = [p[:, ::-1] for p in pictures], labels[:, ::-1]
        height, width = labels.shape
        bottom, right = max(0, self.crop - height), max(0, self.crop - width)
        pictures = [cv2.copyMakeBorder(p, 0, bottom, 0, right, cv2.BORDER_CONSTANT) for p in pictures]
        labels = cv2.copyMakeBorder(labels, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=255)
        top, left = (int(rng.integers(0, side - self.crop + 1)) for side in labels.shape)
        window = slice(top, top + self.crop), slice(left, left + self.crop)
        first, second = (torch.from_numpy(np.ascontiguousarray((p[window] / 255).transpose(2, 0, 1))) for p in pictures)
        return {
            "frame": first,
            "neighbour": second,
            "labels": torch.from_numpy(np.ascontiguousarray(labels[window])).long(),
        }


def plain_loss(method: DWNetMethod, batch: dict[str, Tensor]) -> Tensor:
    """The loss of Eq. 8, computed directly from the equations."""
    spec, network, segmenter = method.spec, method.network, method.segmenter
    frame, neighbour, labels = batch["frame"], batch["neighbour"], batch["labels"]
    size = (frame.shape[-2], frame.shape[-1])
    assert method.flow is not None
    assert network.refinement is not None
    assert network.fg_conv is not None
    flow = method.flow(frame, neighbour)
    features, auxiliary = segmenter.features_and_auxiliary(frame)
    other, _ = segmenter.features_and_auxiliary(neighbour)
    refined = resize_flow(network.refinement(frame, neighbour, flow), (features.shape[-2], features.shape[-1]))
    warped, valid = network.fg_conv(other, refined)
    logits, warped_logits = (resize(segmenter.classify(f), size) for f in (features, warped))
    loss = F.cross_entropy(logits, labels, ignore_index=255)
    for auxiliary_logits in auxiliary:
        loss = loss + spec.auxiliary_weight * F.cross_entropy(resize(auxiliary_logits, size), labels, ignore_index=255)
    feature = torch.stack([_direct(f, w, v) for f, w, v in zip(features, warped, valid, strict=True)]).mean()
    weight, image_valid = occlusion_weight(frame, neighbour, flow, delta=spec.delta)
    counted = (image_valid & (resize(valid.float(), size) > 0.999)).float()
    squared = (logits - warped_logits).square().sum(dim=1, keepdim=True)
    prediction = (weight * squared * counted).sum() / counted.sum().clamp(min=1)
    return loss + spec.feature_weight * feature + spec.prediction_weight * prediction


def _direct(features: Tensor, warped: Tensor, valid: Tensor) -> Tensor:
    keep = valid.flatten()
    return direct(*(map_.flatten(1)[:, keep][None, :, None] for map_ in (features, warped)))


class Plain:
    """The training loop, step by step.

    Args:
        root: folder in CamVid's layout, with a split train.
        crop: side of the crops, in pixels.
        batch_size: pairs in a step.
        method: method to train.
        device: device of the training.
        workers: loader processes.
    """

    def __init__(
        self, root: Path, *, crop: int, batch_size: int, method: DWNetMethod, device: torch.device, workers: int
    ) -> None:
        self.method, self.device = method.to(device, memory_format=torch.contiguous_format).train(), device
        self.optimiser = torch.optim.SGD(method.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
        self.opencv_threads = available_cpus()
        self.loader = DataLoader(
            PlainPairs(root, crop),
            batch_size=batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )
        self.batches = self._forever()

    def _forever(self) -> Iterator[dict[str, Tensor]]:
        while True:
            yield from self.loader

    def step(self) -> None:
        """Runs one iteration."""
        batch = {name: value.to(self.device, non_blocking=True) for name, value in next(self.batches).items()}
        cv2.setNumThreads(self.opencv_threads)
        self.optimiser.zero_grad()
        plain_loss(self.method, batch).backward()
        self.optimiser.step()
        cv2.setNumThreads(1)  # as in the trainer
