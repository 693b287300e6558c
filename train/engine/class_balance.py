"""Class weights of the cross-entropy, from the class frequencies in the training labels."""

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
"""Largest class weight. Without a limit a class of a few pixels would dominate the gradient."""
RENDERED_MOST = 40
"""Largest number of street frames to count, spread over the split. Frames must be rendered before they are counted."""


def class_weights(recipe: Recipe, accelerator: Accelerator) -> tuple[float, ...]:
    """Returns the weights that `class_balance` gives, or the recipe's own if it is 0. Collective: every process reads
    its share of the labels.

    Raises:
        DataError: for a label file that is missing or wrong, or if no pixel has a label.
        ValueError: if `class_balance` is above 0 and the method has class weights.
    """
    if recipe.class_balance == 0:
        return recipe.method.class_weights
    if recipe.method.class_weights:
        raise ValueError(f"class_balance is {recipe.class_balance}, allowed beside method.class-weights is 0")
    spec = recipe.data
    data = open_data(
        recipe.dataset,
        recipe.root,
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
        raise DataError(f"train of {recipe.data_folder} holds no labelled pixel")
    return balanced(pixels, recipe.class_balance)


def pixels_of_classes(data: PairDataset, frames: Sequence[int]) -> NDArray[np.int64]:
    """Returns the number of labelled pixels of each class in some frames of a data set, (K,)."""
    classes = len(data.classes.classes)

    def count(index: int) -> NDArray[np.int64]:
        labels = data.labels(index)
        return np.bincount(labels[labels != IGNORE_LABEL], minlength=classes)

    # Files are read in parallel. The street's scenes are rendered one after another.
    with ThreadPoolExecutor(1 if data.source.rendered else loader_processes()) as threads:
        return sum(threads.map(count, frames), np.zeros(classes, np.int64))


def balanced(pixels: Sequence[int] | NDArray[np.int64], balance: float) -> tuple[float, ...]:
    """Returns (median / f_k) ** balance, scaled to a mean of 1 over pixels, at most `MOST`; f_k: share of class k.

    With `balance` 1 these are SegNet's median frequency weights, except for the limit and the scale. The scale keeps
    the size of the loss, and so the meaning of the learning rate and of the other losses' weights. A class that never
    occurs has weight 1 and does not enter the median.

    Args:
        pixels: of each class, (K,).
        balance: from 0, no weights, to 1.

    Returns:
        K numbers, rounded to three digits.
    """
    shares = np.asarray(pixels, np.float64)
    occurs = shares > 0
    weights = np.ones(len(shares))
    if occurs.any():
        shares = shares / shares.sum()
        weights[occurs] = (np.median(shares[occurs]) / shares[occurs]) ** balance
        weights[occurs] /= (shares * weights)[occurs].sum()
    return tuple(float(f"{min(weight, MOST):.3g}") for weight in weights)
