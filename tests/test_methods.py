"""The three methods as training modules: their losses are those of the equations put together by hand, every switch of
Tables 1 to 4 does what it says, and prediction needs what the method says it needs.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from references import TinySegmenter

from dwnet.losses import feature_consistency, occlusion_weight, prediction_consistency, segmentation_loss
from dwnet.methods import DWNetMethod, Method, MethodSpec
from dwnet.warp import resize

SPEC = MethodSpec(name="dwnet", kernel_size=3)


def batch(height: int = 32, width: int = 48) -> dict[str, Any]:
    """Two blurred noise frames, the second moved by a few pixels, so that DIS finds something."""
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
    """Eq. 8 and its terms from the module's own network and flow."""
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


@pytest.mark.parametrize("name", ["baseline", "static_warp", "dwnet"])
def test_training_reaches_every_parameter_and_repeats_exactly(name: str) -> None:
    data = batch()
    method = build(replace(SPEC, name=name), auxiliary=True).train()  # type: ignore[arg-type]
    losses = method(data)
    losses["total"].backward()
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key
    assert torch.equal(method(data)["total"], losses["total"])


def test_auxiliary_loss_is_weighted_into_the_total() -> None:
    data = batch()
    method = build(replace(SPEC, name="baseline"), auxiliary=True)
    losses = method(data)
    segmenter = method.segmenter
    features, (auxiliary,) = segmenter.features_and_auxiliary(data["frame"])
    main = segmentation_loss(segmenter.classify(features), data["labels"])
    extra = segmentation_loss(auxiliary, data["labels"])
    assert losses["segmentation"].item() == pytest.approx(main.item())
    assert losses["auxiliary"].item() == pytest.approx(extra.item())
    assert losses["total"].item() == pytest.approx((main + 0.4 * extra).item())
    without = build(replace(SPEC, name="baseline", auxiliary_weight=0.0), auxiliary=True)(data)
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

            def features_and_auxiliary(self, image: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
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
    for name in ("baseline", "static_warp", "dwnet"):
        method = build(replace(SPEC, name=name))
        data = {key: value[..., :30, :45] for key, value in batch().items()}  # no multiples of the stride 4
        with torch.no_grad():
            logits = method.predict(data)
        assert logits.shape == (2, 3, 30, 45)
        if not method.needs_neighbour_to_predict:
            assert torch.equal(logits, method.segmenter(data["frame"]))
            assert torch.equal(logits, method.predict({"frame": data["frame"]}))


def test_static_warp_predicts_from_both_frames() -> None:
    method, data = build(replace(SPEC, name="static_warp")), batch()
    with torch.no_grad():
        logits = method.predict(data)
        alone = method.segmenter(data["frame"])
        same = method.predict(data | {"neighbour": data["frame"]})
    assert not torch.allclose(logits, alone, atol=1e-3)
    assert torch.allclose(same, alone, atol=1e-4)  # nothing moved: both features are the same


def test_what_each_method_needs() -> None:
    needs = {
        name: (method.needs_neighbour, method.needs_neighbour_to_predict, method.flow is not None)
        for name in ("baseline", "static_warp", "dwnet")
        for method in [build(replace(SPEC, name=name))]
    }
    assert needs == {
        "baseline": (False, False, False),
        "static_warp": (True, True, True),
        "dwnet": (True, False, True),
    }


@pytest.mark.parametrize("name", ["baseline", "static_warp", "dwnet"])
def test_bf16_autocast_trains(name: str) -> None:
    data = batch()
    method = build(replace(SPEC, name=name), auxiliary=True).train()  # type: ignore[arg-type]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = method(data)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    losses["total"].backward()
    exact = method(data)
    for key, value in losses.items():
        assert value.item() == pytest.approx(exact[key].item(), rel=0.1, abs=1e-3), key
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_unknown_names_and_numbers_are_refused() -> None:
    segmenter = TinySegmenter()
    with pytest.raises(ValueError, match="unknown method 'netwarp', allowed are baseline, static_warp, dwnet"):
        MethodSpec(name="netwarp").build(segmenter)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown flow 'raft', allowed are dis"):
        MethodSpec(flow="raft").build(segmenter)
    with pytest.raises(ValueError, match="kernel_size is 4, allowed are odd numbers"):
        MethodSpec(kernel_size=4).build(segmenter)
    with pytest.raises(ValueError, match="delta is 0"):
        MethodSpec(delta=0).build(segmenter)(batch())
