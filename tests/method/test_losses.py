"""Eq. 4-8 against loops over pixels in float64, by gradcheck, and by hand; nothing outside the image is counted."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dwnet.core.classes import IGNORE_LABEL
from dwnet.method.losses import (
    edge_aware_smoothness,
    end_point_error,
    feature_consistency,
    occlusion_weight,
    prediction_consistency,
    segmentation_loss,
    total_loss,
    warping_error,
)
from tests.references import feature_consistency_loop, frames, warp_loop

STD = (0.229, 0.224, 0.225)

# Few pixels for many channels takes the N x N form, many pixels for few channels the C x C form.
BRANCHES = pytest.mark.parametrize(("channels", "height", "width"), [(16, 3, 4), (3, 5, 6)], ids=["NxN", "CxC"])


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# --- cross-entropy ---------------------------------------------------------------------------------------------------


def test_cross_entropy_by_loop_over_the_labelled_pixels() -> None:
    logits = randn(2, 3, 4, 5)
    labels = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
    labels[0, :2] = IGNORE_LABEL
    terms = []
    for b, y, x in np.ndindex(2, 4, 5):
        if labels[b, y, x] != IGNORE_LABEL:
            z = logits[b, :, y, x].numpy()
            terms.append(math.log(np.exp(z).sum()) - z[int(labels[b, y, x])])
    assert len(terms) == 30
    assert segmentation_loss(logits, labels).item() == pytest.approx(np.mean(terms), rel=1e-12)
    assert segmentation_loss(logits, labels.to(torch.uint8)).item() == pytest.approx(np.mean(terms), rel=1e-12)


def test_class_weights_weigh_pixels_and_leave_the_mean_over_pixels() -> None:
    """Uniform logits cost log 3 per pixel: (2 + 2 + 0.5) log 3 over 3 labelled pixels."""
    logits = torch.zeros(1, 3, 1, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[[0, 0, 2, IGNORE_LABEL]]])
    loss = segmentation_loss(logits, labels, class_weights=(2.0, 9.0, 0.5))
    assert loss.item() == pytest.approx(4.5 * math.log(3) / 3, rel=1e-12)
    loss.backward()
    assert logits.grad is not None
    # w (softmax - one-hot) / 3
    assert logits.grad[0, :, 0, 0].tolist() == pytest.approx([-4 / 9, 2 / 9, 2 / 9])
    assert logits.grad[0, :, 0, 2].tolist() == pytest.approx([0.5 / 9, 0.5 / 9, -1 / 9])
    assert segmentation_loss(logits, labels, class_weights=(1.0, 1.0, 1.0)) == segmentation_loss(logits, labels)


def test_cross_entropy_resizes_logits_to_the_labels_with_centres_kept() -> None:
    logits = torch.tensor([[[[0.0, 4.0]], [[0.0, 0.0]]]])  # (1, 2, 1, 2) on labels four wide
    expected = np.mean([math.log1p(math.exp(-v)) for v in (0.0, 1.0, 3.0, 4.0)])
    assert segmentation_loss(logits, torch.zeros(1, 1, 4, dtype=torch.long)).item() == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_of_nothing_labelled_is_zero_with_zero_gradient() -> None:
    logits = randn(1, 3, 2, 2, dtype=torch.float32).requires_grad_()
    loss = segmentation_loss(logits, torch.full((1, 2, 2), IGNORE_LABEL))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_cross_entropy_gradient() -> None:
    labels = torch.tensor([[[0, 1, IGNORE_LABEL, 2], [2, 2, 0, 1]]])
    assert torch.autograd.gradcheck(lambda z: segmentation_loss(z, labels), (randn(1, 3, 1, 2).requires_grad_(),))


# --- Eq. 4-5 ---------------------------------------------------------------------------------------------------------


@BRANCHES
@pytest.mark.parametrize("difference", [1.0, 1e-3])
def test_feature_consistency_is_the_naive_double_sum(channels: int, height: int, width: int, difference: float) -> None:
    x = randn(2, channels, height, width)
    y = x + difference * randn(2, channels, height, width, seed=1)
    expected = np.mean([feature_consistency_loop(a, b) for a, b in zip(x.numpy(), y.numpy(), strict=True)])
    assert feature_consistency(x, y).item() == pytest.approx(expected, rel=1e-9)


@BRANCHES
def test_float32_keeps_its_precision_at_small_differences(channels: int, height: int, width: int) -> None:
    # ReLU features a thousandth apart: |X'X|^2 + |Y'Y|^2 - 2 |X'Y|^2 in float32 is off by 100 % and more here.
    x = randn(1, channels, height, width, dtype=torch.float32).relu() + 0.1
    y = x + 1e-3 * randn(1, channels, height, width, seed=1, dtype=torch.float32)
    expected = feature_consistency_loop(x[0].double().numpy(), y[0].double().numpy())
    assert feature_consistency(x, y).item() == pytest.approx(expected, rel=2e-3)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        leaf = y.to(dtype).detach().requires_grad_()
        feature_consistency(x.to(dtype), leaf).backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad.double())
    assert (gradients[0] - gradients[1]).norm() < 5e-3 * gradients[1].norm()


@BRANCHES
def test_under_bf16_autocast_it_computes_in_float32(channels: int, height: int, width: int) -> None:
    x = randn(1, channels, height, width, dtype=torch.float32)
    y = x + 1e-2 * randn(1, channels, height, width, seed=1, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = feature_consistency(x, y)
        low = feature_consistency(x.bfloat16(), x.bfloat16())
    assert loss.dtype == torch.float32
    assert torch.equal(loss, feature_consistency(x, y))
    assert low.item() == 0


def test_both_forms_agree_on_the_same_features() -> None:
    """Added zero channels do not change the cosines, but switch from one form to the other."""
    x, y = randn(1, 3, 5, 6), randn(1, 3, 5, 6, seed=1)
    wide_x, wide_y = (F.pad(t, (0, 0, 0, 0, 0, 20)) for t in (x, y))
    assert feature_consistency(x, y).item() == pytest.approx(feature_consistency(wide_x, wide_y).item(), rel=1e-10)


def test_by_hand_two_pixels() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 5.0]], dtype=torch.float64).T.reshape(1, 2, 1, 2)  # at right angles: a_12 = 0
    y = torch.tensor([[2.0, 2.0], [3.0, 3.0]], dtype=torch.float64).T.reshape(1, 2, 1, 2)  # parallel: a^_12 = 1
    assert feature_consistency(x, y).item() == pytest.approx(2 * 1 / 4)  # a_12 and a_21 differ by 1, N^2 = 4
    assert feature_consistency(x, 7 * x).item() == pytest.approx(0)  # lengths do not matter


@BRANCHES
def test_masked_pixels_are_as_if_they_were_not_there(channels: int, height: int, width: int) -> None:
    x, y = randn(2, channels, height, width), randn(2, channels, height, width, seed=1)
    valid = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(3)) > 0.4
    expected = np.mean(
        [feature_consistency_loop(x[b].numpy(), y[b].numpy(), valid[b].numpy().ravel()) for b in range(2)]
    )
    masked = feature_consistency(x, y, valid)
    assert masked.item() == pytest.approx(expected, rel=1e-9)
    y = torch.where(valid, y, 1e6)  # their values do not matter
    assert feature_consistency(x, y, valid).item() == pytest.approx(masked.item(), rel=1e-9)
    dropped = feature_consistency(x[:1, :, valid[0, 0]][..., None], y[:1, :, valid[0, 0]][..., None])
    assert feature_consistency(x[:1], y[:1], valid[:1]).item() == pytest.approx(dropped.item(), rel=1e-9)


def test_nothing_valid_is_zero() -> None:
    x, y = randn(1, 2, 3, 3).requires_grad_(), randn(1, 2, 3, 3, seed=1)
    loss = feature_consistency(x, y, torch.zeros(1, 1, 3, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert x.grad is not None
    assert x.grad.abs().max() == 0


@BRANCHES
def test_zero_vectors_give_finite_losses_and_sane_gradients(channels: int, height: int, width: int) -> None:
    x, y = (randn(1, channels, height, width, seed=seed, dtype=torch.float32) for seed in (0, 1))
    x[:, :, 0, 0] = 0
    y[:, :, 1, 1] = 0
    x, y = x.requires_grad_(), y.requires_grad_()
    loss = feature_consistency(x, y)
    loss.backward()
    assert loss.item() == pytest.approx(
        feature_consistency_loop(x[0].detach().double().numpy(), y[0].detach().double().numpy()), rel=1e-4
    )
    for leaf in (x, y):
        assert leaf.grad is not None
        assert leaf.grad.abs().max() < 10  # dividing by a length near 0 gave 1e11 here


@BRANCHES
def test_feature_consistency_gradients(channels: int, height: int, width: int) -> None:
    x, y = randn(1, channels, height, width), randn(1, channels, height, width, seed=1)
    valid = torch.ones(1, 1, height, width, dtype=torch.bool)
    valid[..., 0] = False
    assert torch.autograd.gradcheck(
        lambda a, b: feature_consistency(a, b, valid), (x.requires_grad_(), y.requires_grad_())
    )


def test_pixel_order_and_batch_order_do_not_matter() -> None:
    x, y = randn(2, 3, 4, 4), randn(2, 3, 4, 4, seed=1)
    loss = feature_consistency(x, y).item()
    assert feature_consistency(x.flip(0), y.flip(0)).item() == pytest.approx(loss)
    assert feature_consistency(x.flip(-1), y.flip(-1)).item() == pytest.approx(loss)
    assert feature_consistency(x.flip(-1), y).item() != pytest.approx(loss)


# --- Eq. 7 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [1.0, 2.0, 5.0])
def test_occlusion_weight_is_the_loop_reference(delta: float) -> None:
    frame, neighbour = (randn(1, 3, 4, 5, seed=seed).sigmoid() for seed in (0, 1))
    flow = 2 * randn(1, 2, 4, 5, seed=2)
    weight, valid = occlusion_weight(frame, neighbour, flow, delta=delta)
    warped, known = warp_loop(neighbour[0].numpy(), flow[0].numpy())
    error = sum(abs(frame[0, c].numpy() - warped[c]) / STD[c] for c in range(3))
    np.testing.assert_allclose(weight[0, 0].numpy(), np.exp(-error / delta), rtol=1e-6)  # stds are float32 constants
    np.testing.assert_array_equal(valid[0, 0].numpy(), known)


def test_occlusion_by_hand() -> None:
    frame = torch.zeros(1, 3, 1, 3)
    neighbour = torch.zeros(1, 3, 1, 3)
    neighbour[0, 0, 0, 1] = 0.229  # one standard deviation of red at the second pixel,
    neighbour[0, 2, 0, 1] = -0.225  # and minus one of blue: absolute values are summed, so nothing cancels
    weight, valid = occlusion_weight(frame, neighbour, torch.zeros(1, 2, 1, 3), delta=2.0)
    assert weight.flatten().tolist() == pytest.approx([1, math.exp(-1), 1])
    assert valid.all()
    shifted = torch.zeros(1, 2, 1, 3)
    shifted[:, 0] = 1  # pixel 0 now sees the second one, and the last one leaves the image
    weight, valid = occlusion_weight(frame, neighbour, shifted, delta=1.0)
    assert weight.flatten().tolist()[:2] == pytest.approx([math.exp(-2), 1])
    assert valid.flatten().tolist() == [True, True, False]


def test_occlusion_weight_is_a_constant_for_training() -> None:
    frame = torch.rand(1, 3, 4, 4, requires_grad=True)
    flow = torch.rand(1, 2, 4, 4, requires_grad=True)
    weight, _ = occlusion_weight(frame, torch.rand(1, 3, 4, 4), flow)
    assert not weight.requires_grad


def test_occlusion_weight_under_autocast_is_float32() -> None:
    frame, neighbour, flow = torch.rand(1, 3, 6, 6), torch.rand(1, 3, 6, 6), torch.rand(1, 2, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight, _ = occlusion_weight(frame, neighbour, flow)
    assert torch.equal(weight, occlusion_weight(frame, neighbour, flow)[0])


@pytest.mark.parametrize("delta", [0.0, -2.0])
def test_delta_must_be_positive(delta: float) -> None:
    with pytest.raises(ValueError, match=f"delta is {delta}, allowed are numbers above 0"):
        occlusion_weight(torch.rand(1, 3, 2, 2), torch.rand(1, 3, 2, 2), torch.zeros(1, 2, 2, 2), delta=delta)


# --- Eq. 6 -----------------------------------------------------------------------------------------------------------


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


@pytest.mark.parametrize("space", ["logits", "softmax"])
def test_prediction_consistency_is_the_loop_reference(space: str) -> None:
    p, q = randn(2, 3, 4, 5), randn(2, 3, 4, 5, seed=1)
    generator = torch.Generator().manual_seed(2)
    weight = torch.rand(2, 1, 4, 5, generator=generator, dtype=torch.float64)
    valid = torch.rand(2, 1, 4, 5, generator=generator) > 0.3
    terms = []
    for b, y, x in np.ndindex(2, 4, 5):
        if valid[b, 0, y, x]:
            u, v = p[b, :, y, x].numpy(), q[b, :, y, x].numpy()
            if space == "softmax":
                u, v = softmax(u), softmax(v)
            terms.append(weight[b, 0, y, x].item() * ((u - v) ** 2).sum())
    loss = prediction_consistency(p, q, weight=weight, valid=valid, space=space)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-12)


def test_by_hand_the_weight_enters_once() -> None:
    p = torch.tensor([[3.0, 0.0], [1.0, 0.0]]).reshape(1, 2, 1, 2)
    q = torch.tensor([[1.0, 0.0], [1.0, 9.0]]).reshape(1, 2, 1, 2)
    weight = torch.tensor([0.5, 1.0]).reshape(1, 1, 1, 2)
    both = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    assert prediction_consistency(p, q, weight=weight, valid=both).item() == pytest.approx((0.5 * 4 + 81) / 2)
    first = torch.tensor([True, False]).reshape(1, 1, 1, 2)
    assert prediction_consistency(p, q, weight=weight, valid=first).item() == pytest.approx(0.5 * 4 / 1)
    assert prediction_consistency(p, q, weight=weight, valid=~both).item() == 0


@pytest.mark.parametrize("space", ["logits", "softmax"])
def test_prediction_consistency_gradients(space: str) -> None:
    weight = torch.rand(1, 1, 2, 3, dtype=torch.float64)
    valid = torch.tensor([True, True, False, True, True, False]).reshape(1, 1, 2, 3)
    assert torch.autograd.gradcheck(
        lambda p, q: prediction_consistency(p, q, weight=weight, valid=valid, space=space),  # type: ignore[arg-type]
        (randn(1, 3, 2, 3).requires_grad_(), randn(1, 3, 2, 3, seed=1).requires_grad_()),
    )


def test_an_unknown_space_and_masks_of_another_shape_are_refused() -> None:
    p, ones = randn(2, 3, 4, 4), torch.ones(2, 1, 4, 4)
    with pytest.raises(ValueError, match="unknown prediction space 'probability', allowed are logits, softmax"):
        prediction_consistency(p, p, weight=ones, valid=ones.bool(), space="probability")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weight has shape \(2, 4, 4\)"):  # would broadcast to (2, 2, 4, 4)
        prediction_consistency(p, p, weight=ones[:, 0], valid=ones.bool())
    with pytest.raises(ValueError, match=r"valid \(2, 1, 2, 2\)"):
        prediction_consistency(p, p, weight=ones, valid=ones[..., :2, :2].bool())


# --- Eq. 8 -----------------------------------------------------------------------------------------------------------


def test_total_has_the_papers_weights() -> None:
    parts = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.0, 0.2, 3.0)]
    assert total_loss(*parts).item() == pytest.approx(1 + 10 * 0.2 + 0.1 * 3)
    assert total_loss(*parts, feature_weight=2, prediction_weight=0).item() == pytest.approx(1.4)
    assert torch.autograd.gradcheck(total_loss, parts)


# --- the refined flow's own losses -----------------------------------------------------------------------------------


def penalty(x: np.ndarray) -> np.ndarray:
    """Charbonnier's, which is x^2 / 0.002 near 0 and |x| - 0.001 far from it."""
    return np.sqrt(x**2 + 1e-6) - 1e-3


def pattern(height: int = 20, width: int = 28, dx: float = 0.0, dy: float = 0.0) -> torch.Tensor:
    """A smooth picture, (1, 3, H, W) float64; `pattern(dx=2)` shows at x + 2 what `pattern()` shows at x."""
    ys, xs = np.mgrid[:height, :width].astype(float)
    ys, xs = ys - dy, xs - dx
    waves = [np.sin(0.5 * xs + 0.3 * ys), np.cos(0.4 * xs - 0.6 * ys), np.sin(0.7 * ys + 0.2 * xs)]
    return torch.from_numpy(0.5 + 0.3 * np.stack(waves))[None]


def everywhere(dx: float, dy: float, height: int = 20, width: int = 28) -> torch.Tensor:
    """The same flow at every pixel, (1, 2, H, W) float64."""
    return torch.tensor([dx, dy], dtype=torch.float64).reshape(1, 2, 1, 1).expand(1, 2, height, width).clone()


def test_warping_error_by_loop_over_the_counted_pixels_that_stay_inside() -> None:
    first, second, flow = (tensor.double() for tensor in frames(2, 7, 9))
    counted = torch.rand(2, 1, 7, 9, generator=torch.Generator().manual_seed(4)) > 0.3
    terms = []
    for b in range(2):
        warped, known = warp_loop(second[b].numpy(), flow[b].numpy())
        errors = penalty((first[b].numpy() - warped) / np.array(STD).reshape(3, 1, 1)).mean(axis=0)
        assert not known.all()  # outside the neighbour it is black
        terms += errors[counted[b, 0].numpy()].tolist()
    assert len(terms) == counted.sum() < 2 * 7 * 9
    assert warping_error(first, second, flow, counted=counted).item() == pytest.approx(np.mean(terms), rel=1e-10)


def all_of(flow: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(flow[:, :1], dtype=torch.bool)


def test_warping_error_by_hand() -> None:
    """Two pixels: the match of the first differs by one sigma in red, and the flow of the second leaves the image."""
    first = torch.full((1, 3, 1, 2), 0.5, dtype=torch.float64)
    second = first.clone()
    second[0, 0, 0, 1] += 0.229
    flow = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64).reshape(1, 2, 1, 2)
    here = torch.tensor([True, False]).reshape(1, 1, 1, 2)
    one = math.sqrt(1 + 1e-6) - 1e-3
    black = np.mean([penalty(0.5 / sigma) for sigma in STD])
    assert warping_error(first, second, flow, counted=here).item() == pytest.approx(one / 3, rel=1e-9)
    assert warping_error(first, second, flow, counted=~here).item() == pytest.approx(black, rel=1e-9)
    both = (one / 3 + black) / 2
    assert warping_error(first, second, flow, counted=all_of(flow)).item() == pytest.approx(both, rel=1e-9)


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (-3, 1), (0, 0)])
def test_warping_error_is_zero_at_the_true_shift_and_grows_away_from_it(dx: int, dy: int) -> None:
    first, second = pattern(), pattern(dx=dx, dy=dy)
    inner = torch.zeros(1, 1, 20, 28, dtype=torch.bool)
    inner[..., 5:-5, 5:-5] = True
    assert warping_error(first, second, everywhere(dx, dy), counted=inner).item() == pytest.approx(0, abs=1e-12)
    off = [
        warping_error(first, second, everywhere(dx + step, dy), counted=inner).item() for step in (0.25, 0.5, 1.0, 2.0)
    ]
    assert 0 < off[0] < off[1] < off[2] < off[3]
    for axis in (0, 1):
        flow = everywhere(dx + 0.4 * (axis == 0), dy + 0.4 * (axis == 1)).requires_grad_()
        warping_error(first, second, flow, counted=inner).backward()
        assert flow.grad is not None
        assert flow.grad[:, axis].sum() > 0  # descent leads back to the true shift


def test_warping_error_pulls_a_hidden_pixel_no_more_than_a_seen_one() -> None:
    """Far from zero the slope of the penalty is 1, independent of the colour error."""
    first, flow = torch.zeros(1, 3, 1, 3, dtype=torch.float64), torch.zeros(1, 2, 1, 3, dtype=torch.float64)
    pulls = []
    for colour in (0.3, 0.9):
        frame = first.clone()
        frame[..., 1] = colour
        leaf = frame.requires_grad_()
        warping_error(leaf, first, flow, counted=all_of(flow)).backward()
        assert leaf.grad is not None
        pulls.append(leaf.grad[0, :, 0, 1])
    assert torch.allclose(pulls[0], pulls[1], rtol=1e-4)


def test_leaving_the_neighbour_does_not_lower_the_warping_error() -> None:
    first, second = pattern(), pattern(dx=1)
    counted = all_of(first)
    near, far = (warping_error(first, second, everywhere(x, 0), counted=counted).item() for x in (3, 100))
    assert far > near > 0


def test_smoothness_by_loop() -> None:
    flow, image = randn(2, 2, 4, 5), torch.rand(2, 3, 4, 5, dtype=torch.float64)
    counted = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(2)) > 0.2
    terms = []
    for b, y, x in np.ndindex(2, 4, 5):
        for other in ((y + 1, x), (y, x + 1)):
            if other[0] < 4 and other[1] < 5 and counted[b, 0, y, x] and counted[b, 0, other[0], other[1]]:
                difference = (image[b, :, y, x] - image[b, :, other[0], other[1]]).numpy() / np.array(STD)
                change = (flow[b, :, y, x] - flow[b, :, other[0], other[1]]).numpy()
                terms.append(math.exp(-np.abs(difference).sum()) * penalty(change).sum())
    assert edge_aware_smoothness(flow, image, counted=counted).item() == pytest.approx(np.mean(terms), rel=1e-10)


def test_smoothness_by_hand_a_step_costs_less_where_the_image_has_an_edge() -> None:
    image = torch.zeros(1, 3, 2, 4, dtype=torch.float64)
    image[..., 2:] = 0.229  # 1 sigma in red; and in green and blue, by their own
    flow = torch.zeros(1, 2, 2, 4, dtype=torch.float64)
    flow[0, 0, :, 2:] = 3
    edge = 0.229 * (1 / 0.229 + 1 / 0.224 + 1 / 0.225)
    step = math.sqrt(9 + 1e-6) - 1e-3
    mask = all_of(flow)
    pairs = 2 * 3 + 1 * 4
    assert edge_aware_smoothness(flow, image, counted=mask).item() == pytest.approx(
        math.exp(-edge) * 2 * step / pairs, rel=1e-9
    )
    elsewhere = flow.roll(1, dims=3).clone()
    elsewhere[..., 0] = 0
    assert edge_aware_smoothness(elsewhere, image, counted=mask).item() == pytest.approx(2 * step / pairs, rel=1e-9)
    assert edge_aware_smoothness(everywhere(7, -2, 2, 4), image, counted=mask).item() == 0


def test_smoothness_averages_a_larger_image_over_the_cells_of_the_map() -> None:
    flow, cells = randn(1, 2, 3, 4), torch.rand(1, 3, 3, 4, dtype=torch.float64)
    noise = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64).reshape(1, 1, 2, 2).repeat(1, 1, 3, 4)
    image = cells.repeat_interleave(2, 2).repeat_interleave(2, 3) + 0.2 * noise  # checks within cells have mean 0
    of_image, of_cells = (edge_aware_smoothness(flow, of, counted=all_of(flow)).item() for of in (image, cells))
    assert of_image == pytest.approx(of_cells)


def test_end_point_error_by_hand() -> None:
    true = everywhere(2, -1, 1, 3)
    flow = true + torch.tensor([[3.0, 0, 100], [4.0, 0, 100]], dtype=torch.float64).reshape(1, 2, 1, 3)
    counted = torch.tensor([True, True, False]).reshape(1, 1, 1, 3)
    assert end_point_error(flow, true, counted=counted).item() == pytest.approx((5 + 0) / 2, abs=1e-3)
    assert end_point_error(true, true, counted=counted).item() == 0


def test_gradients_of_the_flows_losses() -> None:
    first, second, flow = (tensor.double() for tensor in frames(1, 4, 5))
    counted = torch.rand(1, 1, 4, 5, generator=torch.Generator().manual_seed(1)) > 0.2
    losses = (
        lambda f: warping_error(first, second, f, counted=counted),
        lambda f: edge_aware_smoothness(f, first, counted=counted),
        lambda f: end_point_error(f, flow.flip(-1), counted=counted),
    )
    for loss in losses:
        assert torch.autograd.gradcheck(loss, (flow.clone().requires_grad_(),))


def test_the_flows_losses_of_nothing_are_zero_with_zero_gradient() -> None:
    first, second, flow = frames(1, 4, 5)
    nothing = torch.zeros(1, 1, 4, 5, dtype=torch.bool)
    for loss in (
        lambda f: warping_error(first, second, f, counted=nothing),
        lambda f: edge_aware_smoothness(f, first, counted=nothing),
        lambda f: end_point_error(f, flow + 1, counted=nothing),
    ):
        leaf = flow.clone().requires_grad_()
        value = loss(leaf)
        value.backward()
        assert value.item() == 0
        assert leaf.grad is not None
        assert not leaf.grad.any()


def test_the_flows_losses_under_autocast_are_float32() -> None:
    first, second, flow = frames(1, 8, 8)
    everything = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    for loss in (
        lambda f: warping_error(first, second, f, counted=everything),
        lambda f: edge_aware_smoothness(f, first, counted=everything),
        lambda f: end_point_error(f, flow.flip(-1), counted=everything),
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(flow)
        assert value.dtype == torch.float32
        assert torch.equal(value, loss(flow))


def test_the_flows_losses_refuse_masks_of_another_shape() -> None:
    first, second, flow = frames(2, 4, 5)
    flat = torch.ones(2, 4, 5, dtype=torch.bool)  # would broadcast to (2, 2, 4, 5)
    allowed = r"counted has shape \(2, 4, 5\), allowed is \(2, 1, 4, 5\)"
    with pytest.raises(ValueError, match=allowed):
        end_point_error(flow, flow, counted=flat)
    with pytest.raises(ValueError, match=allowed):
        edge_aware_smoothness(flow, first, counted=flat)
    with pytest.raises(ValueError, match=allowed):
        warping_error(first, second, flow, counted=flat)


def test_a_loss_without_gradients_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients a process computes a loss alone. In training all processes share their counts."""
    waited = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", waited.append)
    logits, labels = torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)
    with torch.no_grad():
        assert segmentation_loss(logits, labels).item() == pytest.approx(math.log(3))
    assert waited == []
    segmentation_loss(logits, labels)
    assert len(waited) == 1
