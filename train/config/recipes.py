"""Named runs: BASE_VARIANT. A base is a network, its data and its schedule; a variant is what of them a row of a table
changes. Each reads as its difference from the one it derives from.

All train against DIS. The paper's jointly trained FlowNet2 is one option of `train/ablate.py` (`--flownet2 FILE`), and
three of `train/main.py`: `--method.flow flownet2 --method.flow-weights FILE --method.train-flow`. NVIDIA's weight file
cannot be downloaded by a program, and without it no row could be run.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dwnet.method.specs import DWNetSpec, to_method
from dwnet.segmentation import NetworkSpec
from train.config.spec import DataSpec, OptimiserSpec, Recipe

Changes = Mapping[str, Any]
"""Settings by the name of their option, such as "method.delta"."""


def changed(recipe: Recipe, changes: Changes) -> Recipe:
    """The recipe with other settings.

    Args:
        recipe: where all else comes from.
        changes: "name" or "part.name" and the value.

    Raises:
        TypeError: for a setting that a recipe does not have.
        ValueError: for a value that is not allowed.
    """
    if "method.name" in changes:
        recipe = replace(recipe, method=to_method(recipe.method, changes["method.name"]))
    own = {name: value for name, value in changes.items() if "." not in name}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        part, _, setting = name.partition(".")
        if setting:
            parts.setdefault(part, {})[setting] = value
    return replace(recipe, **own, **{part: replace(getattr(recipe, part), **new) for part, new in parts.items()})


# Section 4.1.3. The paper gives no length; 200 epochs are those of the published trainer of [17], which has its data
# sets, batch and rate.
_paper = Recipe(name="paper", network=NetworkSpec(backbone="resnet50", output_stride=8), epochs=200, batch_size=8)

# Tables 1 to 6.
cityscapes_pspnet_resnet50 = replace(
    _paper,
    name="cityscapes_pspnet_resnet50",
    data=DataSpec(kind="cityscapes", neighbours="video", crop=(768, 768), scale=(0.5, 2.2)),
    evaluate_every=20,
)
cityscapes_pspnet_mobilenetv2 = changed(
    cityscapes_pspnet_resnet50, {"name": "cityscapes_pspnet_mobilenetv2", "network.backbone": "mobilenetv2"}
)
cityscapes_pspnet_resnet101 = changed(
    cityscapes_pspnet_resnet50, {"name": "cityscapes_pspnet_resnet101", "network.backbone": "resnet101"}
)
cityscapes_deeplabv3plus_resnet101 = changed(
    cityscapes_pspnet_resnet101,
    {"name": "cityscapes_deeplabv3plus_resnet101", "network.segmenter": "deeplabv3plus"},
)
cityscapes_danet_resnet101 = changed(
    cityscapes_pspnet_resnet101, {"name": "cityscapes_danet_resnet101", "network.segmenter": "danet"}
)
# Table 6's double daggers: fine and coarse sets. The paper gives no ratio; here an epoch has as many of either.
cityscapes_coarse_pspnet_resnet101 = changed(
    cityscapes_pspnet_resnet101, {"name": "cityscapes_coarse_pspnet_resnet101", "data.coarse_ratio": 1.0}
)

# Table 7. Its labelled frames are a second apart, and few have the raw videos (DataSpec.neighbours).
camvid_resnet101 = replace(
    _paper,
    name="camvid_resnet101",
    data=DataSpec(kind="camvid", neighbours="camera_motion", crop=(384, 384), scale=(0.5, 2.0)),
    network=replace(_paper.network, backbone="resnet101"),
)

# What two CPU cores can train.
camvid_lite0 = Recipe(
    name="camvid_lite0",
    # Deviation: colours change. Training has four drives, at noon and at dusk; other light must not be a surprise.
    data=DataSpec(crop=(288, 288), colour=0.3),
    # Deviation: a decoder, for what is thin. Without it poles have 0 % IoU (MODEL_CARD.md).
    network=NetworkSpec(segmenter="pspnet_decoder", backbone="efficientnet_lite0", output_stride=16, channels=128),
    # Deviation: rare classes weigh more. 64.1 mIoU on val instead of 61.0, after 18 epochs (one run each).
    class_balance=0.5,
    # Deviation: the paper has one rate. In a short schedule new layers need a higher one, as in the published trainer
    # of [17]: 4 epochs of a baseline without decoder and weights gave 47.4 mIoU on val with a factor of 10, and 40.6
    # with 1.
    optimiser=OptimiserSpec(head_rate_factor=10.0),
    # Deviation: Eq. 6 on probabilities. With logits and 0.1, the paper's, a run of that network had 45.8 mIoU on val
    # after 6 of 18 epochs, its baseline 52.5; it was stopped there (one run each).
    method=DWNetSpec(prediction_space="softmax", prediction_weight=1.0),
    # After 18 (and the steadied recipe's 8) not even the training frames were learnt: 65.6 mIoU on them, 62.9 on val.
    epochs=60,
)

# The bundled models: each method goes on from where single frames have led, as for somebody whose segmenter flickers.
camvid_steadied_lite0 = changed(
    camvid_lite0,
    {
        "name": "camvid_steadied_lite0",
        "start_from": Path("runs/camvid_lite0_baseline/last.pt"),
        "optimiser.rate": 0.005,
        # With 2 dwnet flips a little more, and is as accurate (MODEL_CARD.md).
        "method.prediction_weight": 5.0,
        "epochs": 8,
    },
)

# The README's first training: the rendered street, which needs no download, on a fresh machine.
street_quick = replace(
    camvid_lite0,
    name="street_quick",
    data=DataSpec(kind="street", neighbours="video", street_size=(288, 384), crop=(224, 224), scale=(0.75, 1.33)),
    network=NetworkSpec(backbone="efficientnet_lite0", output_stride=16, channels=128),
    class_balance=0.0,
    epochs=2,
)

BASES: dict[str, Recipe] = {
    base.name: base
    for base in (
        street_quick,
        camvid_lite0,
        camvid_steadied_lite0,
        camvid_resnet101,
        cityscapes_pspnet_mobilenetv2,
        cityscapes_pspnet_resnet50,
        cityscapes_pspnet_resnet101,
        cityscapes_deeplabv3plus_resnet101,
        cityscapes_danet_resnet101,
        cityscapes_coarse_pspnet_resnet101,
    )
}
"""All of a recipe but its variant."""

_baseline: Changes = {"method.name": "baseline"}
# At inference: the previous features fused into F_t (Table 4), or propagated (Table 7's DFF).
_static_warp: Changes = {"method.name": "static_warp", "method.fusion": "weighted_sum"}
_static_warp_concatenation: Changes = {**_static_warp, "method.fusion": "concatenation"}
_netwarp: Changes = {**_static_warp, "method.fusion": "per_channel"}
_keyframe: Changes = {"method.name": "keyframe"}
# In training, from the full method down to Table 1's plain warp.
_dwnet: Changes = {"method.name": "dwnet", "method.fg_conv": True, "method.refinement": True}
_dwnet_no_frm: Changes = {**_dwnet, "method.refinement": False}
_dwnet_no_fg_conv: Changes = {**_dwnet, "method.fg_conv": False}
_feature_loss: Changes = {**_dwnet, "method.prediction_weight": 0.0}
_feature_loss_no_frm: Changes = {**_feature_loss, "method.refinement": False}
_feature_loss_warp: Changes = {**_feature_loss_no_frm, "method.fg_conv": False}

VARIANTS: dict[str, Changes] = {
    "baseline": _baseline,
    "static_warp": _static_warp,
    "static_warp_concatenation": _static_warp_concatenation,
    "netwarp": _netwarp,
    "keyframe": _keyframe,
    "dwnet": _dwnet,
    # Table 1. "feature_loss": l_fc without l_pc; "warp": neither FRM nor FG-Conv, the original warping operation.
    "dwnet_no_frm": _dwnet_no_frm,
    "dwnet_no_fg_conv": _dwnet_no_fg_conv,
    "dwnet_feature_loss": _feature_loss,
    "dwnet_feature_loss_no_frm": _feature_loss_no_frm,
    "dwnet_feature_loss_warp": _feature_loss_warp,
    # Table 2; s = 3 is dwnet_feature_loss.
    "dwnet_feature_loss_s1": {**_feature_loss, "method.kernel_size": 1},
    "dwnet_feature_loss_s5": {**_feature_loss, "method.kernel_size": 5},
    # Table 3; delta = 2 is dwnet.
    "dwnet_no_mask": {**_dwnet, "method.occlusion_mask": False},
    "dwnet_delta1": {**_dwnet, "method.delta": 1.0},
    "dwnet_delta5": {**_dwnet, "method.delta": 5.0},
    # Where the neighbours come from.
    "dwnet_camera_motion": {**_dwnet, "data.neighbours": "camera_motion"},
    "dwnet_video": {**_dwnet, "data.neighbours": "video"},
    "dwnet_mixed": {**_dwnet, "data.neighbours": "mixed"},
    # What the paper leaves open, and where this library's recipes deviate from it.
    "dwnet_logits": {**_dwnet, "method.prediction_space": "logits", "method.prediction_weight": 0.1},
    "dwnet_softmax": {**_dwnet, "method.prediction_space": "softmax", "method.prediction_weight": 1.0},
    "dwnet_regressed": {**_dwnet, "method.residual_refinement": False},
    "dwnet_detached": {**_dwnet, "method.detach_target": True},
    "dwnet_one_rate": {**_dwnet, "optimiser.head_rate_factor": 1.0},
    "dwnet_no_auxiliary": {**_dwnet, "network.auxiliary": False},
    "dwnet_dropout": {**_dwnet, "network.dropout": 0.1},
    "dwnet_decoder": {**_dwnet, "network.segmenter": "pspnet_decoder"},
    "dwnet_no_decoder": {**_dwnet, "network.segmenter": "pspnet"},
    "dwnet_unweighted": {**_dwnet, "class_balance": 0.0},
    "dwnet_balanced": {**_dwnet, "class_balance": 0.5},
}
"""What each variant sets, on any base."""

RECIPES: dict[str, Recipe] = {street_quick.name: street_quick} | {
    f"{base}_{variant}": changed(recipe, {**changes, "name": f"{base}_{variant}"})
    for base, recipe in BASES.items()
    for variant, changes in VARIANTS.items()
}
"""Every run by its name; `street_quick` alone is its dwnet."""


def names_in_words() -> str:
    """Which names there are; a list of them all would fill pages."""
    alone = [name for name in RECIPES if name in BASES]
    return f"{', '.join(alone)}; or BASE_VARIANT, BASE one of {', '.join(BASES)}, VARIANT one of {', '.join(VARIANTS)}"
