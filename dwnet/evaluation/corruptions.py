"""The 15 common corruptions of Hendrycks and Dietterich at five severities, for frames of any size.

Sources: Hendrycks, Dietterich, Benchmarking neural network robustness to common corruptions and perturbations, ICLR
2019; for images of any size: Michaelis et al., Benchmarking robustness in object detection, 2019, package
`imagecorruptions` (Apache-2.0). The constants and the order of the operations are those of that package. It is not used
itself, because its last release does not run with current NumPy, its kept fork needs `opencv-python`, which replaces
the headless OpenCV, and both draw from NumPy's global random numbers.
"""

import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dwnet.core.errors import DWNetError

SEVERITIES = (1, 2, 3, 4, 5)
"""All severities, from weak to strong."""

MIN_SIDE_PX = 32
"""Smallest image side."""

Floats = NDArray[np.float64]
Corruption = Callable[[NDArray[np.uint8], int, np.random.Generator], Floats]
"""Takes a frame (H, W, 3) uint8, a severity and random numbers. Returns the corrupted frame as numbers 0..255."""
T = TypeVar("T")


def corrupt(image: NDArray[np.uint8], name: str, severity: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Returns a corrupted frame.

    Args:
        image: (H, W, 3) uint8 RGB, sides of at least `MIN_SIDE_PX`.
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5.
        random: the source of all random numbers.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DWNetError: for an unknown name or severity, or a frame that is too small or not uint8 RGB.
    """
    if name not in CORRUPTIONS:
        raise DWNetError(f"unknown corruption {name!r}; allowed are {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise DWNetError(f"severity is {severity}; allowed are 1 to 5")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < MIN_SIDE_PX:
        raise DWNetError(
            f"frame is {image.dtype} of shape {image.shape}; allowed is uint8 (H, W, 3) with sides from {MIN_SIDE_PX}"
        )
    corrupted = CORRUPTIONS[name](image, severity, random)
    return np.clip(corrupted, 0, 255).astype(np.uint8)  # the package rounds down, too


# ---------------------------------------------------------------------------------------------------------------- noise


def gaussian_noise(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Normal noise, as of a sensor in low light."""
    scale = _at(severity, 0.08, 0.12, 0.18, 0.26, 0.38)
    return 255 * np.clip(image / 255 + random.normal(scale=scale, size=image.shape), 0, 1)


def shot_noise(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Poisson noise of counted photons."""
    photons = _at(severity, 60, 25, 12, 5, 3)
    return 255 * np.clip(random.poisson(image / 255 * photons) / photons, 0, 1)


def impulse_noise(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Values that are 0 or 255 at random, each channel alone (salt and pepper)."""
    share = _at(severity, 0.03, 0.06, 0.09, 0.17, 0.27)
    hit = random.random(image.shape) <= share
    salt = random.random(image.shape) <= 0.5
    return np.where(hit, np.where(salt, 255.0, 0.0), image)


# ----------------------------------------------------------------------------------------------------------------- blur


def defocus_blur(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Blur of a lens that is out of focus: a disc."""
    radius, alias_blur = _at(severity, (3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
    reach = 8 if radius <= 8 else radius
    side = np.arange(-reach, reach + 1)
    disc = (side[:, None] ** 2 + side**2 <= radius**2).astype(np.float32)
    kernel_side = 3 if radius <= 8 else 5
    kernel = cv2.GaussianBlur(disc / disc.sum(), (kernel_side, kernel_side), sigmaX=alias_blur)
    return cv2.filter2D(image.astype(np.float64), -1, kernel)


def glass_blur(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Frosted glass: each pixel takes the colour of a random pixel nearby."""
    sigma, reach, rounds = _at(severity, (0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
    height, width = image.shape[:2]
    blurred = _gaussian(image / 255, sigma)
    pixels = (blurred * 255).astype(np.uint8).reshape(-1, 3)
    source = list(range(height * width))
    rows, columns = np.arange(height - reach, reach, -1), np.arange(width - reach, reach, -1)
    order = (rows[:, None] * width + columns).ravel().tolist()
    for _ in range(rounds):
        dx, dy = random.integers(-reach, reach, (2, len(order)))
        # The published code means to swap, but NumPy's views make it a copy. Pixels depend on those before them.
        for index, offset in zip(order, (dy * width + dx).tolist(), strict=True):
            source[index] = source[index + offset]
    return 255 * np.clip(_gaussian(pixels[source].reshape(image.shape) / 255, sigma), 0, 1)


def motion_blur(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Blur of a camera that moves along a line."""
    radius, sigma = _at(severity, (10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
    return _blur_along(image.astype(np.float64), radius, sigma, random.uniform(-45, 45))


def zoom_blur(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Blur of a camera that approaches."""
    end, step = _at(severity, (1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
    factors = np.arange(1, end, step)
    height, width = image.shape[:2]
    total = image.astype(np.float64)
    for factor in factors:
        total += _zoomed(image.astype(np.float32), float(factor))[:height, :width]
    return total / (len(factors) + 1)


# -------------------------------------------------------------------------------------------------------------- weather


def snow(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Falling snow, and a whiter picture."""
    mean, scale, zoom, threshold, radius, sigma, keep = _at(
        severity,
        (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )
    height, width = image.shape[:2]
    flakes = _zoomed(random.normal(mean, scale, (height, width)).astype(np.float32), zoom)
    flakes[flakes < threshold] = 0
    falling = _blur_along(np.clip(flakes, 0, 1).astype(np.float64), radius, sigma, random.uniform(-135, -45))
    layer = (np.round(falling * 255).astype(np.uint8) / 255)[:height, :width, None]
    colours = (image / 255).astype(np.float32)
    grey = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)[..., None]
    whiter = keep * colours + (1 - keep) * np.maximum(colours, grey * 1.5 + 0.5)
    return 255 * np.clip(whiter + layer + np.rot90(layer, k=2), 0, 1)


def frost(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Frost on the lens: a part of a photograph is added."""
    keep, weight = _at(severity, (1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
    height, width = image.shape[:2]
    picture = _frost_pictures()[random.integers(5)]
    factor = 1.1 * max(1.0, height / picture.shape[0], width / picture.shape[1])
    size = (int(np.ceil(picture.shape[1] * factor)), int(np.ceil(picture.shape[0] * factor)))
    larger = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    top, left = random.integers(0, larger.shape[0] - height), random.integers(0, larger.shape[1] - width)
    return keep * image.astype(np.float64) + weight * larger[top : top + height, left : left + width]


def fog(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Fog of uneven density."""
    weight, decay = _at(severity, (1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
    height, width = image.shape[:2]
    side = 1 << (max(height, width) - 1).bit_length()
    colours = image / 255
    brightest = colours.max()
    density = _plasma(side, decay, random)[:height, :width, None]
    return 255 * np.clip((colours + weight * density) * brightest / (brightest + weight), 0, 1)


def brightness(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """A brighter picture: the value of HSV is raised."""
    more = _at(severity, 0.1, 0.2, 0.3, 0.4, 0.5)
    hsv = cv2.cvtColor((image / 255).astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + more, 0, 1)
    return 255 * np.clip(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), 0, 1).astype(np.float64)


# -------------------------------------------------------------------------------------------------------------- digital


def contrast(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Less contrast around the mean colour."""
    keep = _at(severity, 0.4, 0.3, 0.2, 0.1, 0.05)
    colours = image / 255
    mean = colours.mean(axis=(0, 1), keepdims=True)
    return 255 * np.clip((colours - mean) * keep + mean, 0, 1)


def elastic_transform(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """A smooth random deformation by a few pixels; the labels stay where they are."""
    alpha = 250 * _at(severity, 0.05, 0.065, 0.085, 0.1, 0.12)
    height, width = image.shape[:2]
    reach = height * 0.005
    sigma_x, sigma_y = width * 0.01, height * 0.01
    kernel = (2 * int(3 * sigma_x + 0.5) + 1, 2 * int(3 * sigma_y + 0.5) + 1)

    def smooth(noise: Floats) -> Floats:
        return cv2.GaussianBlur(noise, kernel, sigmaX=sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_REFLECT)

    dx, dy = (alpha * smooth(random.uniform(-reach, reach, (height, width))) for _ in range(2))
    x = (np.arange(width) + dx).astype(np.float32)
    y = (np.arange(height)[:, None] + dy).astype(np.float32)
    return cv2.remap(image.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(np.float64)


def pixelate(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """Large square pixels."""
    share = _at(severity, 0.6, 0.5, 0.4, 0.3, 0.25)
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST), np.float64)


def jpeg_compression(image: NDArray[np.uint8], severity: int, random: np.random.Generator) -> Floats:
    """JPEG at a low quality."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_at(severity, 25, 18, 15, 10, 7))
    with Image.open(file) as read:
        return np.asarray(read, np.float64)


CORRUPTIONS: Mapping[str, Corruption] = {
    function.__name__: function
    for function in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        glass_blur,
        motion_blur,
        zoom_blur,
        snow,
        frost,
        fog,
        brightness,
        contrast,
        elastic_transform,
        pixelate,
        jpeg_compression,
    )
}
"""The corruptions by name, in the order of the paper."""

# -------------------------------------------------------------------------------------------------------------- helpers


def _at(severity: int, *values: T) -> T:
    return values[severity - 1]


def _gaussian(colours: Floats, sigma: float) -> Floats:
    """Returns the Gaussian blur that reaches four deviations and repeats the edge."""
    side = 2 * int(4 * sigma + 0.5) + 1
    return cv2.GaussianBlur(colours, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)


def _blur_along(image: Floats, radius: int, sigma: float, degrees: float) -> Floats:
    """Returns the image (H, W[, C]) blurred to one side along a line; the edge is repeated."""
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    dy, dx = (
        -np.ceil(taps * direction - 0.5).astype(int)
        for direction in (np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees)))
    )
    reach = len(taps)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    # A picture that is shifted by (dx, dy) shows the pixel at (x - dx, y - dy).
    np.add.at(kernel, (reach - dy, reach - dx), weights / weights.sum())
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def _zoomed(image: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Returns the middle of an image (H, W[, C]), enlarged by a factor to at least its size, bilinearly."""
    crop = [int(np.ceil(side / factor)) for side in image.shape[:2]]
    top, left = ((side - part) // 2 for side, part in zip(image.shape[:2], crop, strict=True))
    middle = image[top : top + crop[0], left : left + crop[1]]
    # The outermost pixels stay where they are.
    y, x = (np.linspace(0, part - 1, round(part * factor), dtype=np.float32) for part in crop)
    grid_x, grid_y = np.meshgrid(x, y)
    return cv2.remap(middle, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _plasma(side: int, decay: float, random: np.random.Generator) -> Floats:
    """Returns a random height map (side, side), 0..1, by the diamond-square algorithm; side is a power of two."""
    heights = np.zeros((side, side))
    step, wobble = side, 100.0

    def mean(total: Floats) -> Floats:
        return total / 4 + wobble * random.uniform(-wobble, wobble, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        total = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = mean(total + np.roll(total, -1, axis=1))
        centres = heights[half::step, half::step]
        left_right = centres + np.roll(centres, 1, axis=0)
        heights[::step, half::step] = mean(left_right + corners + np.roll(corners, -1, axis=1))
        up_down = centres + np.roll(centres, 1, axis=1)
        heights[half::step, ::step] = mean(up_down + corners + np.roll(corners, -1, axis=0))
        step, wobble = half, wobble / decay
    heights -= heights.min()
    return heights / heights.max()


@cache
def _frost_pictures() -> tuple[NDArray[np.uint8], ...]:
    """Returns the published photographs, RGB. The second is in the collection twice."""
    folder = Path(__file__).parent / "frost"
    first, second, fourth, fifth = (
        np.asarray(Image.open(folder / f"frost{number}.jpg").convert("RGB")) for number in (1, 2, 4, 5)
    )
    return first, second, second, fourth, fifth
