"""Weight files of networks: reading them, and the differences to a network's state dict."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dwnet.core.errors import DWNetError, first_line


def read_weights(path: str | Path, *, what: str, names: str) -> dict[str, Tensor]:
    """Returns the tensors of a weight file by name.

    Args:
        path: .safetensors, or a PyTorch file that is a state dict or holds one as "state_dict", as NVIDIA's FlowNet2
            checkpoint does. No code in it is executed (`weights_only`).
        what: the kind of weights, for the error message.
        names: values allowed in place of a file, for the error message.

    Raises:
        DWNetError: if the file is missing, unreadable, or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise DWNetError(f"{what} {str(path)!r}: no such file; allowed are {names} or a weight file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own exceptions
        raise DWNetError(
            f"{what} {path.name}: not a readable PyTorch or safetensors file ({first_line(error)})"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise DWNetError(f"{what} {path.name}: a PyTorch file, but not a state dict (names and tensors)")
    return dict(state)


def state_dict_mismatch(
    own: Mapping[str, Tensor], found: Mapping[str, Tensor], *, allowed: Collection[str] = ()
) -> str:
    """Returns the reasons why a state dict cannot be loaded, as text; empty if it can be loaded.

    Args:
        own: the network's state dict.
        found: the state dict to load.
        allowed: names that `found` may have in addition.
    """
    kinds = {
        "missing": [key for key in own if key not in found],
        "unexpected": [key for key in found if key not in own and key not in allowed],
        "of another shape": [
            f"{key} {tuple(found[key].shape)} instead of {tuple(own[key].shape)}"
            for key in own
            if key in found and found[key].shape != own[key].shape
        ],
    }
    return "; ".join(f"{len(keys)} {what} ({', '.join(keys[:2])})" for what, keys in kinds.items() if keys)
