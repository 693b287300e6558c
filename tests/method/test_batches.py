"""Training batches: an entry that is missing or has another shape or dtype is one clear error."""

import pytest
import torch

from dwnet.core.errors import DWNetError
from dwnet.method.specs import BaselineSpec, DWNetSpec, KeyframeSpec, MethodSpec, StaticWarpSpec
from tests.references import TinySegmenter

SPECS = (BaselineSpec(), StaticWarpSpec(), KeyframeSpec(), DWNetSpec())
SIZE = (2, 32, 48)


def batch(**changes: object) -> dict[str, object]:
    frame = torch.rand(2, 3, 32, 48)
    return {"frame": frame, "neighbour": frame.flip(-1), "labels": torch.zeros(SIZE, dtype=torch.int64)} | changes


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": torch.zeros(2, 16, 48, dtype=torch.int64)},
            r"labels are torch.int64 of shape \(2, 16, 48\); allowed",
        ),
        ({"labels": torch.zeros(SIZE)}, r"labels are torch.float32 .*; allowed are integers of shape \(2, 32, 48\)"),
        ({"frame": torch.zeros(2, 3, 32, 48, dtype=torch.uint8)}, r"frame is torch.uint8 of shape \(2, 3, 32, 48\)"),
        ({"frame": torch.rand(3, 32, 48)}, r"frame is torch.float32 of shape \(3, 32, 48\); allowed is floating point"),
    ],
)
def test_wrong_entries_are_named(spec: MethodSpec, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DWNetError, match=message):
        spec.build(TinySegmenter())(batch(**changes))


@pytest.mark.parametrize("spec", SPECS[1:], ids=lambda spec: spec.name)
def test_a_pair_needs_its_neighbour(spec: MethodSpec) -> None:
    method = spec.build(TinySegmenter())
    alone = batch()
    del alone["neighbour"]
    with pytest.raises(DWNetError, match="the batch has frame, labels; neighbour is missing"):
        method(alone)
    with pytest.raises(DWNetError, match=r"neighbour is torch.float32 of shape \(2, 3, 16, 48\); allowed is"):
        method(batch(neighbour=torch.rand(2, 3, 16, 48)))
    with pytest.raises(DWNetError, match="the batch is a Tensor; allowed is a dict with frame, neighbour, labels"):
        method(torch.rand(2, 3, 32, 48))


def test_images_outside_of_their_range_are_refused_by_dis() -> None:
    """They would be white throughout, and the flow between them 0."""
    frame = torch.rand(2, 3, 32, 48)
    with pytest.raises(DWNetError, match=r"frame has values .*\.\..*; allowed are RGB values 0\.\.1"):
        DWNetSpec().build(TinySegmenter())(batch(frame=255 * frame, neighbour=255 * frame))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"fg_conv": False, "kernel_size": 5},
            "kernel_size is 5, but fg_conv is off and does not use it; allowed is 3",
        ),
        ({"occlusion_mask": False, "delta": 5.0}, "delta is 5.0, but occlusion_mask is off"),
        ({"refinement": False, "residual_refinement": False}, "residual_refinement is False, but refinement is off"),
    ],
)
def test_fields_of_a_part_that_is_off_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(DWNetError, match=message):
        DWNetSpec(**fields)  # type: ignore[arg-type]


def test_another_package_s_network_has_to_be_adapted() -> None:
    with pytest.raises(DWNetError, match=r"segmenter is Conv2d; allowed is a Segmenter: `dwnet\.adapt` makes one"):
        DWNetSpec().build(torch.nn.Conv2d(3, 4, 1))  # type: ignore[arg-type]
