"""Weight files as other programs write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.ops.weights import read_weights, without_prefix


def read(path: Path) -> dict[str, Tensor]:
    return read_weights(path, what="weights", names="'none'")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: net.state_dict(),
        lambda net: nn.DataParallel(net).state_dict(),
        lambda net: torch.compile(net).state_dict(),
        lambda net: torch.compile(nn.DataParallel(net)).state_dict(),
        lambda net: {f"model.{key}": value for key, value in net.state_dict().items()},
        lambda net: {"model": net.state_dict(), "epoch": 3},
        lambda net: {"state_dict": nn.DataParallel(net).state_dict(), "best": 0.5},
        lambda net: {"model_state_dict": net.state_dict(), "optimizer": {"lr": 0.1}},
        lambda net: {
            "state_dict": net.state_dict(),
            "best": np.float64(71.5),
            "epoch": np.int64(3),
            "flag": np.bool_(True),
            "loss": np.float32(0.25),
        },
    ],
)
def test_holders_and_prefixes(wrap: Any, tmp_path: Path) -> None:
    net = network()
    torch.save(wrap(net), tmp_path / "w.pth")
    found = read(tmp_path / "w.pth")
    assert list(found) == list(net.state_dict())
    network().load_state_dict(found)
    assert all(torch.equal(found[key], value) for key, value in net.state_dict().items())


def test_numpy_scalars_under_the_names_of_numpy_1(tmp_path: Path) -> None:
    torch.save(
        {"state_dict": network().state_dict(), "best": np.float64(71.5)},
        tmp_path / "old.pth",
        _use_new_zipfile_serialization=False,
    )
    content = (tmp_path / "old.pth").read_bytes()
    assert b"numpy._core.multiarray" in content or b"numpy.core.multiarray" in content
    (tmp_path / "old.pth").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert list(read(tmp_path / "old.pth")) == list(network().state_dict())


def test_prefixes_that_only_some_names_have_stay() -> None:
    one = torch.zeros(1)
    assert list(without_prefix({"module.a": one, "b": one})) == ["module.a", "b"]
    assert list(without_prefix({"module.model.a": one, "module.model.b": one})) == ["a", "b"]
    assert without_prefix({}) == {}


def test_prefix_in_safetensors(tmp_path: Path) -> None:
    save_file({"module.a": torch.ones(2)}, tmp_path / "w.safetensors")
    assert list(read(tmp_path / "w.safetensors")) == ["a"]


@pytest.mark.parametrize("start", ["<!DOCTYPE html><html>", "\ufeff\n <html lang='en'>", "<?xml version='1.0'?>"])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_web_page_is_called_one(start: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(start + "<title>Google Drive - Virus scan warning</title>", encoding="utf-8")
    with pytest.raises(DWNetError, match=rf"^weights {name}: a web page \(HTML\), not weights; the download's address"):
        read(tmp_path / name)
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(DWNetError, match=rf"^weights {name}: a Git LFS pointer, not weights; `git lfs pull` fetches"):
        read(tmp_path / name)


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    torch.save({"state_dict": network().state_dict(), "best": Malicious()}, tmp_path / "w.pth")
    with pytest.raises(DWNetError, match="not a readable PyTorch or safetensors file"):
        read(tmp_path / "w.pth")
    assert not (tmp_path / "executed").exists()
