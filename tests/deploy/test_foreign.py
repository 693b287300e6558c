"""Networks of other packages: adopted by a sidecar file, or recognised."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dwnet
from dwnet.core.class_files import read_class_file
from dwnet.deploy.adopt import AdoptOptions, adopt
from dwnet.deploy.foreign import ForeignSegmenter
from dwnet.deploy.network_info import NetworkFileError
from tests.foreign import class_file, colour_network, dfine_seg, quarters, ultralytics

PLAIN = AdoptOptions()
NAMES = ("red", "green", "blue")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def adopted(path: Path, *names: str, options: AdoptOptions = PLAIN, **more: Any) -> ForeignSegmenter:
    """Adopts a file, and returns the network as `dwnet.load` opens it."""
    before = path.read_bytes()
    adopt(path, read_class_file(class_file(path.with_suffix(".json"), *(names or NAMES), **more)), options)
    assert path.read_bytes() == before
    network = dwnet.load(path, threads=1)
    assert isinstance(network, ForeignSegmenter)
    return network


def wrong(found: np.ndarray, expected: np.ndarray, border: int = 0) -> int:
    """Number of pixels with other labels, outside of `border` pixels around the frame's two inner edges."""
    away = np.ones(expected.shape, bool)
    if border:
        away[expected.shape[0] // 2 - border : expected.shape[0] // 2 + border] = False
        away[:, expected.shape[1] // 2 - border : expected.shape[1] // 2 + border] = False
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    return int((found != expected)[away].sum())


@pytest.mark.parametrize("stride", [1, 4, 8])
@pytest.mark.parametrize("axes", ["nchw", "nhwc"])
@pytest.mark.parametrize("size", [None, (64, 96)])
def test_scores_of_any_stride(tmp_path: Path, stride: int, axes: str, size: tuple[int, int] | None) -> None:
    network = adopted(colour_network(tmp_path / "a.onnx", stride=stride, axes=axes, size=size))
    assert network.info.multiple == (1 if size else stride)
    frame, expected = quarters()
    assert wrong(network.labels(frame), expected, border=stride if size is None else 2 * stride) == 0
    assert network.logits(frame).shape == (3, 48, 80)
    # Frames whose sides no stride divides, and other proportions than the fixed size.
    odd, expected = quarters(51, 83)
    assert wrong(network.labels(odd), expected, border=2 * stride) == 0


def test_scores_equal_the_graph_at_the_frame_size(tmp_path: Path) -> None:
    network = adopted(colour_network(tmp_path / "a.onnx"), options=AdoptOptions(mean=MEAN, std=STD))
    frame = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    expected = ((frame / 255 - MEAN) / STD).transpose(2, 0, 1)
    np.testing.assert_allclose(network.logits(frame), expected, atol=1e-5)


@pytest.mark.parametrize("given", ["uint8", "int8", "uint16", "int16", "int32", "int64", "float32"])
@pytest.mark.parametrize("flat", [True, False])
def test_label_maps_of_any_type(tmp_path: Path, given: str, flat: bool) -> None:
    network = adopted(colour_network(tmp_path / "a.onnx", kind="labels", given=given, flat=flat, stride=4))
    frame, expected = quarters()
    assert not network.scored
    assert wrong(network.labels(frame), expected) == 0
    with pytest.raises(dwnet.DWNetError, match=r"a\.onnx gives labels without scores; allowed is `labels`"):
        network.logits(frame)


def test_ids_of_a_label_map_follow_the_class_file(tmp_path: Path) -> None:
    path = colour_network(tmp_path / "a.onnx", kind="labels", given="int32")
    classes = [{"name": "blue", "id": 2}, {"name": "red", "id": 0}]
    class_file(tmp_path / "c.json", classes=classes, ignore=[1])
    adopt(path, read_class_file(tmp_path / "c.json"))
    frame, strongest = quarters()
    labels = dwnet.load(path, threads=1).labels(frame)
    assert wrong(labels, np.choose(strongest, [1, 255, 0]).astype(np.uint8)) == 0
    class_file(tmp_path / "c.json", classes=classes)
    with pytest.raises(NetworkFileError, match=r"a\.onnx: the network's label map has the id 1; its classes have the"):
        adopt(path, read_class_file(tmp_path / "c.json"))


def test_ids_of_scores_follow_the_class_file(tmp_path: Path) -> None:
    classes = [{"name": "blue", "id": 2}, {"name": "red", "id": 0}, {"name": "green", "id": 1}]
    network = adopted(colour_network(tmp_path / "a.onnx"), classes=classes)
    frame, strongest = quarters()
    assert network.info.classes == ("blue", "red", "green")
    assert wrong(network.labels(frame), np.choose(strongest, [1, 2, 0]).astype(np.uint8)) == 0


@pytest.mark.parametrize("names", [("crack",), ("rest", "crack")])
@pytest.mark.parametrize("activation", [None, "Sigmoid"])
def test_one_score(tmp_path: Path, names: tuple[str, ...], activation: str | None) -> None:
    """The score 20 (R - 0.5): above 0, or above 0.5 after the sigmoid, where R is above 127.5."""
    path = colour_network(
        tmp_path / "a.onnx", kind="binary", weight=[[20, 0, 0]], bias=[-10], activation=activation, stride=4
    )
    network = adopted(path, *names)
    assert network.info.classes == (names if len(names) == 2 else ("background", "crack"))
    frame, strongest = quarters()
    assert wrong(network.labels(frame), (strongest == 0).astype(np.uint8), border=4) == 0
    # The softmax of the two logits is the probability, with and without the sigmoid.
    low, high = network.logits(np.full((8, 8, 3), 140, np.uint8))[:, 4, 4]
    assert high - low == pytest.approx(20 * (140 / 255 - 0.5), abs=1e-3)
    shifted = adopted(path, *names, options=AdoptOptions(threshold=0.9 if activation else 5.0))
    assert shifted.labels(np.full((8, 8, 3), 170, np.uint8)).max() == (1 if activation else 0)
    with pytest.raises(
        NetworkFileError, match=r"gives one score per pixel, which decides between 2 classes; .* names 3"
    ):
        adopted(path, *NAMES)


def test_colours_range_and_type(tmp_path: Path) -> None:
    frame, strongest = quarters()
    network = adopted(colour_network(tmp_path / "bgr.onnx"), options=AdoptOptions(bgr=True))
    assert wrong(network.labels(frame), np.choose(strongest, [2, 1, 0]).astype(np.uint8)) == 0
    # Two classes: 100 against the red value of 0..255; 0.4 against that of 0..1.
    grey = np.array([[[90, 0, 0], [110, 0, 0]]], np.uint8)
    for taken, white, limit in (
        ("uint8", None, 100),
        ("float32", 255, 100),
        ("float32", None, 0.4),
        ("float16", 1, 0.4),
    ):
        path = colour_network(tmp_path / "r.onnx", taken=taken, weight=[[0, 0, 0], [1, 0, 0]], bias=[limit, 0])
        network = adopted(path, "dark", "bright", options=AdoptOptions(white=white))
        assert network.labels(grey).tolist() == [[0, 1]]
    # After the normalisation, in the order of the network's channels.
    path = colour_network(tmp_path / "n.onnx", weight=[[0, 0, 0], [0, 0, 1]], bias=[0.3, 0])
    options = AdoptOptions(bgr=True, mean=(0, 0, 0.25), std=(1, 1, 0.5))
    network = adopted(path, "dark", "bright", options=options)
    assert network.labels(np.array([[[101, 0, 0], [103, 0, 0]]], np.uint8)).tolist() == [[0, 1]]  # 0.4 * 255 = 102


def test_probabilities_become_logarithms(tmp_path: Path) -> None:
    network = adopted(colour_network(tmp_path / "a.onnx", activation="Softmax"))
    logits = network.logits(np.array([[[255, 0, 0]]], np.uint8))[:, 0, 0]
    np.testing.assert_allclose(logits - logits[1], [1, 0, 0], atol=1e-5)


def test_multiple_of_the_sides_is_found(tmp_path: Path) -> None:
    network = adopted(colour_network(tmp_path / "a.onnx", stride=4, strict=16))
    assert network.info.multiple == 16
    frame, expected = quarters(41, 67)
    assert wrong(network.labels(frame), expected, border=4) == 0


def test_one_of_several_outputs(tmp_path: Path) -> None:
    path = colour_network(tmp_path / "a.onnx", second=True)
    with pytest.raises(
        NetworkFileError, match=r"has the outputs out float32 .*, aux float32 .*; --output NAME chooses"
    ):
        adopted(path)
    with pytest.raises(NetworkFileError, match=r"has no output 'logits'; allowed: out float32"):
        adopted(path, options=AdoptOptions(output="logits"))
    frame, expected = quarters()
    assert wrong(adopted(path, options=AdoptOptions(output="aux")).labels(frame), expected) == 0


@pytest.mark.parametrize("size", [(64, 96), None])
def test_ultralytics(tmp_path: Path, size: tuple[int, int] | None) -> None:
    """Frames keep their proportions, centred in grey; the border does not reach the labels."""
    network = dwnet.load(ultralytics(tmp_path / "yolo.onnx", size=size), threads=1)
    assert network.info.classes == ("road", "tree", "sky")
    for height, width in ((48, 80), (100, 60), (64, 96), (33, 200)):
        frame, expected = quarters(height, width)
        assert wrong(network.labels(frame), expected, border=3) == 0
    assert isinstance(network, ForeignSegmenter)
    assert network.layout.fit == "letterbox"
    assert network.adoption.origin == "an export of Ultralytics' semantic task"


def test_ultralytics_preprocessing(tmp_path: Path) -> None:
    """As its LetterBox: a 48 x 80 frame in 64 x 96 is resized to 58 x 96, below 3 rows of 114."""
    from dwnet.deploy.layout import place, prepare

    network = dwnet.load(ultralytics(tmp_path / "yolo.onnx"), threads=1)
    assert isinstance(network, ForeignSegmenter)
    frame, _ = quarters()
    inputs, placed = prepare(network.layout, frame)
    assert (placed.inner, placed.top, placed.left) == ((58, 96), 3, 0)
    np.testing.assert_allclose(inputs[0, :, [0, 2, 61, 63]], 114 / 255, rtol=1e-6)
    np.testing.assert_allclose(inputs[0, :, 3, 0], np.array([220, 30, 40]) / 255, rtol=1e-6)
    # An odd rest: 2 px above and 3 px below, as round(2.5 - 0.1) is 2.
    odd = place(network.layout, (59, 96))
    assert (odd.top, 64 - odd.top - odd.inner[0]) == (2, 3)


def test_ultralytics_with_one_class_and_other_tasks(tmp_path: Path) -> None:
    path = ultralytics(
        tmp_path / "one.onnx", names=("crack",), weight=[[0, 0, 0], [1, 0, 0]], bias=[0.5, 0], metadata={"nc": "1"}
    )
    network = dwnet.load(path, threads=1)
    frame, strongest = quarters(64, 96)
    assert network.info.classes == ("background", "crack")
    assert wrong(network.labels(frame), (strongest == 0).astype(np.uint8)) == 0
    scored = dwnet.load(ultralytics(tmp_path / "older.onnx", kind="scores", given="float32", stride=8), threads=1)
    assert scored.scored
    assert wrong(scored.labels(frame), strongest, border=8) == 0
    with pytest.raises(NetworkFileError, match="is an Ultralytics export of the task 'detect'; allowed is 'semantic'"):
        dwnet.load(ultralytics(tmp_path / "detect.onnx", metadata={"task": "detect"}))


def test_dfine_seg(tmp_path: Path) -> None:
    """The graph has the number of classes, but not their names; `dwnet adopt` gives them."""
    path = dfine_seg(tmp_path / "sem.onnx")
    network = dwnet.load(path, threads=1)
    assert network.info.classes == ("class 0", "class 1", "class 2")
    frame, expected = quarters()
    assert wrong(network.labels(frame), expected, border=2) == 0
    assert adopted(path).info.classes == NAMES


def test_refusals_name_what_was_found(tmp_path: Path) -> None:
    path = colour_network(tmp_path / "a.onnx")
    with pytest.raises(
        NetworkFileError,
        match=r"a\.onnx is ONNX, but has no 'dwnet' metadata; `dwnet export` writes it, and `dwnet adopt a\.onnx "
        r"--classes FILE` describes a network of another package",
    ):
        dwnet.load(path)
    with pytest.raises(
        NetworkFileError, match=r"output out \(1, 3, \d+, \d+\) scores 3 classes; the class file names 2"
    ):
        adopted(path, "a", "b")
    with pytest.raises(NetworkFileError, match=r"does not name its classes; --classes FILE names them"):
        adopt(path, None)
    with pytest.raises(NetworkFileError, match=r"mean is \(124.0, 116.0, 104.0\) for frames of 0\.\.1; allowed are"):
        adopted(path, options=AdoptOptions(mean=(124, 116, 104)))
    with pytest.raises(NetworkFileError, match=r"mean is .* for frames of 0\.\.255; it is in units of 0\.\.1"):
        adopted(path, options=AdoptOptions(mean=MEAN, std=STD, white=255))
    with pytest.raises(NetworkFileError, match=r"std is \(0.0, 1.0, 1.0\); allowed are numbers above 0"):
        adopted(path, options=AdoptOptions(std=(0, 1, 1)))
    fixed = colour_network(tmp_path / "f.onnx", size=(64, 96))
    with pytest.raises(NetworkFileError, match=r"has the fixed size 64 x 96; --size allows no other"):
        adopted(fixed, options=AdoptOptions(size=(32, 32)))
    with pytest.raises(NetworkFileError, match=r"input pixels int32 \(1, 3, \?, \?\); allowed types are float32"):
        adopted(colour_network(tmp_path / "i.onnx", taken="int32"))
    with pytest.raises(NetworkFileError, match=r"f\.txt: no such file; allowed is \.onnx"):
        adopt(tmp_path / "f.txt", None)
    assert not list(tmp_path.glob("*.dwnet.json"))


def test_scores_that_are_not_numbers(tmp_path: Path) -> None:
    path = colour_network(tmp_path / "a.onnx", bias=[0, np.nan, 0])
    with pytest.raises(NetworkFileError, match=r"a\.onnx: scores of a small frame that are not numbers \(NaN\)"):
        adopted(path)
    # NaN only on some frames: log(R - 0.2).
    path = colour_network(tmp_path / "b.onnx", activation="Log", bias=[-0.2, 0, 0])
    network = adopted(colour_network(tmp_path / "c.onnx"))
    black = np.zeros((4, 5, 3), np.uint8)
    network = ForeignSegmenter(network.info, _session(path), network.adoption)
    with pytest.raises(NetworkFileError, match=r"the scores of 20 of 20 pixels are not numbers \(NaN\)"):
        network.labels(black)


def _session(path: Path) -> Any:
    from dwnet.deploy.runtime import start_session

    return start_session(path, threads=1)


def test_sidecar_belongs_to_one_file(tmp_path: Path) -> None:
    path = colour_network(tmp_path / "a.onnx")
    network = adopted(path)
    sidecar = tmp_path / "a.dwnet.json"
    content = json.loads(sidecar.read_text())
    assert content["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() == network.info.sha256
    colour_network(path, weight=np.eye(3)[::-1])
    with pytest.raises(NetworkFileError, match=r"a\.dwnet\.json describes another file than a\.onnx is now"):
        dwnet.load(path)
    sidecar.write_text("{")
    with pytest.raises(NetworkFileError, match=r"a\.dwnet\.json: .*; `dwnet adopt` writes this file"):
        dwnet.load(path)
    sidecar.write_text(json.dumps(content | {"classes": ["a"]}))
    with pytest.raises(NetworkFileError, match=r"a\.dwnet\.json: .*3 colours for 1 classes"):
        dwnet.load(path)


def test_our_own_export_needs_no_adoption(models: Path, tmp_path: Path) -> None:
    with pytest.raises(NetworkFileError, match="was written by `dwnet export` and needs no adoption"):
        adopt(models / "baseline.onnx", read_class_file(class_file(tmp_path / "c.json", *NAMES)))
