"""Weight files of networks: reading them, and the differences to a network's state dict."""

import codecs
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from dwnet.core.errors import DWNetError, first_line

HOLDERS = ("state_dict", "model_state_dict", "model", "network", "net")
"""Keys under which files of other programs hold the state dict."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""Prefixes of names that wrappers add: data-parallel training, `torch.compile`, training frameworks."""

_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_SCALARS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"),
    codecs.encode,
]
"""What NumPy scalars in a PyTorch file need (`torch.serialization.safe_globals`), by their names in NumPy 1 and 2."""


def read_weights(path: str | Path, *, what: str, names: str) -> dict[str, Tensor]:
    """Returns the tensors of a weight file by name.

    Args:
        path: .safetensors, or a PyTorch file that is a state dict or holds one under a key of `HOLDERS`, as NVIDIA's
            FlowNet2 checkpoint does. NumPy scalars beside the tensors are read. No code in it is executed
            (`weights_only`).
        what: the kind of weights, for the error message.
        names: values allowed in place of a file, for the error message.

    Returns:
        The tensors. A prefix of `PREFIXES` that all names have is removed.

    Raises:
        DWNetError: if the file is missing, unreadable, or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise DWNetError(f"{what} {str(path)!r}: no such file; allowed are {names} or a weight file")
    reason = text_instead(path)
    if reason is not None:
        raise DWNetError(f"{what} {path.name}: {reason}")
    try:
        if path.suffix == ".safetensors":
            return without_prefix(load_file(path))
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own exceptions
        raise DWNetError(
            f"{what} {path.name}: not a readable PyTorch or safetensors file ({first_line(error)})"
        ) from error
    state = content
    if isinstance(content, dict):
        state = next((content[key] for key in HOLDERS if isinstance(content.get(key), dict)), content)
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise DWNetError(f"{what} {path.name}: a PyTorch file, but not a state dict (names and tensors)")
    return without_prefix(state)


def without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a state dict without the prefixes of `PREFIXES` that all its names have, one after another."""
    names = list(state)
    while names and (
        prefix := next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in names)), None)
    ):
        names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, state.values(), strict=True))


def text_instead(path: Path) -> str | None:
    """Returns what a file of weights is instead, in words: a web page or a Git LFS pointer; None for any other file."""
    with path.open("rb") as file:
        start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return "a web page (HTML), not weights; the download's address leads to a page"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not weights; `git lfs pull` fetches the file"
    return None


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
