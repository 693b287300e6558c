"""A short clip and label maps on disk."""

from pathlib import Path

import cv2
import numpy as np

T, H, W = 6, 40, 56


def write_clip(folder: Path, seed: int) -> Path:
    """Writes T frames of a texture that moves by one pixel per frame."""
    folder.mkdir(parents=True)
    texture = cv2.resize(np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8), (W + 20, H))
    for index in range(T):
        cv2.imwrite(str(folder / f"{index}.png"), texture[:, index : index + W])
    return folder


def write_labels(path: Path, seed: int, noise: float) -> Path:
    """Writes labels of two halves; a share `noise` of the pixels has random labels."""
    rng = np.random.default_rng(seed)
    halves = np.broadcast_to(np.arange(W) >= W // 2, (T, H, W)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.where(rng.random((T, H, W)) < noise, rng.integers(0, 3, (T, H, W)), halves).astype(np.uint8))
    return path
