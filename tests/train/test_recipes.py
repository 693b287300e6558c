"""Recipes, the options of the command line, and the parameter groups and learning rates of SGD."""

import dataclasses
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from dwnet.core.data_kinds import DataKind
from dwnet.method.specs import DWNetSpec, method_spec, to_method
from dwnet.method.training import METHODS
from dwnet.segmentation import NetworkSpec
from tests.train.helpers import plain
from train.config.options import Request, parse
from train.config.recipes import BASES, RECIPES, VARIANTS
from train.config.spec import DataSpec, OptimiserSpec, Recipe
from train.engine.optimiser import build_optimiser, freeze_unused, parameter_groups, set_rates

FLAGS = """
--recipe --resume --dry-run
--name --dataset --root
--backbone-weights --start-from --class-balance --epochs --batch-size --precision --compile --no-compile
--channels-last --no-channels-last --seed
--output --evaluate-every --checkpoint-every --keep-checkpoints --log-every --pictures --trackers
--data.neighbours --data.coarse-ratio --data.street-size --data.street-cache-gb
--data.max-offset --data.crop --data.scale --data.colour --data.photometric --data.neighbour-photometric --data.mosaic
--data.workers
--network.segmenter --network.backbone --network.output-stride --network.channels --network.dropout
--network.auxiliary --network.no-auxiliary
--method.name --method.auxiliary-weight --method.class-weights
--optimiser.rate --optimiser.head-rate-factor --optimiser.flow-rate --optimiser.momentum --optimiser.weight-decay
--optimiser.decay-norms --optimiser.no-decay-norms --optimiser.power
"""
FLOW_FLAGS = "--method.flow --method.flow-weights --method.train-flow --method.no-train-flow"
METHOD_FLAGS = {
    "baseline": "--method.neighbour-weight",
    "static_warp": f"{FLOW_FLAGS} --method.fusion",
    "keyframe": f"{FLOW_FLAGS} --method.key-interval",
    "dwnet": f"""{FLOW_FLAGS} --method.fg-conv --method.no-fg-conv --method.kernel-size --method.refinement
--method.no-refinement --method.residual-refinement --method.no-residual-refinement
--method.feature-weight --method.prediction-weight --method.occlusion-mask
--method.no-occlusion-mask --method.delta --method.prediction-space --method.detach-target --method.no-detach-target
--method.warping-weight --method.smoothness-weight --method.flow-supervision-weight""",
}


@pytest.mark.parametrize("base", ["camvid_lite0", "camvid_resnet101"])
def test_methods_differ_in_the_method_alone(base: str) -> None:
    recipes = {method: RECIPES[f"{base}_{method}"] for method in METHODS}
    for method, recipe in recipes.items():
        assert (recipe.name, recipe.method.name) == (f"{base}_{method}", method)
        same = replace(recipe, name="same", method=to_method(recipe.method, "baseline"))
        assert same == replace(recipes["baseline"], name="same")


def test_every_base_has_every_variant() -> None:
    assert set(RECIPES) == {"street_quick"} | {f"{base}_{variant}" for base in BASES for variant in VARIANTS}
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert replace(RECIPES["street_quick_dwnet"], name="street_quick") == RECIPES["street_quick"]
    # A base is the full method: a variant says all that it takes away.
    for base in BASES.values():
        method = base.method
        assert isinstance(method, DWNetSpec)
        assert (method.name, method.fg_conv, method.refinement, method.occlusion_mask) == ("dwnet", True, True, True)
        assert (method.kernel_size, method.delta) == (3, 2.0)
        assert min(method.feature_weight, method.prediction_weight) > 0


@pytest.mark.parametrize("base", [name for name in BASES if "resnet" in name or "mobilenet" in name])
def test_published_settings(base: str) -> None:
    # Section 4.1.3, for the recipes that claim them.
    recipe = RECIPES[f"{base}_dwnet"]
    optimiser, data = recipe.optimiser, recipe.data
    assert (optimiser.rate, optimiser.momentum, optimiser.weight_decay, optimiser.power) == (0.01, 0.9, 1e-4, 0.9)
    assert (optimiser.head_rate_factor, optimiser.flow_rate) == (1.0, 1e-5)
    cityscapes = base.startswith("cityscapes")
    assert (recipe.dataset, data.neighbours) == (("cityscapes", "video") if cityscapes else ("camvid", "camera_motion"))
    assert data.crop == ((768, 768) if cityscapes else (384, 384))
    assert data.scale == ((0.5, 2.2) if cityscapes else (0.5, 2.0))
    assert (data.max_offset, data.coarse_ratio) == (5, 1.0 if "coarse" in base else 0.0)
    assert (recipe.batch_size, recipe.network.output_stride, recipe.network.channels) == (8, 8, None)
    assert (recipe.method.feature_weight, recipe.method.prediction_weight) == (10.0, 0.1)
    assert (recipe.method.flow, recipe.method.prediction_space) == ("dis", "logits")
    named = "pspnet" if base == "camvid_resnet101" else base.split("_")[-2]
    assert (recipe.network.segmenter, recipe.network.backbone) == (named, base.split("_")[-1])


def test_the_papers_flow_network_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--recipe cityscapes_pspnet_resnet50_dwnet --method.flow flownet2 --method.train-flow"
    recipe = parse(options.split()).recipe
    with pytest.raises(ValueError, match=r"FlowNet2_checkpoint\.pth\.tar"):
        recipe.method.build(NetworkSpec(backbone="mobilenetv2", channels=16).build(3))


# The command line


@pytest.mark.parametrize("method", METHODS)
def test_flags_are_kept(capsys: pytest.CaptureFixture[str], method: str) -> None:
    """The list of options is fixed, because a renamed option breaks commands. Each method has only its own options."""
    with pytest.raises(SystemExit) as end:
        parse(["--recipe", f"camvid_lite0_{method}", "--help"])
    assert end.value.code == 0
    options = re.findall(r"(?:^[│ ]+|, )(--[a-z][a-z0-9.-]*)", capsys.readouterr().out, re.M)
    assert sorted(set(options) - {"--help"}) == sorted([*FLAGS.split(), *METHOD_FLAGS[method].split()])


def test_another_data_set_by_its_name_alone() -> None:
    base = RECIPES["camvid_lite0_dwnet"]
    recipe = parse(["--recipe", base.name, "--dataset", "street", "--data.max-offset", "3"]).recipe
    assert (recipe.dataset, recipe.data_folder, recipe.data.max_offset) == ("street", Path("data/street"), 3)
    assert replace(recipe, dataset=base.dataset, data=base.data) == base
    recipe = parse(["--recipe", base.name, "--dataset", "own", "--root", "yard"]).recipe
    assert (recipe.dataset, recipe.data_folder) == ("own", Path("yard"))
    with pytest.raises(SystemExit):
        parse(["--recipe", base.name, "--dataset", "kitti"])


@pytest.mark.parametrize("dataset", get_args(DataKind))
@pytest.mark.parametrize("variant", ["dwnet_camera_motion", "dwnet_video", "dwnet_mixed"])
def test_the_data_set_leaves_the_neighbours_as_the_recipe_has_them(dataset: str, variant: str) -> None:
    recipe = parse(["--recipe", f"camvid_lite0_{variant}", "--dataset", dataset]).recipe
    assert recipe.data == RECIPES[f"camvid_lite0_{variant}"].data
    assert recipe.data.neighbours == variant.removeprefix("dwnet_")
    street = parse(["--recipe", f"street_quick_{variant}", "--dataset", dataset]).recipe
    assert street.data.neighbours == variant.removeprefix("dwnet_")


def test_help_without_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    printed = plain(capsys.readouterr().out)
    assert "--resume" in printed
    assert all(name in printed for name in (*BASES, *VARIANTS))


def test_options_change_the_recipe() -> None:
    options = "--seed 7 --recipe camvid_lite0_dwnet --data.crop 64 96 --resume --network.no-auxiliary --method.delta 1"
    request = parse(options.split())
    base = RECIPES["camvid_lite0_dwnet"]
    assert request.resume
    assert not request.dry_run
    assert request.recipe == replace(
        base,
        seed=7,
        data=replace(base.data, crop=(64, 96)),
        network=replace(base.network, auxiliary=False),
        method=replace(base.method, delta=1.0),
    )
    assert parse(["--recipe=camvid_lite0_dwnet"]) == Request(base)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--recipe NAME"),
        (["--epochs", "3"], "--recipe NAME"),
        (["--recip", "camvid_lite0_dwnet"], "--recipe NAME"),
        (["--recipe", "camvid_lite0_dwnets"], "unknown recipe 'camvid_lite0_dwnets' (did you mean camvid_lite0_dwnet"),
        (["--recipe", "zzz"], "unknown recipe 'zzz'"),
    ],
)
def test_unknown_recipe(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as end:
        parse(arguments)
    assert end.value.code == 2
    printed = plain(capsys.readouterr().err)
    assert plain(message) in printed
    assert all(name in printed for name in (*BASES, *VARIANTS))
    with pytest.raises(SystemExit) as end:
        parse(arguments, quiet=True)
    assert end.value.code == 2
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--method.name static_warp --method.fusion mean", "('weighted_sum', 'concatenation', 'per_channel')"),
        ("--method.name static_warp --method.fusion mean", "invalid choice 'mean' for argument '--method.fusion'"),
        ("--method.delta 0", "delta is 0.0, allowed are numbers above 0"),
        ("--method.kernel-size 4", "kernel_size is 4, allowed are odd numbers from 1"),
        (
            "--method.name keyframe --method.key-interval 0",
            "key_interval is 0, allowed are whole numbers of at least 1",
        ),
        (
            "--method.train-flow --method.feature-weight 0 --method.prediction-weight 0",
            "train_flow: feature_weight and prediction_weight are 0",
        ),
        ("--epochs 0", "epochs is 0, allowed are whole numbers of at least 1"),
        ("--log-every 0", "log_every is 0, allowed are whole numbers of at least 1"),
        ("--seed -1", "seed is -1, allowed are whole numbers from 0"),
        ("--name a/b", "name is 'a/b', allowed are names of one folder"),
        ("--data.workers -1", "data.workers is -1, allowed are whole numbers of at least 0"),
        ("--data.crop 0 64", "data.crop is (0, 64), allowed are two whole numbers"),
        ("--optimiser.rate nan", "optimiser.rate is nan, allowed are numbers of at least 0"),
        ("--optimiser.momentum -0.5", "optimiser.momentum is -0.5"),
    ],
)
def test_wrong_option(capsys: pytest.CaptureFixture[str], options: str, message: str) -> None:
    with pytest.raises(SystemExit) as end:
        parse(["--recipe", "camvid_lite0_dwnet", *options.split()])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert plain(message) in plain(error)
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("cores", "processes", "expected"), [(2, None, 2), (2, "2", 1), (2, "4", 1), (64, "8", 8), (64, None, 16)]
)
def test_loader_processes(cores: int, processes: str | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dwnet.core.launch.available_cpus", lambda: cores)
    if processes is None:
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    else:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert DataSpec().workers == expected


def test_recipes_are_checked_when_made() -> None:
    for make in (lambda: Recipe(name=""), lambda: DataSpec(workers=-1), lambda: OptimiserSpec(power=-1)):
        with pytest.raises(ValueError, match=", allowed are "):
            make()
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPES["camvid_lite0_dwnet"].seed = 3  # type: ignore[misc]


# SGD


def test_poly_rate() -> None:
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimiser = torch.optim.SGD([{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:], "lr": 0.01}], lr=1)
    # (1 - 3/4) ** 0.9 = 0.25 ** 0.9 = 0.287174588749...
    for progress, factor in ((0.0, 1.0), (0.75, 0.28717458874925877), (0.0, 1.0), (1.0, 0.0)):
        set_rates(optimiser, [0.1, 0.01], progress, 0.9)
        assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.1 * factor, 0.01 * factor])
    set_rates(optimiser, [0.1, 0.01], 0.5, 1.0)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.05, 0.005])
    with pytest.raises(ValueError):
        set_rates(optimiser, [0.1], 0.5, 0.9)


@pytest.mark.parametrize("method", METHODS)
def test_parameter_groups(method: str) -> None:
    network = NetworkSpec(backbone="mobilenetv2", channels=16)
    built = method_spec(method).build(network.build(3))
    built.flow = nn.Conv2d(6, 2, 1)  # type: ignore[assignment]  # a trainable flow network
    names = {id(parameter): name for name, parameter in built.named_parameters()}
    spec = OptimiserSpec(rate=0.02, head_rate_factor=10.0, flow_rate=1e-5, weight_decay=1e-4, decay_norms=False)
    found = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(built, spec)
        for parameter in group["params"]
    }
    assert found.keys() == dict(built.named_parameters()).keys()  # each once

    def only(pattern: str) -> set[tuple[float, float]]:
        values = {value for name, value in found.items() if re.search(pattern, name)}
        assert values, pattern
        return values

    assert only(r"backbone\.network\.conv_stem\.weight") == {(0.02, 1e-4)}
    assert only(r"backbone\.network\.bn1\.(weight|bias)") == {(0.02, 0.0)}
    assert only(r"classifier\.weight") == only(r"auxiliary\.0\.0\.weight") == {(0.2, 1e-4)}
    assert only(r"classifier\.bias") == only(r"bottleneck\.1\.weight") == {(0.2, 0.0)}
    assert only(r"^flow\.weight") == {(1e-5, 1e-4)}
    assert only(r"^flow\.bias") == {(1e-5, 0.0)}
    if method == "dwnet":
        assert only(r"refinement\.flow\.weight") == only(r"fg_conv\.weight") == {(0.02, 1e-4)}
    if method == "static_warp":
        assert only(r"fusion\.weight") == {(0.02, 0.0)}
    decayed = parameter_groups(built, replace(spec, decay_norms=True))
    assert {group["weight_decay"] for group in decayed} == {1e-4}
    assert {group["lr"] for group in decayed} == {0.02, 0.2, 1e-5}
    assert len(decayed) == 3
    assert build_optimiser(built, spec).defaults["momentum"] == 0.9


def test_a_flow_network_has_its_own_rate_when_it_trains_and_none_when_it_does_not() -> None:
    network = NetworkSpec(backbone="mobilenetv2", channels=16).build(3)
    for trained in (True, False):
        spec = DWNetSpec(flow="raft_small", flow_weights="none", train_flow=trained)
        built = spec.build(network)
        freeze_unused(built)
        assert built.flow is not None
        flow = {id(parameter) for parameter in built.flow.parameters()}
        rates = [g["lr"] for g in parameter_groups(built, OptimiserSpec()) for p in g["params"] if id(p) in flow]
        assert rates == [1e-5] * (len(flow) if trained else 0)


def test_flow_losses_alone_train_the_refinement_and_not_fg_conv() -> None:
    spec = DWNetSpec(feature_weight=0, prediction_weight=0, warping_weight=1)
    built = spec.build(NetworkSpec(backbone="mobilenetv2", channels=16).build(3))
    freeze_unused(built)
    for name, parameter in built.named_parameters():
        assert parameter.requires_grad == ("fg_conv" not in name), name


def test_unused_auxiliary_head_is_frozen() -> None:
    network = NetworkSpec(backbone="mobilenetv2", channels=16)
    for weight, frozen in ((0.4, False), (0.0, True)):
        built = method_spec("dwnet", auxiliary_weight=weight).build(network.build(3))
        freeze_unused(built)
        for name, parameter in built.named_parameters():
            assert parameter.requires_grad == (not (frozen and ".auxiliary." in name)), name
        grouped = {id(p) for group in parameter_groups(built, OptimiserSpec()) for p in group["params"]}
        assert len(grouped) == sum(parameter.requires_grad for parameter in built.parameters())
    without = DWNetSpec(auxiliary_weight=0.0).build(NetworkSpec(backbone="mobilenetv2", auxiliary=False).build(3))
    freeze_unused(without)
    assert all(parameter.requires_grad for parameter in without.parameters())
