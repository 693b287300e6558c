"""Clips that are folders of images of one size."""

import io
import warnings
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.files import IMAGE_SUFFIXES, natural_order
from dwnet.video._limits import ClipLimits
from dwnet.video._types import VideoError, VideoFrame, VideoInfo, check_side, target_size


def image_files(folder: Path) -> list[Path]:
    """Returns the images of a folder sorted by name, with numbers by value: ``f2.png`` before ``f10.png``."""
    return natural_order(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
    )


def probe_images(folder: Path, max_side: int | None, fps: float, limits: ClipLimits) -> VideoInfo:
    """Returns the facts of a folder of images.

    Raises:
        VideoError: for a folder without images, or whose first image cannot be read or exceeds a limit.
    """
    files = image_files(folder)
    if not files:
        raise VideoError(f"{folder}: is a folder without images; allowed are {', '.join(IMAGE_SUFFIXES)}")
    height, width = _read_image(files[0], limits).shape[:2]
    check_side(files[0], width, height)
    size = target_size(width, height, max_side)
    limits.check_memory(files[0], width, height, bits=24, intra=True, delivered=size)
    return VideoInfo(
        *size,
        fps=fps,
        frames=len(files),
        duration_seconds=len(files) / fps,
        reader="images",
        codec=files[0].suffix[1:].lower(),
        source_width=width,
        source_height=height,
    )


def read_images(
    folder: Path, size: tuple[int, int], fps: float, limits: ClipLimits
) -> Generator[VideoFrame, None, None]:
    """Yields the images of a folder, resized to `size` = (width, height).

    Raises:
        VideoError: for an image that cannot be read or has another size than the first.
    """
    first_shape: tuple[int, ...] | None = None
    for index, file in enumerate(image_files(folder)):
        image = _read_image(file, limits)
        first_shape = first_shape or image.shape
        if image.shape != first_shape:
            raise VideoError(
                f"{file}: is {image.shape[1]}x{image.shape[0]} pixels; "
                f"allowed is {first_shape[1]}x{first_shape[0]}, the size of the first image of {folder}"
            )
        if size != (image.shape[1], image.shape[0]):
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        yield VideoFrame(index, index / fps, image)


def _read_image(file: Path, limits: ClipLimits) -> NDArray[np.uint8]:
    content = file.read_bytes()
    _check_size(file, content, limits)
    data = np.frombuffer(content, np.uint8)
    # On Windows, imread fails for names outside the code page. imdecode also applies EXIF rotation.
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise VideoError(f"{file}: is not an image that can be read ({data.size} bytes); allowed are intact images")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _check_size(file: Path, content: bytes, limits: ClipLimits) -> None:
    """Raises VideoError if an encoded image has too many pixels. Nothing is decoded."""
    from PIL import Image, UnidentifiedImageError

    try:
        # Pillow warns of huge images, and refuses the hugest. Here they are refused with a message of our own.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                width, height = image.size
    except Image.DecompressionBombError as error:
        raise VideoError(f"{file}: {error}; allowed are {limits.max_pixels} pixels per frame") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return  # OpenCV reads some files that Pillow does not know
    limits.check_pixels(file, width, height)
