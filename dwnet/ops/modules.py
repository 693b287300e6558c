"""Replacement of modules inside a network, and removal of wrappers around one."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def replace_modules(network: Network, replacement: Callable[[nn.Module], nn.Module | None]) -> Network:
    """Replaces modules of a network in place, in their parents.

    Names, order, training mode and hooks stay. A module that several parents share is replaced once and stays shared.
    Lists, tuples and dicts of modules in attributes of the parents are updated too: some networks run their modules
    from a plain list.

    Args:
        network: the network; the module itself is not replaced.
        replacement: returns the new module for a module without children, with the old one's parameters; None keeps
            the module.

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
    if replaced:
        for parent in network.modules():
            own = {key: _updated(value, replaced) for key, value in vars(parent).items() if key != "_modules"}
            vars(parent).update(own)
    return network


def _updated(value: Any, replaced: dict[nn.Module, nn.Module]) -> Any:
    """Returns `value` with its modules replaced; containers without replaced modules are returned unchanged."""
    if isinstance(value, nn.Module):
        return replaced.get(value, value)
    if isinstance(value, dict) and any(_is_replaced(item, replaced) for item in value.values()):
        return {key: _updated(item, replaced) for key, item in value.items()}
    if type(value) in (list, tuple) and any(_is_replaced(item, replaced) for item in value):
        return type(value)(_updated(item, replaced) for item in value)
    return value


def _is_replaced(value: Any, replaced: dict[nn.Module, nn.Module]) -> bool:
    return isinstance(value, nn.Module) and value in replaced


def unwrapped(model: nn.Module) -> nn.Module:
    """Returns the module inside of `nn.DataParallel`, `DistributedDataParallel` and `torch.compile`, in any order."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model
