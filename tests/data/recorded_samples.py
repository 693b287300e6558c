"""Small copies of every data set, and digests and means of their samples. As a script it prints these numbers.

`recorded_samples.json` holds the numbers of commit 98c967f: `python -m tests.data.recorded_samples > FILE`.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dwnet.data import Augmentation
from dwnet.data.open import open_data

FRAMES = range(20, 29)
LABELLED = (22, 24, 25)
AUGMENT = Augmentation(crop=(32, 40), brightness=0.2, contrast=0.1, saturation=0.1)

CASES: dict[str, tuple[str, bool]] = {
    f"{kind} {neighbours}{' augmented' if augmented else ''}": (neighbours, augmented)
    for kind in ("camvid", "cityscapes", "own", "street")
    for neighbours in ("none", "camera_motion", "labelled", "video", "previous", "mixed")
    for augmented in (False, True)
    # Rendering is slow, so the street has only the cases that differ.
    if kind != "street" or (augmented and neighbours != "none") or neighbours in ("none", "mixed")
}
"""Cases by name: (neighbours, augmented). A name starts with the kind of the data set."""


def picture(number: int) -> np.ndarray:
    """(48, 64, 3) uint8: a different picture for each number."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.kron(noise, np.ones((8, 8, 1), np.uint8))


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def write_data(root: Path) -> None:
    """Writes three labelled frames and the raw frames around them, as CamVid, as Cityscapes and as own data."""
    classes = [{"name": f"class {number}", "id": number} for number in range(11)]
    (root / "own").mkdir(parents=True)
    (root / "own/classes.json").write_text(json.dumps({"name": "own", "classes": classes, "ignore": [11]}))
    for number in FRAMES:
        write(root / "camvid/video_frames" / f"0016E5_{number:05d}.png", picture(number))
        write(root / "own/train/clips/drive" / f"{number:06d}.png", picture(number))
    for number in LABELLED:
        ids = np.random.default_rng([1, number]).integers(0, 12, (48, 64)).astype(np.uint8)
        write(root / "camvid/train/images" / f"0016E5_{number:05d}.png", picture(number))
        write(root / "camvid/train/labels" / f"0016E5_{number:05d}.png", ids)
        write(root / "own/train/labels/drive" / f"{number:06d}.png", ids)
        # Cityscapes has one labelled frame per snippet.
        snippet = f"aachen_{number % 2:06d}"
        write(root / "cityscapes/gtFine/train/aachen" / f"{snippet}_{number:06d}_gtFine_labelIds.png", ids * 3)
        for raw in range(number - 2, number + 3):
            name = f"{snippet}_{raw:06d}_leftImg8bit.png"
            write(root / "cityscapes/leftImg8bit_sequence/train/aachen" / name, picture(raw))


def record(root: Path, case: str) -> list[dict[str, Any]]:
    """Returns the first and last sample of a case in two epochs, as numbers."""
    neighbours, augmented = CASES[case]
    data = open_data(
        case.partition(" ")[0],  # type: ignore[arg-type]
        root / case.partition(" ")[0],
        "train",
        neighbours=neighbours,  # type: ignore[arg-type]
        max_offset=2,
        augment=AUGMENT if augmented else None,
        seed=3,
        street_size=(48, 64),
    )
    found = []
    for epoch in range(2):
        data.set_epoch(epoch)
        found += [dict(numbers(data[index])) for index in (0, -1)]
    return found


def numbers(sample: Any) -> Iterator[tuple[str, Any]]:
    """Yields the items of a sample. A tensor becomes [type and shape, digest, mean]."""
    for key, value in sample.items():
        if not hasattr(value, "numpy"):
            yield key, value
            continue
        array = value.numpy()
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        yield key, [f"{array.dtype} {list(array.shape)}", digest, round(float(array.mean(dtype=np.float64)), 6)]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder))
        lines = [f"{json.dumps(case)}: {json.dumps(record(Path(folder), case))}" for case in CASES]
    print("{\n" + ",\n".join(lines) + "\n}")
