"""Fixtures of the trainer's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.train.helpers import Command, forget_accelerate, tiny_options, write_camvid
from train.main import main


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Resets Accelerate's state, which lasts for the whole process, and sets one thread for speed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    forget_accelerate()
    yield
    torch.set_num_threads(threads)
    forget_accelerate()


@pytest.fixture(scope="session")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny CamVid."""
    return write_camvid(tmp_path_factory.mktemp("camvid") / "data")


@pytest.fixture
def train(camvid: Path, tmp_path: Path) -> Command:
    """Runs train/main.py in this process, in tmp_path/runs; returns its exit status."""

    def command(*options: str, method: str = "baseline", root: Path = camvid) -> int:
        forget_accelerate()
        return main(["--recipe", f"camvid_lite0_{method}", *tiny_options(root, tmp_path / "runs"), *options])

    return command
