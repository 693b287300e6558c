"""A user's own data: clips of frames, clips of video and single images, with the user's classes. `dwnet data check`
names every file that is missing or wrong.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dwnet.core.class_files import read_class_file
from dwnet.core.classes import IGNORE_LABEL
from dwnet.data import DataError, open_data
from dwnet.data.check import check
from dwnet.data.own import extract_frames
from dwnet.data.own_labels import read_labels
from tests.exported import textured_frame, write_clip

CLASSES = {
    "name": "yard",
    "classes": [{"name": "grass", "id": 3, "colour": [0, 128, 0]}, {"name": "path", "id": 7}],
    "ignore": [0, 255],
}


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def labels() -> np.ndarray:
    return np.array([0, 3, 7, 255], np.uint8).repeat(16)[None].repeat(48, axis=0)


def write_classes(root: Path, content: object = CLASSES) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.json").write_text(content if isinstance(content, str) else json.dumps(content))


def write_frames(root: Path, *, split: str = "train", count: int = 9, labelled: tuple[int, ...] = (2, 6)) -> None:
    write_classes(root)
    for number in range(count):
        write(root / split / "clips/walk" / f"f{number:04d}.png", np.full((48, 64, 3), 10 * number, np.uint8))
    for number in labelled:
        write(root / split / "labels/walk" / f"{number}.png", labels())


def test_label_files_by_hand(tmp_path: Path) -> None:
    write_classes(tmp_path)
    write(tmp_path / "a.png", labels())
    own = read_class_file(tmp_path / "classes.json")
    assert read_labels(own, tmp_path / "a.png")[0, ::16].tolist() == [IGNORE_LABEL, 0, 1, IGNORE_LABEL]


def test_a_clip_of_frames(tmp_path: Path) -> None:
    write_frames(tmp_path)
    data = open_data("own", tmp_path, "train", neighbours="video", max_offset=3)
    assert data.names == ("walk/000002", "walk/000006")
    assert sorted(data.frames[0].video) == [-2, -1, 1, 2, 3]  # two frames come before frame 2
    assert sorted(data.frames[1].video) == [-3, -2, -1, 1, 2]
    for epoch in range(8):
        data.set_epoch(epoch)
        sample = data[1]
        expected = 10 * (6 + sample["offset"])  # type: ignore[typeddict-item]
        assert (sample["neighbour"][0, 0, 0] * 255).round() == expected  # type: ignore[typeddict-item]
    alone = open_data("own", tmp_path, "train")[0]
    assert "neighbour" not in alone
    assert alone["labels"][0, ::16].tolist() == [IGNORE_LABEL, 0, 1, IGNORE_LABEL]


def test_the_frame_before(tmp_path: Path) -> None:
    """Frames without a previous frame are left out with `previous`. An evaluation resets the network at such frames."""
    write_frames(tmp_path, labelled=(0, 6))
    data = open_data("own", tmp_path, "train", neighbours="previous")
    assert data.names == ("walk/000006",)
    assert data[0]["offset"] == -1  # type: ignore[typeddict-item]
    every = open_data("own", tmp_path, "train")
    assert [[int(image[0, 0, 0]) for image in every.warmup_frames(index, 2)] for index in range(2)] == [[], [40, 50]]


def test_a_clip_of_video_is_extracted_once_and_its_frames_are_the_ones_numbered(tmp_path: Path) -> None:
    write_classes(tmp_path)
    frames = [textured_frame(number, shift_px=2) for number in range(12)]
    (tmp_path / "train/clips").mkdir(parents=True)
    clip = write_clip(tmp_path / "train/clips/drive.mp4", frames)
    height, width = frames[0].shape[:2]
    write(tmp_path / "train/labels/drive/000007.png", np.full((height, width), 3, np.uint8))
    with pytest.raises(DataError, match=r"000007\.png: not extracted from .*drive\.mp4: run `dwnet data frames`"):
        open_data("own", tmp_path, "train")
    assert extract_frames(tmp_path, max_offset=2) == {str(clip): 5}
    assert extract_frames(tmp_path, max_offset=2) == {}
    assert extract_frames(tmp_path, max_offset=3) == {str(clip): 2}
    data = open_data("own", tmp_path, "train", neighbours="video", max_offset=2)
    assert sorted(data.frames[0].video) == [-2, -1, 1, 2]
    shown = (data[0]["frame"].permute(1, 2, 0).numpy() * 255).round()
    errors = [np.abs(shown - frame).mean() for frame in frames]
    assert int(np.argmin(errors)) == 7  # compressed twice, but frame 7 is the most similar


def test_a_video_that_ends_before_a_label(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "train/clips").mkdir(parents=True)
    write_clip(tmp_path / "train/clips/drive.mp4", [textured_frame(number, shift_px=2) for number in range(4)])
    write(tmp_path / "train/labels/drive/9.png", labels())
    with pytest.raises(DataError, match=r"9\.png: labels a frame beyond the end of .*drive\.mp4"):
        extract_frames(tmp_path)


def write_singles(root: Path) -> None:
    write_classes(root)
    for name in ("a", "b"):
        write(root / "train/images" / f"{name}.jpg", np.full((48, 64, 3), 90, np.uint8))
        write(root / "train/labels" / f"{name}.png", labels())


def test_single_images_have_synthetic_neighbours(tmp_path: Path) -> None:
    write_singles(tmp_path)
    data = open_data("own", tmp_path, "train", neighbours="camera_motion")
    assert data.names == ("a", "b")
    assert data[0]["flow"].shape == (2, 48, 64)  # type: ignore[typeddict-item]
    with pytest.raises(DataError, match=r"found no frame within 5 raw frames of a \(2 of 2 frames"):
        open_data("own", tmp_path, "train", neighbours="video")
    assert extract_frames(tmp_path) == {}


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("classes.json", r"classes\.json: cannot be read"),
        ("train/clips/walk", r"labels/walk: no clip walk in .*clips; allowed is a folder of frames or a video"),
        ("train/labels/walk", r"labels: found no labels; allowed are labels/CLIP/NUMBER\.png"),
        ("train/clips", r"/train/clips: missing; allowed are clips/ with labels/CLIP/, or images/ with labels/"),
        ("train", r"train: missing; splits found in .*: none"),
    ],
)
def test_what_is_missing(tmp_path: Path, remove: str, message: str) -> None:
    import shutil

    write_frames(tmp_path)
    target = tmp_path / remove
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(DataError, match=message):
        open_data("own", tmp_path, "train")


def test_names_without_or_with_the_same_number(tmp_path: Path) -> None:
    write_frames(tmp_path)
    write(tmp_path / "train/clips/walk/g0002.png", labels())
    with pytest.raises(DataError, match=r"g0002\.png: has the number of f0002\.png"):
        open_data("own", tmp_path, "train")
    (tmp_path / "train/clips/walk/g0002.png").rename(tmp_path / "train/clips/walk/cover.png")
    with pytest.raises(DataError, match=r"cover\.png: found no number at the end of its name"):
        open_data("own", tmp_path, "train")


def test_check_counts_what_is_right(tmp_path: Path) -> None:
    write_frames(tmp_path)
    seen: list[tuple[int, int]] = []
    result = check(lambda: open_data("own", tmp_path, "train", neighbours="video"), lambda *done: seen.append(done))
    assert (result.frames, result.sizes, result.problems) == (2, ((64, 48),), ())
    assert result.neighbours == 9  # 0..1, 3..5 of frame 2, with 7 and 8 of frame 6, and each other
    assert result.class_percent == {"grass": 50.0, "path": 50.0}
    assert result.void_percent == 50.0
    assert seen == [(1, 2), (2, 2)]


def test_check_names_every_wrong_file(tmp_path: Path) -> None:
    write_frames(tmp_path, labelled=(2, 4, 6))
    write(tmp_path / "train/labels/walk/2.png", np.full((48, 64), 9, np.uint8))
    write(tmp_path / "train/labels/walk/4.png", labels()[:20])
    write(tmp_path / "train/clips/walk/f0007.png", np.zeros((20, 64, 3), np.uint8))
    (tmp_path / "train/clips/walk/f0008.png").write_bytes(b"no image")
    result = check(lambda: open_data("own", tmp_path, "train", neighbours="video"))
    found = "\n".join(result.problems)
    assert len(result.problems) == 4
    for file, problem in (
        ("2.png", "found ids 9; allowed are 3 (grass), 7 (path), and as ignored 0, 255"),
        ("4.png", "found 64 x 20 pixels; allowed is the size of"),
        ("f0007.png", "found 64 x 20 pixels; its labelled frame has 64 x 48"),
        ("f0008.png", "not a readable image"),
    ):
        assert any(line.partition(":")[0].endswith(file) and problem in line for line in result.problems), found


def test_check_says_that_all_is_void(tmp_path: Path) -> None:
    """A single frame without labelled pixels is allowed. A split without labelled pixels is not."""
    write_frames(tmp_path)
    write(tmp_path / "train/labels/walk/2.png", np.full((48, 64), 255, np.uint8))
    assert check(lambda: open_data("own", tmp_path, "train")).problems == ()
    write(tmp_path / "train/labels/walk/6.png", np.zeros((48, 64), np.uint8))
    problems = check(lambda: open_data("own", tmp_path, "train")).problems
    assert problems == ("no pixel of the 2 labelled frames has a class: all pixels are void",)


def test_check_finds_gaps_and_cut_files_among_neighbours(tmp_path: Path) -> None:
    write_frames(tmp_path)
    folder = tmp_path / "train/clips/walk"
    cut = folder / "f0005.png"
    cut.write_bytes(cut.read_bytes()[:-12])
    (folder / "f0003.png").unlink()
    result = check(lambda: open_data("own", tmp_path, "train", neighbours="video"))
    assert len(result.problems) == 2
    assert result.problems[0] == f"{folder}: no frame 3, between f0002.png and f0004.png"
    assert result.problems[1] == f"{cut}: not a whole image (its end is missing)"
    # Training is possible without the missing frame, and reads the cut file only if it is drawn.
    assert len(open_data("own", tmp_path, "train", neighbours="video")) == result.frames
    # A folder with every second number has no gaps.
    for number in (1, 5, 7):
        (folder / f"f{number:04d}.png").unlink()
    assert check(lambda: open_data("own", tmp_path, "train", neighbours="video")).problems == ()


def test_check_goes_on_beyond_a_missing_file(tmp_path: Path) -> None:
    write_singles(tmp_path)
    images = sorted((tmp_path / "train/images").iterdir())
    images[0].unlink()
    labels = tmp_path / "train/labels" / f"{images[1].stem}.png"
    labels.write_bytes(b"no image")
    result = check(lambda: open_data("own", tmp_path, "train"))
    assert len(result.problems) == 2
    assert f"{images[0].stem}.png: no image of that name" in result.problems[0]
    assert str(labels) in result.problems[1]


@pytest.mark.parametrize("single", [True, False])
def test_files_of_the_other_layout_are_not_passed_over(tmp_path: Path, single: bool) -> None:
    if single:
        write_singles(tmp_path)
        (tmp_path / "train/clips").mkdir()
        stray = "train/clips"
    else:
        write_frames(tmp_path)
        stray = "train/labels/stray_000013.png"
        (tmp_path / stray).write_bytes(b"")
    with pytest.raises(DataError, match=f"{stray}: is not part of .*, the layout of .*train"):
        open_data("own", tmp_path, "train")


def test_labels_with_a_palette_are_their_indices(tmp_path: Path) -> None:
    write_singles(tmp_path)
    path = min((tmp_path / "train/labels").iterdir())
    plain = open_data("own", tmp_path, "train")[0]["labels"]
    indices = Image.fromarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    indices.putpalette([255 - index // 3 for index in range(768)])  # sets mode P
    assert indices.mode == "P"
    indices.save(path)
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ndim == 3  # OpenCV returns colours
    assert torch.equal(open_data("own", tmp_path, "train")[0]["labels"], plain)


def test_check_names_every_missing_file(tmp_path: Path) -> None:
    write_frames(tmp_path, labelled=(2, 11, 12))
    result = check(lambda: open_data("own", tmp_path, "train"))
    assert [line.partition(":")[0].rpartition("/")[2] for line in result.problems] == ["11.png", "12.png"]
    assert result.frames == 1  # the other frame was checked
