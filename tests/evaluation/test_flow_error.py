"""Errors of flows: on flows with one step, where every number is known, and on a rendered pair."""

import numpy as np
import pytest
import torch

from dwnet.evaluation.flow_error import (
    FlowErrorMeter,
    at_stride,
    boundary_mask,
    flows_to_judge,
    judge_flow,
    kept_steps,
    markdown,
    motion_steps,
)
from dwnet.flow import dis_flow
from dwnet.method.flow_refinement import FlowRefinement
from dwnet.ops.resize import resize_flow
from dwnet.street import StreetScene
from tests.references import resize_loop

HEIGHT, WIDTH, EDGE = 20, 40, 22


def step(left: float, right: float, edge: int = EDGE) -> np.ndarray:
    """Returns a horizontal flow that changes at a column."""
    flow = np.zeros((2, HEIGHT, WIDTH), np.float32)
    flow[0, :, :edge], flow[0, :, edge:] = left, right
    return flow


def test_steps_lie_between_the_pixels_that_differ() -> None:
    across, down = motion_steps(step(2, 8))
    assert across[:, EDGE - 1].all()
    assert across.sum() == HEIGHT
    assert not down.any()
    across, down = motion_steps(np.ascontiguousarray(step(2, 8).transpose(0, 2, 1)))
    assert down[EDGE - 1].all()
    assert down.sum() == HEIGHT
    assert not across.any()


def test_smooth_motion_has_no_steps() -> None:
    """A flow as on the road near the camera: up to 60 pixels long, changing by less than 5 % from pixel to pixel."""
    flow = np.zeros((2, HEIGHT, WIDTH), np.float32)
    flow[1] = np.linspace(30, 60, HEIGHT)[:, None]
    assert not any(steps.any() for steps in motion_steps(flow))
    assert not boundary_mask(flow).any()


def test_boundaries_are_three_pixels_to_both_sides() -> None:
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[:, EDGE - 1 - 3 : EDGE + 3 + 1] = True
    np.testing.assert_array_equal(boundary_mask(step(2, 8)), expected)


@pytest.mark.parametrize(
    ("flow", "share"),
    [
        (step(2, 8), 1.0),
        (step(3, 9), 1.0),
        (step(2, 8, EDGE + 1), 1.0),
        (step(2, 8, EDGE + 4), 0.0),
        (step(2, 5), 0.5),
        (step(5, 5), 0.0),
        (step(8, 2), 0.0),
        (step(0, 20), 1.0),
    ],
)
def test_kept_share_of_a_step(flow: np.ndarray, share: float) -> None:
    """The whole step is kept if it is one pixel off or too large; nothing if it is elsewhere or has the wrong sign."""
    np.testing.assert_allclose(kept_steps(flow, step(2, 8)), share)


def test_a_ramp_keeps_what_lies_within_three_pixels() -> None:
    """A blurred boundary: a step of 6 over 12 pixels changes by 3 x 0.5 within the distance that is compared."""
    flow = step(2, 8)
    flow[0] = np.clip(2 + 0.5 * (np.arange(WIDTH) - (EDGE - 6.5)), 2, 8)
    np.testing.assert_allclose(kept_steps(flow, step(2, 8)), 0.25)


def test_errors_by_hand() -> None:
    """The error is 3 pixels to the right of the edge, and 4 more downwards where occluded: (3, 4) has length 5."""
    true = step(2, 8)
    flow, visible = true.copy(), np.ones((HEIGHT, WIDTH), bool)
    flow[0, :, EDGE:] += 3
    visible[:, -5:] = False
    flow[1, :, -5:] += 4
    meter = FlowErrorMeter()
    meter.update(flow, true, visible)
    meter.update(true, true, visible)
    error = meter.compute()
    right = WIDTH - EDGE
    assert error.pairs == 2
    assert error.overall_px == pytest.approx((3 * (right - 5) + 5 * 5) / WIDTH / 2)
    assert error.boundary_px == pytest.approx(3 * 4 / 8 / 2)
    assert error.occluded_px == pytest.approx(5 / 2)
    assert error.visible_px == pytest.approx(3 * (right - 5) / (WIDTH - 5) / 2)
    assert error.sharpness_percent == pytest.approx(100)


def test_nothing_counted_is_none() -> None:
    meter = FlowErrorMeter()
    assert meter.compute().overall_px is None
    still = np.zeros((2, HEIGHT, WIDTH), np.float32)
    meter.update(still, still, np.ones((HEIGHT, WIDTH), bool))
    error = meter.compute()
    assert error.overall_px == 0
    assert error.boundary_px is None
    assert error.occluded_px is None
    assert error.sharpness_percent is None


def test_bad_flows_are_named() -> None:
    flow, visible = step(2, 8), np.ones((HEIGHT, WIDTH), bool)
    with pytest.raises(ValueError, match=r"found a flow of shape \(2, 20, 39\)"):
        FlowErrorMeter().update(flow[:, :, 1:], flow, visible)
    broken = flow.copy()
    broken[0, 3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        FlowErrorMeter().update(broken, flow, visible)


def test_street_judges_its_own_flow_faultless_and_dis_better_than_none() -> None:
    scene = StreetScene(5, width=160, height=120, look="overcast")
    flows = flows_to_judge()
    told: list[tuple[int, int]] = []
    errors = judge_flow([scene], flows, frames_per_scene=2, offsets=(-1,), progress=lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2)]
    assert set(errors) == {("zero", -1), ("DIS", -1), ("DIS at stride 8", -1)}
    assert errors["DIS", -1].visible_px < 0.6 * errors["zero", -1].visible_px
    assert errors["zero", -1].sharpness_percent == 0
    assert errors["DIS", -1].pairs == 2
    true, visible = scene.flow(60, -1)
    meter = FlowErrorMeter()
    meter.update(true, true, visible)
    assert meter.compute().overall_px == 0
    assert meter.compute().sharpness_percent == pytest.approx(100)
    table = markdown(errors).splitlines()
    assert len(table) == 5
    assert table[0].count("|") == table[2].count("|") == 8
    assert table[3].startswith("| DIS | -1 | ")


def test_a_flow_at_a_stride_is_sampled_and_brought_back() -> None:
    flow = np.random.default_rng(0).normal(size=(2, 19, 26)).astype(np.float32)
    expected = resize_loop(resize_loop(flow.astype(np.float64), (3, 4)), (19, 26))
    np.testing.assert_allclose(at_stride(flow), expected, atol=1e-5)
    np.testing.assert_allclose(at_stride(flow, stride=1), flow)
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32), (2, 16, 32))
    np.testing.assert_allclose(at_stride(ramp)[..., 4:-4], ramp[..., 4:-4], atol=1e-5)  # a linear flow is preserved


def test_dis_at_stride_8_is_what_an_untrained_refinement_gives() -> None:
    """It differs from DIS only in resolution, so it is a fair reference for a refinement."""
    scene = StreetScene(5, width=160, height=120, look="overcast")
    frame, neighbour = scene.render(60).image, scene.render(61).image
    coarse = dis_flow(frame, neighbour)
    images = [torch.from_numpy(image).permute(2, 0, 1)[None] / 255 for image in (frame, neighbour)]
    with torch.no_grad():
        refined = FlowRefinement(kernel_size=1).eval()(*images, torch.from_numpy(coarse)[None])
    expected = resize_flow(refined, (120, 160))[0].numpy()
    found = flows_to_judge()["DIS at stride 8"](frame, neighbour)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.abs(found - coarse).max() > 0.1


def test_bad_requests_are_named() -> None:
    scene = StreetScene(5, width=160, height=120, look="overcast")
    with pytest.raises(ValueError, match=r"found 0 scenes and offsets \(1,\)"):
        judge_flow([], flows_to_judge(), offsets=(1,))
    with pytest.raises(ValueError, match=r"found 1 scenes and offsets \(0,\)"):
        judge_flow([scene], flows_to_judge(), offsets=(0,))
    with pytest.raises(ValueError, match="frames_per_scene: found 991; allowed are 1 to 990"):
        judge_flow([scene], flows_to_judge(), frames_per_scene=991)
