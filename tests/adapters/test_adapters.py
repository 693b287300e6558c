"""Adapters give the same logits as the adapted networks and keep the names of their weights. DWNet trains the networks.

Each adapter is compared with the package itself. The tests of a package that is not installed are skipped.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.fcn import FCNHead

from dwnet.adapters import ADAPTERS, Adapter, CallableAdapter, adapt
from dwnet.data import CAMVID_11, ClassSet
from dwnet.deploy.export import export_segmenter
from dwnet.deploy.runtime import OnnxSegmenter, load
from dwnet.method.specs import method_spec

MEAN, STD = (0.2, 0.4, 0.7), (0.5, 0.25, 0.3)  # not ImageNet's, so that a test detects which values are used
K = 5


def segformer(**changes: Any) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_sizes": [8, 16, 16, 32], "num_attention_heads": [1, 1, 2, 4], "decoder_hidden_size": 16}
    config = transformers.SegformerConfig(**{"depths": [1, 1, 1, 1], "num_labels": K, **sizes, **changes})
    return transformers.SegformerForSemanticSegmentation(config)


def upernet(backbone: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    stages = {"depths": [1, 1, 1, 1], "out_features": ["stage1", "stage2", "stage3", "stage4"]}
    backbones = {
        "convnext": lambda: transformers.ConvNextConfig(hidden_sizes=[8, 16, 16, 32], **stages),
        "swin": lambda: transformers.SwinConfig(embed_dim=8, num_heads=[1, 1, 2, 2], window_size=4, **stages),
    }
    config = transformers.UperNetConfig(
        backbone_config=backbones[backbone](),
        hidden_size=16,
        num_labels=K,
        auxiliary_in_channels={"convnext": 16, "swin": 32}[backbone],
        auxiliary_channels=8,
    )
    return transformers.UperNetForSemanticSegmentation(config)


def smp(name: str, encoder: str = "tu-test_resnet", **changes: Any) -> nn.Module:
    package = pytest.importorskip("segmentation_models_pytorch")
    return getattr(package, name)(encoder, **{"encoder_weights": None, "classes": K, **changes})


def fcn() -> nn.Module:
    """torchvision's FCN on a small backbone."""
    backbone = torchvision.models.resnet18()
    stages = IntermediateLayerGetter(backbone, {"layer4": "out", "layer3": "aux"})
    return torchvision.models.segmentation.FCN(stages, FCNHead(512, K), FCNHead(256, K))


def torchvision_model(name: str, **changes: Any) -> nn.Module:
    build = getattr(torchvision.models.segmentation, name)
    return build(weights=None, weights_backbone=None, num_classes=K, **changes)


# Each model with its (stride, multiple, channels, number of auxiliary heads).
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int, int]]] = {
    "fcn": (fcn, (32, 32, 128, 1)),
    "deeplabv3": (lambda: torchvision_model("deeplabv3_mobilenet_v3_large", aux_loss=True), (16, 16, 256, 1)),
    "deeplabv3_without_aux": (lambda: torchvision_model("deeplabv3_mobilenet_v3_large"), (16, 16, 256, 0)),
    "lraspp": (lambda: torchvision_model("lraspp_mobilenet_v3_large"), (8, 8, 40 + 128, 0)),
    "smp_unet": (lambda: smp("Unet", decoder_channels=(32, 32, 16, 16, 16)), (1, 1, 16, 0)),
    "smp_unet_of_a_transformer": (lambda: smp("Unet", "mit_b0", decoder_channels=(32, 32, 16, 16, 16)), (1, 1, 16, 0)),
    "smp_unetplusplus": (lambda: smp("UnetPlusPlus", decoder_channels=(32, 32, 16, 16, 16)), (1, 32, 16, 0)),
    "smp_fpn": (lambda: smp("FPN", decoder_pyramid_channels=32, decoder_segmentation_channels=32), (4, 32, 32, 0)),
    "smp_deeplabv3": (lambda: smp("DeepLabV3", decoder_channels=32), (8, 8, 32, 0)),
    "smp_deeplabv3plus": (lambda: smp("DeepLabV3Plus", decoder_channels=32), (4, 16, 32, 0)),
    "smp_pspnet": (lambda: smp("PSPNet", psp_out_channels=32), (8, 8, 32, 0)),
    "smp_pan": (lambda: smp("PAN"), (4, 16, 32, 0)),
    "smp_linknet": (lambda: smp("Linknet"), (1, 32, 32, 0)),
    "smp_manet": (lambda: smp("MAnet", decoder_channels=(32, 32, 16, 16, 16)), (1, 32, 16, 0)),
    "smp_segformer": (lambda: smp("Segformer", decoder_segmentation_channels=32), (4, 32, 32, 0)),
    "smp_upernet": (lambda: smp("UPerNet", decoder_channels=32), (4, 32, 32, 0)),
    "smp_with_classification_head": (lambda: smp("Linknet", aux_params={"classes": 2}), (1, 32, 32, 0)),
    "hf_segformer": (segformer, (4, 4, 16, 0)),
    "hf_upernet_of_convnext": (lambda: upernet("convnext"), (4, 4, 16, 1)),
    "hf_upernet_of_swin": (lambda: upernet("swin"), (4, 4, 16, 1)),
}


def image(height: int, width: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def normalised(frame: Tensor) -> Tensor:
    return (frame - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def resized(logits: Tensor, frame: Tensor) -> Tensor:
    return F.interpolate(logits, size=frame.shape[-2:], mode="bilinear", align_corners=False)


def their_own_answer(model: nn.Module, frame: Tensor) -> Tensor:
    """Returns the logits of the package's own forward pass for a normalised image, resized to the image."""
    answer = model(normalised(frame))
    if isinstance(answer, dict):  # torchvision and transformers
        answer = answer["out"] if "out" in answer else answer["logits"]
    if isinstance(answer, tuple):  # smp with a classification head
        answer = answer[0]
    return resized(answer, frame)


@pytest.mark.parametrize("name", list(MODELS))
def test_the_answer_and_the_weights_are_the_models_own(name: str) -> None:
    torch.manual_seed(0)
    build, (stride, multiple, channels, auxiliary_heads) = MODELS[name]
    model = build()
    keys = list(model.state_dict())
    adapter = adapt(model, mean=MEAN, std=STD).eval()
    assert adapter.model is model
    assert (adapter.stride, adapter.multiple, adapter.channels, adapter.num_classes) == (stride, multiple, channels, K)
    assert list(model.state_dict()) == keys
    assert list(adapter.state_dict()) == [f"model.{key}" for key in keys]
    assert [p.data_ptr() for p in adapter.parameters()] == [p.data_ptr() for p in model.parameters()]

    # The sides are odd multiples of `multiple`, and large enough for PAN, which pools 1/16 of the image three times.
    height, width = (multiple * (-(-128 // multiple) | 1), multiple * (-(-160 // multiple) | 1))
    frame = image(height, width, batch=2)
    with torch.no_grad():
        expected = their_own_answer(model, frame)
        features, auxiliary = adapter.features_and_auxiliary(frame)
        assert torch.equal(adapter.features(frame), features)
        of_one = adapter.features_and_auxiliary(frame, labelled=1)[1]
        assert all(torch.equal(one, both[:1]) for one, both in zip(of_one, auxiliary, strict=True))
        found = adapter(frame)
    assert features.shape == (2, channels, height // stride, width // stride)
    assert [logits.shape[:2] for logits in auxiliary] == [(2, K)] * auxiliary_heads
    assert found.shape == (2, K, height, width)
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)
    assert float(expected.std()) > 1e-4  # the logits are not constant


@pytest.mark.parametrize("name", ["fcn", "deeplabv3"])
def test_torchvisions_auxiliary_logits_are_kept(name: str) -> None:
    model = MODELS[name][0]()
    adapter = adapt(model, mean=MEAN, std=STD).eval()
    frame = image(64, 96)
    with torch.no_grad():
        (auxiliary,) = adapter.features_and_auxiliary(frame)[1]
        expected = model(normalised(frame))["aux"]
    assert torch.allclose(resized(auxiliary, frame), expected, atol=1e-5)


def test_transformers_auxiliary_logits_are_kept() -> None:
    model = upernet("convnext")
    adapter = adapt(model, mean=MEAN, std=STD).eval()
    frame, labels = image(64, 96), torch.randint(0, K, (1, 64, 96), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (auxiliary,) = adapter.features_and_auxiliary(frame)[1]
        both = F.cross_entropy(adapter(frame), labels) + 0.4 * F.cross_entropy(resized(auxiliary, frame), labels)
        # transformers' loss also has a weight of 0.4 for the auxiliary head.
        expected = model(normalised(frame), labels=labels).loss
    assert torch.allclose(both, expected, atol=1e-5)


# Models that differ in the position of the classifier, in the layers after it, and in the stride.
TRAINED = ["deeplabv3", "lraspp", "smp_unet", "smp_fpn", "hf_segformer", "hf_upernet_of_convnext"]


@pytest.mark.parametrize("name", TRAINED)
def test_dwnet_trains_the_model_itself(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name][0]()
    keys = list(model.state_dict())
    method = method_spec("dwnet", kernel_size=1).build(adapt(model)).train()
    batch = {
        "frame": image(64, 96, batch=2),
        "neighbour": image(64, 96, batch=2).roll(2, dims=-1),
        "labels": torch.randint(0, K, (2, 64, 96), generator=torch.Generator().manual_seed(2)),
    }
    losses = method(batch)
    assert {"segmentation", "feature", "prediction", "total"} <= set(losses)
    losses["total"].backward()
    without = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())

    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.optim.SGD(method.parameters(), lr=0.1).step()
    after = model.state_dict()
    assert list(after) == keys
    assert sum(not torch.equal(before[key], after[key]) for key in keys) > len(keys) / 3
    # A second network of the package with the trained weights gives the logits of the adapter.
    again = MODELS[name][0]()
    again.load_state_dict(after)
    frame = image(64, 96)
    with torch.no_grad():
        found = method.eval().predict({"frame": frame})
        second = adapt(again.eval()).eval()
        assert torch.allclose(found, second(frame), atol=1e-5 * float(found.abs().max()))


def test_saved_by_transformers_and_loaded_again(tmp_path: Any) -> None:
    transformers = pytest.importorskip("transformers")
    model = segformer()
    method = method_spec("dwnet", kernel_size=1).build(adapt(model)).train()
    frame = image(32, 48, batch=2)
    labels = torch.zeros(2, 32, 48, dtype=torch.int64)
    method({"frame": frame, "neighbour": frame.roll(1, dims=-1), "labels": labels})["total"].backward()
    torch.optim.SGD(method.parameters(), lr=0.1).step()
    model.save_pretrained(tmp_path)
    again = transformers.SegformerForSemanticSegmentation.from_pretrained(tmp_path)
    assert list(again.state_dict()) == list(model.state_dict())
    assert all(torch.equal(again.state_dict()[key], value) for key, value in model.state_dict().items())


# --- any other network -----------------------------------------------------------------------------------------------


class Plain(nn.Module):
    """A network of no package: a strided convolution and a head whose logits are resized to the image."""

    def __init__(self, classes: int = K, stride: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, stride, stride=stride), nn.ReLU(), nn.Dropout2d(0.5))
        self.head = nn.Conv2d(6, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.head(self.body(x)), size=x.shape[-2:], mode="bilinear", align_corners=False)


def plain_adapter(model: nn.Module | None = None, **changes: Any) -> CallableAdapter:
    cut: dict[str, Any] = {"features": lambda m, x: m.body(x), "classify": lambda m, f: m.head(f)}
    return CallableAdapter(model or Plain(), **{**cut, "mean": MEAN, "std": STD, **changes})


def test_two_functions_make_any_network_a_segmenter() -> None:
    model = Plain()
    adapter = plain_adapter(model).eval()
    assert (adapter.stride, adapter.multiple, adapter.channels, adapter.num_classes) == (4, 4, 6, K)
    assert adapter.model is model
    assert list(adapter.state_dict()) == [f"model.{key}" for key in model.state_dict()]
    frame = image(36, 52)
    with torch.no_grad():
        assert torch.allclose(adapter(frame), model(normalised(frame)), atol=1e-6)
        assert adapter(image(37, 50)).shape == (1, K, 37, 50)
    losses = (
        method_spec("dwnet")
        .build(adapter)
        .train()(
            {"frame": frame, "neighbour": frame.roll(1, dims=-1), "labels": torch.zeros(1, 36, 52, dtype=torch.int64)}
        )
    )
    losses["total"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_copy_cuts_its_own_network() -> None:
    adapter = plain_adapter().eval()
    copied = copy.deepcopy(adapter)
    nn.init.zeros_(copied.model.head.weight)
    nn.init.ones_(copied.model.head.bias)
    frame = image(8, 8)
    with torch.no_grad():
        assert torch.equal(copied(frame), torch.ones(1, K, 8, 8))
        assert not torch.allclose(adapter(frame), torch.ones(1, K, 8, 8))


def test_the_normalisation_is_imagenets_unless_told() -> None:
    model = Plain()
    frame = image(8, 8)
    with torch.no_grad():
        given = plain_adapter(model, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).eval()(frame)
        default = CallableAdapter(model, features=lambda m, x: m.body(x), classify=lambda m, f: m.head(f)).eval()
        none = plain_adapter(model, mean=(0, 0, 0), std=(1, 1, 1)).eval()
        bytes_ = plain_adapter(model, mean=(0, 0, 0), std=(1 / 255,) * 3).eval()
        assert torch.equal(default(frame), given)
        assert torch.allclose(none(frame), model(frame), atol=1e-6)
        assert torch.allclose(bytes_(frame), model(frame * 255), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_keeps_its_precision(dtype: torch.dtype) -> None:
    adapter = plain_adapter(Plain().to(dtype)).eval()
    for frame in (image(8, 8), image(8, 8).to(dtype)):  # images are float32 by convention
        assert adapter.features(frame).dtype == dtype


# --- dropout ---------------------------------------------------------------------------------------------------------


def test_dropout_sleeps_while_the_adapter_trains() -> None:
    model = Plain().train()
    quiet = plain_adapter(model)
    assert quiet.training
    assert [module for module in model.modules() if not module.training] == [model.body[2]]
    frame = image(16, 16)
    assert torch.equal(quiet.features(frame), quiet.features(frame))
    loud = plain_adapter(Plain().train(), dropout=True)
    assert all(module.training for module in loud.modules())
    assert not torch.equal(loud.features(frame), loud.features(frame))


def test_stochastic_depth_sleeps_too_and_the_model_can_wake_it() -> None:
    model = segformer(drop_path_rate=0.9, classifier_dropout_prob=0.5, hidden_dropout_prob=0.5)
    model.train()
    assert sum(type(module).__name__ == "SegformerDropPath" for module in model.modules()) > 0
    adapter = adapt(model)
    frame = image(32, 32, batch=2)
    with torch.no_grad():
        assert torch.equal(adapter.features(frame), adapter.features(frame))
        model.train()
        assert not torch.equal(adapter.features(frame), adapter.features(frame))


def test_what_was_frozen_stays_frozen_while_the_model_is_tried() -> None:
    model = Plain().train()
    model.body[0].eval()
    plain_adapter(model, dropout=True, multiple=4)
    assert not model.eval().training
    model = Plain().eval()
    assert not plain_adapter(model).training
    unet = smp("Unet", decoder_channels=(32, 32, 16, 16, 16))
    unet.get_submodule("encoder").requires_grad_(False)
    unet.freeze_encoder()  # type: ignore[operator]
    adapter = adapt(unet).train()
    norms = [module for module in adapter.model.encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert not any(parameter.requires_grad for parameter in unet.get_submodule("encoder").parameters())


def test_trying_a_model_leaves_its_statistics_and_gradients_alone() -> None:
    model = smp("PSPNet").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    adapt(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


# --- errors ----------------------------------------------------------------------------------------------------------


def test_other_models_are_refused_naming_what_is_supported() -> None:
    with pytest.raises(
        ValueError, match=r"no adapter for torchvision\.models\.resnet\.ResNet; supported are .*torchvision\.FCN"
    ) as error:
        adapt(torchvision.models.resnet18())
    for adapter in ADAPTERS:
        assert all(name in str(error.value) for name in adapter.wraps)
    assert "CallableAdapter" in str(error.value)


def test_a_subclass_of_a_supported_model_is_supported() -> None:
    class Mine(torchvision.models.segmentation.LRASPP):
        pass

    model = torchvision_model("lraspp_mobilenet_v3_large")
    model.__class__ = Mine
    assert isinstance(adapt(model), Adapter)


def test_an_activation_behind_the_logits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"PSPNet ends in the activation Softmax; .*activation=None"):
        adapt(smp("PSPNet", activation="softmax2d"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": (0.5, 0.5)}, r"mean \(0.5, 0.5\), std .*: allowed are three numbers each, std above 0"),
        ({"std": (0.5, 0.5, 0.0)}, r"std \(0.5, 0.5, 0.0\): allowed are three numbers each, std above 0"),
        ({"multiple": 0}, "multiple is 0, allowed are 1 and above"),
        ({"multiple": 27}, r"features of an image of 162 x 243 pixels are of shape \(1, 6, 40, 60\); allowed is a map"),
        (
            {"features": lambda m, x: m.body(x).flatten(2)[..., None]},
            r"are of shape \(1, 6, 1536, 1\); allowed is a map",
        ),
        ({"features": lambda m, x: m.body(x).tile(1, 1, 4, 8)}, r"are of shape \(1, 6, .*; allowed is a map"),
        (
            {"features": lambda m, x: m.nothing(x)},
            r"Plain cannot run on .* \('Plain' object has no attribute 'nothing'\)",
        ),
        (
            {"classify": lambda m, f: m.head(f)[:, :1]},
            r"logits are of shape \(1, 1, .*\(1, K, h, w\) with K of at least 2",
        ),
        ({"classify": lambda m, f: m.head(f).flatten(1)}, r"logits are of shape .*allowed is \(1, K, h, w\)"),
    ],
)
def test_what_is_no_segmenter_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plain_adapter(**changes)


def test_a_model_of_unusual_sides_says_so_and_takes_a_multiple() -> None:
    class Patches(Plain):
        """Raises for sides that are not multiples of its patch size, as plain vision transformers do."""

        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] % 14 or x.shape[-2] % 14:
                raise AssertionError("sides must be multiples of 14")
            return self.body(x)

    cut: dict[str, Any] = {"features": lambda m, x: m(x), "classify": lambda m, f: m.head(f)}
    with pytest.raises(
        ValueError, match=r"Patches cannot run on .* \(sides must be multiples of 14\); `multiple` sets"
    ):
        CallableAdapter(Patches(stride=14), **cut)
    adapter = CallableAdapter(Patches(stride=14), **cut, multiple=14)
    assert (adapter.stride, adapter.multiple) == (14, 14)
    assert adapter.eval()(image(30, 20)).shape == (1, K, 30, 20)


class Pooled(nn.Module):
    """A network with PyTorch's adaptive pooling, which does not export with dynamic sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.pools = nn.ModuleList([nn.AdaptiveAvgPool2d(bins) for bins in (1, 2, 3)])
        self.head = nn.Conv2d(32, 3, 1)

    def maps(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image).relu()
        size = x.shape[-2:]
        return torch.cat([x, *(F.interpolate(pool(x), size=size, mode="bilinear") for pool in self.pools)], dim=1)


@pytest.mark.slow
def test_an_adapted_network_exports_with_dynamic_sizes_and_stays_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Pooled().train()
    segmenter = CallableAdapter(model, features=lambda m, x: m.maps(x), classify=lambda m, f: m.head(f))
    classes = ClassSet("three", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    report = export_segmenter(segmenter, tmp_path / "own.onnx", classes=classes)
    assert report.exact_difference < 1e-4
    assert model.training
    assert type(model.pools[1]) is nn.AdaptiveAvgPool2d
    network = load(tmp_path / "own.onnx", kind="segmenter")
    assert isinstance(network, OnnxSegmenter)
    assert network.info.classes == ("a", "b", "c")
    frame = np.random.default_rng(0).integers(0, 256, (75, 110, 3), dtype=np.uint8)
    image = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = segmenter.eval()(image).argmax(dim=1)[0].numpy()
    assert (network.labels(frame) == expected).mean() > 0.99  # weights are stored in half precision
    with pytest.raises(ValueError, match="class set 'camvid11' has 11 classes, the segmenter scores 3"):
        export_segmenter(segmenter, tmp_path / "wrong.onnx", classes=CAMVID_11)
    assert not (tmp_path / "wrong.onnx").exists()
