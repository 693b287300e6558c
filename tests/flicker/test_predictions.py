"""Formats of predictions: every format gives the same labels, and unreadable files give one clear error."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from dwnet.core.class_labels import ClassLabels
from dwnet.core.classes import IGNORE_LABEL, made_up_classes
from dwnet.deploy.runtime import argmax_labels
from dwnet.flicker import measure_clip, open_flow, open_predictions
from dwnet.flicker.label_maps import LOSSLESS_CODECS
from dwnet.flicker.open_labels import open_label_maps
from dwnet.flicker.predictions import named_path
from dwnet.flicker.score_arrays import ArrayFile
from dwnet.metrics import logit_jitter
from dwnet.video import open_video
from tests.exported import CLASSES, write_flow_refinement, write_segmenter, write_static_warp

T, H, W, K = 5, 40, 56, 4


@pytest.fixture
def ids() -> np.ndarray:
    """(T, H, W) uint8 labels in patches, with some ignored pixels."""
    rng = np.random.default_rng(0)
    out = np.kron(rng.integers(0, K, (T, H // 8, W // 8)), np.ones((1, 8, 8), int)).astype(np.uint8)
    out[:, :5, :5] = IGNORE_LABEL
    return out


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """T frames named a0 .. a4."""
    folder = tmp_path / "clip"
    folder.mkdir()
    texture = cv2.resize(np.random.default_rng(1).integers(0, 256, (12, 16, 3)).astype(np.uint8), (W + 20, H))
    for index in range(T):
        cv2.imwrite(str(folder / f"a{index}.png"), texture[:, index : index + W])
    return folder


def write_pngs(folder: Path, ids: np.ndarray, mode: str = "L", names: str = "{}", first: int = 0) -> Path:
    folder.mkdir()
    for index, one in enumerate(ids):
        image = Image.fromarray(one.astype(np.uint16) if mode == "I;16" else one)
        if mode == "P":
            image = image.copy()
            image.putpalette(np.random.default_rng(2).integers(0, 256, 768).astype(np.uint8).tobytes())
        image.save(folder / f"{names.format(index + first)}.png")
    return folder


def write_video(path: Path, ids: np.ndarray, codec: str, pixels: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = ids.shape[2], ids.shape[1], pixels
        for one in ids:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="gray")))
        container.mux(stream.encode(None))
    return path


def read(path: Path, *ignore: int) -> np.ndarray:
    maps = open_label_maps(path, None, labels=ClassLabels(None, ignore))
    return np.stack([one.labels for one in maps if one is not None])


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_pngs_hold_ids_whatever_their_colours(tmp_path: Path, ids: np.ndarray, mode: str) -> None:
    np.testing.assert_array_equal(read(write_pngs(tmp_path / "labels", ids, mode)), ids)


def test_pngs_are_turned_as_their_exif_data_says(tmp_path: Path, ids: np.ndarray) -> None:
    (tmp_path / "labels").mkdir()
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn clockwise
    for index, one in enumerate(ids):
        Image.fromarray(one).save(tmp_path / "labels" / f"{index}.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "labels"), np.rot90(ids, -1, axes=(1, 2)))


@pytest.mark.parametrize(("codec", "name"), [("ffv1", "a.mkv"), ("png", "a.mov"), ("rawvideo", "a.avi")])
def test_lossless_video(tmp_path: Path, ids: np.ndarray, codec: str, name: str) -> None:
    np.testing.assert_array_equal(read(write_video(tmp_path / name, ids, codec, "gray")), ids)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.int16])
def test_arrays_of_ids(tmp_path: Path, ids: np.ndarray, dtype: type) -> None:
    np.save(tmp_path / "a.npy", ids.astype(dtype))
    np.savez_compressed(tmp_path / "b.npz", labels=ids.astype(dtype))
    for name in ("a.npy", "b.npz"):
        np.testing.assert_array_equal(read(tmp_path / name), ids)


def test_another_id_can_mean_ignore(tmp_path: Path, ids: np.ndarray) -> None:
    for name, void in (("a", -1), ("b", 1000), ("c", 3)):
        np.save(tmp_path / f"{name}.npy", np.where(ids == IGNORE_LABEL, void, ids.astype(np.int32)))
        expected = np.where(ids == void, IGNORE_LABEL, ids)
        np.testing.assert_array_equal(read(tmp_path / f"{name}.npy", void), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_scores_are_logits_or_probabilities(tmp_path: Path, dtype: type) -> None:
    logits = np.random.default_rng(3).normal(0, 2, (T, K, H, W)).astype(dtype)
    exponential = np.exp(logits.astype(np.float64))
    probabilities = (exponential / exponential.sum(axis=1, keepdims=True)).astype(dtype)
    np.save(tmp_path / "logits.npy", logits)
    np.savez(tmp_path / "probabilities.npz", probabilities)
    kinds = {}
    for name in ("logits.npy", "probabilities.npz"):
        maps = ArrayFile(tmp_path / name)
        kinds[name] = maps.scores
        read_back = list(maps)
        source = logits if name == "logits.npy" else probabilities
        np.testing.assert_array_equal([one.labels for one in read_back], [argmax_labels(one) for one in source])
        # Both give the same jitter, which is computed from the softmax.
        flow = np.zeros((2, H, W), np.float32)
        jitter = logit_jitter(read_back[0].logits, read_back[1].logits, flow)
        assert jitter == pytest.approx(logit_jitter(logits[0], logits[1], flow), rel=1e-2)
    assert kinds == {"logits.npy": "logits", "probabilities.npz": "probabilities"}


def test_labels_are_matched_by_name_or_by_order(tmp_path: Path, ids: np.ndarray) -> None:
    frames = [f"a{index}" for index in range(T)]
    by_name = write_pngs(tmp_path / "by_name", ids[::-1], names="a{}")
    by_order = write_pngs(tmp_path / "by_order", ids, first=7)  # 7 .. 11: 10 comes after 9
    for folder, expected in ((by_name, ids[::-1]), (by_order, ids)):
        labels = [one.labels for one in open_label_maps(folder, frames) if one is not None]
        np.testing.assert_array_equal(labels, expected)


def test_names_of_sets() -> None:
    assert named_path("ours=runs/a.npy") == ("ours", Path("runs/a.npy"))
    assert named_path("runs/a=b/x.npy") == ("x", Path("runs/a=b/x.npy"))


def test_networks_run_on_the_clip(tmp_path: Path, clip: Path) -> None:
    """The tiny segmenter predicts the strongest colour. Static warp gets its flow."""
    sets = [
        ("per frame", write_segmenter(tmp_path / "a.onnx")),
        ("warp", write_static_warp(tmp_path / "b.onnx")),
    ]
    result = measure_clip(open_video(clip), open_predictions(sets, None), open_flow("dis"))
    assert result.classes.classes == CLASSES
    found = result.sets["per frame"].tally
    expected = np.stack([np.argmax(frame.image, axis=2) for frame in open_video(clip)])
    assert found.pixels == expected.size
    np.save(tmp_path / "c.npy", expected)
    files = open_predictions([("file", tmp_path / "c.npy")], None)
    same = measure_clip(open_video(clip), files, open_flow("dis")).sets["file"].tally
    np.testing.assert_array_equal(found.flicker.transitions, same.flicker.transitions)
    assert found.summary()["logit_jitter"] > 0
    assert result.sets["warp"].tally.summary()["flip_rate_percent"] is not None


# ----------------------------------------------------------------------------------------------------------- errors


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def wrong_inputs(folder: Path, ids: np.ndarray) -> dict[str, tuple[Path, str]]:
    """Returns wrong files and the expected messages by name."""
    logits = np.random.default_rng(4).normal(0, 1, (T, K, H, W)).astype(np.float32)
    mixed = np.concatenate((np.full((1, K, H, W), 1 / K), logits[1:]))
    truncated = save(folder / "truncated.npy", ids)
    truncated.write_bytes(truncated.read_bytes()[:-100])
    np.savez(folder / "two.npz", a=ids, b=ids)
    (folder / "text.npy").write_text("no array")
    (folder / "text.mkv").write_text("no video")
    (folder / "empty").mkdir()
    (folder / "colour").mkdir()
    for index in range(T):
        Image.fromarray(np.full((H, W, 3), (0, 0, 1), np.uint8)).save(folder / f"colour/{index}.png")
    broken = write_pngs(folder / "broken", ids)
    (broken / "2.png").write_bytes(b"\x89PNG\r\n")
    infinite = logits.copy()
    infinite[2, 0, 0, 0] = np.inf
    return {
        "missing": (folder / "nothing.npy", "there is no such file or folder; allowed is a folder of label images"),
        "empty folder": (
            folder / "empty",
            "is a folder with neither label images nor .npy files; allowed are label images",
        ),
        "colours": (
            folder / "colour",
            r"0\.png: is a colour picture \(RGB\), and no classes file gives colours; allowed is one channel",
        ),
        "broken PNG": (broken, r"2\.png: not a readable image"),
        "too few": (write_pngs(folder / "few", ids[:3]), "holds 3 label maps for 5 frames, and no file is named"),
        "some names": (
            write_pngs(folder / "names", ids, names="a{}", first=1),
            "4 of 5 label maps are .* a5.png",
        ),
        "names missing": (
            write_pngs(folder / "gaps", ids[:3], names="a{}"),
            "no label map for 2 of 5 frames, a3",
        ),
        "too short": (save(folder / "short.npy", ids[:3]), "holds 3 label maps and the clip has more frames"),
        "too long": (save(folder / "long.npy", np.concatenate((ids, ids))), "holds 10 label maps for 5 frames"),
        "other size": (save(folder / "size.npy", ids[:, 1:]), "label map 0 is 56x39 pixels, the frame 56x40"),
        "dimensions": (save(folder / "flat.npy", ids[0]), r"is uint8 of shape \(40, 56\); allowed are integer ids"),
        "integer scores": (save(folder / "four.npy", logits.astype(int)), "allowed are integer ids"),
        "complex": (save(folder / "complex.npy", ids.astype(complex)), "is complex128"),
        "large ids": (
            save(folder / "large.npy", ids.astype(int) + 9),
            r"frame 0: holds the id 264; allowed are 0",
        ),
        "negative ids": (save(folder / "low.npy", ids.astype(int) - 1), "holds the id -1"),
        "fortran": (save(folder / "order.npy", np.asfortranarray(ids)), "is stored in Fortran order"),
        "truncated": (truncated, "ends within frame 4 of 5"),
        "two arrays": (folder / "two.npz", "holds the arrays a, b; allowed is exactly one"),
        "no array": (folder / "text.npy", r"is no \.npy file that can be read"),
        "no video": (
            folder / "text.mkv",
            r"is not a video, or is damaged \(8 bytes, .*; allowed is a folder of label images or of \.npy files, a ",
        ),
        "lossy": (
            write_video(folder / "lossy.mp4", ids, "libx264", "gray"),
            "coded as h264 with .*, which does not",
        ),
        "lossless colour": (write_video(folder / "yuv.mkv", ids, "ffv1", "yuv420p"), "ffv1 with yuv420p pixels"),
        "not finite": (save(folder / "inf.npy", infinite), "frame 2: holds values that are not finite"),
        "mixed scores": (save(folder / "mixed.npy", mixed), "frame 1: is no distribution over the classes"),
        "refinement": (
            write_flow_refinement(folder / "r.onnx"),
            "is a flow_refinement network; allowed are networks",
        ),
    }


def test_wrong_predictions_are_one_clear_error(tmp_path: Path, clip: Path, ids: np.ndarray) -> None:
    names = [f"a{index}" for index in range(T)]
    for case, (path, message) in wrong_inputs(tmp_path, ids).items():
        with pytest.raises(ValueError, match=message):  # noqa: PT012
            measure_clip(open_video(clip), open_predictions([("x", path)], names), open_flow("dis_fast"))
            pytest.fail(case)
    assert "h264" not in LOSSLESS_CODECS


def test_sets_that_do_not_fit_each_other(tmp_path: Path, clip: Path, ids: np.ndarray) -> None:
    network, path = write_segmenter(tmp_path / "a.onnx"), save(tmp_path / "ids.npy", ids)
    classes = made_up_classes(3)

    def measure(*named: tuple[str, Path], **options: Any) -> None:
        measure_clip(open_video(clip), open_predictions(named, None), open_flow("dis_fast"), **options)

    with pytest.raises(ValueError, match="two sets are called 'x'"):
        measure(("x", path), ("x", network))
    with pytest.raises(ValueError, match="no predictions named"):
        measure()
    with pytest.raises(ValueError, match="predicts Red, Green, Blue; the other networks, or the classes file"):
        measure(("x", network), classes=classes)
    with pytest.raises(ValueError, match=r"label map 0 holds the id 3; allowed are 0\.\.2, the classes named"):
        measure(("x", path), ("y", network))
    with pytest.raises(ValueError, match="scores 4 classes; allowed are the 3 named"):
        measure(("x", save(tmp_path / "l.npy", np.zeros((T, 4, H, W)))), classes=classes)
    with pytest.raises(ValueError, match="second_every is 0"):
        measure(("x", path), second_every=0)
