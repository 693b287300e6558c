"""RAFT under its authors' names: modules with their structure (princeton-vl/RAFT), renamed to torchvision's."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.optical_flow import raft_large, raft_small

from dwnet.flow.raft import RAFTFlow
from dwnet.flow.raft_names import torchvision_names


class Named(nn.Module):
    """A module whose children are given by name."""

    def __init__(self, **children: nn.Module) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


def conv(inputs: int, outputs: int, kernel: int | tuple[int, int] = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel)


def block(inputs: int, outputs: int, stride: int, *, small: bool, norm: bool) -> nn.Module:
    """Their ResidualBlock and BottleneckBlock; the shortcut's norm is registered twice."""
    sizes = [(inputs, outputs, 3), (outputs, outputs, 3)]
    if small:
        sizes = [(inputs, outputs // 4, 1), (outputs // 4, outputs // 4, 3), (outputs // 4, outputs, 1)]
    parts: dict[str, nn.Module] = {f"conv{n}": conv(*size) for n, size in enumerate(sizes, 1)}
    if norm:
        parts |= {f"norm{n}": nn.BatchNorm2d(size[1]) for n, size in enumerate(sizes, 1)}
    if stride > 1:
        shortcut: list[nn.Module] = [conv(inputs, outputs)]
        if norm:
            parts[f"norm{len(sizes) + 1}"] = nn.BatchNorm2d(outputs)
            shortcut.append(parts[f"norm{len(sizes) + 1}"])
        parts["downsample"] = nn.Sequential(*shortcut)
    return Named(**parts)


def encoder(widths: tuple[int, int, int], outputs: int, *, small: bool, norm: bool) -> nn.Module:
    parts: dict[str, nn.Module] = {"conv1": conv(3, widths[0], 7), "conv2": conv(widths[2], outputs)}
    if norm:
        parts["norm1"] = nn.BatchNorm2d(widths[0])
    inputs = widths[0]
    for index, width in enumerate(widths):
        first = block(inputs, width, 1 + (index > 0), small=small, norm=norm)
        parts[f"layer{index + 1}"] = nn.Sequential(first, block(width, width, 1, small=small, norm=norm))
        inputs = width
    return Named(**parts)


def theirs(*, small: bool) -> nn.Module:
    if small:
        motion = Named(convc1=conv(196, 96), convf1=conv(2, 64, 7), convf2=conv(64, 32, 3), conv=conv(128, 80, 3))
        gru = Named(**{f"conv{gate}": conv(242, 96, 3) for gate in "zrq"})
        head = Named(conv1=conv(96, 128, 3), conv2=conv(128, 2, 3))
        return Named(
            fnet=encoder((32, 64, 96), 128, small=True, norm=False),
            cnet=encoder((32, 64, 96), 160, small=True, norm=False),
            update_block=Named(encoder=motion, gru=gru, flow_head=head),
        )
    motion = Named(
        convc1=conv(324, 256),
        convc2=conv(256, 192, 3),
        convf1=conv(2, 128, 7),
        convf2=conv(128, 64, 3),
        conv=conv(256, 126, 3),
    )
    kernels = {"1": (1, 5), "2": (5, 1)}
    gru = Named(**{f"conv{gate}{n}": conv(384, 128, size) for n, size in kernels.items() for gate in "zrq"})
    head = Named(conv1=conv(128, 256, 3), conv2=conv(256, 2, 3))
    mask = nn.Sequential(conv(128, 256, 3), nn.ReLU(), conv(256, 576))
    return Named(
        fnet=encoder((64, 96, 128), 256, small=False, norm=False),
        cnet=encoder((64, 96, 128), 256, small=False, norm=True),
        update_block=Named(encoder=motion, gru=gru, flow_head=head, mask=mask),
    )


def shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


@pytest.mark.parametrize("small", [True, False])
def test_the_authors_names(small: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = theirs(small=small)
    own = (raft_small if small else raft_large)().state_dict()
    renamed = torchvision_names(network.state_dict())
    assert shapes(renamed) == shapes(own)
    assert torchvision_names(own) == own
    # Saved as their training saves it: in DataParallel.
    torch.save(nn.DataParallel(network).state_dict(), tmp_path / "raft-things.pth")
    loaded = RAFTFlow("small" if small else "large", weights=tmp_path / "raft-things.pth").network.state_dict()
    for ours, their in (
        ("feature_encoder.layer2.0.downsample.0.weight", "fnet.layer2.0.downsample.0.weight"),
        ("context_encoder.conv.bias", "cnet.conv2.bias"),
        ("update_block.motion_encoder.convflow2.0.weight", "update_block.encoder.convf2.weight"),
        ("update_block.motion_encoder.conv.0.bias", "update_block.encoder.conv.bias"),
        ("update_block.recurrent_block.convgru1.convq.weight", f"update_block.gru.convq{'' if small else 1}.weight"),
    ):
        assert torch.equal(loaded[ours], network.state_dict()[their])
    if not small:
        norm = network.state_dict()["cnet.layer3.0.norm3.running_var"]
        assert torch.equal(loaded["context_encoder.layer3.0.downsample.1.running_var"], norm)
        mask = network.state_dict()["update_block.mask.2.weight"]
        assert torch.equal(loaded["mask_predictor.conv.weight"], mask)
