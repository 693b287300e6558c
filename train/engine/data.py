"""A recipe's training and validation data."""

from dwnet.core.data_kinds import Neighbours
from dwnet.data import Augmentation, FrameData, MixedIn, PairDataset, open_data
from dwnet.data.mosaic import Mosaic
from dwnet.data.with_flow import WithFlow
from dwnet.flow.registry import build_flow
from dwnet.method.specs import BaselineSpec
from train.config.spec import Recipe


def training_data(recipe: Recipe) -> PairDataset | MixedIn | Mosaic | WithFlow:
    """Returns the augmented train split, with neighbours unless the method learns from single frames.

    The labelled frames are the same with and without neighbours. DIS flow runs on the CPU: the loader's workers compute
    it, and the samples contain it.

    Raises:
        DataError: if files are missing or wrong, or if the data set has no such neighbours.
        ValueError: for an option that is not allowed.
    """
    method = recipe.method
    mosaic = recipe.data.mosaic
    if isinstance(method, BaselineSpec) and method.neighbour_weight == 0:
        frames = _frames(recipe, "none")
        return Mosaic(frames, share=mosaic, seed=recipe.seed) if mosaic > 0 else frames
    if mosaic > 0:
        raise ValueError(f"data.mosaic is {mosaic}, allowed is 0 for {method.name}: a flow does not cross the seams")
    data = _frames(recipe, recipe.data.neighbours)
    return WithFlow(data, build_flow("dis")) if getattr(method, "flow", None) == "dis" else data


def _frames(recipe: Recipe, neighbours: Neighbours) -> PairDataset | MixedIn:
    spec = recipe.data
    colour = spec.colour
    augment = Augmentation(scale=spec.scale, crop=spec.crop, brightness=colour, contrast=colour, saturation=colour)
    data = open_data(
        recipe.dataset,
        recipe.root,
        "train",
        neighbours=neighbours,
        max_offset=spec.max_offset,
        augment=augment,
        photometric=spec.photometric,
        neighbour_photometric=spec.neighbour_photometric,
        seed=recipe.seed,
        street_size=spec.street_size,
        street_cache_gb=spec.street_cache_gb,
    )
    if spec.coarse_ratio == 0:
        return data
    if recipe.dataset != "cityscapes":
        raise ValueError(
            f"data.coarse-ratio is {spec.coarse_ratio}, allowed is 0 for {recipe.dataset}: it has no coarse labels"
        )
    coarse = open_data(
        "cityscapes",
        recipe.data_folder,
        "train",
        coarse=True,
        augment=augment,
        photometric=spec.photometric,
        seed=recipe.seed + 1,
    )
    return MixedIn(data, coarse, ratio=spec.coarse_ratio, seed=recipe.seed)


def validation_data(recipe: Recipe) -> FrameData:
    """Returns the val split: whole frames, with neighbours if the recipe's method needs them to predict.

    Raises:
        DataError: if there is no val split.
    """
    spec = recipe.data
    real: Neighbours = "labelled" if recipe.dataset == "camvid" else "previous"
    neighbours = real if recipe.method.needs_neighbour_to_predict else "none"
    return open_data(
        recipe.dataset,
        recipe.root,
        "val",
        neighbours=neighbours,
        max_offset=spec.max_offset,
        street_size=spec.street_size,
        street_cache_gb=spec.street_cache_gb,
    )
