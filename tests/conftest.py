"""Fixtures of several test rooms.

Workers of pytest-xdist share the cores. Therefore each worker, and each program that it starts, uses one thread.
"""

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # This must be set before NumPy and PyTorch are imported.
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four tiny networks of `tests/exported.py`."""
    from tests.exported import write_models

    return write_models(tmp_path_factory.mktemp("models"))
