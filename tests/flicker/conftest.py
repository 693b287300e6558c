"""Corpora and sets of predictions on disk."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.flicker.short_clip import write_clip, write_labels


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus folder: three clips with two sets of predictions each, and truth."""
    for index, name in enumerate(("a", "b", "c")):
        write_clip(tmp_path / "corpus/clips" / name, index)
        write_labels(tmp_path / f"corpus/predictions/calm/{name}.npy", index, 0.01)
        write_labels(tmp_path / f"corpus/predictions/wild/{name}.npy", index, 0.2)
        write_labels(tmp_path / f"corpus/truth/{name}.npy", index, 0)
    return tmp_path / "corpus"


@pytest.fixture
def png_sets(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Path]]]:
    """Writes a clip as a folder of frames, and sets of label PNGs by name and noise."""

    def write(**noise: float) -> tuple[Path, dict[str, Path]]:
        clip = write_clip(tmp_path / "frames", 0)
        folders = {}
        for name, share in noise.items():
            folders[name] = tmp_path / name
            folders[name].mkdir()
            for index, ids in enumerate(np.load(write_labels(tmp_path / f"{name}.npy", 1, share))):
                cv2.imwrite(str(folders[name] / f"{index}.png"), ids)
        return clip, folders

    return write
