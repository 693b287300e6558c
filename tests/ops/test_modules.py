"""Modules are replaced in their parents; names, order, mode, hooks and sharing stay."""

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
