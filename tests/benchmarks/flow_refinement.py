"""Error of the refined flow (section 3.2) against the exact flow, for variants of the FRM and of its losses.

    OMP_NUM_THREADS=1 python tests/benchmarks/flow_refinement.py

A small segmenter is trained on rendered streets and frozen. Then each variant trains its FRM and FG-Conv on the same
pairs, with the trainer's optimiser. Its flow and DIS flow are measured on other streets, as by `dwnet judge-flow`.
--quick uses little data and takes seconds; its numbers are meaningless.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import cv2
import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.utils.data import default_collate

from dwnet.core.progress import Progress
from dwnet.data import PairDataset, StreetSource
from dwnet.data.street_source import first_seed
from dwnet.evaluation.flow_error import FlowError, FlowOf, flows_to_judge, judge_flow, markdown
from dwnet.flow import dis_flow
from dwnet.method.flow_refinement import FlowRefinement, centre_tap
from dwnet.method.specs import DWNetSpec, method_spec
from dwnet.method.training import DWNetMethod, Method
from dwnet.ops.resize import resize_flow
from dwnet.ops.warp import warp
from dwnet.segmentation import NetworkSpec, Segmenter
from dwnet.street import StreetScene
from tests.benchmarks.measure import described

CROP = (192, 224)
BATCH = 4
KEYS = ("frame", "neighbour", "labels", "flow", "visible")
BASE = DWNetSpec(prediction_space="softmax", prediction_weight=1.0)  # as in the recipes
WARPING, SMOOTHNESS, EXACT = 0.03, 0.003, 0.003  # for a rate of 0.01; with ten times these weights the flow diverges
ALONE: dict[str, Any] = {"feature_weight": 0.0, "prediction_weight": 0.0}
"""No consistency losses."""


class AlignedRefinement(FlowRefinement):
    """The FRM with the neighbour warped by the coarse flow, as in the stacked networks of FlowNet 2.0 (CVPR 2017).

    The difference of the frames then shows the errors of that flow. Where the flow leaves the image, it is 0.
    """

    def forward(self, frame: Tensor, neighbour: Tensor, flow_px: Tensor) -> Tensor:
        warped, valid = warp(neighbour, flow_px)
        return super().forward(frame, torch.where(valid, warped, frame), flow_px)


VARIANTS: dict[str, tuple[dict[str, Any], type[FlowRefinement]]] = {
    "published: regressed": ({"residual_refinement": False}, FlowRefinement),
    "residual": ({}, FlowRefinement),
    "residual, warping error": ({"warping_weight": WARPING}, FlowRefinement),
    "residual, warping error, edge-aware": (
        {"warping_weight": WARPING, "smoothness_weight": SMOOTHNESS},
        FlowRefinement,
    ),
    "residual, exact flow": ({"flow_supervision_weight": EXACT}, FlowRefinement),
    "residual, aligned, warping error": ({"warping_weight": WARPING}, AlignedRefinement),
    "residual, aligned, exact flow": ({"flow_supervision_weight": EXACT}, AlignedRefinement),
    "residual, warping error alone": ({"warping_weight": WARPING, **ALONE}, FlowRefinement),
    "residual, exact flow alone": ({"flow_supervision_weight": EXACT, **ALONE}, FlowRefinement),
    "residual, aligned, exact flow alone": ({"flow_supervision_weight": EXACT, **ALONE}, AlignedRefinement),
}
"""Variants by name: differences from `BASE`, and the class of the FRM."""


def batches(pairs: Sequence[Any], steps: int, seed: int) -> Iterator[dict[str, Tensor]]:
    """Yields batches of random crops of random pairs. They are the same for every variant."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        samples = []
        for index in rng.integers(len(pairs), size=BATCH):
            height, width = pairs[index]["labels"].shape
            top, left = int(rng.integers(height - CROP[0] + 1)), int(rng.integers(width - CROP[1] + 1))
            rows, columns = slice(top, top + CROP[0]), slice(left, left + CROP[1])
            samples.append({key: pairs[index][key][..., rows, columns] for key in KEYS})
        yield default_collate(samples)


def train(method: Method, parameters: Sequence[nn.Parameter], pairs: Sequence[Any], steps: int, seed: int) -> None:
    """Trains with SGD, momentum and the poly policy, as in `train/` (section 4.1.3)."""
    rate = 0.01
    optimiser = torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=1e-4)
    for step, batch in enumerate(batches(pairs, steps, seed)):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / steps) ** 0.9
        optimiser.zero_grad()
        method(batch)["total"].backward()
        optimiser.step()


def frozen_segmenter(pairs: Sequence[Any], steps: int) -> Segmenter:
    """Returns a small PSPNet, trained on the pairs for `steps` steps and frozen."""
    torch.manual_seed(0)
    network = NetworkSpec(backbone="mobilenetv2", channels=64, auxiliary=False).build(11)
    train(method_spec("baseline").build(network).train(), list(network.parameters()), pairs, steps, seed=0)
    return network.requires_grad_(False).eval()


def trained_refinement(name: str, segmenter: Segmenter, pairs: Sequence[Any], steps: int, seed: int) -> FlowRefinement:
    """Returns the FRM of a variant, trained with the frozen segmenter."""
    torch.manual_seed(seed)
    changes, kind = VARIANTS[name]
    spec = replace(BASE, **changes)
    method = spec.build(segmenter)
    assert isinstance(method, DWNetMethod)
    assert method.network.fg_conv is not None
    refinement = kind(kernel_size=spec.kernel_size, residual=spec.residual_refinement)
    method.network.refinement = refinement
    method.train()
    segmenter.eval()
    train(method, [*refinement.parameters(), *method.network.fg_conv.parameters()], pairs, steps, seed=seed + 1)
    return refinement.eval()


def flow_of(refinement: FlowRefinement) -> FlowOf:
    """Returns a function that gives the refined DIS flow at the frames' size."""

    def tensor(image: np.ndarray) -> Tensor:
        return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255

    @torch.no_grad()
    def refined(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        coarse = torch.from_numpy(dis_flow(frame, neighbour))[None]
        flow = centre_tap(refinement(tensor(frame), tensor(neighbour), coarse))
        return resize_flow(flow, (frame.shape[0], frame.shape[1]))[0].numpy()

    return refined


def median(errors: Sequence[FlowError]) -> FlowError:
    """Returns the median of each field."""
    values = {field.name: [getattr(error, field.name) for error in errors] for field in fields(FlowError)}
    return FlowError(**{name: None if None in found else statistics.median(found) for name, found in values.items()})


def main(quick: bool = False, steps: int = 120, seeds: int = 1, only: str = "") -> None:
    """Prints a Markdown table.

    Args:
        quick: use small frames, two streets and two steps, to check that the benchmark runs.
        steps: number of training steps of the segmenter and of each variant.
        seeds: number of trainings of each variant. The table shows the medians of their errors.
        only: train only the variants whose names contain this text.
    """
    cv2.setNumThreads(1)
    streets, frames, size, judged = 24, 8, (360, 480), 8
    if quick:
        streets, frames, size, steps, judged = 2, 2, (192, 256), 2, 1
    began = time.process_time()
    source = StreetSource("train", size=size, streets=streets, frames_per_street=frames)
    data = PairDataset(source, neighbours="video")
    pairs = [data[index] for index in range(len(data))]
    segmenter = frozen_segmenter(pairs, steps)
    flows = flows_to_judge()
    for name in VARIANTS:
        for seed in range(seeds if only in name else 0):
            flows[f"{name} #{seed}"] = flow_of(trained_refinement(name, segmenter, pairs, steps, seed))
    scenes = [StreetScene(first_seed("test") + n, width=size[1], height=size[0]) for n in range(judged)]
    progress = Progress("judge")
    errors = judge_flow(scenes, flows, frames_per_scene=1 if quick else 4, progress=progress)
    progress.close()
    seen: dict[tuple[str, int], list[FlowError]] = {}
    for (name, k), error in errors.items():
        seen.setdefault((name.rpartition(" #")[0] or name, k), []).append(error)
    minutes = (time.process_time() - began) / 60
    print(f"{described(torch.device('cpu'))}, {minutes:.0f} CPU minutes.")
    print(f"{len(pairs)} pairs of {streets} streets, {steps} steps of {BATCH} crops of {CROP[1]} x {CROP[0]};")
    print(f"{judged} other streets; medians of {seeds} training(s).\n")
    print(markdown({key: median(found) for key, found in seen.items()}))


if __name__ == "__main__":
    tyro.cli(main)
