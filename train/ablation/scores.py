"""Scores of a finished run on val, measured as by `dwnet evaluate`: frames in order, each method as in inference."""

from dataclasses import replace
from pathlib import Path

import torch

from dwnet.core.launch import ALONE
from dwnet.evaluation.measure import Progress, evaluate
from dwnet.evaluation.predictors import load_predictor
from dwnet.method.specs import to_method
from dwnet.ops.device import device
from train.config.spec import Recipe
from train.engine.data import validation_data


def score(checkpoint: Path, recipe: Recipe, *, progress: Progress | None = None) -> dict[str, float | None]:
    """Returns the values of `summary.METRICS`; flicker is None where no two labelled frames are neighbours.

    Args:
        checkpoint: of the run.
        recipe: of the run.
        progress: called after each frame with (frames done, frames in all); may raise to stop.

    Raises:
        ValueError: if the checkpoint, the data or its labels cannot be used.
    """
    # The data set returns no neighbours: the evaluation itself runs previous frames for methods that need them.
    data = validation_data(replace(recipe, method=to_method(recipe.method, "baseline")))
    predictor, _ = load_predictor(checkpoint, device=device(ALONE))
    try:
        found = evaluate(recipe.name, predictor, data, progress=progress)
    finally:
        del predictor
        torch.cuda.empty_cache()  # the next run trains in another process
    if found.segmentation.miou_percent is None:
        raise ValueError(f"val of {recipe.data_folder} holds no labelled pixel")
    if 2 * found.without_warmup > len(data):
        raise ValueError(
            f"{recipe.method.name} needs the frame before; {found.without_warmup} of the {len(data)} frames of val of "
            f"{recipe.data_folder} have none"
        )
    flicker = found.flicker
    return {
        "miou_percent": found.segmentation.miou_percent,
        "flips_percent": None if flicker is None else flicker.flips_percent,
        "temporal_consistency_percent": None if flicker is None else flicker.temporal_consistency_percent,
    }
