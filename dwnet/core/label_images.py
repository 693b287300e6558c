"""Label images on disk: class ids, or the colours of the classes. Every command reads label images here.

Allowed are lossless images of one page: PNG, BMP, TIFF, PNM. JPEG, JPEG 2000, WebP and GIF may change ids, and are
refused.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dwnet.core.errors import DWNetError, first_line

LABEL_SUFFIXES = (".bmp", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff")
"""Suffixes of lossless images, in lower case."""
LOSSLESS_FORMATS = ("PNG", "BMP", "TIFF", "PPM")
"""Names in Pillow of the formats that keep ids."""
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jp2", ".webp", ".avif", ".heic", ".gif")
"""Suffixes of formats that may change ids. Writers of GIF sort the palette, so the indices are no ids."""
MAX_PIXELS = 178_956_970
"""Largest number of pixels of a label image: Pillow's limit against decompression bombs."""
ALLOWED = "one channel of ids (1 to 16 bits), a palette whose indices are the ids, or the colours of the classes"

_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp", "jpeg2000")


class LabelImageError(DWNetError):
    """A label image that cannot be used. The message names the file, what was found and what is allowed."""


@dataclass(frozen=True)
class LabelImage:
    """The content of a label image. At least one of `ids` and `colours` is set."""

    ids: NDArray[Any] | None
    """(H, W) uint8, uint16 or int32 ids as stored: grey values, palette indices, 0 and 1 of a 1-bit image, or the equal
    channels of a grey image that is stored as RGB. None if the channels of a colour image differ."""
    colours: NDArray[np.uint8] | None
    """(H, W, 3) uint8 RGB of a colour image or of the palette; None for a grey image."""
    palette: bool = False
    """Whether the file has a palette."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        array = self.colours if self.ids is None else self.ids
        assert array is not None
        return array.shape[1], array.shape[0]


def read_label_image(path: Path) -> LabelImage:
    """Returns the content of a label image, turned upright by its EXIF orientation.

    Raises:
        LabelImageError: for a file that is missing or no image, in a lossy format, with several pages, with more than
            `MAX_PIXELS` pixels, with floating point values, colours of more than 8 bits or transparent pixels.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelImageError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                _check_header(path, image)
                return _content(path, image, data)
    except LabelImageError:
        raise
    except Image.DecompressionBombError as error:
        raise LabelImageError(f"{path}: is too large ({first_line(error)}); allowed are {MAX_PIXELS} pixels") from error
    except (OSError, SyntaxError, EOFError, ValueError, zlib.error, struct.error) as error:
        said = "no known format" if isinstance(error, UnidentifiedImageError) else first_line(error)
        raise LabelImageError(
            f"{path}: not a readable image ({len(data)} bytes found; {said}); allowed is {ALLOWED}"
        ) from error


def exif_orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1..8, still to be applied to an image; 1 is upright, 5 and more swap sides."""
    # Pillow and OpenCV turn TIFF files themselves.
    found = 1 if image.format == "TIFF" else image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def file_orientation(path: Path) -> int:
    """Returns the EXIF orientation of an image file, 1..8; 1 if the file has none or is no image."""
    try:
        with Image.open(path) as image:
            return exif_orientation(image)
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return 1


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Returns stored pixels (H, W, ...) as they are shown under an EXIF orientation, 1..8."""
    if orientation == 1:
        return array
    array = array.swapaxes(0, 1) if orientation >= 5 else array
    array = array[:, ::-1] if orientation in (2, 3, 6, 7) else array
    return np.ascontiguousarray(array[::-1] if orientation in (3, 4, 7, 8) else array)


def _check_header(path: Path, image: Image.Image) -> None:
    kind = image.format or "unknown"
    compression = str(image.info.get("compression", ""))
    if kind not in LOSSLESS_FORMATS or (kind == "TIFF" and compression in _LOSSY_TIFF):
        found = f"TIFF with {compression} compression" if kind == "TIFF" else kind
        raise LabelImageError(
            f"{path}: is a {found} image, a format that may change ids; allowed are PNG, BMP, PNM and lossless TIFF"
        )
    pages = getattr(image, "n_frames", 1)
    if pages != 1:
        raise LabelImageError(f"{path}: has {pages} pages; allowed is one")


def _content(path: Path, image: Image.Image, data: bytes) -> LabelImage:
    depth, colour_type = _png_header(data) if image.format == "PNG" else (8, -1)
    if depth == 16 and colour_type in (2, 4, 6):  # Pillow reduces these to 8 bits
        return _from_16_bits(path, data, exif_orientation(image))
    image = ImageOps.exif_transpose(image) if exif_orientation(image) != 1 else image
    mode = image.mode
    if mode == "P":
        return LabelImage(np.array(image), np.array(image.convert("RGB")), palette=True)
    if mode in ("1", "L", "I", "I;16", "I;16L", "I;16B", "I;16N"):
        ids = np.array(image)
        if mode == "1":
            ids = ids.astype(np.uint8)
        elif colour_type == 0 and depth in (2, 4):  # Pillow scales small depths to 0..255
            ids //= {2: 85, 4: 17}[depth]
        return LabelImage(ids.astype(np.uint16) if ids.dtype.kind == "u" and ids.dtype != np.uint8 else ids, None)
    if mode in ("LA", "PA", "RGBA", "RGB"):
        return _from_channels(path, np.array(image.convert("RGBA") if mode in ("LA", "PA") else image))
    raise LabelImageError(f"{path}: has the pixel format {mode}; allowed is {ALLOWED}")


def _png_header(data: bytes) -> tuple[int, int]:
    """Returns bit depth and colour type of a PNG file."""
    return data[24], data[25]


def _from_16_bits(path: Path, data: bytes, orientation: int) -> LabelImage:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # as stored: not turned
    if pixels is None or pixels.ndim != 3:
        raise LabelImageError(f"{path}: not a readable image ({len(data)} bytes found); allowed is {ALLOWED}")
    pixels = turned(pixels, orientation)
    _check_opaque(path, pixels)
    if not _is_grey(pixels):
        raise LabelImageError(f"{path}: has colours of 16 bits; allowed are colours of 8 bits, or {ALLOWED}")
    return LabelImage(np.ascontiguousarray(pixels[..., 0]), None)


def _from_channels(path: Path, pixels: NDArray[Any]) -> LabelImage:
    _check_opaque(path, pixels)
    colours = np.ascontiguousarray(pixels[..., :3])
    return LabelImage(np.ascontiguousarray(colours[..., 0]) if _is_grey(pixels) else None, colours)


def _check_opaque(path: Path, pixels: NDArray[Any]) -> None:
    # A constant alpha channel says nothing. Another one may be the mask itself, or hide what is below.
    if pixels.shape[2] == 4 and pixels[..., 3].min() != pixels[..., 3].max():
        raise LabelImageError(
            f"{path}: has pixels of different transparency; allowed is an opaque image, or one without an alpha channel"
        )


def _is_grey(pixels: NDArray[Any]) -> bool:
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all())
