"""Tries the segmenters of other packages: adapt, train a step, export, run in ONNX Runtime at another size.

``python -m tests.adapters.survey`` tries all and writes the table of docs/reference/networks.md; names of models as
arguments try only these, and print their results. Networks have random weights, and few or narrow layers where
their package allows it.
"""

import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from dwnet.adapters import Adapter, adapt
from dwnet.core.classes import made_up_classes
from dwnet.core.errors import first_line
from dwnet.deploy.export import export_segmenter
from dwnet.deploy.runtime import load
from dwnet.method.specs import DWNetSpec

K = 5
PAGE = Path(__file__).parents[2] / "docs/reference/networks.md"
MARK = "<!-- python -m tests.adapters.survey -->"


def smp(name: str, encoder: str = "tu-test_resnet", **changes: Any) -> nn.Module:
    """A segmenter of segmentation_models_pytorch."""
    import segmentation_models_pytorch

    return getattr(segmentation_models_pytorch, name)(encoder, encoder_weights=None, classes=K, **changes)


def vision(name: str) -> nn.Module:
    """A segmenter of torchvision."""
    build = getattr(torchvision.models.segmentation, name)
    return build(weights=None, weights_backbone=None, num_classes=K)


def hugging(name: str, **changes: Any) -> nn.Module:
    """A segmenter of transformers; NAME is that of its configuration without "Config"."""
    import transformers

    config = getattr(transformers, f"{name}Config")(num_labels=K, **changes)
    return getattr(transformers, f"{name}ForSemanticSegmentation")(config)


def upernet(backbone: str, **changes: Any) -> nn.Module:
    """UPerNet of transformers on a backbone of it."""
    import transformers

    config = getattr(transformers, f"{backbone}Config")(
        depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"], **changes
    )
    width = 16 if backbone == "ConvNext" else 32
    return hugging("UperNet", backbone_config=config, hidden_size=16, auxiliary_in_channels=width, auxiliary_channels=8)


def tipsv2() -> nn.Module:
    """TIPSv2's DPT on a small vision model."""
    import transformers

    backbone = transformers.Tipsv2VisionConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=128,
        patch_size=16,
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    return hugging("Tipsv2Dpt", backbone_config=backbone, neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=16)


_VIT = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
_BEIT = _VIT | {"image_size": 128, "patch_size": 16, "out_indices": [1, 2, 3, 4]}

MODELS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"smp {name}, tu-test_resnet": lambda name=name: smp(name)
        for name in (
            "Unet",
            "UnetPlusPlus",
            "MAnet",
            "Linknet",
            "FPN",
            "PSPNet",
            "DeepLabV3",
            "DeepLabV3Plus",
            "PAN",
            "UPerNet",
            "Segformer",
        )
    },
    "smp Unet, mit_b0": lambda: smp("Unet", "mit_b0"),
    "smp Unet, efficientnet-b0": lambda: smp("Unet", "efficientnet-b0"),
    "smp Unet, mobilenet_v2": lambda: smp("Unet", "mobilenet_v2"),
    "smp Unet, tu-convnext_atto": lambda: smp("Unet", "tu-convnext_atto", encoder_depth=4, decoder_channels=[64] * 4),
    "smp DPT, tu-vit_tiny_patch16_224": lambda: smp("DPT", "tu-vit_tiny_patch16_224", dynamic_img_size=True),
    "torchvision fcn_resnet50": lambda: vision("fcn_resnet50"),
    "torchvision deeplabv3_resnet50": lambda: vision("deeplabv3_resnet50"),
    "torchvision deeplabv3_mobilenet_v3_large": lambda: vision("deeplabv3_mobilenet_v3_large"),
    "torchvision lraspp_mobilenet_v3_large": lambda: vision("lraspp_mobilenet_v3_large"),
    "transformers Beit": lambda: hugging("Beit", **_BEIT, use_relative_position_bias=True),
    "transformers Data2VecVision": lambda: hugging("Data2VecVision", **_BEIT, use_relative_position_bias=True),
    "transformers DPT": lambda: hugging(
        "DPT",
        **_VIT,
        image_size=128,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        is_hybrid=False,
    ),
    "transformers MobileNetV2": lambda: hugging("MobileNetV2"),
    "transformers MobileViT": lambda: hugging("MobileViT", hidden_sizes=[16, 24, 32], image_size=128),
    "transformers MobileViTV2": lambda: hugging("MobileViTV2", image_size=128, width_multiplier=0.5),
    "transformers Sapiens2": lambda: hugging(
        "Sapiens2",
        **_VIT,
        image_size=[128, 128],
        num_key_value_heads=2,
        head_config={"upsample_out_channels": [16], "conv_out_channels": [16]},
    ),
    "transformers Segformer": lambda: hugging(
        "Segformer",
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 16, 32],
        num_attention_heads=[1, 1, 2, 4],
        decoder_hidden_size=16,
    ),
    "transformers Tipsv2Dpt": tipsv2,
    "transformers UperNet on ConvNext": lambda: upernet("ConvNext", hidden_sizes=[8, 16, 16, 32]),
    "transformers UperNet on Swin": lambda: upernet("Swin", embed_dim=8, num_heads=[1, 1, 2, 2], window_size=4),
}


SIZES = {"transformers Data2VecVision": (128, 128), "transformers DPT": (128, 128)}
"""The one size that a network takes."""


@dataclass
class Result:
    """What works of one model; a text is the reason why it does not."""

    name: str
    equal: str = ""
    trained: str = ""
    exported: str = ""
    fixed: str = ""
    stride: int = 0
    multiple: int = 0
    seconds: float = 0.0


def survey(name: str, folder: Path, *, fixed: bool = True) -> Result:
    """Tries one model; `fixed` also tries the export with a fixed size where the other export fails."""
    start = time.perf_counter()
    result = Result(name)
    try:
        model, adapter = build(name)
    except Exception as error:
        result.equal = first_line(error)
        return result
    result.stride, result.multiple = adapter.stride, adapter.multiple
    result.equal = attempt(try_equal, model, adapter)
    result.trained = attempt(try_training, model, adapter)
    if adapter.size is None:
        result.exported = attempt(_export, adapter, folder / "open.onnx")
    if result.exported != "yes" and fixed:
        result.fixed = attempt(_export, adapter, folder / "fixed.onnx", size=_sides(adapter))
    result.seconds = time.perf_counter() - start
    return result


def build(name: str) -> tuple[nn.Module, Adapter]:
    """Returns a model with weights that let every layer pass something on, and its adapter, in evaluation mode."""
    torch.manual_seed(0)
    model = MODELS[name]()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.9  # statistics of the images below
    with torch.no_grad():
        for _ in range(2):
            model.train()(torch.rand(2, 3, *SIZES.get(name, (128, 192))))
    return model, adapt(model, size=SIZES.get(name)).eval()


def attempt(step: Callable[..., str], *arguments: Any, **named: Any) -> str:
    """Returns what a step returns, or the first line of its error."""
    try:
        return step(*arguments, **named)
    except Exception as error:
        return re.sub(r"^\S+\.onnx: ", "", first_line(error))  # without the folder


def _sides(adapter: Adapter, least: int = 128) -> tuple[int, int]:
    if adapter.size is not None:
        return adapter.size
    rows = -(-least // adapter.multiple)
    return rows * adapter.multiple, (rows + 1) * adapter.multiple


def try_equal(model: nn.Module, adapter: Adapter) -> str:
    """Compares the adapter's logits with those of the model."""
    frame = torch.rand(2, 3, *_sides(adapter))
    with torch.no_grad():
        found = model((frame - adapter.mean) / adapter.std)
        theirs: Tensor = found if isinstance(found, Tensor) else found["out"] if "out" in found else found["logits"]
        ours = adapter.classify(adapter.features(frame))
    if ours.shape != theirs.shape:
        ours = nn.functional.interpolate(ours, theirs.shape[-2:], mode="bilinear", align_corners=False)
    largest = float(theirs.abs().max())
    if not largest > 1e-3:
        return f"not compared: the largest score is {largest:.1e}"
    difference = float((ours - theirs).abs().max()) / largest
    return "yes" if difference < 1e-4 else f"differs by {difference:.1e}"


def try_training(model: nn.Module, adapter: Adapter) -> str:
    """Trains a step of DWNet, and compares keys and weights."""
    keys = list(model.state_dict())
    before = {key: value.clone() for key, value in model.named_parameters()}
    method = DWNetSpec().build(adapter).train()
    optimiser = torch.optim.SGD(method.parameters(), lr=0.01)
    frame, neighbour = torch.rand(2, 2, 3, *_sides(adapter))
    labels = torch.randint(K, (2, *frame.shape[-2:]))
    method({"frame": frame, "neighbour": neighbour, "labels": labels})["total"].backward()
    optimiser.step()
    adapter.eval()
    still = sum(torch.equal(value, before[key]) for key, value in model.named_parameters())
    if list(model.state_dict()) != keys:
        return "the keys changed"
    if not all(value.isfinite().all() for value in model.parameters()):
        return "weights are not finite"
    return "yes" if still < len(before) / 2 else f"{still} of {len(before)} weights did not change"


def _export(adapter: Adapter, path: Path, size: tuple[int, int] | None = None) -> str:
    options = {} if size is None else {"size": size}
    export_segmenter(adapter, path, classes=made_up_classes(K), **options)
    network = load(path, threads=1)
    height, width = size or (adapter.multiple * 5 + 3, adapter.multiple * 3 + 1)
    height, width = max(height, 131), max(width, 97)
    image = torch.randint(256, (height, width, 3), dtype=torch.uint8)
    if size is not None:
        network.labels(image.numpy())
        return f"yes, at {size[0]} x {size[1]}"
    with torch.no_grad():
        expected = adapter(image.permute(2, 0, 1)[None] / 255)[0].numpy()
    difference = float(abs(network.logits(image.numpy()) - expected).max() / abs(expected).max())
    return "yes" if difference < 0.05 else f"differs by {difference:.1e}"


def row(result: Result) -> str:
    """Returns the row of a model in the table."""
    if not result.trained:
        return f"| {result.name} | - | - | no: {result.equal} | - | - |"
    multiple = str(result.multiple) if result.name not in SIZES else "one size"
    cells = [str(result.stride), multiple, result.equal, result.trained]
    export = result.exported if result.exported == "yes" else f"no: {result.exported}"
    if result.fixed:
        refused = f"no: {result.fixed}" if result.name in SIZES else f"{export}; fixed size: no: {result.fixed}"
        export = result.fixed if result.fixed.startswith("yes") else refused
    return "| " + " | ".join([result.name, *cells, export.replace("|", "/")]) + " |"


def write_rows(rows: dict[str, str]) -> None:
    """Replaces rows of the table in the documentation; the others stay."""
    head, _, table = PAGE.read_text(encoding="utf-8").partition(MARK)
    lines = [line for line in table.strip().splitlines() if line.startswith(("| smp", "| torch", "| trans"))]
    known = {line.split("|")[1].strip(): line for line in lines} | rows
    ordered = [known[name] for name in MODELS if name in known]
    PAGE.write_text("\n".join([head.rstrip(), "", MARK, "", *HEADING, *ordered]) + "\n", encoding="utf-8")


HEADING = (
    "| network | stride | multiple | same output | trains | ONNX, other size |",
    "|---|---|---|---|---|---|",
)


def main(names: list[str]) -> None:
    """Tries the models, prints a result of each and writes its row into the documentation."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for name in names or list(MODELS):
            result = survey(name, Path(folder))
            print(result, flush=True)
            write_rows({name: row(result)})


if __name__ == "__main__":
    main(sys.argv[1:])
