"""DWNet for every row of Table 1: the output is that of its parts combined by hand, gradients reach only the intended
parts, and the plain segmenter remains for inference.
"""

import numpy as np
import pytest
import torch
from torch import nn

from dwnet.method.dwnet import DWNet
from dwnet.method.fgconv import FlowGuidedConv2d
from dwnet.method.flow_refinement import FlowRefinement
from dwnet.ops.resize import resize_flow
from tests.references import TinySegmenter, fg_conv_loop, frames, warp_loop

# (FG-Conv's s or None for the plain warp, FRM's s or None for the coarse flow)
COMBINATIONS = [(None, None), (None, 1), (1, None), (1, 1), (3, None), (3, 3), (3, 1), (5, 5)]


def build(taps: int | None, refined: int | None, *, auxiliary: bool = False) -> DWNet:
    """Returns a DWNet whose parts all differ from their initial values."""
    torch.manual_seed(0)
    network = DWNet(
        TinySegmenter(auxiliary=auxiliary),
        refinement=None if refined is None else FlowRefinement(kernel_size=refined),
        fg_conv=None if taps is None else FlowGuidedConv2d(4, kernel_size=taps),
    )
    with torch.no_grad():
        if network.refinement is not None:
            nn.init.normal_(network.refinement.flow.weight, std=0.02)
        if network.fg_conv is not None:
            network.fg_conv.weight.add_(0.1 * torch.randn_like(network.fg_conv.weight))
    return network


@pytest.mark.parametrize(("taps", "refined"), COMBINATIONS)
def test_forward_is_its_parts_in_the_papers_order(taps: int | None, refined: int | None) -> None:
    network = build(taps, refined).double().eval()
    first, second, flow = (tensor.double() for tensor in frames())
    with torch.no_grad():
        output = network(first, second, flow)
        features, theirs = network.segmenter.features(first), network.segmenter.features(second)
        used = flow if network.refinement is None else network.refinement(first, second, flow)
        assert (output.refined_flow_px is None) == (refined is None)
        assert output.refined_flow_px is None or torch.equal(output.refined_flow_px, used)
        used = resize_flow(used, (4, 6))  # 16 x 24 at stride 4; the refined flow lies at stride 8
    assert torch.equal(output.features, features)
    assert torch.equal(output.flow_px, used)
    for b in range(2):
        per_tap = used[b].reshape(-1, 2, 4, 6).numpy()
        centre = per_tap[len(per_tap) // 2]
        warped, known = warp_loop(theirs[b].numpy(), centre)
        if network.fg_conv is not None:
            weight = network.fg_conv.weight.detach().numpy()
            size = network.fg_conv.kernel_size**2
            warped = fg_conv_loop(theirs[b].numpy(), np.broadcast_to(per_tap, (size, 2, 4, 6)), weight)
        np.testing.assert_allclose(output.warped_features[b].numpy(), warped, atol=1e-10)
        np.testing.assert_array_equal(output.valid[b, 0].numpy(), known)
    assert torch.equal(output.logits, network.segmenter.classify(features))
    assert torch.equal(output.warped_logits, network.segmenter.classify(output.warped_features))
    assert output.auxiliary_logits == ()


@pytest.mark.parametrize(("taps", "refined"), COMBINATIONS)
def test_gradients_reach_every_part(taps: int | None, refined: int | None) -> None:
    network = build(taps, refined, auxiliary=True)
    output = network(*frames())
    losses = (output.logits - output.warped_logits).square().mean() + output.auxiliary_logits[0].square().mean()
    losses.backward()
    assert {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0} <= {
        "segmenter.classifier.bias"  # cancels in the difference of the two predictions
    }
    parts = {name.split(".")[0] for name, _ in network.named_parameters()}
    assert parts == {"segmenter"} | ({"refinement"} if refined else set()) | ({"fg_conv"} if taps else set())


def test_the_single_frame_loss_alone_reaches_the_segmenter_only() -> None:
    network = build(3, 3, auxiliary=True)
    output = network(*frames())
    (output.logits.square().mean() + output.auxiliary_logits[0].square().mean()).backward()
    reached = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"segmenter"}


def test_both_frames_get_gradients() -> None:
    first, second, flow = frames()
    first, second = first.requires_grad_(), second.requires_grad_()
    build(None, None)(first, second, flow).warped_logits.sum().backward()
    assert second.grad is not None
    assert second.grad.any()
    assert first.grad is None or not first.grad.any()  # the plain warp of the neighbour does not depend on frame t


def test_untrained_it_is_the_static_warp() -> None:
    """At the start FRM and FG-Conv have no effect."""
    torch.manual_seed(0)
    segmenter = TinySegmenter()
    plain = DWNet(segmenter, refinement=None, fg_conv=None)
    whole = DWNet(segmenter, refinement=FlowRefinement(kernel_size=3), fg_conv=FlowGuidedConv2d(4, kernel_size=3))
    first, second, _ = frames()
    flow = torch.tensor([5.0, -3.0]).reshape(1, 2, 1, 1).expand(2, 2, 16, 24)
    assert torch.allclose(
        whole(first, second, flow).warped_features, plain(first, second, flow).warped_features, atol=1e-5
    )


def test_same_frame_and_zero_flow_give_the_same_prediction_twice() -> None:
    first, _, flow = frames()
    output = build(None, None)(first, first, torch.zeros_like(flow))
    assert torch.allclose(output.warped_logits, output.logits, atol=1e-5)
    assert output.valid.all()


def test_auxiliary_logits_are_those_of_frame_t() -> None:
    network = build(3, 3, auxiliary=True)
    first, second, flow = frames()
    (auxiliary,) = network(first, second, flow).auxiliary_logits
    assert torch.allclose(auxiliary, network.segmenter.features_and_auxiliary(first)[1][0], atol=1e-6)


def test_the_trained_segmenter_stands_alone() -> None:
    network = build(3, 3)
    names = set(network.segmenter.state_dict())
    assert names == set(TinySegmenter().state_dict())
    assert network.segmenter(frames()[0]).shape == (2, 3, 16, 24)


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="FG-Conv has 8 channels, the segmenter's features have 4"):
        DWNet(TinySegmenter(), refinement=None, fg_conv=FlowGuidedConv2d(8))
    with pytest.raises(ValueError, match="FRM is built for s = 5, the warp needs s = 3"):
        DWNet(TinySegmenter(), refinement=FlowRefinement(kernel_size=5), fg_conv=FlowGuidedConv2d(4, kernel_size=3))
    with pytest.raises(ValueError, match="FRM is built for s = 3, the warp needs s = 1"):
        DWNet(TinySegmenter(), refinement=FlowRefinement(kernel_size=3), fg_conv=None)
