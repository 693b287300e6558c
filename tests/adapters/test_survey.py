"""The table of networks of other packages (docs/reference/networks.md), and wrappers around networks."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dwnet.adapters import ADAPTERS, CallableAdapter, adapt
from dwnet.ops.modules import unwrapped
from tests.adapters.survey import MARK, MODELS, PAGE, K, build, row, survey, try_equal, try_training

pytest.importorskip("segmentation_models_pytorch")
transformers = pytest.importorskip("transformers")

CHEAP = [
    "smp DPT, tu-vit_tiny_patch16_224",
    *(f"transformers {name}" for name in ("Beit", "Data2VecVision", "DPT", "MobileNetV2", "MobileViT", "MobileViTV2")),
    "transformers Sapiens2",
    "transformers Tipsv2Dpt",
]


def rows() -> dict[str, str]:
    _, _, table = PAGE.read_text(encoding="utf-8").partition(MARK)
    return {
        line.split("|")[1].strip(): line
        for line in table.splitlines()
        if line.startswith(("| smp", "| torch", "| trans"))
    }


def test_every_segmenter_of_the_packages_has_an_adapter() -> None:
    import segmentation_models_pytorch as smp
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES as NAMES

    wrapped = {name for adapter in ADAPTERS for name in adapter.wraps}
    missing = {f"transformers.{name}" for name in NAMES.values()} - wrapped
    missing |= {
        f"segmentation_models_pytorch.{name.__name__}" for name in smp.MODEL_ARCHITECTURES_MAPPING.values()
    } - wrapped
    assert missing == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", CHEAP)
def test_the_output_is_the_networks_own_and_a_step_trains_it(name: str) -> None:
    model, adapter = build(name)
    assert adapter.model is model
    assert adapter.num_classes == K
    assert try_equal(model, adapter) == "yes"
    assert try_training(model, adapter) == "yes"


def test_the_rows_are_of_known_networks_in_order() -> None:
    assert list(rows()) == [name for name in MODELS if name in rows()]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(rows()))
def test_the_table_holds(name: str, tmp_path: Path) -> None:
    assert row(survey(name, tmp_path)) == rows()[name]


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, torch.compile, lambda model: torch.compile(nn.DataParallel(torch.compile(model)))]
)
def test_wrappers_are_taken_off(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = MODELS["transformers Segformer"]()
    assert unwrapped(wrap(model)) is model
    adapter = adapt(wrap(model))
    assert adapter.model is model
    assert list(adapter.state_dict()) == [f"model.{key}" for key in model.state_dict()]
    plain = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.Conv2d(8, K, 1))
    own = CallableAdapter(wrap(plain), features=lambda net, x: net[0](x), classify=lambda net, x: net[1](x))
    assert own.model is plain
