"""Recipes: training configurations, named BASE_VARIANT. A base is a network, its data and its schedule. A variant is
the set of settings that a table row changes. Each recipe is written as its difference from another recipe.

All recipes use DIS flow. The paper's jointly trained FlowNet2 needs NVIDIA's weight file, which must be downloaded by
hand. It is set by `--flownet2 FILE` of train/ablate.py, or by `--method.flow flownet2 --method.flow-weights FILE
--method.train-flow` of train/main.py.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dwnet.method.specs import DWNetSpec, from_dict, to_method
from dwnet.segmentation import NetworkSpec
from train.config.spec import DataSpec, OptimiserSpec, Recipe

Changes = Mapping[str, Any]
"""Settings by option name, such as "method.delta". "method.name" selects the method that the other names refer to."""


def changed(recipe: Recipe, changes: Changes) -> Recipe:
    """Returns the recipe with other settings.

    Args:
        recipe: source of all other settings.
        changes: values by "name" or "part.name".

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


# Section 4.1.3. The paper gives no length. 200 epochs are those of the published trainer of [17], which has the same
# data sets, batch size and learning rate.
_paper = Recipe(name="paper", network=NetworkSpec(backbone="resnet50", output_stride=8), epochs=200, batch_size=8)

# Tables 1 to 6.
cityscapes_pspnet_resnet50 = replace(
    _paper,
    name="cityscapes_pspnet_resnet50",
    dataset="cityscapes",
    data=DataSpec(neighbours="video", crop=(768, 768), scale=(0.5, 2.2)),
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
# Table 6's double daggers: fine and coarse sets. The paper gives no ratio. Here an epoch has equal numbers of both.
cityscapes_coarse_pspnet_resnet101 = changed(
    cityscapes_pspnet_resnet101, {"name": "cityscapes_coarse_pspnet_resnet101", "data.coarse_ratio": 1.0}
)

# Table 7. CamVid's labelled frames are a second apart, and its raw videos are a separate download. Therefore the
# neighbours are synthetic (DataSpec.neighbours).
camvid_resnet101 = replace(
    _paper,
    name="camvid_resnet101",
    dataset="camvid",
    data=DataSpec(neighbours="camera_motion", crop=(384, 384), scale=(0.5, 2.0)),
    network=replace(_paper.network, backbone="resnet101"),
)

# A base that two CPU cores can train.
camvid_lite0 = Recipe(
    name="camvid_lite0",
    # Deviation: colour augmentation. Training has four drives, at noon and at dusk, and little variety of light.
    data=DataSpec(crop=(288, 288), colour=0.3),
    # Deviation: a decoder, for thin objects. Without it poles have 0 % IoU (MODEL_CARD.md).
    network=NetworkSpec(segmenter="pspnet_decoder", backbone="efficientnet_lite0", output_stride=16, channels=128),
    # Deviation: class weights. After 18 epochs val mIoU is 64.1 with them and 61.0 without (one run each).
    class_balance=0.5,
    # Deviation: the paper has one learning rate. In a short schedule new layers need a higher one, as in the published
    # trainer of [17]. After 4 epochs a baseline without decoder and class weights had 47.4 mIoU on val with a factor of
    # 10, and 40.6 with 1.
    optimiser=OptimiserSpec(head_rate_factor=10.0),
    # Deviation: Eq. 6 on probabilities. With the paper's logits and weight 0.1, that network had 45.8 mIoU on val after
    # 6 of 18 epochs, and its baseline had 52.5. The run was stopped there (one run each).
    method=DWNetSpec(prediction_space="softmax", prediction_weight=1.0),
    # After 18 epochs, and 8 of the steadied recipe, the model underfits: 65.6 mIoU on training frames, 62.9 on val.
    epochs=60,
)

# Each method starts from a trained per-frame segmenter.
camvid_steadied_lite0 = changed(
    camvid_lite0,
    {
        "name": "camvid_steadied_lite0",
        "start_from": Path("runs/camvid_lite0_baseline/last.pt"),
        "optimiser.rate": 0.005,
        # With a weight of 2, dwnet has slightly more flips and the same mIoU (MODEL_CARD.md).
        "method.prediction_weight": 5.0,
        "epochs": 8,
    },
)

# The bundled models (train/bundled.py). The first network sees nearly whole frames, as at inference.
camvid_bundled_first = changed(camvid_lite0, {"name": "camvid_bundled_first", "data.crop": (352, 480), "epochs": 72})

# All methods have the same photometric changes. After 8 epochs on a GPU, from a first network of 30 epochs, a weight of
# 5, 10 and 20 for Eq. 6 gave 65.0, 64.9 and 64.4 mIoU and 3.06, 2.86 and 2.56 % flips on val (one run each; the
# baseline: 64.3 and 3.89).
camvid_bundled = changed(
    camvid_steadied_lite0,
    {
        "name": "camvid_bundled",
        "start_from": Path("runs/bundled/first_seed0/last.pt"),
        "data.crop": (288, 384),
        "data.photometric": 1.0,
        "method.prediction_weight": 15.0,
    },
)

# The README's first training, on the rendered street, which needs no download.
street_quick = replace(
    camvid_lite0,
    name="street_quick",
    dataset="street",
    data=DataSpec(neighbours="video", street_size=(288, 384), crop=(224, 224), scale=(0.75, 1.33)),
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
        camvid_bundled_first,
        camvid_bundled,
        camvid_resnet101,
        cityscapes_pspnet_mobilenetv2,
        cityscapes_pspnet_resnet50,
        cityscapes_pspnet_resnet101,
        cityscapes_deeplabv3plus_resnet101,
        cityscapes_danet_resnet101,
        cityscapes_coarse_pspnet_resnet101,
    )
}
"""Every base by its name. The method of each base is dwnet, with all its parts."""

_baseline: Changes = {"method.name": "baseline"}
# At inference: the previous features fused into F_t (Table 4), or propagated (Table 7's DFF).
_static_warp: Changes = {"method.name": "static_warp", "method.fusion": "weighted_sum"}
_static_warp_concatenation: Changes = {**_static_warp, "method.fusion": "concatenation"}
_netwarp: Changes = {**_static_warp, "method.fusion": "per_channel"}
_keyframe: Changes = {"method.name": "keyframe"}
# In training: from the full method to Table 1's plain warp.
_dwnet: Changes = {"method.name": "dwnet", "method.fg_conv": True, "method.refinement": True}
_dwnet_no_frm: Changes = {**_dwnet, "method.refinement": False}
_dwnet_no_fg_conv: Changes = {**_dwnet, "method.fg_conv": False}
_feature_loss: Changes = {**_dwnet, "method.prediction_weight": 0.0}
_feature_loss_no_frm: Changes = {**_feature_loss, "method.refinement": False}
_feature_loss_warp: Changes = {**_feature_loss_no_frm, "method.fg_conv": False}

_synthetic: Changes = {"data.neighbours": "camera_motion"}
_photometric: Changes = {**_synthetic, "data.photometric": 1.0}

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
    # Source of the neighbours.
    "dwnet_camera_motion": {**_dwnet, "data.neighbours": "camera_motion"},
    "dwnet_video": {**_dwnet, "data.neighbours": "video"},
    "dwnet_mixed": {**_dwnet, "data.neighbours": "mixed"},
    # Controls: what is due to the method, to the neighbour's photometric changes, to its pixels, to motion.
    "baseline_photometric": {**_baseline, **_photometric},
    "baseline_neighbour": {**_baseline, **_photometric, "method.neighbour_weight": 1.0},
    "dwnet_plain": {**_dwnet, **_synthetic, "data.neighbour_photometric": 0.0},
    "dwnet_photometric": {**_dwnet, **_photometric},
    "dwnet_identity": {**_dwnet, **_photometric, "method.flow": "identity"},
    "dwnet_feature_alone": {**_feature_loss, **_photometric},
    "dwnet_prediction_alone": {**_dwnet, **_photometric, "method.feature_weight": 0.0},
    # What the paper leaves open, and the deviations of this library's recipes.
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
"""The settings of each variant, for any base."""

RECIPES: dict[str, Recipe] = {street_quick.name: street_quick} | {
    f"{base}_{variant}": changed(recipe, {**changes, "name": f"{base}_{variant}"})
    for base, recipe in BASES.items()
    for variant, changes in VARIANTS.items()
}
"""Every recipe by its name. `street_quick` has the settings of `street_quick_dwnet`."""

_BASE_OF: dict[str, Recipe] = {street_quick.name: street_quick} | {
    f"{base}_{variant}": recipe for base, recipe in BASES.items() for variant in VARIANTS
}


def with_method(recipe: Recipe, name: str) -> Recipe:
    """Returns a named recipe with another method.

    Fields that the recipe's own method does not have come from the recipe's base. For example, `camvid_lite0_baseline`
    with dwnet has the method of `camvid_lite0_dwnet`.

    Args:
        recipe: of `RECIPES`.
        name: of the method.
    """
    values = asdict(_BASE_OF[recipe.name].method) | asdict(recipe.method) | {"name": name}
    return replace(recipe, method=from_dict(values, ignore_unused=True))


def names_in_words() -> str:
    """Returns a short description of all recipe names. The full list has hundreds."""
    alone = [name for name in RECIPES if name in BASES]
    return f"{', '.join(alone)}; or BASE_VARIANT, BASE one of {', '.join(BASES)}, VARIANT one of {', '.join(VARIANTS)}"
