"""How much the pixels of each class weigh in the cross-entropy, from how often they occur in the training labels."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from dwnet.core.classes import IGNORE_LABEL
from dwnet.data import DataError, PairDataset, open_data
from train.config.spec import Recipe, loader_processes

MOST = 10.0
"""No class weighs more: one of a few pixels would rule the gradient."""
RENDERED_MOST = 40
"""Frames of the street that are counted, spread over all of them: they must be rendered for it."""


def class_weights(recipe: Recipe, accelerator: Accelerator) -> tuple[float, ...]:
    """Those of the recipe's `class_balance`; its own where that is 0. Each process reads its share of the labels.

    Raises:
        DataError: for a label file that is missing or wrong, or where no pixel has a label.
        ValueError: where the recipe gives weights of its own too.
    """
    if recipe.class_balance == 0:
        return recipe.method.class_weights
    if recipe.method.class_weights:
        raise ValueError(f"class_balance is {recipe.class_balance}, allowed beside method.class-weights is 0")
    spec = recipe.data
    data = open_data(
        spec.kind,
        spec.root,
        "train",
        neighbours="none",
        street_size=spec.street_size,
        street_cache_gb=spec.street_cache_gb,
        seed=recipe.seed,
    )
    frames = range(len(data))
    if data.source.rendered:
        frames = frames[:: -(-len(frames) // RENDERED_MOST)]
    accelerator.print(f"{recipe.name}: counts the classes in {len(frames)} frames (class_balance)", flush=True)
    counted = pixels_of_classes(data, frames[accelerator.process_index :: accelerator.num_processes])
    pixels = accelerator.reduce(torch.from_numpy(counted).to(accelerator.device)).cpu().numpy()
    if not pixels.any():
        raise DataError(f"train of {spec.folder} holds no labelled pixel")
    return balanced(pixels, recipe.class_balance)


def pixels_of_classes(data: PairDataset, frames: Sequence[int]) -> NDArray[np.int64]:
    """Labelled pixels of each class in some frames of a data set, (K,)."""
    classes = len(data.classes.classes)

    def count(index: int) -> NDArray[np.int64]:
        labels = data.labels(index)
        return np.bincount(labels[labels != IGNORE_LABEL], minlength=classes)

    # Files are read in parallel; the street's scenes are made one after another.
    with ThreadPoolExecutor(1 if data.source.rendered else loader_processes()) as threads:
        return sum(threads.map(count, frames), np.zeros(classes, np.int64))


def balanced(pixels: Sequence[int] | NDArray[np.int64], balance: float) -> tuple[float, ...]:
    """(median / f_k) ** balance, times what makes a pixel's mean weight 1, then `MOST` at most; f_k: share of class k.

    With `balance` 1 these are SegNet's median frequency weights but for the cut and that factor, which keeps the size
    of the loss, and so what the rate and the other losses' weights mean. A class that never occurs has weight 1, and no
    part in the median.

    Args:
        pixels: of each class, (K,).
        balance: from 0, no weights, to 1.

    Returns:
        K numbers, of three digits.
    """
    shares = np.asarray(pixels, np.float64)
    occurs = shares > 0
    weights = np.ones(len(shares))
    if occurs.any():
        shares = shares / shares.sum()
        weights[occurs] = (np.median(shares[occurs]) / shares[occurs]) ** balance
        weights[occurs] /= (shares * weights)[occurs].sum()
    return tuple(float(f"{min(weight, MOST):.3g}") for weight in weights)
