"""How much the pixels of each class weigh in the cross-entropy, from how often they occur in the training labels."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from dwnet import IGNORE_LABEL
from dwnet.data import LabelledFrames
from dwnet.data.open import FrameData, open_data
from dwnet.runtime import available_cpus
from train.spec import Recipe

MOST = 10.0
"""(median / f_k) ** balance is cut here: a class of a few pixels would rule the gradient."""


def class_weights(recipe: Recipe) -> tuple[float, ...]:
    """Those of the recipe's `class_balance`; none where it is 0.

    Raises:
        DataError: for a label file that is missing or wrong.
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
    return balanced(pixels_of_classes(data), recipe.class_balance)


def pixels_of_classes(data: FrameData) -> NDArray[np.int64]:
    """Labelled pixels of each class in all frames of a data set, (K,)."""

    def count(index: int) -> NDArray[np.int64]:
        labels = data[index]["labels"].numpy().ravel()
        return np.bincount(labels[labels != IGNORE_LABEL], minlength=len(data.classes.classes))

    # Files are read in parallel; the street's scenes are made one after another.
    with ThreadPoolExecutor(available_cpus() if isinstance(data, LabelledFrames) else 1) as threads:
        return sum(threads.map(count, range(len(data))), np.zeros(len(data.classes.classes), np.int64))


def balanced(pixels: Sequence[int] | NDArray[np.int64], balance: float) -> tuple[float, ...]:
    """(median / f_k) ** balance, `MOST` at most, times what makes a pixel's mean weight 1; f_k is the share of class k.

    With `balance` 1 these are SegNet's median frequency weights but for that factor, which keeps the size of the loss,
    and so what the rate and the other losses' weights mean. A class that never occurs has weight 1, and no part in the
    median.

    Args:
        pixels: of each class, (K,).
        balance: from 0, no weights, to 1.

    Returns:
        K numbers, of three decimals.
    """
    shares = np.asarray(pixels, np.float64)
    occurs = shares > 0
    weights = np.ones(len(shares))
    if occurs.any():
        shares = shares / shares.sum()
        weights[occurs] = np.minimum((np.median(shares[occurs]) / shares[occurs]) ** balance, MOST)
        weights[occurs] /= (shares * weights)[occurs].sum()
    return tuple(round(float(weight), 3) for weight in weights)
