"""Label maps and flows for the tests of metrics, and the metrics as loops in float64."""

import math

import numpy as np

from dwnet.core.classes import IGNORE_LABEL

H, W, C = 24, 32, 5


def constant_flow(dx: float, dy: float, height: int = H, width: int = W) -> np.ndarray:
    return np.stack((np.full((height, width), dx), np.full((height, width), dy))).astype(np.float32)


def random_labels(rng: np.random.Generator, height: int = H, width: int = W, classes: int = C) -> np.ndarray:
    return rng.integers(0, classes, (height, width)).astype(np.uint8)


def blocks(rng: np.random.Generator, height: int = H, width: int = W, classes: int = C) -> np.ndarray:
    """Labels in 8 x 8 squares, so that there is an interior."""
    coarse = rng.integers(0, classes, (height // 8, width // 8))
    return np.kron(coarse, np.ones((8, 8), int)).astype(np.uint8)


def loop_warp(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    height, width = labels.shape
    out = np.full((height, width), IGNORE_LABEL)
    for y in range(height):
        for x in range(width):
            u, v = x + float(flow[0, y, x]), y + float(flow[1, y, x])
            if 0 <= u <= width - 1 and 0 <= v <= height - 1:
                out[y, x] = labels[math.floor(v + 0.5), math.floor(u + 0.5)]
    return out


def loop_bilinear(values: np.ndarray, u: float, v: float) -> float:
    height, width = values.shape
    left, top = min(int(u), width - 2), min(int(v), height - 2)
    a, b = u - left, v - top
    return (
        (1 - a) * (1 - b) * values[top, left]
        + a * (1 - b) * values[top, left + 1]
        + (1 - a) * b * values[top + 1, left]
        + a * b * values[top + 1, left + 1]
    )


def loop_flicker(previous: np.ndarray, labels: np.ndarray, flow: np.ndarray, visible: np.ndarray) -> dict[str, list]:
    """[flips, pixels] overall, at boundaries, inside, and per class."""
    warped = loop_warp(previous, flow)
    height, width = labels.shape
    counts: dict[str, list] = {"all": [0, 0], "boundary": [0, 0], "interior": [0, 0]}
    counts.update({str(index): [0, 0] for index in range(C)})
    for y in range(height):
        for x in range(width):
            now, then = int(labels[y, x]), int(warped[y, x])
            if not visible[y, x] or IGNORE_LABEL in (now, then):
                continue
            window = labels[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
            zone = "boundary" if any(other not in (now, IGNORE_LABEL) for other in window.ravel()) else "interior"
            for key in ("all", zone, str(now)):
                counts[key][0] += now != then
                counts[key][1] += 1
    return counts


def rate(counts: list) -> float | None:
    return 100 * counts[0] / counts[1] if counts[1] else None
