"""Label images: every form gives the ids that were written, and what may have changed them is refused."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dwnet.core.label_images import LabelImageError, file_orientation, read_label_image, turned

IDS = np.arange(4, dtype=np.uint8).reshape(2, 2).repeat(4, axis=1)  # 2 x 8 pixels, ids 0..3


def write_png(path: Path, rows: list[bytes], *, width: int, depth: int, colour_type: int) -> Path:
    """Writes a PNG file chunk by chunk, as the PNG specification says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    palette = chunk(b"PLTE", bytes(value % 256 for value in range(3 * 2**depth))) if colour_type == 3 else b""
    content = chunk(b"IHDR", header) + palette + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def packed(depth: int, ids: np.ndarray) -> list[bytes]:
    """Returns rows of ids with `depth` bits each, most significant bits first."""
    bits = [np.unpackbits(row[:, None], axis=1)[:, 8 - depth :].ravel() for row in ids.astype(np.uint8)]
    return [np.packbits(row).tobytes() for row in bits]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("colour_type", [0, 3])
def test_small_depths_are_unpacked_and_not_scaled(tmp_path: Path, depth: int, colour_type: int) -> None:
    ids = IDS % min(2**depth, 128)
    path = write_png(tmp_path / "a.png", packed(depth, ids), width=8, depth=depth, colour_type=colour_type)
    found = read_label_image(path)
    np.testing.assert_array_equal(found.ids, ids)
    assert found.palette == (colour_type == 3)
    assert found.size == (8, 2)


def test_a_mask_of_booleans_is_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(IDS > 1).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_image(tmp_path / "a.png").ids, IDS > 1)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_keep_every_bit(tmp_path: Path, suffix: str) -> None:
    ids = IDS.astype(np.uint16) * 1000 + 7
    assert cv2.imwrite(str(tmp_path / f"a{suffix}"), ids)
    np.testing.assert_array_equal(read_label_image(tmp_path / f"a{suffix}").ids, ids)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_that_is_stored_as_colour(tmp_path: Path, channels: int, dtype: type) -> None:
    pixels = np.repeat(IDS[..., None].astype(dtype) * (200 if dtype == np.uint16 else 1), channels, axis=2)
    if channels == 4:
        pixels[..., 3] = np.iinfo(dtype).max
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    np.testing.assert_array_equal(read_label_image(tmp_path / "a.png").ids, pixels[..., 0])


def test_colours_are_rgb(tmp_path: Path) -> None:
    pixels = np.array([[(1, 2, 3), (200, 0, 0)]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_label_image(tmp_path / "a.png")
    assert found.ids is None
    np.testing.assert_array_equal(found.colours, pixels)


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".pgm"])
def test_other_lossless_formats(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(IDS).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_label_image(tmp_path / f"a{suffix}").ids, IDS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_that_of_opencv(tmp_path: Path, orientation: int) -> None:
    """OpenCV turns a JPEG by its EXIF data; the stored pixels, turned by us, are equal to it."""
    exif = Image.Exif()
    exif[274] = orientation
    picture = np.random.default_rng(0).integers(0, 256, (3, 2, 3)).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif, quality=95)
    stored = cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    shown = cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_COLOR)
    assert file_orientation(tmp_path / "a.jpg") == orientation
    np.testing.assert_array_equal(turned(stored, orientation), shown)
    Image.fromarray(picture[..., 0]).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_label_image(tmp_path / "a.png").ids, turned(picture[..., 0], orientation))


def refused(folder: Path) -> dict[str, str]:
    """Writes files that are refused; returns the expected messages by file name."""
    grey, colour = Image.fromarray(IDS), Image.fromarray(np.repeat(IDS[..., None] * 50, 3, axis=2))
    grey.save(folder / "a.jpg")
    grey.save(folder / "renamed.png", format="JPEG")
    grey.save(folder / "a.webp")
    grey.save(folder / "a.gif")
    colour.save(folder / "jpeg.tif", compression="jpeg")
    grey.save(folder / "pages.tif", save_all=True, append_images=[grey])
    Image.fromarray(IDS.astype(np.float32)).save(folder / "float.tif")
    colour.convert("CMYK").save(folder / "cmyk.tif")
    alpha = np.full((2, 8, 4), 255, np.uint8)
    alpha[0, 0, 3] = 0
    Image.fromarray(alpha).save(folder / "alpha.png")
    assert cv2.imwrite(str(folder / "deep.png"), np.full((2, 8, 3), (1, 2, 3), np.uint16))
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no image")
    grey.save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:45])
    write_png(folder / "bomb.png", [b"\0"], width=8, depth=8, colour_type=0)
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    content = (folder / "bomb.png").read_bytes()
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (folder / "bomb.png").write_bytes(content[:16] + header + crc + content[33:])
    return {
        "a.jpg": "is a JPEG image, a format that may change ids; allowed are PNG",
        "renamed.png": "is a JPEG image, a format",
        "a.gif": "is a GIF image, a format that may change ids",
        "a.webp": "is a WEBP image, a format",
        "jpeg.tif": "is a TIFF with jpeg compression image, a format",
        "pages.tif": "has 2 pages; allowed is one",
        "float.tif": "has the pixel format F; allowed is one channel of ids",
        "cmyk.tif": "has the pixel format CMYK",
        "alpha.png": "has pixels of different transparency; allowed is an opaque image",
        "deep.png": "has colours of 16 bits; allowed are colours of 8 bits",
        "empty.png": r"not a readable image \(0 bytes found; no known format\)",
        "text.png": r"not a readable image \(8 bytes found; no known format\)",
        "cut.png": "not a readable image",
        "bomb.png": "is too large .*; allowed are 178956970 pixels",
        "missing.png": r"cannot be read \(No such file",
    }


def test_what_may_have_changed_ids_is_refused_in_one_line(tmp_path: Path) -> None:
    for name, message in refused(tmp_path).items():
        with pytest.raises(LabelImageError, match=message) as error:  # noqa: PT012
            read_label_image(tmp_path / name)
            pytest.fail(name)
        assert str(error.value).startswith(f"{tmp_path / name}: "), name
        assert "\n" not in str(error.value), name
