"""The methods as training modules: their losses agree with the equations, every switch of Tables 1 to 4 has its effect,
and prediction needs the inputs that the method states.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dwnet.flow.base import FlowEstimator
from dwnet.method import training as module
from dwnet.method.flow_refinement import centre_tap
from dwnet.method.losses import (
    edge_aware_smoothness,
    end_point_error,
    feature_consistency,
    occlusion_weight,
    prediction_consistency,
    segmentation_loss,
    warping_error,
)
from dwnet.method.specs import DWNetSpec, KeyframeSpec, MethodSpec, StaticWarpSpec, from_dict, method_spec
from dwnet.method.training import METHODS, DWNetMethod, KeyframeMethod, Method
from dwnet.ops.resize import resize, resize_flow
from dwnet.ops.warp import inside, pixel_grid
from tests.references import TinySegmenter

SPEC = DWNetSpec(kernel_size=3)
NAMES = tuple(METHODS)


def batch(height: int = 32, width: int = 48) -> dict[str, Any]:
    """Two blurred noise frames. The second is moved by a few pixels, so that DIS finds motion."""
    generator = torch.Generator().manual_seed(0)
    noise = F.interpolate(torch.rand(2, 3, height // 4 + 2, width // 4 + 2, generator=generator), scale_factor=4.0)
    noise = F.avg_pool2d(noise, 3, stride=1)
    frame, neighbour = noise[..., :height, :width], noise[..., 2 : height + 2, 3 : width + 3]
    labels = torch.randint(0, 3, (2, height, width), generator=generator)
    labels[:, :4] = 255
    return {"frame": frame.contiguous(), "neighbour": neighbour.contiguous(), "labels": labels}


def build(spec: MethodSpec, *, auxiliary: bool = False) -> Method:
    torch.manual_seed(0)
    method = spec.build(TinySegmenter(auxiliary=auxiliary))
    if isinstance(method, DWNetMethod):
        with torch.no_grad():
            if method.network.refinement is not None:
                method.network.refinement.flow.weight.normal_(std=0.01)
            if method.network.fg_conv is not None:
                method.network.fg_conv.weight.add_(0.1 * torch.randn_like(method.network.fg_conv.weight))
    return method.eval()


def by_hand(method: Method, data: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Returns Eq. 8 and its terms, computed from the network and flow of the module."""
    assert isinstance(method, DWNetMethod)
    assert method.flow is not None
    spec = method.spec
    flow = method.flow(data["frame"], data["neighbour"])
    output = method.network(data["frame"], data["neighbour"], flow)
    size = (data["frame"].shape[-2], data["frame"].shape[-1])
    weight, inside = occlusion_weight(data["frame"], data["neighbour"], flow, delta=spec.delta)
    terms = {
        "segmentation": segmentation_loss(output.logits, data["labels"]),
        "feature": feature_consistency(output.features, output.warped_features, output.valid),
        "prediction": prediction_consistency(
            resize(output.logits, size),
            resize(output.warped_logits, size),
            weight=weight if spec.occlusion_mask else torch.ones_like(weight),
            valid=inside & (resize(output.valid.float(), size) == 1),
            space=spec.prediction_space,
        ),
    }
    lambda_1, lambda_2 = spec.feature_weight, spec.prediction_weight
    return terms | {
        "total": terms["segmentation"] + lambda_1 * terms["feature"] + lambda_2 * terms["prediction"],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fg_conv": False, "refinement": False},
        {"fg_conv": False},
        {"refinement": False},
        {"kernel_size": 1},
        {"kernel_size": 5, "residual_refinement": False},
        {"feature_weight": 0.0},
        {"prediction_weight": 0.0},
        {"occlusion_mask": False},
        {"delta": 5.0},
        {"prediction_space": "softmax"},
    ],
)
def test_dwnet_losses_are_the_equations(changes: dict[str, Any]) -> None:
    method, data = build(replace(SPEC, **changes)), batch()
    losses, expected = method(data), by_hand(method, data)
    spec = method.spec
    left_out = {name for name in ("feature", "prediction") if getattr(spec, f"{name}_weight") == 0}
    assert set(losses) == set(expected) - left_out
    for name in losses:
        assert losses[name].item() == pytest.approx(expected[name].item(), rel=1e-5), name
        assert losses[name] > 0
    assert isinstance(method, DWNetMethod)
    assert (method.network.fg_conv is not None, method.network.refinement is not None) == (
        spec.fg_conv,
        spec.refinement,
    )


@pytest.mark.parametrize("name", ["feature_weight", "prediction_weight"])
def test_a_weight_of_zero_leaves_its_loss_out_of_the_gradient(name: str) -> None:
    data = batch()
    off = build(replace(SPEC, feature_weight=0.0, prediction_weight=0.0))
    off(data)["total"].backward()
    assert isinstance(off, DWNetMethod)
    assert off.network.fg_conv is not None
    assert off.network.fg_conv.weight.grad is None or not off.network.fg_conv.weight.grad.any()
    changes: dict[str, Any] = {"feature_weight": 0.0, "prediction_weight": 0.0, name: 1.0}
    on = build(replace(SPEC, **changes))
    on(data)["total"].backward()
    assert isinstance(on, DWNetMethod)
    assert on.network.fg_conv is not None
    assert on.network.fg_conv.weight.grad is not None
    assert on.network.fg_conv.weight.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_training_reaches_every_parameter_and_repeats_exactly(name: str) -> None:
    data = batch()
    method = build(method_spec(name), auxiliary=True).train()
    losses = method(data)
    losses["total"].backward()
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key
    assert torch.equal(method(data)["total"], losses["total"])


def test_auxiliary_loss_is_weighted_into_the_total() -> None:
    data = batch()
    method = build(method_spec("baseline"), auxiliary=True)
    losses = method(data)
    segmenter = method.segmenter
    features, (auxiliary,) = segmenter.features_and_auxiliary(data["frame"])
    main = segmentation_loss(segmenter.classify(features), data["labels"])
    extra = segmentation_loss(auxiliary, data["labels"])
    assert losses["segmentation"].item() == pytest.approx(main.item())
    assert losses["auxiliary"].item() == pytest.approx(extra.item())
    assert losses["total"].item() == pytest.approx((main + 0.4 * extra).item())
    without = build(method_spec("baseline", auxiliary_weight=0.0), auxiliary=True)(data)
    assert set(without) == {"segmentation", "total"}


def test_detached_targets_get_no_gradient_from_the_consistency_losses() -> None:
    data = batch()
    for detach in (True, False):
        captured: list[torch.Tensor] = []

        class Recording(TinySegmenter):
            def features(self, image: torch.Tensor) -> torch.Tensor:
                both = super().features(image)
                both.retain_grad()
                captured.append(both)  # noqa: B023
                return both

            def features_and_auxiliary(
                self, image: torch.Tensor, *, labelled: int | None = None
            ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
                return self.features(image), ()

        torch.manual_seed(0)
        method = replace(SPEC, detach_target=detach, refinement=False, fg_conv=False).build(Recording())
        losses = method(data)
        (losses["feature"] + losses["prediction"]).backward()
        gradient = captured[0].grad
        assert gradient is not None
        target, neighbour = gradient.chunk(2)
        assert neighbour.any()
        assert bool(target.any()) is not detach


def test_predictions_are_of_the_frames_size_at_any_size() -> None:
    for name in NAMES:
        method = build(method_spec(name))
        data = {key: value[..., :30, :45] for key, value in batch().items()}  # no multiples of the stride 4
        with torch.no_grad():
            logits = method.predict(data)
        assert logits.shape == (2, 3, 30, 45)
        if not method.needs_neighbour_to_predict:
            assert torch.equal(logits, method.segmenter(data["frame"]))
            assert torch.equal(logits, method.predict({"frame": data["frame"]}))


def test_static_warp_predicts_from_both_frames() -> None:
    method, data = build(method_spec("static_warp")), batch()
    with torch.no_grad():
        logits = method.predict(data)
        alone = method.segmenter(data["frame"])
        same = method.predict(data | {"neighbour": data["frame"]})
    assert not torch.allclose(logits, alone, atol=1e-3)
    assert torch.allclose(same, alone, atol=1e-4)  # nothing moved: both features are the same


def test_what_each_method_needs() -> None:
    needs = {
        name: (method.needs_neighbour, method.needs_neighbour_to_predict, method.flow is not None)
        for name in NAMES
        for method in [build(method_spec(name))]
    }
    assert needs == {
        "baseline": (False, False, False),
        "static_warp": (True, True, True),
        "keyframe": (True, True, True),
        "dwnet": (True, False, True),
    }


@pytest.mark.parametrize("name", NAMES)
def test_bf16_autocast_trains(name: str) -> None:
    data = batch()
    method = build(method_spec(name), auxiliary=True).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = method(data)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    losses["total"].backward()
    exact = method(data)
    for key, value in losses.items():
        assert value.item() == pytest.approx(exact[key].item(), rel=0.1, abs=1e-3), key
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


# Key frames


def test_keyframe_is_supervised_through_the_warp_where_the_key_frame_shows_the_pixel() -> None:
    data = batch()
    method = build(method_spec("keyframe"), auxiliary=True)
    assert isinstance(method, KeyframeMethod)
    flow = torch.zeros(2, 2, 32, 48)
    flow[:, 0] = 20  # the rightmost 20 columns leave the key frame
    method.flow = Given(flow)
    losses = method(data)
    logits, (auxiliary,) = method.network(data["neighbour"], flow)
    labels = torch.where(inside(pixel_grid(32, 48) + flow, 32, 48)[:, 0], data["labels"], 255)
    assert (labels[:, :, 28:] == 255).all()
    assert torch.equal(labels[:, :, :28], data["labels"][:, :, :28])
    assert losses["segmentation"].item() == pytest.approx(segmentation_loss(logits, labels).item())
    assert losses["auxiliary"].item() == pytest.approx(segmentation_loss(auxiliary, labels).item())
    moved = method(data | {"frame": torch.rand_like(data["frame"])})
    assert torch.equal(moved["total"], losses["total"])  # the frame affects only the flow


def test_keyframe_predicts_from_the_key_frame() -> None:
    method, data = build(method_spec("keyframe")), batch()
    with torch.no_grad():
        logits = method.predict(data)
        assert not torch.allclose(logits, method.segmenter(data["frame"]), atol=1e-3)
        same = method.predict({"frame": data["frame"], "neighbour": data["frame"]})
        assert torch.allclose(same, method.segmenter(data["frame"]), atol=1e-4)  # nothing moved


# Flow estimators


class Given(FlowEstimator):
    """Returns a constant flow, which is a parameter."""

    def __init__(self, flow: torch.Tensor) -> None:
        super().__init__()
        self.flow_px = torch.nn.Parameter(flow)

    def forward(self, frame: torch.Tensor, neighbour: torch.Tensor) -> torch.Tensor:
        return self.flow_px


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "static_warp"},
        {"name": "static_warp", "fusion": "concatenation"},
        {"name": "static_warp", "fusion": "per_channel"},
        {"name": "keyframe"},
        {"fg_conv": False, "refinement": False},
        {"fg_conv": False},
        {"refinement": False},
        {},
        {"residual_refinement": False},
        {"feature_weight": 0.0},
        {"prediction_weight": 0.0},
        {"prediction_weight": 0.0, "detach_target": True},
    ],
)
def test_gradients_reach_a_trained_flow(changes: dict[str, Any]) -> None:
    """Gradients through the warp, FRM and FG-Conv agree with finite differences in ten elements of the flow."""
    method = build(from_dict(changes)).double()
    data = {key: value.double() if value.is_floating_point() else value for key, value in batch().items()}
    generator = torch.Generator().manual_seed(3)
    method.flow = Given(4 * torch.rand(2, 2, 32, 48, generator=generator, dtype=torch.float64) - 1.7)
    parameter = method.flow.flow_px

    def consistency() -> torch.Tensor:
        losses = method(data)  # Eq. 7's M is a constant to the gradient, but not to differences
        return losses["feature"] if "prediction" in losses and "feature" in losses else losses["total"]

    if changes.get("feature_weight") == 0:
        method.spec = replace(method.spec, occlusion_mask=False)
    consistency().backward()
    assert parameter.grad is not None
    assert parameter.grad.abs().max() > 0
    largest = parameter.grad.abs().flatten().topk(200).indices[::20]
    for index in largest:
        with torch.no_grad():
            values = []
            for step in (1e-6, -1e-6):
                parameter.view(-1)[index] += step
                values.append(consistency().item())
                parameter.view(-1)[index] -= step
        slope = (values[0] - values[1]) / 2e-6
        assert parameter.grad.flatten()[index].item() == pytest.approx(slope, rel=1e-3, abs=1e-9)


def test_the_mask_passes_no_gradient_to_the_flow() -> None:
    data = batch()
    flow = torch.full((2, 2, 32, 48), 0.3, requires_grad=True)
    weight, _ = occlusion_weight(data["frame"], data["neighbour"], flow)
    assert not weight.requires_grad
    # In the whole loss: with frames' own logits as the warped ones, Eq. 6 could only change the flow through M.
    method = build(replace(SPEC, feature_weight=0.0, fg_conv=False, refinement=False))
    method.flow = Given(flow.detach())
    with torch.no_grad():
        for parameter in method.segmenter.parameters():
            parameter.zero_()
        method.segmenter.get_submodule("classifier").bias.copy_(torch.tensor([1.0, 2.0, 3.0]))  # type: ignore[union-attr]
    method(data)["total"].backward()
    assert method.flow.flow_px.grad is not None
    assert not method.flow.flow_px.grad.any()


def test_a_real_flow_network_trains_jointly() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    data = {name: torch.rand(1, 3, 128, 128, generator=generator) for name in ("frame", "neighbour")}
    data["labels"] = torch.randint(0, 3, (1, 128, 128), generator=generator)
    for trained in (True, False):
        spec = replace(SPEC, flow="raft_small", flow_weights="none", train_flow=trained)
        method = spec.build(TinySegmenter()).train()
        assert method.flow is not None
        method(data)["total"].backward()
        for name, parameter in method.flow.named_parameters():
            assert parameter.requires_grad is trained, name
            assert (parameter.grad is not None) is trained, name
        moved = sum(float(p.grad.abs().sum()) for p in method.flow.parameters() if p.grad is not None)
        assert (moved > 0) is trained


def test_what_the_flow_is_built_from(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def record(name: str, *, weights: str, trainable: bool) -> FlowEstimator:
        asked.append((name, weights, trainable))
        return Given(torch.zeros(1))

    monkeypatch.setattr(module, "build_flow", record)
    spec = replace(SPEC, flow="flownet2", flow_weights="flownet2.pth", train_flow=True)
    spec.build(TinySegmenter())
    spec.build(TinySegmenter(), load_flow=False)
    method_spec("baseline").build(TinySegmenter())  # it needs none, and builds none
    assert asked == [("flownet2", "flownet2.pth", True), ("flownet2", "none", True)]


def test_unknown_names_and_numbers_are_refused() -> None:
    segmenter = TinySegmenter()
    with pytest.raises(
        ValueError, match="unknown method 'netwarp', allowed are baseline, static_warp, keyframe, dwnet"
    ):
        method_spec("netwarp")
    with pytest.raises(ValueError, match="unknown flow 'raft', allowed are dis"):
        DWNetSpec(flow="raft").build(segmenter)
    with pytest.raises(ValueError, match="kernel_size is 4, allowed are odd numbers"):
        DWNetSpec(kernel_size=4)
    with pytest.raises(ValueError, match="unknown fusion 'mean', allowed are weighted_sum, concatenation, per_channel"):
        StaticWarpSpec(fusion="mean")  # type: ignore[arg-type]
    for changes, message in (
        ({"delta": 0}, "delta is 0, allowed are numbers above 0"),
        ({"prediction_space": "probs"}, "unknown prediction space 'probs', allowed are logits, softmax"),
        ({"feature_weight": -1}, "feature_weight is -1, allowed are numbers of at least 0"),
        ({"prediction_weight": float("nan")}, "prediction_weight is nan"),
        ({"auxiliary_weight": float("inf")}, "auxiliary_weight is inf"),
        ({"class_weights": (1.0, 0.0)}, r"class_weights is \(1.0, 0.0\), allowed are numbers above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            DWNetSpec(**changes)
    with pytest.raises(ValueError, match="key_interval is 0, allowed are whole numbers of at least 1"):
        KeyframeSpec(key_interval=0)


def test_a_flow_that_nothing_would_train_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"method 'baseline' does not use flow = 'raft_small' \(of static_warp, .*train_"
    ):
        method_spec("baseline", flow="raft_small", train_flow=True)
    with pytest.raises(ValueError, match="train_flow: feature_weight and prediction_weight are 0"):
        DWNetSpec(flow="raft_small", train_flow=True, feature_weight=0, prediction_weight=0)
    with pytest.raises(ValueError, match="flow 'dis' cannot be trained: it has no parameters"):
        DWNetSpec(train_flow=True).build(TinySegmenter())
    with pytest.raises(ValueError, match=r"flow 'dis' cannot load weights 'dis\.pth': it has no parameters"):
        DWNetSpec(flow_weights="dis.pth").build(TinySegmenter())


def test_frames_that_have_no_neighbour_enter_the_cross_entropy_alone() -> None:
    torch.manual_seed(0)
    data = batch()
    method = method_spec("dwnet").build(TinySegmenter()).double()
    data = {key: value.double() if value.is_floating_point() else value for key, value in data.items()}
    first = {key: value[:1] for key, value in data.items()}
    whole, alone = method({**data, "paired": torch.tensor([True, False])}), method(first)
    for name in ("feature", "prediction"):
        assert torch.allclose(whole[name], alone[name], rtol=1e-6), name
    assert torch.allclose(whole["segmentation"], method(data)["segmentation"])
    none = method({**data, "paired": torch.tensor([False, False])})
    assert none["feature"] == none["prediction"] == 0


# The refined flow's own losses


def with_truth(data: dict[str, Any]) -> dict[str, Any]:
    """Returns the batch with its exact flow: the point at x in the frame is at x - (3, 2) in the neighbour."""
    flow = torch.zeros(2, 2, 32, 48)
    flow[:, 0], flow[:, 1] = -3, -2
    return {**data, "flow": flow, "visible": inside(pixel_grid(32, 48) + flow, 32, 48)[:, 0]}


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_the_flows_losses_are_those_of_the_centre_tap_and_weighted_into_the_total(kernel_size: int) -> None:
    data = with_truth(batch())
    plain = build(replace(SPEC, kernel_size=kernel_size))
    weights = {"warping_weight": 0.7, "smoothness_weight": 0.3, "flow_supervision_weight": 0.2}
    method = build(replace(SPEC, kernel_size=kernel_size, **weights))
    losses, without = method(data), plain(data)
    assert isinstance(method, DWNetMethod)
    assert method.flow is not None
    assert method.network.refinement is not None
    coarse = method.flow(data["frame"], data["neighbour"])
    refined = centre_tap(method.network.refinement(data["frame"], data["neighbour"], coarse))
    at_image = resize_flow(refined, (32, 48))
    seen = inside(pixel_grid(32, 48) + coarse, 32, 48)  # by the coarse flow: the refined one shall not leave
    expected = {
        "warping": warping_error(data["frame"], data["neighbour"], at_image, counted=seen),
        "smoothness": edge_aware_smoothness(refined, data["frame"], counted=torch.ones(2, 1, 4, 6, dtype=torch.bool)),
        "flow_supervision": end_point_error(at_image, data["flow"], counted=data["visible"][:, None]),
    }
    assert set(losses) == set(without) | set(expected)
    total = without["total"]
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-5), name
        assert value > 0
        total = total + weights[f"{name}_weight"] * value
    assert losses["total"].item() == pytest.approx(total.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["warping_weight", "smoothness_weight", "flow_supervision_weight"])
def test_each_of_the_flows_losses_trains_the_refinement_alone(name: str) -> None:
    changes: dict[str, Any] = {"feature_weight": 0.0, "prediction_weight": 0.0, name: 1.0}
    method = build(replace(SPEC, **changes))
    assert (method.spec.trains_refinement, method.spec.trains_fg_conv) == (True, False)
    losses = method(with_truth(batch()))
    assert set(losses) == {"segmentation", "total", name.removesuffix("_weight")}
    losses[name.removesuffix("_weight")].backward()
    reached = {key.split(".")[1] for key, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"refinement"}


def test_what_trains_what() -> None:
    off = replace(SPEC, feature_weight=0.0, prediction_weight=0.0)
    assert (off.trains_refinement, off.trains_fg_conv) == (False, False)
    for name in ("feature_weight", "prediction_weight"):
        changes: dict[str, Any] = {name: 1.0}
        on = replace(off, **changes)
        assert (on.trains_refinement, on.trains_fg_conv) == (True, True)
    DWNetSpec(flow="raft_small", train_flow=True, feature_weight=0, prediction_weight=0, warping_weight=1)


def test_the_warping_error_corrects_a_coarse_flow_that_is_wrong() -> None:
    """The coarse flow has an error of 1.8 px everywhere. The warping error alone brings it near the exact flow."""
    torch.manual_seed(0)
    spec = replace(SPEC, kernel_size=1, feature_weight=0.0, prediction_weight=0.0, warping_weight=1.0)
    method, data = spec.build(TinySegmenter()), with_truth(batch())
    assert isinstance(method, DWNetMethod)
    assert method.network.refinement is not None
    coarse = data["flow"] + torch.tensor([1.5, -1.0]).reshape(1, 2, 1, 1)
    method.flow = Given(coarse).requires_grad_(False)
    optimiser = torch.optim.Adam(method.network.refinement.parameters(), lr=1e-4)
    for _ in range(50):
        losses = method(data)
        optimiser.zero_grad()
        losses["warping"].backward()
        optimiser.step()
    refined = method.network(data["frame"], data["neighbour"], coarse).refined_flow_px
    assert refined is not None
    error = end_point_error(resize_flow(refined, (32, 48)), data["flow"], counted=data["visible"][:, None])
    assert error < 0.4  # 0.12 on the machine this was written on


def test_frames_without_neighbour_enter_none_of_the_flows_losses() -> None:
    torch.manual_seed(0)
    weights = {"warping_weight": 1.0, "smoothness_weight": 1.0, "flow_supervision_weight": 1.0}
    method = build(replace(SPEC, **weights)).double()  # type: ignore[arg-type]
    data = with_truth(batch())
    data = {key: value.double() if value.is_floating_point() else value for key, value in data.items()}
    first = {key: value[:1] for key, value in data.items()}
    half, alone = method({**data, "paired": torch.tensor([True, False])}), method(first)
    none = method({**data, "paired": torch.tensor([False, False])})
    for name in ("warping", "smoothness", "flow_supervision"):
        assert half[name].item() == pytest.approx(alone[name].item(), rel=1e-9), name
        assert none[name] == 0


def test_flow_weights_without_what_they_need_are_refused() -> None:
    with pytest.raises(ValueError, match=r"warping_weight is 0\.5, allowed without refinement is 0"):
        DWNetSpec(warping_weight=0.5, refinement=False)
    with pytest.raises(ValueError, match="smoothness_weight is -1, allowed are numbers of at least 0"):
        DWNetSpec(smoothness_weight=-1)
    with pytest.raises(ValueError, match="flow_supervision_weight: the batch holds no exact flow"):
        build(replace(SPEC, flow_supervision_weight=1.0))(batch())
    with pytest.raises(ValueError, match=r"method 'baseline' does not use warping_weight = 0\.5 \(of dwnet\)"):
        method_spec("baseline", warping_weight=0.5)
    from_dict({"name": "baseline", "warping_weight": 0.5}, ignore_unused=True)  # as old checkpoints have it
