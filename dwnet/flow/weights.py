"""Weight files of flow networks."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file, by name.

    Args:
        path: .safetensors, or a PyTorch file that is a state dict or holds one as "state_dict", as NVIDIA's FlowNet2
            checkpoint does. Nothing in it is executed (`weights_only`).

    Raises:
        ValueError: if the file is missing, unreadable, or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"flow weights {str(path)!r}: no such file; allowed are 'published', 'none' or a weight file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a broken file raises differs from format to format
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"flow weights {path.name}: not a readable PyTorch or safetensors file ({reason})") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"flow weights {path.name}: a PyTorch file, but no state dict (names and tensors)")
    return dict(state)


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], *, source: str, name: str) -> None:
    """Makes the tensors of `state` the network's parameters and buffers, in float32 (the network may be on "meta").

    Args:
        network: what they belong to.
        state: exactly the network's tensors.
        source: where they are from, for the error.
        name: of the network, for the error.

    Raises:
        ValueError: if a name or a shape differs.
    """
    own = network.state_dict()
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    shapes = [key for key in own if key in state and own[key].shape != state[key].shape]
    if missing or unexpected or shapes:
        first = (missing + unexpected + shapes)[0]
        raise ValueError(
            f"{source}: not {name}'s: {len(missing)} of its {len(own)} tensors missing, {len(unexpected)} unknown, "
            f"{len(shapes)} of another shape (first: {first})"
        )
    cast = {key: value.to(own[key].dtype) for key, value in state.items()}
    network.load_state_dict(cast, assign=True)
