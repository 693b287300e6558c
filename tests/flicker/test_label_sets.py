"""Label maps in the ids of a classes file, sparse truth of videos, scores of one class, and how files find frames."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import dwnet
from dwnet.cli.main import main
from dwnet.core.class_files import read_class_file
from dwnet.core.class_labels import ClassLabels
from dwnet.core.classes import IGNORE_LABEL
from dwnet.flicker.matching import match_frames
from dwnet.flicker.open_labels import open_label_maps
from dwnet.flicker.score_arrays import ArrayFile
from tests.exported import write_clip

T, H, W = 6, 48, 64


@pytest.fixture
def frames() -> list[np.ndarray]:
    """T equal frames: the flow is zero, so flips are counted pixel by pixel."""
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 256, (8, 10, 3)).astype(np.uint8), (W, H))] * T


@pytest.fixture
def clip(tmp_path: Path, frames: list[np.ndarray]) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"street_{index:06d}_leftImg8bit.png"), frame)
    return folder


@pytest.fixture
def positions() -> np.ndarray:
    """(T, H, W) uint8 positions of four classes; a quarter of the pixels changes in frame 3."""
    labels = np.zeros((T, H, W), np.uint8)
    labels[:, :, W // 2 :] = 1
    labels[:, H // 2 :] += 2
    labels[3:, : H // 2, : W // 2] = 3
    return labels


def write_images(folder: Path, maps: np.ndarray, name: str = "{:06d}.png") -> Path:
    folder.mkdir()
    for index, one in enumerate(maps):
        Image.fromarray(one).save(folder / name.format(index))
    return folder


def measured(clip: Path, predictions: Path, **options: Any) -> dict[str, Any]:
    report = dwnet.measure_flicker(clip, {"x": predictions}, flow="dis_fast", second_every=100, **options)
    return dict(report["x"].figures) | {"text": report.table()}


# A quarter of the pixels of one of five pairs flips. DIS leaves out a few pixels at the border.
FLIPS = pytest.approx(100 / 4 / 5, abs=0.01)


def write_classes(folder: Path, ids: list[int], **more: Any) -> Path:
    path = folder / "classes.json"
    path.write_text(json.dumps({"classes": [{"name": f"c{id_}", "id": id_} for id_ in ids], **more}))
    return path


def test_predictions_and_truth_in_the_ids_of_the_file(tmp_path: Path, clip: Path, positions: np.ndarray) -> None:
    ids = np.array([3, 0, 1, 2], np.uint8)
    classes = write_classes(tmp_path, ids.tolist(), ignore=[9, 255])
    stored = ids[positions]
    stored[0, 0, 0] = 9
    found = measured(
        clip, write_images(tmp_path / "p", stored), classes=classes, truth=write_images(tmp_path / "t", ids[positions])
    )
    assert found["flip_rate_percent"] == FLIPS
    # The pixel without a class is wrong where the truth has one.
    assert found["pixel_accuracy_percent"] == pytest.approx(100 - 100 / positions.size)
    assert found["ignored_percent"] == pytest.approx(100 / positions.size)
    assert found["miou_percent"] > 99.9


def test_predictions_by_position_and_truth_by_label_id(tmp_path: Path, clip: Path, positions: np.ndarray) -> None:
    """Usual for Cityscapes: networks predict trainIds, and the published truth holds labelIds."""
    label_ids = np.array([7, 8, 11, 12], np.uint8)
    truth = label_ids[positions]
    truth[:, :2] = 4  # static: not evaluated
    folder = write_images(tmp_path / "t", truth, "street_{:06d}_gtFine_labelIds.png")
    write_colours = folder / "street_000000_gtFine_color.png"
    Image.fromarray(np.zeros((H, W, 3), np.uint8)).save(write_colours)
    predictions = write_images(tmp_path / "p", positions, "street_{:06d}_pred.png")
    found = measured(clip, predictions, truth=folder, classes="cityscapes-trainids", truth_classes="cityscapes")
    assert (found["miou_percent"], found["pixel_accuracy_percent"]) == (100, 100)
    assert "x: label images, matched by name." in found["text"]
    with pytest.raises(ValueError, match=r"found ids 30\.\.33; allowed are 0 \(road\), .*, and as ignored 255"):
        measured(clip, write_images(tmp_path / "q", positions + 30), classes="cityscapes-trainids")


def test_colours_of_the_classes(tmp_path: Path, clip: Path, positions: np.ndarray) -> None:
    colours = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (0, 0, 128)], np.uint8)
    (tmp_path / "labelmap.txt").write_text("a:0,0,0::\nb:128,0,0::\nc:0,128,0::\nd:0,0,128::\n")
    found = measured(clip, write_images(tmp_path / "p", colours[positions]), classes=tmp_path / "labelmap.txt")
    assert found["flip_rate_percent"] == FLIPS


def test_several_ids_to_ignore_on_the_command_line(tmp_path: Path, clip: Path, positions: np.ndarray) -> None:
    stored = positions.copy()
    stored[:, :4], stored[:, 4:6], stored[:, 6:7] = 253, 254, 9
    write_images(tmp_path / "p", stored)
    arguments = [clip, tmp_path / "p", "--flow", "dis_fast", "--output", tmp_path / "out"]
    arguments += ["--ignore", 253, "--ignore", 254, "--ignore", 9]
    assert main(["flicker", *map(str, arguments)]) == 0
    report = json.loads((tmp_path / "out/flicker.json").read_text())
    assert report["settings"]["ignore"] == [253, 254, 9]
    assert len(report["classes"]) == 4
    assert report["sets"]["p"]["ignored_percent"] == pytest.approx(100 * 7 / H)


# ------------------------------------------------------------------------------------------------ binary problems


@pytest.mark.parametrize("shape", [(T, 1, H, W), (T, H, W)])
@pytest.mark.parametrize(
    ("scale", "offset", "kind"),
    [
        (8.0, -4.0, "logits of one class, label 1 above 0"),
        (0.8, 0.1, "probabilities of one class, label 1 above 0.5"),
    ],
)
def test_scores_of_one_class(
    tmp_path: Path, clip: Path, positions: np.ndarray, shape: tuple, scale: float, offset: float, kind: str
) -> None:
    mask = (positions == 3).astype(np.float32)
    np.save(tmp_path / "a.npy", (mask * scale + offset).reshape(shape))
    found = measured(clip, tmp_path / "a.npy")
    assert found["flip_rate_percent"] == FLIPS
    assert f"x: npy of {kind}." in found["text"]
    maps = ArrayFile(tmp_path / "a.npy")
    first = next(iter(maps))
    assert first is not None
    assert first.logits is not None
    np.testing.assert_array_equal(first.labels, mask[0])
    exponential = np.exp(first.logits.astype(np.float64))
    scores = mask[0] * scale + offset
    expected = scores if "probabilities" in kind else 1 / (1 + np.exp(-scores))
    np.testing.assert_allclose((exponential / exponential.sum(axis=0))[1], expected, rtol=1e-5)


def test_the_threshold_can_be_given(tmp_path: Path, clip: Path, positions: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", np.where(positions == 3, 0.3, 0.1).astype(np.float32)[:, None])
    assert measured(clip, tmp_path / "a.npy")["flip_rate_percent"] == 0
    found = measured(clip, tmp_path / "a.npy", threshold=0.2)
    assert found["flip_rate_percent"] == FLIPS
    assert "label 1 above 0.2" in found["text"]


def test_probabilities_that_turn_out_to_be_logits(tmp_path: Path) -> None:
    scores = np.full((2, 1, H, W), 0.5, np.float32)
    scores[1] = 4
    np.save(tmp_path / "a.npy", scores)
    with pytest.raises(ValueError, match=r"frame 1: holds values outside 0\.\.1, though frame 0 does not"):
        list(ArrayFile(tmp_path / "a.npy"))


def test_masks_of_0_and_255_are_never_perfect(tmp_path: Path, clip: Path, positions: np.ndarray) -> None:
    masks = np.where(positions == 3, 255, 0).astype(np.uint8)
    folder = write_images(tmp_path / "p", masks)
    with pytest.raises(ValueError, match=r"p: holds only the ids 0 and 255, and 255 means unknown; .*\"id\": 255"):
        measured(clip, folder)
    classes = tmp_path / "classes.json"
    classes.write_text('{"classes": ["rest", {"name": "cat", "id": 255}]}')
    found = measured(clip, folder, classes=classes, truth=folder)
    assert found["flip_rate_percent"] == FLIPS
    assert found["miou_percent"] == 100
    booleans = write_images(tmp_path / "b", masks > 0)
    assert measured(clip, booleans)["flip_rate_percent"] == FLIPS


# ------------------------------------------------------------------------------------- formats of folders


@pytest.mark.parametrize("suffix", [".tif", ".bmp"])
def test_folders_of_other_lossless_images(tmp_path: Path, clip: Path, positions: np.ndarray, suffix: str) -> None:
    folder = write_images(tmp_path / "p", positions, f"{{}}{suffix}")
    (folder / f"._0{suffix}").write_bytes(b"\0\5\x16\7")
    assert measured(clip, folder)["flip_rate_percent"] == FLIPS


@pytest.mark.parametrize("form", ["ids", "logits", "one class"])
def test_folders_of_arrays(tmp_path: Path, clip: Path, positions: np.ndarray, form: str) -> None:
    (tmp_path / "p").mkdir()
    for index, one in enumerate(positions):
        array: np.ndarray = one.astype(np.int64)
        if form == "logits":
            array = (np.arange(4)[:, None, None] == one).astype(np.float32) * 3
        if form == "one class":
            array = np.where(one == 3, 2.0, -2.0)[None]
        np.save(tmp_path / "p" / f"{index}.npy", array)
    assert measured(clip, tmp_path / "p")["flip_rate_percent"] == FLIPS


def test_lossy_images_and_mixed_folders_are_refused(tmp_path: Path, clip: Path, positions: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"0\.jpg: is a JPEG image, a format that may change ids"):
        measured(clip, write_images(tmp_path / "p", positions, "{}.jpg"))
    mixed = write_images(tmp_path / "m", positions, "{}.png")
    np.save(mixed / "0.npy", positions[0])
    with pytest.raises(ValueError, match=r"is a folder with label images and \.npy files; allowed are"):
        measured(clip, mixed)
    np.save(tmp_path / "four.npy", np.zeros((T, 4, H, W), np.float32))
    (tmp_path / "n").mkdir()
    for index in range(T):
        np.save(tmp_path / "n" / f"{index}.npy", np.zeros((4 if index else 3, H, W), np.float32))
    with pytest.raises(ValueError, match=r"1\.npy: scores 4 classes; allowed are 3 throughout"):
        measured(clip, tmp_path / "n")


# ------------------------------------------------------------------------------------------ files and frames


def matched(files: list[str], frames: Any, sparse: bool = False) -> tuple[list[str | None], str]:
    found = match_frames(Path("p"), [Path("p", file) for file in files], frames, sparse=sparse)
    return [file and file.name for file in found.files], found.how


@pytest.mark.parametrize(
    ("files", "frames", "sparse", "expected", "how"),
    [
        (["a_mask.png", "b_mask.png"], ["a", "b"], False, ["a_mask.png", "b_mask.png"], "matched by name"),
        (["b_L.png", "a_L.png"], ["a", "b"], False, ["a_L.png", "b_L.png"], "matched by name"),
        (["mask_a.png"], ["a", "b"], True, ["mask_a.png", None], "matched by name"),
        (["e\u0301.png"], ["\u00e9", "x"], True, ["e\u0301.png", None], "matched by name"),
        (["p_2.png", "p_1.png"], ["f1", "f2"], False, ["p_1.png", "p_2.png"], "matched by the number in the name"),
        (["p_2.png"], ["f1", "f2"], True, [None, "p_2.png"], "matched by the number in the name"),
        (["10.png", "9.png"], ["a", "b"], False, ["9.png", "10.png"], "matched by order"),
        (["7.png", "8.png"], 2, True, ["7.png", "8.png"], "matched by order"),
        (["1.png", "3.png"], 9, True, [None, "1.png", None, "3.png"],
         "matched by frame number, from 0; 2 frames have labels"),
        (["x_000002_gtFine_labelIds.png"], None, True, [None, None, "x_000002_gtFine_labelIds.png"],
         "matched by frame number, from 0; 1 frames have labels"),
    ],
)  # fmt: skip
def test_how_files_find_frames(
    files: list[str], frames: Any, sparse: bool, expected: list[str | None], how: str
) -> None:
    assert matched(files, frames, sparse) == (expected, how)


@pytest.mark.parametrize(
    ("files", "frames", "message"),
    [
        (
            ["0.png", "1.png", "3.png", "4.png"],
            4,
            "no file between 1.png and 3.png, and no file is named after a frame",
        ),
        (["0.png", "2.png", "6.png", "8.png"], ["a", "b", "c", "d"], "no file between 2.png and 6.png"),
        (["a.png", "a.tif"], ["a", "b"], "holds a.png and a.tif; allowed is one file per name"),
        (["a_mask.png"], ["a", "b"], "has no label map for 1 of 2 frames, b among them"),
        (["a.png", "z.png"], ["a", "b"], "1 of 2 label maps are named after a frame, z.png is not"),
    ],
)
def test_files_that_do_not_fit_are_named(files: list[str], frames: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        matched(files, frames)


def test_numbers_that_skip_as_those_of_the_frames_do() -> None:
    files = ["0.png", "1.png", "3.png"]
    assert matched(files, ["f10", "f11", "f13"]) == (files, "matched by order")


def test_times_as_names_are_no_gaps() -> None:
    files = ["1403636579763.png", "1403636579813.png", "1403636579864.png", "1403636579913.png"]
    assert matched(files, 4)[1] == "matched by order"


def test_sparse_truth_of_a_video(tmp_path: Path, frames: list[np.ndarray], positions: np.ndarray) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames)
    np.save(tmp_path / "p.npy", positions)
    truth = tmp_path / "t"
    truth.mkdir()
    for number in (2, 3):  # the labels of frame 2 differ from those of frame 3
        Image.fromarray(positions[number]).save(truth / f"drive_{number:06d}_gtFine_labelIds.png")
    found = measured(clip, tmp_path / "p.npy", truth=truth)
    assert (found["pixel_accuracy_percent"], found["miou_percent"]) == (100, 100)
    assert "truth: label images, matched by frame number, from 0; 2 frames have labels." in found["text"]
    Image.fromarray(positions[0]).save(truth / "drive_000050_gtFine_labelIds.png")
    with pytest.raises(ValueError, match="t: labels frame 50, the clip has 6 frames; allowed are the numbers"):
        measured(clip, tmp_path / "p.npy", truth=truth)


def test_ids_of_a_video_are_those_of_the_file(tmp_path: Path) -> None:
    own = read_class_file(write_classes(tmp_path, [3, 0]))
    np.save(tmp_path / "a.npy", np.full((1, 2, 2), 3))
    maps = open_label_maps(tmp_path / "a.npy", None, labels=ClassLabels(own))
    assert [one.labels.tolist() for one in maps if one is not None] == [[[0, 0], [0, 0]]]
    assert IGNORE_LABEL in own.ignored
