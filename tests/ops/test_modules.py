"""Modules are replaced in their parents. Names, order, mode, hooks and sharing are kept."""

import torch
from torch import nn

from dwnet.ops.modules import replace_modules


class Doubled(nn.ReLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def network() -> nn.Sequential:
    shared = nn.ReLU()
    return nn.Sequential(nn.Linear(2, 2), shared, nn.Sequential(nn.Linear(2, 2), shared, nn.ReLU()))


def doubled(module: nn.Module) -> nn.Module | None:
    return Doubled() if type(module) is nn.ReLU else None


def test_modules_are_replaced_where_they_are() -> None:
    built = network()
    names, keys = [name for name, _ in built.named_modules()], list(built.state_dict())
    linear = built[0]
    assert replace_modules(built, doubled) is built
    assert [name for name, _ in built.named_modules()] == names
    assert list(built.state_dict()) == keys
    assert built[0] is linear
    assert not [module for module in built.modules() if type(module) is nn.ReLU]
    assert built[1] is built[2][1]
    assert built[1] is not built[2][2]


def test_mode_and_hooks_are_kept() -> None:
    built = network()
    seen: list[torch.Tensor] = []
    handle = built[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    built[1].eval()
    replace_modules(built, doubled)
    assert [built[1].training, built[2][2].training] == [False, True]
    built(torch.ones(1, 2))
    assert len(seen) == 2  # the shared module runs twice
    handle.remove()
    built(torch.ones(1, 2))
    assert len(seen) == 2


class Listed(nn.Module):
    """Runs its modules from plain containers, as transformers' UperNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(2, 2), nn.ReLU()]
        for index, layer in enumerate(self.layers):
            self.add_module(str(index), layer)
        self.by_name = {"first": self.layers[0], "second": self.layers[1]}
        self.pair = (self.layers[1], "a name")
        self.numbers = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_modules_in_plain_lists_are_replaced_too() -> None:
    built = nn.Sequential(Listed())
    inner = built[0]
    expected, numbers = built(torch.ones(1, 2)), inner.numbers
    replace_modules(built, doubled)
    assert isinstance(inner.layers[1], Doubled)
    assert inner.layers[1] is inner.get_submodule("1") is inner.by_name["second"] is inner.pair[0]
    assert inner.layers[0] is inner.get_submodule("0")
    assert inner.numbers is numbers
    assert torch.equal(built(torch.ones(1, 2)), 2 * expected)
