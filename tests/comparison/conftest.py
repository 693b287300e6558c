"""The tiny networks, and a clip in which every pixel flips once."""

from pathlib import Path

import pytest

from dwnet.comparison import (
    Networks,
    load_networks,
)
from tests.comparison.colours import FRAMES, coloured
from tests.exported import (
    textured_frame,
    write_clip,
)


@pytest.fixture(scope="module")
def networks(models: Path) -> Networks:
    return load_networks(models, threads=1)


@pytest.fixture(scope="module")
def blinking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still texture that changes from red to green after three frames. Every pixel flips once, at frame 3."""
    path = tmp_path_factory.mktemp("clips") / "blink.mp4"
    return write_clip(path, [coloured(textured_frame(), 0 if index < 3 else 1) for index in range(FRAMES)])
