"""Eq. 1: the warp samples the neighbour at the end of the flow, an integer flow moves a map by exactly that many
pixels, pixels from outside are 0 and invalid, and resizing keeps pixel centres and scales vectors.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dwnet.ops.resize import resize, resize_flow
from dwnet.ops.warp import GROUP_CHANNELS, inside, pixel_grid, sample, warp
from tests.references import resize_loop, warp_loop


def random_map(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_warp_is_the_loop_reference_inside_and_outside() -> None:
    source, flow = random_map(2, 3, 5, 7), 4 * random_map(2, 2, 5, 7, seed=1)
    warped, valid = warp(source, flow)
    assert valid.any()
    assert not valid.all()
    for b in range(2):
        expected, known = warp_loop(source[b].numpy(), flow[b].numpy())
        np.testing.assert_allclose(warped[b].numpy(), expected, atol=1e-12)
        np.testing.assert_array_equal(valid[b, 0].numpy(), known)


def test_by_hand_one_pixel_right_and_one_down() -> None:
    source = torch.arange(12.0).reshape(1, 1, 3, 4)
    right = torch.zeros(1, 2, 3, 4)
    right[:, 0] = 1  # channel 0 is dx, to the right
    warped, valid = warp(source, right)
    assert warped[0, 0].tolist() == pytest.approx(np.array([[1, 2, 3, 0], [5, 6, 7, 0], [9, 10, 11, 0]]), abs=1e-5)
    assert valid[0, 0].tolist() == [[True, True, True, False]] * 3
    down = torch.zeros(1, 2, 3, 4)
    down[:, 1] = 1  # channel 1 is dy, downwards
    warped, valid = warp(source, down)
    assert warped[0, 0].tolist() == pytest.approx(np.array([[4, 5, 6, 7], [8, 9, 10, 11], [0, 0, 0, 0]]), abs=1e-5)
    assert valid[0, 0].tolist() == [[True] * 4, [True] * 4, [False] * 4]


def test_by_hand_between_pixels_and_over_the_edge() -> None:
    source = torch.tensor([[[[1.0, 3.0], [5.0, 11.0]]]])
    flow = torch.zeros(1, 2, 2, 2)
    flow[0, :, 0, 0] = torch.tensor([0.25, 0.5])  # 1/2 (0.75 * 1 + 0.25 * 3) + 1/2 (0.75 * 5 + 0.25 * 11)
    flow[0, :, 0, 1] = torch.tensor([0.5, 0.0])  # half of the weight is outside, where the value is 0
    flow[0, :, 1, 0] = torch.tensor([0.0, 2.0])  # completely outside
    warped, valid = warp(source, flow)
    assert warped[0, 0].flatten().tolist() == pytest.approx([4.0, 1.5, 0.0, 11.0], abs=1e-6)
    assert valid[0, 0].flatten().tolist() == [True, False, False, True]


@settings(max_examples=25, deadline=None)
@given(st.integers(-6, 6), st.integers(-6, 6), st.integers(2, 9), st.integers(2, 9))
def test_integer_flow_moves_by_exactly_that_shift(dx: int, dy: int, height: int, width: int) -> None:
    source = random_map(1, 2, height, width, seed=dx * 100 + dy, dtype=torch.float32)
    flow = torch.tensor([float(dx), float(dy)]).reshape(1, 2, 1, 1).expand(1, 2, height, width)
    warped, valid = warp(source, flow)
    expected, known = np.zeros((2, height, width), np.float32), np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                expected[:, y, x], known[y, x] = source[0, :, y + dy, x + dx], True
    np.testing.assert_allclose(warped[0].numpy(), expected, atol=1e-5)
    np.testing.assert_array_equal(valid[0, 0].numpy(), known)


def test_identity_flow_changes_nothing_and_is_valid_everywhere() -> None:
    source = random_map(2, 3, 45, 61, dtype=torch.float32)
    warped, valid = warp(source, torch.zeros(2, 2, 45, 61))
    assert torch.allclose(warped, source, atol=1e-4)  # grid_sample's coordinates round at 1e-6 of the width
    assert valid.all()


def test_gradients_of_map_and_flow() -> None:
    source = random_map(1, 2, 3, 4).requires_grad_()
    flow = (0.8 * torch.rand(1, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 0.1) * 2
    flow = torch.where((flow % 1 - 0.5).abs() > 0.45, flow + 0.2, flow).requires_grad_()  # away from the kinks
    assert torch.autograd.gradcheck(lambda s, f: warp(s, f)[0], (source, flow))


def test_low_precision_tells_neighbouring_pixels_apart_on_wide_maps() -> None:
    source = (torch.arange(600) % 2).reshape(1, 1, 1, 600).to(torch.bfloat16)  # bf16 cannot tell pixel 300 from 301
    flow = torch.zeros(1, 2, 1, 600, dtype=torch.bfloat16)
    flow[:, 0] = 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        warped, _ = warp(source, flow)
    assert warped.dtype == torch.bfloat16
    assert torch.allclose(warped[..., :-1].float(), source[..., 1:].float(), atol=1e-2)


def test_a_double_map_keeps_its_precision_under_a_float_flow() -> None:
    source = random_map(1, 1, 4, 4)
    flow = torch.full((1, 2, 4, 4), 0.5)
    assert torch.equal(warp(source, flow)[0], warp(source, flow.double())[0])


def test_frames_of_a_batch_do_not_mix() -> None:
    source, flow = random_map(3, 2, 4, 5), random_map(3, 2, 4, 5, seed=1)
    order = torch.tensor([2, 0, 1])
    assert torch.equal(warp(source, flow)[0][order], warp(source[order], flow[order])[0])


@pytest.mark.parametrize("channels", [GROUP_CHANNELS, 3 * GROUP_CHANNELS, GROUP_CHANNELS + 1])
def test_channels_sampled_in_groups_are_those_sampled_one_by_one(channels: int) -> None:
    source = torch.randn(2, channels, 5, 7, dtype=torch.float64, requires_grad=True)
    positions = (torch.rand(2, 2, 4, 6, dtype=torch.float64) * 8 - 1).requires_grad_()
    weights = torch.randn(2, channels, 4, 6, dtype=torch.float64)
    grouped = sample(source, positions)
    single = torch.cat([sample(source[:, c : c + 1], positions) for c in range(channels)], dim=1)
    assert torch.allclose(grouped, single, atol=1e-12)
    found = torch.autograd.grad((grouped * weights).sum(), (source, positions))
    expected = torch.autograd.grad((single * weights).sum(), (source, positions))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_cropping_commutes_with_warping() -> None:
    source, flow = random_map(1, 2, 12, 12), random_map(1, 2, 12, 12, seed=1).clamp(-2, 2)
    whole = warp(source, flow)[0][..., 4:8, 4:8]
    crop = warp(source[..., 2:10, 2:10], flow[..., 2:10, 2:10])[0][..., 2:6, 2:6]
    assert torch.allclose(whole, crop, atol=1e-12)


def test_pixel_grid_sample_and_inside_by_hand() -> None:
    assert pixel_grid(2, 3).tolist() == [[[0, 1, 2], [0, 1, 2]], [[0, 0, 0], [1, 1, 1]]]
    positions = torch.tensor([[0.0, 1.5, 2.0, 2.01, -0.01], [0.0, 0.0, 1.0, 1.0, 0.0]]).reshape(1, 2, 1, 5)
    assert inside(positions, 2, 3).flatten().tolist() == [True, True, True, False, False]
    read = sample(torch.tensor([[[[0.0, 10.0, 20.0], [30.0, 40.0, 50.0]]]]), positions)
    assert read.shape == (1, 1, 1, 5)  # the size of the positions, not of the map
    assert read.flatten().tolist() == pytest.approx([0, 15, 50, 49.5, 0], abs=1e-4)


@pytest.mark.parametrize("size", [(3, 5), (8, 4), (1, 1), (7, 12)])
def test_resize_keeps_pixel_centres(size: tuple[int, int]) -> None:
    source = random_map(1, 2, 4, 6)
    np.testing.assert_allclose(resize(source, size)[0].numpy(), resize_loop(source[0].numpy(), size), atol=1e-12)


def test_resize_by_hand_and_to_its_own_size() -> None:
    line = torch.tensor([[[[0.0, 1.0]]]])
    assert resize(line, (1, 4)).flatten().tolist() == [0, 0.25, 0.75, 1]
    assert resize(line, (1, 2)) is line


def test_resized_flow_scales_each_axis_by_its_own_factor() -> None:
    flow = torch.tensor([8.0, 4.0, -16.0, 2.0]).reshape(1, 4, 1, 1).expand(1, 4, 16, 32)  # two taps
    small = resize_flow(flow, (8, 4))  # x shrinks to 1/8, y to 1/2
    assert small.shape == (1, 4, 8, 4)
    assert small[0, :, 3, 2].tolist() == [1, 2, -2, 1]
    back = resize_flow(small, (16, 32))
    assert torch.allclose(back, flow)


def test_a_flow_of_whole_strides_moves_the_feature_map_by_whole_pixels() -> None:
    features = random_map(1, 3, 4, 6, dtype=torch.float32)
    flow = torch.zeros(1, 2, 64, 96)
    flow[:, 0] = 16
    warped, valid = warp(features, resize_flow(flow, (4, 6)))
    assert torch.allclose(warped[..., :-1], features[..., 1:], atol=1e-5)
    assert valid[0, 0].tolist() == [[True] * 5 + [False]] * 4


@pytest.mark.parametrize("shape", [(2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 4, 3), (2, 3, 4)])
def test_a_flow_that_does_not_lie_on_the_map_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"flow has shape \(.*allowed are \(B, 2, H, W\)"):
        warp(torch.zeros(1, 5, 3, 4), torch.zeros(shape))


def test_a_map_without_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"map \(5, 3, 4\)"):
        warp(torch.zeros(5, 3, 4), torch.zeros(1, 2, 3, 4))
