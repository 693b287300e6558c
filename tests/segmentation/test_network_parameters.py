"""Parameter counts: every network is compared with a published one, and every difference is named and counted.

Counts are computed here layer by layer from the papers, without the modules. Published counts:

- [cv] pytorchcv (osmr/imgclsmob), `assert weight_count == N` in pspnet.py and danet.py: Cityscapes, 19 classes.
- [seg] SegFormer (Xie et al., NeurIPS 2021), Table 2, in millions: mmsegmentation's networks, ADE20K, 150 classes.
- [paddle] PaddleSeg, docs/model_zoo_overview.md, in millions: Cityscapes, 19 classes.
- [tv] torchvision's `num_params` of the classifiers, for the backbones.

No published count of DANet on MobileNetV2 was found. Its row has only the sum of the layers.
"""

from dataclasses import dataclass, field
from functools import cache

import pytest
import torch
from torchvision.models import MobileNet_V2_Weights, ResNet50_Weights, ResNet101_Weights

from dwnet.segmentation import NetworkSpec


def conv(inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1, bias: bool = False) -> int:
    return inputs // groups * outputs * kernel**2 + bias * outputs


def unit(inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1) -> int:
    """Convolution without bias, batch norm with a scale and a shift."""
    return conv(inputs, outputs, kernel, groups=groups) + 2 * outputs


def separable(inputs: int, outputs: int) -> int:
    return unit(inputs, inputs, 3, groups=inputs) + unit(inputs, outputs)


def classifier(inputs: int, classes: int) -> int:
    return conv(inputs, classes, bias=True)


# [tv], less what follows the last feature map: the ResNets' fc; MobileNetV2's 1x1 to 1280 channels and its classifier.
BACKBONES = {
    "mobilenetv2": MobileNet_V2_Weights.IMAGENET1K_V1.meta["num_params"] - unit(320, 1280) - classifier(1280, 1000),
    "resnet50": ResNet50_Weights.IMAGENET1K_V1.meta["num_params"] - classifier(2048, 1000),
    "resnet101": ResNet101_Weights.IMAGENET1K_V1.meta["num_params"] - classifier(2048, 1000),
}
LAST = {"mobilenetv2": 320, "resnet50": 2048, "resnet101": 2048}
BEFORE_LAST = {"mobilenetv2": 96, "resnet50": 1024, "resnet101": 1024}
STRIDE_4 = {"mobilenetv2": 24, "resnet50": 256, "resnet101": 256}


def pspnet(inputs: int, classes: int, *, pooled: int, channels: int = 512) -> int:
    pyramid = 4 * unit(inputs, pooled)
    return pyramid + unit(inputs + 4 * pooled, channels, 3) + classifier(channels, classes)


def deeplabv3plus(inputs: int, low: int, classes: int, *, channels: int = 256) -> int:
    branches = unit(inputs, channels) + 3 * separable(inputs, channels) + unit(inputs, channels)
    decoder = unit(low, 48) + separable(channels + 48, channels) + separable(channels, channels)
    return branches + unit(5 * channels, channels) + decoder + classifier(channels, classes)


def danet(inputs: int, classes: int) -> int:
    channels = inputs // 4
    position = 2 * conv(channels, channels // 8, bias=True) + conv(channels, channels, bias=True) + 1
    return 2 * (unit(inputs, channels, 3) + unit(channels, channels, 3)) + position + 1 + classifier(channels, classes)


def auxiliary_head(inputs: int, classes: int, channels: int) -> int:
    return unit(inputs, channels, 3) + classifier(channels, classes)


def wide_stem(stem: int, outputs: int) -> int:
    """Three 3x3 (3 to `stem`, `stem`, `outputs`) in place of the 7x7 to 64, and what more channels cost in block 1."""
    more = unit(3, stem, 3) + unit(stem, stem, 3) + unit(stem, outputs, 3) - unit(3, 64, 7)
    return more + conv(outputs - 64, 64) + conv(outputs - 64, 256)


MMSEG_WIDTHS = {
    # mmsegmentation: 512 channels throughout, and a 3x3 after ASPP where the paper has a 1x1.
    backbone: deeplabv3plus(LAST[backbone], STRIDE_4[backbone], 150, channels=512)
    - deeplabv3plus(LAST[backbone], STRIDE_4[backbone], 150)
    + unit(5 * 512, 512, 3)
    - unit(5 * 512, 512)
    for backbone in ("mobilenetv2", "resnet101")
}

PADDLE_HEAD_CHANNELS = 2 * 256 + 3 * (2048 + 256) + 256 + 48 + (304 + 256) + 2 * 256
"""Outputs of all convolutions of the head but the classifier; every one has a batch norm."""
RESNET_50_CHANNELS = 64 + 3 * (64 + 64 + 256) + 256 + 4 * (128 + 128 + 512) + 512 + 6 * (256 + 256 + 1024) + 1024
RESNET_50_CHANNELS += 3 * (512 + 512 + 2048) + 2048


@dataclass(frozen=True)
class Row:
    """One network: its published count, and the parameters that the published network has in addition to ours."""

    segmenter: str
    backbone: str
    published: float | None
    """Parameters; in millions if the source rounds."""
    source: str
    classes: int = 19
    differences: dict[str, int] = field(default_factory=dict)
    tolerance: float = 0.0
    """Half of the last digit published, in millions; 0 where the source is exact."""


def branches(channels: int, classes: int) -> int:
    return 2 * classifier(channels, classes)


TABLE = [
    Row(
        "pspnet",
        "mobilenetv2",
        13.7,
        "[seg]",
        150,
        {
            "512 channels of each pooled map, not 320 / 4": pspnet(320, 150, pooled=512) - pspnet(320, 150, pooled=80),
            "auxiliary head of 256 channels": auxiliary_head(96, 150, 256),
        },
        0.05,
    ),
    Row("pspnet", "resnet50", 46_715_347, "[cv]", differences={"stem of three 3x3, 128 wide": wide_stem(64, 128)}),
    Row("pspnet", "resnet101", 65_707_475, "[cv]", differences={"stem of three 3x3, 128 wide": wide_stem(64, 128)}),
    Row(
        "deeplabv3plus",
        "mobilenetv2",
        15.4,
        "[seg]",
        150,
        {
            "512 channels, 3x3 after ASPP": MMSEG_WIDTHS["mobilenetv2"],
            "auxiliary head of 256 channels": auxiliary_head(96, 150, 256),
        },
        0.06,  # the sum is 15.345, which gives 15.4 only if it is rounded to 15.35 first
    ),
    Row(
        "deeplabv3plus",
        "resnet50",
        26.79,
        "[paddle]",
        differences={
            "stem of three 3x3, 64 wide": wide_stem(32, 64),
            # All but image pooling (256), which turns it off.
            "a bias in the convolutions of the head": PADDLE_HEAD_CHANNELS - 256,
            "running mean and variance count as parameters": 2 * (PADDLE_HEAD_CHANNELS + RESNET_50_CHANNELS + 64),
        },
        tolerance=0.005,
    ),
    Row(
        "deeplabv3plus",
        "resnet101",
        62.7,
        "[seg]",
        150,
        {
            "stem of three 3x3, 64 wide": wide_stem(32, 64),
            "512 channels, 3x3 after ASPP": MMSEG_WIDTHS["resnet101"],
            "auxiliary head of 256 channels": auxiliary_head(1024, 150, 256),
        },
        0.05,
    ),
    Row("danet", "mobilenetv2", None, "none found"),
    *(
        Row(
            "danet",
            backbone,
            published,
            "[cv]",
            differences={
                "stem of three 3x3, 128 wide": wide_stem(64, 128),
                "the branches' classifiers, auxiliary heads here": branches(512, 19),
            },
        )
        for backbone, published in (("resnet50", 47_586_427), ("resnet101", 66_578_555))
    ),
]
IDS = [f"{row.segmenter}-{row.backbone}" for row in TABLE]


def head(segmenter: str, backbone: str, classes: int) -> int:
    inputs = LAST[backbone]
    if segmenter == "pspnet":
        return pspnet(inputs, classes, pooled=inputs // 4)
    if segmenter == "danet":
        return danet(inputs, classes)
    return deeplabv3plus(inputs, STRIDE_4[backbone], classes)


@cache
def parameters(segmenter: str, backbone: str, classes: int, auxiliary: bool) -> int:
    with torch.device("meta"):
        network = NetworkSpec(segmenter=segmenter, backbone=backbone, auxiliary=auxiliary).build(classes)
    return sum(parameter.numel() for parameter in network.parameters())


def built(row: Row, *, auxiliary: bool = False) -> int:
    return parameters(row.segmenter, row.backbone, row.classes, auxiliary)


@pytest.mark.parametrize("row", TABLE, ids=IDS)
def test_our_count_is_the_sum_of_the_papers_layers(row: Row) -> None:
    expected = BACKBONES[row.backbone] + head(row.segmenter, row.backbone, row.classes)
    assert built(row) == expected


@pytest.mark.parametrize("row", [row for row in TABLE if row.published is not None], ids=lambda row: row.source)
def test_the_published_count_differs_by_what_is_named(row: Row) -> None:
    assert row.published is not None
    count = built(row) + sum(row.differences.values())
    if row.tolerance:
        assert count / 1e6 == pytest.approx(row.published, abs=row.tolerance)
    else:
        assert count == row.published


@pytest.mark.parametrize("row", TABLE, ids=IDS)
def test_auxiliary_heads_add_what_they_should(row: Row) -> None:
    inputs = BEFORE_LAST[row.backbone]
    expected = auxiliary_head(inputs, row.classes, max(inputs // 4, 64))
    if row.segmenter == "danet":
        expected += branches(LAST[row.backbone] // 4, row.classes)
    assert built(row, auxiliary=True) - built(row) == expected


def test_pspnets_published_auxiliary_head_is_ours() -> None:
    """[cv] with and without: 49 080 038 and 46 715 347."""
    assert auxiliary_head(1024, 19, 256) == 49_080_038 - 46_715_347


@pytest.mark.parametrize(("channels", "expected"), [(512, 128), (256, 64)])
def test_a_pspnet_of_given_channels_has_a_pyramid_to_match(channels: int, expected: int) -> None:
    """Checkpoints store `channels`. Networks that are built from it must not change."""
    with torch.device("meta"):
        network = NetworkSpec(backbone="resnet50", channels=channels, auxiliary=False).build(19)
    own = BACKBONES["resnet50"] + pspnet(2048, 19, pooled=expected, channels=channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == own
