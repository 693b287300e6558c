"""The interface of a foreign network: how a frame becomes its input, and how its output becomes scores or labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.deploy.graph_facts import Activation
from dwnet.deploy.network_info import MAX_SCALE, MIN_SCALE

Side = Annotated[int, Field(ge=1, le=65536)]
Triple = tuple[float, float, float]

PADDING_GREY = 114
"""Grey value of the borders that Ultralytics adds to a frame."""


class Layout(BaseModel):
    """How a foreign network is fed and read. Entries are those of the sidecar file (`dwnet.deploy.adoption`)."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    input: str
    """Name of the input."""
    input_type: Literal["float32", "float16", "float64", "uint8"] = "float32"
    input_axes: Literal["nchw", "nhwc"] = "nchw"
    channels: Literal["rgb", "bgr"] = "rgb"
    range: Literal[1, 255] = 1
    """White, before the normalisation: frames are 0..1 or 0..255."""
    mean: Triple = (0.0, 0.0, 0.0)
    """Subtracted, in units of `range`, in the order of the network's channels."""
    std: Triple = (1.0, 1.0, 1.0)
    """Divides the difference."""
    size: tuple[Side, Side] | None = None
    """(H, W) that every frame is resized to; None runs frames at their own size."""
    longest: Side | None = None
    """Longer side in pixels that a frame is resized to, for `fit` "letterbox" without `size`."""
    fit: Literal["stretch", "letterbox"] = "stretch"
    """With a size: stretch the frame to it, or keep its proportions, centred in grey borders."""
    resampling: Literal["area", "linear"] = "area"
    """How a larger frame is reduced: by averaging, or bilinearly without it, as some packages do."""
    multiple: Side = 1
    """Sides of the input are multiples of it, in pixels."""
    scale: float = Field(default=1.0, ge=MIN_SCALE, le=MAX_SCALE)
    """Scale of the frame at which the network runs; 1 with a size."""
    output: str
    """Name of the output."""
    kind: Literal["scores", "labels", "binary"]
    """One score per class, a map of ids, or one score for the second of two classes."""
    scores_axis: Literal["first", "last"] = "first"
    """Whether the classes are the first or the last axis of a frame's scores."""
    activation: Activation = "none"
    """Last activation of the network."""
    threshold: float = 0.0
    """Of a binary network: a score above it is the second class."""
    ids: Annotated[tuple[int, ...], Field(min_length=1, max_length=255)]
    """The network's own id of each class: the channel of its score, or its number in a map of ids."""
    ignored: tuple[int, ...] = ()
    """Ids in a map of ids that belong to no class."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std is {self.std}; allowed are numbers above 0")
        top = max(abs(value) for value in self.mean)
        if top > self.range:
            raise ValueError(f"mean is {self.mean} for frames of 0..{self.range}; allowed are means in that range")
        if self.range == 255 and 0 < top <= 1:
            raise ValueError(f"mean is {self.mean} for frames of 0..255; it is in units of 0..1: multiply it by 255")
        if self.input_type == "uint8" and (self.range != 255 or self.mean != (0, 0, 0) or self.std != (1, 1, 1)):
            raise ValueError("the input is uint8: allowed are range 255, mean 0 and std 1")
        if self.size is not None and self.scale != 1:
            raise ValueError(f"scale is {self.scale} for the fixed size {self.size}; allowed is 1 with a size")
        if self.kind == "scores" and sorted(self.ids) != list(range(len(self.ids))):
            raise ValueError(f"ids are {self.ids}; allowed for scores is each of 0..{len(self.ids) - 1} once")
        if self.kind == "binary" and len(self.ids) != 2:
            raise ValueError(f"one score decides between 2 classes, found {len(self.ids)}")
        return self


@dataclass(frozen=True)
class Placement:
    """Where a frame lies in the input of a network."""

    frame: tuple[int, int]
    """(H, W) of the frame in pixels."""
    canvas: tuple[int, int]
    """(H, W) of the input."""
    top: int
    left: int
    inner: tuple[int, int]
    """(H, W) of the resized frame in the input."""


def place(layout: Layout, frame: tuple[int, int]) -> Placement:
    """Returns the place of a frame of (H, W) pixels in the network's input."""
    height, width = frame
    if layout.fit == "stretch":
        inner = layout.size or scaled(frame, layout.scale)
        canvas = _up(inner, layout.multiple)
        return Placement(frame, canvas, 0, 0, inner)
    if layout.size is not None:
        gain = min(layout.size[0] / height, layout.size[1] / width)
    else:
        gain = layout.scale * (layout.longest or max(frame)) / max(frame)
    inner = (max(round(height * gain), 1), max(round(width * gain), 1))
    canvas = layout.size or _up(inner, layout.multiple)
    # As Ultralytics rounds: half a pixel goes below and to the right.
    top, left = (round((whole - part) / 2 - 0.1) for whole, part in zip(canvas, inner, strict=True))
    return Placement(frame, canvas, top, left, inner)


def prepare(layout: Layout, image: np.ndarray) -> tuple[np.ndarray, Placement]:
    """Returns the network's input for a frame, and the place of the frame in it.

    Args:
        layout: of the network.
        image: uint8 (H, W, 3) RGB.

    Returns:
        The input, (1, 3, H', W') or (1, H', W', 3), of the layout's type, and the place.
    """
    placed = place(layout, (image.shape[0], image.shape[1]))
    resized = image if placed.inner == placed.frame else resize_image(image, placed.inner, layout.resampling)
    below = placed.canvas[0] - placed.inner[0] - placed.top
    right = placed.canvas[1] - placed.inner[1] - placed.left
    if layout.fit == "letterbox":
        border = (PADDING_GREY,) * 3
        resized = cv2.copyMakeBorder(resized, placed.top, below, placed.left, right, cv2.BORDER_CONSTANT, value=border)
    elif below or right:
        resized = cv2.copyMakeBorder(resized, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return _tensor(layout, resized), placed


def _tensor(layout: Layout, image: np.ndarray) -> np.ndarray:
    """Returns the input tensor for a uint8 (H, W, 3) RGB image of the input's size."""
    if layout.channels == "bgr":
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if layout.input_type == "uint8":
        axes = (2, 0, 1) if layout.input_axes == "nchw" else (0, 1, 2)
        return np.ascontiguousarray(image.transpose(axes))[None]
    # A table of the 256 levels of each channel is 20 times faster than arithmetic on (H, W, 3).
    levels = np.arange(256)[:, None] * (layout.range / 255)
    table = ((levels - layout.mean) / layout.std).astype(np.float32)
    if layout.input_axes == "nhwc":
        tensor = cv2.LUT(image, table[:, None])
    else:
        tensor = np.empty((3, *image.shape[:2]), np.float32)
        for channel, plane in enumerate(cv2.split(image)):
            cv2.LUT(plane, np.ascontiguousarray(table[:, channel]), dst=tensor[channel])
    return tensor[None].astype(layout.input_type, copy=False)


def scores_of(layout: Layout, output: np.ndarray, placed: Placement) -> np.ndarray:
    """Returns float32 (K, H, W) logits of a frame for a network's output of kind "scores" or "binary".

    Probabilities become logarithms, so that the softmax of the result gives the class probabilities. One score s of a
    binary network with threshold t becomes (0, s - t), as logits.
    """
    maps = _channels_first(layout, output).astype(np.float32, copy=False)
    maps = to_frame(maps, placed)
    if layout.kind == "binary":
        score, threshold = maps[0], np.float32(layout.threshold)
        difference = _logit(score) - _logit(threshold) if layout.activation == "sigmoid" else score - threshold
        return np.stack([np.zeros_like(difference), difference])
    if layout.ids != tuple(range(len(layout.ids))):
        maps = maps[list(layout.ids)]
    return np.log(np.maximum(maps, 1e-12)) if layout.activation == "softmax" else maps


def labels_of(layout: Layout, output: np.ndarray, placed: Placement) -> np.ndarray:
    """Returns uint8 (H, W) class indices, or `IGNORE_LABEL`, for a network's map of ids.

    Raises:
        DWNetError: for an id that is neither a class nor ignored.
    """
    ids = label_map(output)
    low, high = int(ids.min()), int(ids.max())
    table = np.full(high - low + 1, -1, np.int16)
    for index, own in [*enumerate(layout.ids), *((IGNORE_LABEL, own) for own in layout.ignored)]:
        if low <= own <= high:
            table[own - low] = index
    indices = table[ids.astype(np.int64) - low]
    if (indices < 0).any():
        unknown = int(ids[indices < 0][0])
        known = ", ".join(map(str, sorted({*layout.ids, *layout.ignored})))
        raise DWNetError(f"the network's label map has the id {unknown}; its classes have the ids {known}")
    return to_frame(indices.astype(np.uint8)[None], placed, nearest=True)[0]


def label_map(output: np.ndarray) -> np.ndarray:
    """Returns the (h, w) values of an output of shape (h, w), (1, h, w), (1, 1, h, w) or (1, h, w, 1)."""
    if output.ndim == 4:
        return output[0, 0] if output.shape[1] == 1 else output[0, ..., 0]
    return output[0] if output.ndim == 3 else output


def _channels_first(layout: Layout, output: np.ndarray) -> np.ndarray:
    if layout.kind == "binary":
        return label_map(output)[None]
    return output[0].transpose(2, 0, 1) if layout.scores_axis == "last" else output[0]


def to_frame(maps: np.ndarray, placed: Placement, *, nearest: bool = False) -> np.ndarray:
    """Returns (K, H, W) maps at the size of the frame, for (K, h, w) maps that cover the network's input."""
    rows, columns = placed.canvas
    if placed.inner != placed.canvas:
        maps = resize_maps(maps, (rows, columns), nearest=nearest)
        maps = maps[:, placed.top : placed.top + placed.inner[0], placed.left : placed.left + placed.inner[1]]
    return resize_maps(maps, placed.frame, nearest=nearest)


def resize_maps(maps: np.ndarray, size: tuple[int, int], *, nearest: bool = False) -> np.ndarray:
    """Returns (K, H, W) maps resized to (H, W), bilinearly with `align_corners=False`, or to the nearest pixel."""
    if maps.shape[1:] == size:
        return maps
    method = cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_LINEAR
    resized = np.empty((len(maps), *size), maps.dtype)
    for source, target in zip(maps, resized, strict=True):
        cv2.resize(np.ascontiguousarray(source), (size[1], size[0]), dst=target, interpolation=method)
    return resized


def resize_image(image: np.ndarray, size: tuple[int, int], resampling: str = "area") -> np.ndarray:
    """Returns uint8 (H, W, 3) resized to (H, W): bilinearly, or by averaging if "area" and both sides shrink."""
    smaller = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    method = cv2.INTER_AREA if smaller and resampling == "area" else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=method)


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Returns (H, W) times a scale, rounded to whole pixels, at least 1."""
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _up(size: Sequence[int], multiple: int) -> tuple[int, int]:
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def _logit(probability: np.ndarray | np.float32) -> np.ndarray:
    limited = np.clip(probability, 1e-7, 1 - 1e-7, dtype=np.float32)
    return np.log(limited / (1 - limited))
