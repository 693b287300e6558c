"""Samples: their content, their batches, and their random numbers."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from dwnet.core.label_images import read_label_image
from dwnet.data.pairs import DataError, item_generators, make_sample, read_image
from dwnet.data.transforms import Augmentation

RNG = np.random.default_rng(0)
FRAME = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
NEIGHBOUR = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 11, (24, 32), dtype=np.uint8)
FLOW = RNG.normal(0, 2, (2, 24, 32)).astype(np.float32)
VISIBLE = np.ones((24, 32), bool)


def test_a_single_frame_has_no_neighbour_keys() -> None:
    sample = make_sample(name="a", index=3, frame=FRAME, labels=LABELS)
    assert set(sample) == {"frame", "labels", "name", "index"}
    assert sample["frame"].dtype == torch.float32
    assert torch.equal((sample["frame"] * 255).round().to(torch.uint8), torch.from_numpy(FRAME).permute(2, 0, 1))
    assert sample["labels"].dtype == torch.int64
    assert np.array_equal(sample["labels"].numpy(), LABELS)


@pytest.mark.parametrize("known", [False, True])
def test_pairs_batch_with_default_collate(known: bool) -> None:
    motion = {"flow_px": FLOW, "visible": VISIBLE} if known else {}
    samples = [
        make_sample(
            name=f"n{i}",
            index=i,
            frame=FRAME,
            labels=LABELS,
            neighbour=NEIGHBOUR,
            offset=-2,
            **motion,
            augment=Augmentation(crop=(20, 28), brightness=0.2),
            rng=np.random.default_rng(i),
        )
        for i in range(3)
    ]
    batch = default_collate(samples)
    shapes = {key: (tuple(value.shape), value.dtype) for key, value in batch.items() if isinstance(value, torch.Tensor)}
    expected = {
        "frame": ((3, 3, 20, 28), torch.float32),
        "neighbour": ((3, 3, 20, 28), torch.float32),
        "labels": ((3, 20, 28), torch.int64),
        "index": ((3,), torch.int64),
        "offset": ((3,), torch.int64),
    }
    if known:
        expected |= {"flow": ((3, 2, 20, 28), torch.float32), "visible": ((3, 20, 28), torch.bool)}
    assert shapes == expected
    assert batch["name"] == ["n0", "n1", "n2"]
    assert batch["offset"].tolist() == [-2, -2, -2]


def test_neighbour_and_frame_go_through_the_same_geometry_and_colour() -> None:
    """A neighbour that is equal to its frame stays equal under any augmentation."""
    augment = Augmentation(crop=(20, 28), brightness=0.4, contrast=0.4, saturation=0.4)
    for i in range(20):
        sample = make_sample(
            name="a",
            index=0,
            frame=FRAME,
            labels=LABELS,
            neighbour=FRAME.copy(),
            offset=1,
            augment=augment,
            rng=np.random.default_rng(i),
        )
        assert torch.equal(sample["frame"], sample["neighbour"])  # type: ignore[typeddict-item]


def test_item_generators_depend_on_all_three_numbers_and_not_on_each_other() -> None:
    def numbers(*key: int) -> tuple[float, float]:
        augmentation, neighbour = item_generators(*key)
        return augmentation.random(), neighbour.random()

    assert numbers(1, 2, 3) == numbers(1, 2, 3)
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)]
    assert len({value for key in keys for value in numbers(*key)}) == 2 * len(keys)
    augmentation, neighbour = item_generators(1, 2, 3)
    augmentation.random(1000)
    assert neighbour.random() == numbers(1, 2, 3)[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbour": NEIGHBOUR}, "found a neighbour with offset 0"),
        ({"offset": 2}, "found no neighbour with offset 2"),
        ({"neighbour": NEIGHBOUR, "offset": 1, "flow_px": FLOW}, "flow and visibility are allowed together only"),
        ({"flow_px": FLOW, "visible": VISIBLE}, "only with a neighbour"),
        ({"augment": Augmentation()}, "an augmentation needs a generator"),
    ],
)
def test_half_a_pair_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"sample a: .*{message}"):
        make_sample(name="a", index=0, frame=FRAME, labels=LABELS, **options)


def test_images_are_read_as_rgb_and_labels_as_they_are(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "colour.png"), FRAME[..., ::-1])
    cv2.imwrite(str(tmp_path / "grey.png"), LABELS)
    assert np.array_equal(read_image(tmp_path / "colour.png"), FRAME)
    assert np.array_equal(read_label_image(tmp_path / "grey.png").ids, LABELS)


def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "bomb.png")
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[16:24] = struct.pack(">II", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(DataError, match=r"bomb\.png: is too large .*; allowed are 178956970 pixels"):
        read_image(tmp_path / "bomb.png")


def test_unreadable_images_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"text\.png: not a readable image \(8 bytes found"):
        read_image(tmp_path / "text.png")
    with pytest.raises(DataError, match=r"empty\.jpg: not a readable image \(0 bytes found"):
        read_image(tmp_path / "empty.jpg")
    with pytest.raises(DataError, match=r"gone\.png: cannot be read \(No such file or directory\)"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
    ],
)
@pytest.mark.parametrize("mode", ["L", "P"])
def test_labels_are_turned_as_images_are(tmp_path: Path, orientation: int, shown: list[list[int]], mode: str) -> None:
    """Each value of EXIF's orientation by hand, and the same result as for images read by OpenCV."""
    image = Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    if mode == "P":
        image.putpalette([value for value in range(256) for _ in range(3)])
    exif = Image.Exif()
    exif[274] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    ids = read_label_image(tmp_path / "a.png").ids
    assert ids is not None
    assert ids.tolist() == shown
    assert read_image(tmp_path / "a.png")[..., 0].tolist() == shown
