"""Evaluates models on a labelled split: class IoU, and how steady the labels are along the flow."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from dwnet import IGNORE_LABEL
from dwnet.checkpoint import load_checkpoint
from dwnet.data.open import FrameData, FramePlace
from dwnet.flow import dis_flow
from dwnet.flow.arrays import FlowFunction
from dwnet.methods import KeyframeMethod, Method, StaticWarpMethod
from dwnet.metrics import FlickerMeter, FlickerResult, SegmentationMeter, SegmentationResult, occlusion_mask
from dwnet.reference import ReferenceFrame
from dwnet.runtime import OnnxSegmenter, load
from dwnet.segmentation import pad_to_multiple
from dwnet.warp import resize

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""


class Predictor(Protocol):
    """Labels the frames of a clip one after another. `dwnet.runtime.OnnxSegmenter` is one."""

    def reset(self) -> None:
        """The next frame starts another clip."""

    @property
    def reference(self) -> np.ndarray | None:
        """The frame, as it was given, that the next frame's flow must lead to; None if the next one needs no flow."""

    def labels(self, image: np.ndarray, flow_px: np.ndarray | None) -> np.ndarray:
        """(H, W, 3) uint8 RGB, and the flow (2, H, W) to `reference` or None, to (H, W) uint8 class ids."""


@dataclass(frozen=True)
class Evaluation:
    """What one model scores on a split. Flicker is None where no two frames follow each other closely enough."""

    name: str
    segmentation: SegmentationResult
    flicker: FlickerResult | None


class TorchPredictor:
    """A trained method as a `Predictor`, on the device its weights are on."""

    def __init__(self, method: Method) -> None:
        self.method = method.eval()
        span = {StaticWarpMethod: 1, KeyframeMethod: method.spec.key_interval - 1}.get(type(method), 0)
        self._reference = ReferenceFrame[torch.Tensor](span)

    def reset(self) -> None:  # noqa: D102
        self._reference.clear()

    @property
    def reference(self) -> np.ndarray | None:  # noqa: D102
        return self._reference.image

    @torch.no_grad()
    def labels(self, image: np.ndarray, flow_px: np.ndarray | None) -> np.ndarray:  # noqa: D102
        segmenter = self.method.segmenter
        device = next(segmenter.parameters()).device
        height, width = image.shape[:2]
        tensor = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
        tensor = pad_to_multiple(tensor, segmenter.multiple)
        flow = None
        if flow_px is not None:
            flow = pad_to_multiple(torch.from_numpy(flow_px).to(device)[None], segmenter.multiple)
        logits = self._logits(tensor, image, flow)
        logits = resize(logits, (tensor.shape[-2], tensor.shape[-1]))[0, :, :height, :width]
        return logits.argmax(dim=0).to(torch.uint8).cpu().numpy()

    def _logits(self, tensor: torch.Tensor, image: np.ndarray, flow_px: torch.Tensor | None) -> torch.Tensor:
        """Logits (1, K, h, w) of the next frame, padded."""
        method, reference = self.method, self._reference
        if isinstance(method, KeyframeMethod) and reference.image is not None:
            assert flow_px is not None
            logits = method.network.classify(reference.features, flow_px)
            reference.used()
            return logits
        features = method.segmenter.features(tensor)
        if not isinstance(method, StaticWarpMethod):
            logits = method.segmenter.classify(features)
        elif reference.image is None:
            logits = method.network.classify_first(features)
        else:
            assert flow_px is not None
            logits = method.network.fuse(features, reference.features, flow_px)
        reference.keep(image, features)
        return logits


class GroundTruth:
    """The labels themselves as a `Predictor`: what the metric says of perfection, and so what the flow is worth."""

    def __init__(self, data: FrameData) -> None:
        self._labels: Iterator[np.ndarray] = (data[i]["labels"].numpy().astype(np.uint8) for i in range(len(data)))
        self.reference: np.ndarray | None = None

    def reset(self) -> None:  # noqa: D102
        pass

    def labels(self, image: np.ndarray, flow_px: np.ndarray | None) -> np.ndarray:  # noqa: D102
        return next(self._labels)


def load_predictor(path: str | Path) -> tuple[Predictor, tuple[str, ...]]:
    """A model file as a predictor, and its classes.

    Args:
        path: an exported network (.onnx) or a checkpoint of train/main.py.

    Raises:
        ValueError: for a file that is neither, or a network that labels nothing (flow_refinement).
    """
    if Path(path).suffix == ".onnx":
        network = load(path)
        if not isinstance(network, OnnxSegmenter):
            raise ValueError(
                f"{path} is a {network.info.kind} network, allowed are segmenter, static_warp and keyframe"
            )
        return network, network.info.classes
    checkpoint = load_checkpoint(path)
    return TorchPredictor(checkpoint.build()), checkpoint.classes.classes


def evaluate(
    name: str,
    predictor: Predictor,
    data: FrameData,
    *,
    max_gap: int = 5,
    flow: FlowFunction = dis_flow,
    progress: Progress | None = None,
) -> Evaluation:
    """Runs a model over a split in the order of its frames, whole images at their own size, no test-time augmentation.

    Frame pairs of one sequence at most `max_gap` raw frames apart count as consecutive: their flicker is measured along
    the flow, occluded and out-of-frame pixels left out, and methods that need a frame before get it. Others start
    afresh.

    Args:
        name: of the model, for the result.
        predictor: the model.
        data: whole frames (no augmentation).
        max_gap: in raw frames.
        flow: what flicker is measured along, and what methods warp by (`dwnet.flow.arrays.flow_function`).
        progress: told after each frame.
    """
    classes = len(data.classes)
    segmentation, flicker = SegmentationMeter(classes), FlickerMeter(classes)
    before: FramePlace | None = None
    previous_image, previous_labels = np.empty(0, np.uint8), np.empty(0, np.uint8)
    for index, now in enumerate(data.frames):
        sample = data[index]
        image = (sample["frame"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        follows = before is not None and now.sequence == before.sequence and 0 < now.number - before.number <= max_gap
        flow_px = flow(image, previous_image) if follows else None
        if not follows:
            predictor.reset()
        reference = predictor.reference
        if reference is None or reference is previous_image:
            labels = predictor.labels(image, None if reference is None else flow_px)
        else:
            labels = predictor.labels(image, flow(image, reference))
        truth = sample["labels"].numpy()
        counted = labels != IGNORE_LABEL  # ground truth as a predictor has void pixels
        segmentation.update(np.where(counted, labels, 0), np.where(counted, truth, IGNORE_LABEL))
        if flow_px is not None:
            visible = occlusion_mask(flow_px, flow(previous_image, image))
            flicker.update(previous_labels, labels, flow_px, visible)
        before, previous_image, previous_labels = now, image, labels
        if progress is not None:
            progress(index + 1, len(data))
    return Evaluation(name, segmentation.compute(), flicker.compute() if flicker.frames else None)


def markdown(evaluations: Sequence[Evaluation], classes: Sequence[str]) -> str:
    """Two Markdown tables: the summary, and IoU per class."""
    lines = [
        "| model | mIoU % | pixel accuracy % | flips % | at boundaries % | inside % | temporal consistency % |",
        "|---|---|---|---|---|---|---|",
    ]
    for e in evaluations:
        f = e.flicker
        steadiness = (
            [None] * 4
            if f is None
            else [f.flips_percent, f.boundary_percent, f.interior_percent, f.temporal_consistency_percent]
        )
        cells = [e.segmentation.miou_percent, e.segmentation.pixel_accuracy_percent, *steadiness]
        lines.append(f"| {e.name} | {' | '.join(map(_cell, cells))} |")
    lines += ["", f"| class IoU % | {' | '.join(e.name for e in evaluations)} |", "|---|" + "---|" * len(evaluations)]
    for index, name in enumerate(classes):
        cells = [e.segmentation.per_class_iou_percent[index] for e in evaluations]
        lines.append(f"| {name} | {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
