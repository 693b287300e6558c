"""The controls: a baseline that learns from the neighbour by carried labels, and a DWNet without motion."""

import pytest
import torch
import torch.nn.functional as F

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.flow.registry import FLOW_NAMES, build_flow
from dwnet.method.specs import BaselineSpec, DWNetSpec
from tests.references import TinySegmenter
from train.ablation.tables import TABLES

SIZE = (32, 48)


def batch() -> dict[str, torch.Tensor]:
    """A neighbour that is the frame moved 4 pixels to the right and 8 down: a multiple of the network's stride."""
    generator = torch.Generator().manual_seed(0)
    wide = torch.rand(2, 3, SIZE[0] + 8, SIZE[1] + 4, generator=generator)
    flow = torch.zeros(2, 2, *SIZE)
    flow[:, 0], flow[:, 1] = 4, 8
    visible = torch.zeros(2, *SIZE, dtype=torch.bool)
    visible[:, : SIZE[0] - 8, : SIZE[1] - 4] = True
    return {
        "frame": wide[..., 8:, 4:].contiguous(),
        "neighbour": wide[..., : SIZE[0], : SIZE[1]].contiguous(),
        "labels": torch.randint(0, 3, (2, *SIZE), generator=generator),
        "flow": flow,
        "visible": visible,
    }


def test_the_neighbour_learns_the_labels_that_the_flow_carries() -> None:
    """Reference: the labels are moved by the whole pixels of the flow, and the cross-entropy is written out."""
    torch.manual_seed(0)
    method = BaselineSpec(neighbour_weight=0.5).build(TinySegmenter(num_classes=3)).eval()
    data = batch()
    losses = method(data)
    logits = F.interpolate(
        method.segmenter(data["neighbour"]), size=SIZE, mode="bilinear", align_corners=False
    ).double()
    carried = torch.full((2, *SIZE), IGNORE_LABEL)
    carried[:, 8:, 4:] = data["labels"][:, : SIZE[0] - 8, : SIZE[1] - 4]
    chosen = logits.log_softmax(1).gather(1, carried.clamp(max=2)[:, None])[:, 0]
    expected = -chosen[carried != IGNORE_LABEL].mean()
    assert losses["neighbour"].item() == pytest.approx(expected.item(), rel=1e-5)
    alone = BaselineSpec().build(method.segmenter).eval()(data)
    assert losses["total"].item() == pytest.approx((alone["total"] + 0.5 * losses["neighbour"]).item(), rel=1e-6)
    assert "neighbour" not in alone


def test_it_needs_the_exact_flow_and_a_weight_of_at_least_zero() -> None:
    method = BaselineSpec(neighbour_weight=1.0).build(TinySegmenter(num_classes=3))
    assert method.needs_neighbour
    assert not BaselineSpec().build(TinySegmenter(num_classes=3)).needs_neighbour
    data = batch()
    del data["flow"]
    with pytest.raises(DWNetError, match="no exact flow"):
        method(data)
    with pytest.raises(DWNetError, match="neighbour_weight is -1"):
        BaselineSpec(neighbour_weight=-1)


def test_the_identity_is_no_motion_and_judges_nothing() -> None:
    flow = build_flow("identity")
    frame = torch.rand(2, 3, *SIZE)
    assert torch.equal(flow(frame, frame.roll(3, -1)), torch.zeros(2, 2, *SIZE))
    assert "identity" not in FLOW_NAMES
    with pytest.raises(DWNetError, match="has no parameters"):
        build_flow("identity", trainable=True)
    losses = DWNetSpec(flow="identity").build(TinySegmenter(num_classes=3))(batch())
    assert losses["total"].isfinite()
    assert losses["feature"] > 0


def test_the_controls_differ_in_what_their_rows_say() -> None:
    rows = {row.name: row.recipe for row in TABLES["controls"].rows}
    strengths = {
        name: (recipe.data.photometric, recipe.data.neighbour_photometric) for name, recipe in rows.items() if recipe
    }
    assert strengths.pop("baseline") == (0, 1)  # it has no neighbour
    assert strengths.pop("dwnet_plain") == (0, 0)
    assert set(strengths.values()) == {(1, 1)}
    assert {recipe.data.neighbours for name, recipe in rows.items() if recipe and name != "baseline"} == {
        "camera_motion"
    }
