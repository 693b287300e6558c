"""RAFT is equal to torchvision's: input, sizes, last prediction and weight files, frozen or trained jointly.

Its flow for known motion is tested in test_flow.py if an environment variable names its weights.
"""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.optical_flow import raft_large, raft_small

from dwnet.flow.raft import RAFTFlow
from dwnet.flow.registry import build_flow


def pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Two (1, 3, height, width) images in 0..1."""
    frame, neighbour = torch.rand(2, 1, 3, height, width, generator=torch.Generator().manual_seed(0))
    return frame, neighbour


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "small.pth"
    torch.save(raft_small().state_dict(), path)
    return path


@pytest.mark.parametrize(("size", "padded"), [((100, 135), (128, 136)), ((128, 144), (128, 144))])
@torch.no_grad()
def test_it_is_torchvisions_raft_on_padded_images(
    size: tuple[int, int], padded: tuple[int, int], small_file: Path
) -> None:
    network = raft_small().eval()
    network.load_state_dict(torch.load(small_file, weights_only=True))
    edge = (0, padded[1] - size[1], 0, padded[0] - size[0])
    images = [F.pad(2 * image - 1, edge, mode="replicate") for image in pair(*size)]
    for updates in (1, 3):
        expected = network(*images, num_flow_updates=updates)[-1][..., : size[0], : size[1]]
        flow = RAFTFlow("small", weights=small_file, updates=updates)(*pair(*size))
        assert flow.shape == (1, 2, *size)
        assert torch.equal(flow, expected)


@torch.no_grad()
def test_raft_large_is_torchvisions_too() -> None:
    estimator = RAFTFlow("large", weights="none", updates=1)
    assert sum(p.numel() for p in estimator.parameters()) == 5_257_536
    network = raft_large().eval()
    network.load_state_dict(estimator.network.state_dict())
    frame, neighbour = pair(128, 128)
    expected = network(2 * frame - 1, 2 * neighbour - 1, num_flow_updates=1)[-1]
    assert torch.equal(estimator(frame, neighbour), expected)


def test_small_has_the_published_number_of_parameters_and_12_updates() -> None:
    estimator = build_flow("raft_small", weights="none")
    assert isinstance(estimator, RAFTFlow)
    assert sum(p.numel() for p in estimator.parameters()) == 990_162
    assert estimator.updates == 12


def test_frozen_it_stays_in_evaluation_mode_without_gradient(small_file: Path) -> None:
    estimator = nn.Sequential(RAFTFlow("small", weights=small_file, updates=1)).train()[0]
    assert not any(module.training for module in estimator.modules())
    assert not any(parameter.requires_grad for parameter in estimator.parameters())
    frame, neighbour = pair(128, 128)
    assert not estimator(frame.requires_grad_(), neighbour).requires_grad


@pytest.mark.parametrize("size", ["small", "large"])
def test_trained_jointly_every_parameter_gets_a_gradient(size: str) -> None:
    """Batch norm keeps its statistics."""
    torch.manual_seed(0)
    estimator = RAFTFlow(size, weights="none", trainable=True, updates=1).train()
    before = {name: buffer.clone() for name, buffer in estimator.named_buffers()}
    estimator(*pair(128, 136)).square().mean().backward()
    assert estimator.network.training
    assert all(p.grad is not None and p.grad.isfinite().all() for p in estimator.parameters())
    assert all(torch.equal(before[name], buffer) for name, buffer in estimator.named_buffers())
    with torch.no_grad():
        assert not estimator(*pair(128, 136)).requires_grad


def test_it_keeps_nothing_of_what_it_computed() -> None:
    """torchvision keeps all correlations in the module, and copying the module fails while they have a graph."""
    estimator = RAFTFlow("small", weights="none", trainable=True, updates=1)
    flow = estimator(*pair(128, 128))
    held = [t for module in estimator.modules() for t in vars(module).get("corr_pyramid", [])]
    assert sum(tensor.numel() for tensor in held) == 0
    copied = copy.deepcopy(estimator)
    assert torch.equal(copied(*pair(128, 128)), flow)


@torch.no_grad()
def test_it_runs_in_float32_under_autocast(small_file: Path) -> None:
    estimator = RAFTFlow("small", weights=small_file, updates=2)
    frame, neighbour = pair(128, 128)
    flow = estimator(frame, neighbour)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(estimator(frame, neighbour), flow)
    low = estimator(frame.bfloat16(), neighbour.bfloat16())
    assert low.dtype == torch.float32


def test_a_checkpoint_restores_it_without_its_published_weights(small_file: Path) -> None:
    """The estimator is built with random weights, and the state dict has all weights, frozen or not."""
    trained = RAFTFlow("small", weights=small_file, updates=1)
    rebuilt = build_flow("raft_small", weights="none")
    rebuilt.load_state_dict(trained.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), rebuilt.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in rebuilt.parameters())


def test_weights_load_from_a_safetensors_file(small_file: Path, tmp_path: Path) -> None:
    state = torch.load(small_file, weights_only=True)
    save_file(state, tmp_path / "small.safetensors")
    estimator = RAFTFlow("small", weights=tmp_path / "small.safetensors")
    assert all(torch.equal(tensor, state[name]) for name, tensor in estimator.network.state_dict().items())


def test_weights_of_the_other_size_are_refused(small_file: Path) -> None:
    message = r"small.pth: not torchvision's RAFT-large's: \d+ missing \(.*; \d+ unexpected \(.*; \d+ of another shape"
    with pytest.raises(ValueError, match=message):
        build_flow("raft_large", weights=small_file)


def test_published_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(
        ValueError, match=r"weights of RAFT-small cannot be fetched \(.+\); .* a weight file \(https://"
    ):
        build_flow("raft_small")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown RAFT size 'medium', allowed are small, large"):
        RAFTFlow("medium", weights="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1 update, found 0"):
        RAFTFlow("small", weights="none", updates=0)
    estimator = RAFTFlow("small", weights="none", updates=1)
    with pytest.raises(
        ValueError, match=r"frames have shapes \(1, 3, 128, 128\) and \(1, 3, 128, 136\), allowed is one"
    ):
        estimator(torch.zeros(1, 3, 128, 128), torch.zeros(1, 3, 128, 136))
