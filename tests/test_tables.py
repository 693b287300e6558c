"""Every row of the paper's ablations (Tables 1 to 4) is one setting of `MethodSpec`: exactly the modules and losses
that the row names exist in it, they all train, and rows that are one experiment are one setting.

The check marks of Table 1 follow from its figures and from section 4.2: "warp and l_fc" improves by 0.55, FG-Conv in
the warp's place by 0.57 more, FRM by 0.47, l_pc by 0.38, both give 75.62, and both on the plain warp 74.76.
"""

from typing import Any

import pytest
import torch
from references import TinySegmenter
from test_methods import batch

from dwnet.methods import DWNetMethod, Method, MethodSpec, StaticWarpMethod

BASELINE: dict[str, Any] = {"name": "baseline"}
WARP: dict[str, Any] = {"fg_conv": False, "refinement": False, "prediction_weight": 0.0}
FG_CONV: dict[str, Any] = {"refinement": False, "prediction_weight": 0.0}
FRM: dict[str, Any] = {"prediction_weight": 0.0}

# (table, mIoU of the row, what differs from MethodSpec(), modules beside the segmenter, losses)
ROWS: list[tuple[int, float, dict[str, Any], set[str], set[str]]] = [
    (1, 73.75, BASELINE, set(), set()),
    (1, 74.30, WARP, set(), {"feature"}),
    (1, 74.87, FG_CONV, {"fg_conv"}, {"feature"}),
    (1, 75.34, FRM, {"fg_conv", "refinement"}, {"feature"}),
    (1, 75.25, {"refinement": False}, {"fg_conv"}, {"feature", "prediction"}),
    (1, 74.76, {"fg_conv": False}, {"refinement"}, {"feature", "prediction"}),
    (1, 75.62, {}, {"fg_conv", "refinement"}, {"feature", "prediction"}),
    (2, 73.75, BASELINE, set(), set()),
    (2, 74.30, WARP, set(), {"feature"}),
    (2, 75.02, FRM | {"kernel_size": 1}, {"fg_conv", "refinement"}, {"feature"}),
    (2, 75.34, FRM | {"kernel_size": 3}, {"fg_conv", "refinement"}, {"feature"}),
    (2, 75.16, FRM | {"kernel_size": 5}, {"fg_conv", "refinement"}, {"feature"}),
    (3, 75.34, FRM, {"fg_conv", "refinement"}, {"feature"}),
    (3, 75.13, {"occlusion_mask": False}, {"fg_conv", "refinement"}, {"feature", "prediction"}),
    (3, 75.46, {"delta": 1.0}, {"fg_conv", "refinement"}, {"feature", "prediction"}),
    (3, 75.62, {"delta": 2.0}, {"fg_conv", "refinement"}, {"feature", "prediction"}),
    (3, 75.44, {"delta": 5.0}, {"fg_conv", "refinement"}, {"feature", "prediction"}),
    (4, 73.75, BASELINE, set(), set()),
    (4, 74.30, {"name": "static_warp", "fusion": "weighted_sum"}, {"fusion"}, set()),
    (4, 74.25, {"name": "static_warp", "fusion": "concatenation"}, {"fusion"}, set()),
    (4, 74.87, FG_CONV, {"fg_conv"}, {"feature"}),
    (4, 75.25, {"refinement": False}, {"fg_conv"}, {"feature", "prediction"}),
]


def modules(method: Method) -> set[str]:
    """The trained parts beside the segmenter."""
    parts = {name.split(".")[1] for name, _ in method.named_parameters() if name.startswith("network.")}
    return parts & {"fusion", "refinement", "fg_conv"}


@pytest.mark.parametrize(("table", "miou", "changes", "parts", "losses"), ROWS)
def test_each_row_has_its_modules_and_losses_and_trains(
    table: int, miou: float, changes: dict[str, Any], parts: set[str], losses: set[str]
) -> None:
    torch.manual_seed(0)
    method = MethodSpec(**changes).build(TinySegmenter()).train()
    assert modules(method) == parts
    assert (method.flow is None) == (changes == BASELINE)
    if isinstance(method, DWNetMethod):
        taps = method.spec.kernel_size if "fg_conv" in parts else 1
        assert method.network.fg_conv is None or method.network.fg_conv.kernel_size == taps
        assert method.network.refinement is None or method.network.refinement.flow.out_channels == 2 * taps**2
    if isinstance(method, StaticWarpMethod):
        assert method.needs_neighbour_to_predict
    before = {name: parameter.detach().clone() for name, parameter in method.named_parameters()}
    optimiser = torch.optim.SGD(method.parameters(), lr=0.01)
    for _ in range(2):  # the FRM's last layer starts at zero: what lies before it moves from the second step on
        found = method(batch())
        assert set(found) == {"segmentation", "total"} | losses
        optimiser.zero_grad()
        found["total"].backward()
        optimiser.step()
    assert torch.isfinite(found["total"])
    for name, parameter in method.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_rows_that_are_one_experiment_are_one_setting() -> None:
    """The paper repeats figures between tables; 74.30 alone stands for two settings: Table 4's "sum", and the warp."""
    specs: dict[float, set[MethodSpec]] = {}
    for _, miou, changes, _, _ in ROWS:
        specs.setdefault(miou, set()).add(MethodSpec(**changes))
    assert {miou: len(found) for miou, found in specs.items() if len(found) > 1} == {74.30: 2}
    assert len(set().union(*specs.values())) == len(specs) + 1  # and no setting stands for two figures
