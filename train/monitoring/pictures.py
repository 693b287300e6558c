"""Pictures of a few val frames: predictions, flows, and the terms of the losses."""

from typing import Any

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor
from torch.utils.data import default_collate

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.data_kinds import Neighbours
from dwnet.data.open import FrameData, open_data
from dwnet.data.pairs import DataError
from dwnet.method.flow_refinement import centre_tap
from dwnet.method.losses import occlusion_weight
from dwnet.method.training import DWNetMethod, Method
from dwnet.ops.resize import resize, resize_flow
from dwnet.segmentation import pad_to_multiple
from dwnet.viz import Image, caption, colour_labels, flow_to_rgb, grid
from train.config.spec import Recipe

TILE_PX = 480
"""Largest width of a tile."""


class ValPictures:
    """Draws pictures of a few val frames, which are evenly spaced and the same each time.

    Neighbours are of the same kind as in training, or synthetic where val has none of that kind.

    Args:
        recipe: of the run.

    Raises:
        DataError: if there is no val split.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.data = _val_pairs(recipe)
        places = np.linspace(0, len(self.data) - 1, min(recipe.pictures, len(self.data))).round()
        self.indices = [int(place) for place in places]

    def __call__(self, method: Method, accelerator: Accelerator) -> dict[str, Image]:
        """Returns a picture of several tiles for each frame, by the frame's name. `method` is in evaluation mode."""
        pictures = {}
        for index in self.indices:
            batch = send_to_device(default_collate([self.data[index]]), accelerator.device)
            with torch.no_grad(), accelerator.autocast():
                found = views(method, batch)
            # One scale for both flows, so that they can be compared.
            largest_px = float(found["coarse_flow"].norm(dim=0).max().clamp(min=1)) if "coarse_flow" in found else 1.0
            tiles = [
                caption(_reduced(_image(name, view, self.data, largest_px)), name.replace("_", " "))
                for name, view in found.items()
            ]
            pictures[str(batch["name"][0])] = grid(tiles, columns=4)
        return pictures


def views(method: Method, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Returns the views of a batch of one frame, each of the frame's size.

    Returns:
        Images (3, H, W) float 0..1 ("frame", "neighbour"), class ids (H, W) ("labels", "prediction", and for a DWNet
        "warped_prediction", void where the flow leaves the frame), flows (2, H, W) in pixels ("coarse_flow", and for a
        DWNet with FRM "refined_flow"), and for a DWNet the weight of Eq. 7, (1, H, W) 0..1 ("occlusion_weight").
    """
    height, width = batch["frame"].shape[-2:]
    found = {"frame": batch["frame"], "labels": batch["labels"], "prediction": method.predict(batch).argmax(dim=1)}
    if method.flow is not None:
        found["neighbour"] = batch["neighbour"]
        multiple = method.segmenter.multiple
        frame, neighbour = (pad_to_multiple(batch[name], multiple) for name in ("frame", "neighbour"))
        found["coarse_flow"] = coarse = method.flow(frame, neighbour)
        if isinstance(method, DWNetMethod):
            found |= _dwnet_views(method, frame, neighbour, coarse)
    return {name: view[0, ..., :height, :width] for name, view in found.items()}


def _dwnet_views(method: DWNetMethod, frame: Tensor, neighbour: Tensor, coarse: Tensor) -> dict[str, Tensor]:
    size = (frame.shape[-2], frame.shape[-1])
    output = method.network(frame, neighbour, coarse)
    labels = resize(output.warped_logits.float(), size).argmax(dim=1)
    inside = resize(output.valid.float(), size)[:, 0] > 0.999
    found = {
        "warped_prediction": torch.where(inside, labels, IGNORE_LABEL),
        "occlusion_weight": occlusion_weight(frame, neighbour, coarse, delta=method.spec.delta)[0],
    }
    if method.network.refinement is not None:
        flow = output.flow_px if output.flow_px.shape[1] == 2 else centre_tap(output.flow_px)
        found["refined_flow"] = resize_flow(flow, size)
    return found


def _val_pairs(recipe: Recipe) -> FrameData:
    spec = recipe.data
    options: dict[str, Any] = {
        "max_offset": spec.max_offset,
        "seed": recipe.seed,
        "street_size": spec.street_size,
        "street_cache_gb": spec.street_cache_gb,
    }
    neighbours: Neighbours = spec.neighbours if recipe.method.needs_neighbour else "none"
    try:
        return open_data(recipe.dataset, recipe.root, "val", neighbours=neighbours, **options)
    except DataError:
        # Val may lack neighbours of this kind, because its IoU does not need them. Pictures then show synthetic ones.
        return open_data(recipe.dataset, recipe.root, "val", neighbours="camera_motion", **options)


def _image(name: str, view: Tensor, data: FrameData, largest_px: float) -> Image:
    array = view.float().cpu().numpy()
    if array.ndim == 2:
        return colour_labels(array.astype(np.uint8), data.classes.palette)
    if name.endswith("flow"):
        return flow_to_rgb(array, max_px=largest_px)
    picture = (array * 255).round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))


def _reduced(image: Image) -> Image:
    height, width = image.shape[:2]
    if width <= TILE_PX:
        return image
    size = (TILE_PX, max(1, round(height * TILE_PX / width)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
