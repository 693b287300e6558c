"""Augmentation of a frame, its neighbour, their labels and their flow: scale, crop, flip, colour.

Random numbers are drawn first (`Augmentation.draw`). Functions without randomness apply them afterwards, so a neighbour
always gets exactly the geometry of its frame. Pixel (x, y) is the centre of its cell (`align_corners=False`): where a
map of width W is resized to width W', x becomes (x + 0.5) W'/W - 0.5.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError

MEAN_COLOUR = (0.485, 0.456, 0.406)
"""ImageNet's mean RGB colour, 0..1. Fills the crop around a smaller frame; it is zero after normalisation."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class GeometricParams:
    """One drawn geometry: resize to `scaled_size`, cut out `crop_size` at (`top`, `left`), then mirror if `flip`.

    All sizes are (height, width) in pixels. `top` and `left` are whole pixels of the resized map and negative where the
    crop reaches beyond it.
    """

    source_size: tuple[int, int]
    scaled_size: tuple[int, int]
    top: int
    left: int
    crop_size: tuple[int, int]
    flip: bool

    def window(self) -> tuple[slice, slice, slice, slice]:
        """Returns the rows and columns of the resized map inside the crop, and the rows and columns that they fill."""
        rows, crop_rows = _overlap(self.scaled_size[0], self.top, self.crop_size[0])
        columns, crop_columns = _overlap(self.scaled_size[1], self.left, self.crop_size[1])
        return rows, columns, crop_rows, crop_columns


@dataclass(frozen=True)
class ColourParams:
    """One drawn colour change, factors as in `transform_colour`; 1 changes nothing."""

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random augmentation. Defaults: the paper's scales with CamVid's crop (section 4.1).

    Raises:
        DWNetError: for a range or size that is not allowed.
    """

    scale: tuple[float, float] = (0.5, 2.0)
    """Smallest and largest resize factor, drawn uniformly."""
    crop: tuple[int, int] = (352, 352)
    """(height, width) of the sample in pixels."""
    flip: float = 0.5
    """Probability of mirroring left and right, 0..1."""
    brightness: float = 0.0
    """Largest change of the factor on the image, drawn from 1 - brightness .. 1 + brightness; 0 (off) to below 1."""
    contrast: float = 0.0
    """The same for the factor on the distance from the mean grey of the frame."""
    saturation: float = 0.0
    """The same for the factor on the distance from the grey of the pixel."""

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] < float("inf"):
            raise DWNetError(f"scale: found {self.scale}; allowed are 0 < smallest <= largest")
        if len(self.crop) != 2 or not all(isinstance(side, int) and side >= 1 for side in self.crop):
            raise DWNetError(f"crop: found {self.crop}; allowed is (height, width), whole pixels of at least 1")
        if not 0 <= self.flip <= 1:
            raise DWNetError(f"flip: found {self.flip}; allowed is a probability 0..1")
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < 1:
                raise DWNetError(f"{name}: found {getattr(self, name)}; allowed are 0 (off) to below 1")

    def draw(self, rng: np.random.Generator, height: int, width: int) -> GeometricParams:
        """Returns a random geometry for a source of `height` x `width` pixels; always draws four numbers."""
        factor = rng.uniform(*self.scale)
        scaled = (max(1, round(height * factor)), max(1, round(width * factor)))
        top = _draw_offset(rng, scaled[0], self.crop[0])
        left = _draw_offset(rng, scaled[1], self.crop[1])
        return GeometricParams((height, width), scaled, top, left, self.crop, bool(rng.random() < self.flip))

    def draw_colour(self, rng: np.random.Generator) -> ColourParams:
        """Returns a random colour change; always draws three numbers, even if all changes are off."""
        factors = 1 + np.array([self.brightness, self.contrast, self.saturation]) * rng.uniform(-1, 1, 3)
        return ColourParams(*(float(factor) for factor in factors))


def image_to_chw(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns (H, W, 3) uint8 RGB as (3, H, W) float32 0..1."""
    return image.transpose(2, 0, 1).astype(np.float32, order="C") / np.float32(255)


def transform_image(image: NDArray[np.uint8], params: GeometricParams) -> NDArray[np.float32]:
    """Returns an image transformed by a geometry, interpolated bilinearly, with `MEAN_COLOUR` around it.

    Args:
        image: (H,W,3) uint8 RGB of `params.source_size`.
        params: the geometry.

    Returns:
        (3, *params.crop_size) float32 RGB 0..1.
    """
    _require_size("image", image, params)
    rows, columns, crop_rows, crop_columns = params.window()
    result = np.empty((3, *params.crop_size), np.float32)
    result[:] = np.array(MEAN_COLOUR, np.float32)[:, None, None]
    result[:, crop_rows, crop_columns] = image_to_chw(_resize(image, params)[rows, columns])
    return _mirrored(result, params)


def transform_labels(labels: NDArray[np.uint8], params: GeometricParams) -> NDArray[np.uint8]:
    """Returns a label map transformed by a geometry, by nearest neighbour, with `IGNORE_LABEL` around it.

    Args:
        labels: (H,W) uint8 of `params.source_size`.
        params: the geometry.

    Returns:
        `params.crop_size` uint8.
    """
    _require_size("label map", labels, params)
    rows, columns, crop_rows, crop_columns = params.window()
    result = np.full(params.crop_size, IGNORE_LABEL, np.uint8)
    source_rows = _nearest(rows, params.source_size[0], params.scaled_size[0])
    source_columns = _nearest(columns, params.source_size[1], params.scaled_size[1])
    result[crop_rows, crop_columns] = labels[source_rows[:, None], source_columns]
    return _mirrored(result, params)


def transform_flow(
    flow_px: NDArray[np.float32], visible: NDArray[np.bool_], params: GeometricParams
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Returns a flow and its visibility transformed by a geometry: vectors scale with the map, mirroring negates dx.

    A pixel stays visible if all pixels that its flow is interpolated from were visible, and if the flow ends on the
    part of the neighbour inside the crop.

    Args:
        flow_px: (2,H,W) float32, pixels of the source, H, W of `params.source_size`.
        visible: (H,W) bool.
        params: the geometry, the same for the frame and its neighbour.

    Returns:
        Flow (2, *params.crop_size) float32 in pixels of the crop (zero around the frame), visibility of
        `params.crop_size`.
    """
    _require_size("flow", flow_px[0], params)
    _require_size("visibility", visible, params)
    rows, columns, crop_rows, crop_columns = params.window()
    flow = np.zeros((2, *params.crop_size), np.float32)
    for channel, axis in ((0, 1), (1, 0)):
        factor = params.scaled_size[axis] / params.source_size[axis]
        resized = _resize(flow_px[channel], params)[rows, columns]
        flow[channel, crop_rows, crop_columns] = resized * np.float32(factor)
    seen = np.zeros(params.crop_size, bool)
    # The interpolation gives 255 only if all pixels involved are 255.
    seen[crop_rows, crop_columns] = _resize(visible.astype(np.uint8) * np.uint8(255), params)[rows, columns] == 255
    end_x = flow[0] + np.arange(params.crop_size[1], dtype=np.float32)
    end_y = flow[1] + np.arange(params.crop_size[0], dtype=np.float32)[:, None]
    seen &= (end_x >= crop_columns.start) & (end_x <= crop_columns.stop - 1)
    seen &= (end_y >= crop_rows.start) & (end_y <= crop_rows.stop - 1)
    if params.flip:
        flow[0] = -flow[0]
    return _mirrored(flow, params), _mirrored(seen, params)


def transform_colour(image: NDArray[np.float32], params: ColourParams, *, mean_grey: float) -> NDArray[np.float32]:
    """Returns an image with changed brightness, contrast and saturation, clipped to 0..1.

    Args:
        image: (3,H,W) float32 RGB 0..1.
        params: the factors; all 1 returns `image` itself.
        mean_grey: the grey that contrast is measured from. It is `grey_mean` of the *frame* for the neighbour too, so
            that both change equally.
    """
    if params == ColourParams():
        return image
    image = image * np.float32(params.brightness)
    middle = np.float32(mean_grey * params.brightness)
    image = middle + (image - middle) * np.float32(params.contrast)
    grey = np.tensordot(LUMA, image, 1)
    image = grey + (image - grey) * np.float32(params.saturation)
    return np.clip(image, 0, 1, out=image)


def grey_mean(image: NDArray[np.float32]) -> float:
    """Returns the mean luma, 0..1, of a (3, H, W) float32 RGB image."""
    return float(LUMA @ image.reshape(3, -1).mean(axis=1, dtype=np.float64))


def _overlap(scaled: int, offset: int, crop: int) -> tuple[slice, slice]:
    first, last = max(0, offset), min(scaled, offset + crop)
    return slice(first, last), slice(first - offset, last - offset)


def _draw_offset(rng: np.random.Generator, scaled: int, crop: int) -> int:
    # If the map is larger than the crop, the crop lies anywhere inside it; otherwise the map lies inside the crop.
    spare = scaled - crop
    return int(rng.integers(min(0, spare), max(0, spare), endpoint=True))


def _require_size(what: str, array: NDArray, params: GeometricParams) -> None:
    if array.shape[:2] != params.source_size:
        raise DWNetError(
            f"{what}: found {array.shape[0]} x {array.shape[1]} pixels (height x width); these parameters were drawn "
            f"for {params.source_size[0]} x {params.source_size[1]}"
        )


def _resize(array: NDArray, params: GeometricParams) -> NDArray:
    if params.scaled_size == params.source_size:
        return array
    # The whole map is resized, then cropped. cv2.resize is exact and takes 0.7 ms at twice 480 x 360. cv2.warpAffine of
    # the crop alone takes 0.65 ms, and older versions of OpenCV round its positions to 1/32 pixel.
    height, width = params.scaled_size
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_LINEAR)


def _nearest(positions: slice, source: int, scaled: int) -> NDArray[np.int64]:
    # Returns the source cell of the centre of each resized pixel. Integer arithmetic has no rounding error.
    return (2 * np.arange(positions.start, positions.stop) + 1) * source // (2 * scaled)


def _mirrored(array: NDArray, params: GeometricParams) -> NDArray:
    return np.ascontiguousarray(array[..., ::-1]) if params.flip else array
