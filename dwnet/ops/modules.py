"""Replacement of modules inside a network."""

from collections.abc import Callable
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def replace_modules(network: Network, replacement: Callable[[nn.Module], nn.Module | None]) -> Network:
    """Replaces modules of a network in place, in their parents.

    Names, order, training mode and hooks stay. A module that several parents share is replaced once and stays shared.

    Args:
        network: it is not replaced itself.
        replacement: the new module for a module; None keeps the module. The new one owns the old one's parameters.

    Returns:
        The same network.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if not name:
            continue
        if module not in replaced:
            new = replacement(module)
            if new is None:
                continue
            new.train(module.training)
            vars(new).update({key: value for key, value in vars(module).items() if "_hooks" in key})
            replaced[module] = new
        network.set_submodule(name, replaced[module])
    return network
