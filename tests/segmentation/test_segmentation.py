"""Every network on every backbone has the stated shapes and strides. Pooling and padding are exportable and agree with
PyTorch and timm. ImageNet weights are loaded into the correct tensors. Any image size works.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from timm.layers import Conv2dSame

from dwnet.segmentation import BACKBONES, SEGMENTERS, Backbone, NetworkSpec, PSPNet, pad_to_multiple, pretrained
from dwnet.segmentation.backbone import ConstantSameConv2d
from dwnet.segmentation.pspnet import PyramidPooling, adaptive_average_pool, adaptive_average_pools

SMALL = NetworkSpec(backbone="mobilenetv2", channels=16)
LITE0 = "tf_efficientnet_lite0"
LITE0_BLOCKS = (1, 2, 2, 3, 3, 4, 1)


@pytest.fixture(scope="module")
def network() -> PSPNet:
    torch.manual_seed(0)
    built = SMALL.build(5).eval()
    assert isinstance(built, PSPNet)
    return built


def image(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height))


# What the papers have: channels of F_t on a ResNet, and on the other two backbones, whose last map has 320.
PAPERS_CHANNELS = {
    "pspnet": (512, 512),
    "pspnet_decoder": (256, 256),
    "deeplabv3plus": (256, 256),
    "danet": (512, 80),
}


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("backbone", list(BACKBONES))
@pytest.mark.parametrize("segmenter", list(SEGMENTERS))
def test_shapes_and_strides_of_every_network(segmenter: str, backbone: str, stride: int) -> None:
    with torch.device("meta"):  # shapes without arithmetic
        network = NetworkSpec(segmenter=segmenter, backbone=backbone, output_stride=stride).build(5).eval()
        frame = torch.empty(2, 3, 64, 96)
        features, auxiliary = network.features_and_auxiliary(frame)
        half = network.features_and_auxiliary(frame, labelled=1)
        classes = network.classify(features)
        logits = network(torch.empty(1, 3, 37, 53))
    channels = PAPERS_CHANNELS[segmenter][not backbone.startswith("resnet")]
    own = 4 if segmenter in ("deeplabv3plus", "pspnet_decoder") else stride
    assert isinstance(network, SEGMENTERS[segmenter])  # type: ignore[arg-type]
    assert (network.stride, network.multiple, network.channels, network.num_classes) == (own, stride, channels, 5)
    assert features.shape == (2, channels, 64 // own, 96 // own)
    assert classes.shape == (2, 5, 64 // own, 96 // own)
    assert len(auxiliary) == (3 if segmenter == "danet" else 1)
    assert all(one.shape == (2, 5, 64 // stride, 96 // stride) for one in auxiliary)
    assert half[0].shape == features.shape
    assert [one.shape for one in half[1]] == [(1, *one.shape[1:]) for one in auxiliary]
    assert logits.shape == (1, 5, 37, 53)


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("name", [*BACKBONES, "convnext_atto", "xception41"])
def test_backbones_say_what_their_maps_are(name: str, stride: int) -> None:
    with torch.device("meta"):
        backbone = Backbone(name, output_stride=stride).eval()
        stages = backbone(torch.empty(2, 3, 64, 96))
    assert backbone.strides[-1] == stride
    if name in BACKBONES:
        assert backbone.strides == (2, 4, 8, min(16, stride), min(32, stride))
    for stage, channels, reduction in zip(stages, backbone.channels, backbone.strides, strict=True):
        assert stage.shape == (2, channels, 64 // reduction, 96 // reduction)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_pooling_is_pytorchs_adaptive_pooling(bins: int) -> None:
    for height, width in ((1, 1), (2, 5), (6, 12), (7, 13), (23, 30)):
        x = torch.randn(2, 3, height, width, dtype=torch.float64)
        assert torch.allclose(adaptive_average_pool(x, bins), F.adaptive_avg_pool2d(x, bins), atol=1e-12)


def test_pools_of_several_numbers_of_bins_in_both_memory_formats() -> None:
    x = torch.randn(2, 4, 7, 13, dtype=torch.float64)
    for laid_out in (x, x.contiguous(memory_format=torch.channels_last)):
        pooled = adaptive_average_pools(laid_out, (1, 2, 3, 6))
        for bins, found in zip((1, 2, 3, 6), pooled, strict=True):
            assert torch.allclose(found, F.adaptive_avg_pool2d(x, bins), atol=1e-12)


@pytest.mark.parametrize("segmenter", ["pspnet", "pspnet_decoder", "deeplabv3plus", "danet"])
def test_no_convolution_gets_float32_under_autocast(segmenter: str) -> None:
    """Autocast resizes in float32, and a concatenation with such a map would convert all of it to float32."""
    network = NetworkSpec(segmenter=segmenter, backbone="test_efficientnet", channels=16).build(3)
    seen: list[tuple[str, torch.dtype]] = []
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d) and module.in_channels > 3:
            module.register_forward_pre_hook(lambda _, args, name=name: seen.append((name, args[0].dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        network.features_and_auxiliary(torch.rand(2, 3, 64, 64))
    assert len(seen) > 10
    assert [name for name, dtype in seen if dtype != torch.bfloat16] == []


def test_pooling_keeps_its_means_out_of_half_precision() -> None:
    """In bf16 the weight of a pixel, 1/60, has an error of 0.4 %, which would be an error of all means."""
    x = (5 + torch.rand(1, 4, 60, 60, generator=torch.Generator().manual_seed(0))).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = adaptive_average_pool(x, 1)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, x.double().mean(dim=(2, 3), keepdim=True).bfloat16())


def test_the_pyramid_keeps_its_input_and_adds_the_means_of_the_bins() -> None:
    pyramid = PyramidPooling(4, 2).double().eval()
    x = torch.randn(1, 4, 6, 9, dtype=torch.float64)
    result = pyramid(x)
    assert result.shape == (1, 4 + 4 * 2, 6, 9)
    assert torch.equal(result[:, :4], x)
    for index, bins in enumerate((1, 2, 3, 6)):
        pooled = pyramid.convolutions[index](F.adaptive_avg_pool2d(x, bins))
        expected = F.interpolate(pooled, size=(6, 9), mode="bilinear", align_corners=False)
        assert torch.allclose(result[:, 4 + 2 * index : 6 + 2 * index], expected, atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_constant_padding_is_timms_same_padding(kernel: int, stride: int, dilation: int) -> None:
    same = Conv2dSame(4, 4, kernel, stride=stride, dilation=dilation, groups=2)
    x = image(12, 20).repeat(1, 2, 1, 1)[:, :4]
    expected = same(x)
    constant = ConstantSameConv2d.from_timm(same)
    assert list(constant.state_dict()) == list(same.state_dict())
    assert constant.weight is same.weight
    assert torch.allclose(constant(x), expected, atol=1e-6)


def test_replacing_timms_convolutions_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(LITE0, features_only=True, output_stride=16).state_dict()
    torch.manual_seed(0)
    ours = Backbone("efficientnet_lite0", output_stride=16).network.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


def test_lite0_computes_what_timm_computes_on_normalised_images() -> None:
    torch.manual_seed(0)
    ours = Backbone("efficientnet_lite0", output_stride=16).eval()
    theirs = timm.create_model(LITE0, features_only=True, output_stride=16).eval()
    assert list(ours.network.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.network.state_dict())
    assert any(isinstance(module, ConstantSameConv2d) for module in ours.modules())
    assert not any(type(module) is Conv2dSame for module in ours.modules())
    x = image(64, 96)
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        for found, expected in zip(ours(x), theirs((x - mean) / std), strict=True):
            assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("size", [(37, 53), (3, 70), (48, 64)])
def test_any_size_is_padded_by_its_edge_and_cropped_back(network: PSPNet, size: tuple[int, int]) -> None:
    x = image(*size)
    with torch.no_grad():
        logits = network(x)
        rows = torch.arange(-(-size[0] // 16) * 16).clamp(max=size[0] - 1)
        columns = torch.arange(-(-size[1] // 16) * 16).clamp(max=size[1] - 1)
        padded = x[:, :, rows][..., columns]
        small = network.classify(network.features(padded))
        whole = F.interpolate(small, size=padded.shape[-2:], mode="bilinear", align_corners=False)
    assert logits.shape == (1, 5, *size)
    assert torch.allclose(logits, whole[..., : size[0], : size[1]], atol=1e-5)


def test_padding_by_hand() -> None:
    padded = pad_to_multiple(torch.tensor([[[[1.0, 2.0, 3.0]]]]), 2)
    assert padded[0, 0].tolist() == [[1, 2, 3, 3], [1, 2, 3, 3]]
    assert pad_to_multiple(padded, 2) is padded


def test_features_of_a_batch_are_those_of_its_images(network: PSPNet) -> None:
    x = image(32, 48, batch=2)
    with torch.no_grad():
        both = network.features(x)
        assert torch.allclose(both, torch.cat([network.features(one[None]) for one in x]), atol=1e-5)
        features, (auxiliary,) = network.features_and_auxiliary(x)
    assert torch.equal(features, both)
    assert auxiliary.shape == (2, 5, 2, 3)


@pytest.mark.parametrize("segmenter", list(SEGMENTERS))
def test_dropout_is_no_part_of_the_features(segmenter: str) -> None:
    spec = NetworkSpec(segmenter=segmenter, backbone="mobilenetv2", channels=16, dropout=0.5, auxiliary=False)
    network = spec.build(5).train()
    x = image(32, 32, batch=2)
    with torch.no_grad():
        features, auxiliary = network.features_and_auxiliary(x)
        assert torch.equal(features, network.features(x))
        assert not torch.equal(network.classify(features), network.classify(features))
    assert auxiliary == ()
    assert not [name for name, _ in network.named_parameters() if name.startswith("auxiliary")]


# --- weights ---------------------------------------------------------------------------------------------------------


def lite_names() -> list[str]:
    """The tensors of `efficientnet-lite-pytorch`'s Lite0 up to its last block, in its order, without batch counters."""
    norm = ("weight", "bias", "running_mean", "running_var")
    names = ["_conv_stem.weight", *(f"_bn0.{leaf}" for leaf in norm)]
    for index in range(sum(LITE0_BLOCKS)):
        parts = [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        if index:
            parts.insert(0, ("_expand_conv", "_bn0"))
        for convolution, batch_norm in parts:
            names.append(f"_blocks.{index}.{convolution}.weight")
            names += [f"_blocks.{index}.{batch_norm}.{leaf}" for leaf in norm]
    return names


def counters(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def test_lite0_names_of_the_other_library_map_in_order(tmp_path: Path) -> None:
    """Both libraries list the same tensors in the same order, so the names are not needed."""
    torch.manual_seed(0)
    source = timm.create_model(LITE0, features_only=True).state_dict()
    values = [value for name, value in source.items() if not counters(name)]
    assert len(values) == len(lite_names())
    state = dict(zip(lite_names(), values, strict=True))
    state |= {
        name.replace("running_var", "num_batches_tracked"): torch.tensor(9)
        for name in lite_names()
        if name.endswith("running_var")
    }
    state |= {"_conv_head.weight": torch.zeros(1), "_fc.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "lite0.pth")
    loaded = Backbone("efficientnet_lite0", weights=tmp_path / "lite0.pth").network.state_dict()
    assert list(loaded) == list(source)
    for name, value in loaded.items():
        assert torch.equal(value, torch.tensor(9) if counters(name) else source[name]), name


@pytest.mark.skipif(importlib.util.find_spec(pretrained.LITE0_PACKAGE) is None, reason="the package is not installed")
def test_the_packaged_imagenet_weights_are_all_used() -> None:
    folder = importlib.util.find_spec(pretrained.LITE0_PACKAGE)
    assert folder is not None
    assert folder.submodule_search_locations is not None
    (path,) = sorted(Path(folder.submodule_search_locations[0]).glob("models/*.pth"))
    state = torch.load(path, weights_only=True)
    loaded = Backbone("efficientnet_lite0", weights="imagenet").network.state_dict()
    body = {name: value for name, value in state.items() if not name.startswith(("_conv_head", "_bn1.", "_fc"))}
    assert len(body) == len(loaded)
    for (name, value), (own, found) in zip(body.items(), loaded.items(), strict=True):
        assert torch.equal(value, found), (name, own)


def test_files_of_timms_names_load_as_pth_and_as_safetensors(tmp_path: Path) -> None:
    source = timm.create_model("mobilenetv2_100", features_only=True).state_dict()
    torch.save(source, tmp_path / "a.pth")
    save_file(source, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        loaded = Backbone("mobilenetv2", weights=str(tmp_path / name)).network.state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in source.items())


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("mobilenetv2", ".pth"),
        ("resnet50", ".safetensors"),
        ("efficientnet_lite0", ".pth"),
        ("convnext_atto", ".safetensors"),
    ],
)
def test_a_classifiers_checkpoint_fills_the_backbone(name: str, suffix: str, tmp_path: Path) -> None:
    """`timm.create_model(name).state_dict()` as a file; ConvNeXt's feature network names its stages in another way."""
    torch.manual_seed(0)
    classifier = timm.create_model(BACKBONES.get(name, name), num_classes=7)
    path = tmp_path / f"classifier{suffix}"
    if suffix == ".pth":
        torch.save(classifier.state_dict(), path)
    else:
        save_file(classifier.state_dict(), path)
    loaded = Backbone(name, weights=path).network.state_dict()
    by_name = {key.replace(".", "_"): value for key, value in classifier.state_dict().items()}
    assert len(loaded) > 100
    for key, value in loaded.items():
        assert torch.equal(value, by_name[key.replace(".", "_")]), key


def test_torchvisions_resnet_loads(tmp_path: Path) -> None:
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, tmp_path / "resnet18.pth")
    loaded = Backbone("resnet18", weights=tmp_path / "resnet18.pth").network.state_dict()
    assert {key for key in state if key not in loaded} == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_a_deeper_resnets_file_is_refused(tmp_path: Path) -> None:
    """A ResNet-101 has a tensor for each one of a ResNet-50. The unused tensors show that the file is wrong."""
    with torch.device("meta"):
        deeper = timm.create_model("resnet101").state_dict()
    torch.save({key: torch.empty_like(value, device="cpu") for key, value in deeper.items()}, tmp_path / "a.pth")
    message = r"do not fit this backbone: 306 unexpected \(layer3\.6\.conv1\.weight, "
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        Backbone("resnet50", weights=tmp_path / "a.pth")


def test_imagenet_weights_of_other_backbones_come_from_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    create, source = timm.create_model, timm.create_model("mobilenetv2_100", features_only=True)

    def hub(name: str, **options: Any) -> torch.nn.Module:
        if not options.pop("pretrained", False):
            return create(name, **options)
        assert name == "mobilenetv2_100"
        return source

    monkeypatch.setattr(timm, "create_model", hub)
    loaded = Backbone("mobilenetv2", weights="imagenet").network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items())

    def offline(name: str, **options: Any) -> torch.nn.Module:
        if options.get("pretrained"):
            raise OSError("no route to host\nand more")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        ValueError, match=r"weights of mobilenetv2_100 cannot be fetched \(no route to host\); allowed are also 'none'"
    ):
        Backbone("mobilenetv2", weights="imagenet")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'gone\.pth': no such file; allowed are 'imagenet', 'none' or a weight file"):
        Backbone("mobilenetv2", weights="gone.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(ValueError, match=f"{name}: not a readable PyTorch or safetensors file"):
            Backbone("mobilenetv2", weights=tmp_path / name)
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth: a PyTorch file, but not a state dict"):
        Backbone("mobilenetv2", weights=tmp_path / "list.pth")
    source = timm.create_model("mobilenetv2_100", features_only=True).state_dict()
    first = next(iter(source))
    torch.save(source | {first: torch.zeros(1)}, tmp_path / "shape.pth")
    with pytest.raises(
        ValueError, match=rf"backbone: 1 of another shape \({first} \(1,\) instead of \(32, 3, 3, 3\)\)$"
    ):
        Backbone("mobilenetv2", weights=tmp_path / "shape.pth")
    source.pop(first)
    torch.save(source, tmp_path / "missing.pth")
    with pytest.raises(ValueError, match=rf"backbone: 1 missing \({first}\)$"):
        Backbone("mobilenetv2", weights=tmp_path / "missing.pth")


def test_bad_names_and_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown segmenter 'unet', allowed are pspnet, pspnet_decoder, deeplabv3plus"):
        NetworkSpec(segmenter="unet").build(5)
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet5', allowed are mobilenetv2, .*near: "):
        NetworkSpec(backbone="resnet5").build(5)
    with pytest.raises(ValueError, match="channels is 0, allowed are whole numbers of at least 1"):
        NetworkSpec(channels=0).build(5)
    with pytest.raises(ValueError, match="output_stride is 32, allowed are 8 and 16"):
        NetworkSpec(output_stride=32).build(5)
    with pytest.raises(ValueError, match="gives no features at output stride 16"):
        Backbone("vit_tiny_patch16_224")
    with pytest.raises(ValueError, match=r"gives no features at output stride 16: only output_stride==32 is valid"):
        Backbone("ghostnet_100")  # timm asserts
    with torch.device("meta"), pytest.raises(ValueError, match="channels is 18, allowed are multiples of 4"):
        NetworkSpec(backbone="mobilenetv2", channels=18).build(5)


def test_a_timm_name_works_as_a_backbone() -> None:
    with torch.device("meta"):
        backbone = Backbone("resnet18", output_stride=8)
    assert backbone.strides[-1] == 8
    assert np.all(np.diff(backbone.channels) >= 0)
