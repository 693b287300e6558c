"""Names of RAFT's tensors: those of its authors' checkpoints (princeton-vl/RAFT) as those of torchvision."""

import re
from collections.abc import Mapping

from torch import Tensor

_PARTS = {
    "fnet": "feature_encoder",
    "cnet": "context_encoder",
    "update_block.encoder.convc": "update_block.motion_encoder.convcorr",
    "update_block.encoder.convf": "update_block.motion_encoder.convflow",
    "update_block.encoder.conv": "update_block.motion_encoder.conv",
    "update_block.mask.0": "mask_predictor.convrelu.0",
    "update_block.mask.2": "mask_predictor.conv",
}


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a state dict of RAFT with torchvision's names. One that has them already is returned unchanged.

    The authors' networks and torchvision's have the same layers in the same order.

    Args:
        state: of RAFT or RAFT-small, without a prefix.
    """
    if not any(key.startswith(("fnet.", "cnet.")) for key in state):
        return dict(state)
    names = {key: _name(key) for key in state}
    return {name: state[key] for key, name in names.items() if name is not None}


def _name(key: str) -> str | None:
    """Returns torchvision's name of a tensor; None for a second name of a tensor that has another one too."""
    part, _, leaf = key.rpartition(".")
    if part.startswith(("fnet.", "cnet.")):
        encoder, _, rest = part.partition(".")
        block = re.fullmatch(r"(layer\d\.\d)\.(conv|norm|downsample)\.?(\d)", rest)
        if block is not None:
            where, kind, number = block.groups()
            if kind == "downsample":
                rest = f"{where}.downsample.{number}"
            elif kind == "norm" and number == "3":
                return None  # also called downsample.1; the norms of RAFT-small have no tensors
            else:
                rest = f"{where}.convnormrelu{number}.{0 if kind == 'conv' else 1}"
        else:
            rest = {"conv1": "convnormrelu.0", "norm1": "convnormrelu.1", "conv2": "conv"}.get(rest, rest)
        return f"{_PARTS[encoder]}.{rest}.{leaf}"
    gru = re.fullmatch(r"update_block\.gru\.conv([zrq])([12]?)", part)
    if gru is not None:
        return f"update_block.recurrent_block.convgru{gru[2] or 1}.conv{gru[1]}.{leaf}"
    for theirs, ours in _PARTS.items():
        if part.startswith(theirs):
            convolution = ".0" if theirs.startswith("update_block.encoder") else ""
            return f"{ours}{part.removeprefix(theirs)}{convolution}.{leaf}"
    return key
