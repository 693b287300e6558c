"""Networks in ONNX Runtime: metadata and interface are checked, padding does not move pixels, and the static warp's
state is empty at the start, holds one frame, and is cleared by reset. Expected values are computed in NumPy from the
known results of the tiny networks (`tests.exported`).
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dwnet.deploy.runtime import (
    NetworkFileError,
    OnnxFlowRefinement,
    OnnxKeyframe,
    OnnxSegmenter,
    OnnxStaticWarp,
    argmax_labels,
    check_same_classes,
    load,
    load_any,
)
from tests.exported import CLASSES, PALETTE, metadata, write_keyframe, write_segmenter


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (5, 3, 4), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0, -np.inf])))
def test_argmax_is_numpys_with_ties(logits: np.ndarray) -> None:
    labels = argmax_labels(logits)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, logits.argmax(0))


def test_argmax_reaches_the_last_of_255_classes() -> None:
    logits = np.zeros((255, 1, 2), np.float32)
    logits[254, 0, 1] = 1
    np.testing.assert_array_equal(argmax_labels(logits), [[0, 254]])


def test_load_tells_what_the_file_says(models: Path) -> None:
    network = load(models / "baseline.onnx")
    assert isinstance(network, OnnxSegmenter)
    info = network.info
    assert (info.kind, info.method, info.classes, info.palette) == ("segmenter", "baseline", CLASSES, PALETTE)
    assert (info.stride, info.channels, info.metrics["miou_percent"], info.recipe["name"]) == (16, 3, 12.5, "tiny")
    assert len(info.sha256) == 64
    assert isinstance(load(models / "static_warp.onnx", kind="static_warp"), OnnxStaticWarp)
    assert isinstance(load_any(models / "flow_refinement.onnx"), OnnxFlowRefinement)


@pytest.mark.parametrize("size", [(16, 32), (17, 31), (1, 1), (47, 64)])
def test_segmenter_labels_at_any_size(models: Path, size: tuple[int, int]) -> None:
    network = load(models / "baseline.onnx", threads=1)
    image = random_image(*size)
    np.testing.assert_allclose(network.logits(image), image.transpose(2, 0, 1) / 255, atol=1e-6)
    np.testing.assert_array_equal(network.labels(image), image.argmax(2))


def test_static_warp_first_frame_fuses_nothing_then_carries_one_frame(models: Path) -> None:
    network = load(models / "static_warp.onnx", threads=1)
    still = np.zeros((2, 20, 40), np.float32)
    first, second = random_image(20, 40, 1), random_image(20, 40, 2)
    scale = 1 / 255
    np.testing.assert_allclose(network.logits(first), first.transpose(2, 0, 1) * scale, atol=1e-6)

    padded = np.pad(first, ((0, 12), (0, 8), (0, 0)), mode="edge").astype(np.float64) * scale
    pooled = padded.reshape(2, 16, 3, 16, 3).mean((1, 3))
    before = pooled.repeat(16, 0).repeat(16, 1)[:20, :40]
    expected = (second * scale + 3 * before).transpose(2, 0, 1)
    np.testing.assert_allclose(network.logits(second, still), expected, atol=1e-5)

    network.reset()
    np.testing.assert_array_equal(network.labels(second), second.argmax(2))


def test_static_warp_refuses_what_it_cannot_fuse(models: Path) -> None:
    network = load(models / "static_warp.onnx", threads=1)
    network.labels(random_image(32, 32))
    with pytest.raises(ValueError, match="static_warp needs the flow to its `reference`"):
        network.labels(random_image(32, 32))
    with pytest.raises(ValueError, match=r"flow of shape \(2, 16, 16\).*32x32 px.*expected \(2, 32, 32\)"):
        network.labels(random_image(32, 32), np.zeros((2, 16, 16), np.float32))
    with pytest.raises(ValueError, match=r"frame of 64x32 px.*call reset\(\)"):
        network.labels(random_image(32, 64), np.zeros((2, 32, 64), np.float32))


def test_reference_is_the_frame_that_the_flow_must_lead_to(models: Path) -> None:
    image = random_image(32, 32)
    for name, expected in (("baseline", None), ("static_warp", image)):
        network = load(models / f"{name}.onnx", threads=1)
        assert isinstance(network, OnnxSegmenter)
        assert network.reference is None
        network.labels(image)
        assert network.reference is expected
        assert network.fresh().reference is None
        network.reset()
        assert network.reference is None


def test_keyframe_runs_on_key_frames_and_propagates_their_features(tmp_path: Path) -> None:
    network = load(write_keyframe(tmp_path / "keyframe.onnx", key_interval=3), kind="keyframe", threads=1)
    assert isinstance(network, OnnxKeyframe)
    assert network.info.key_interval == 3
    images = [random_image(20, 40, seed) for seed in range(5)]
    expected_references = [None, images[0], images[0], None, images[3]]
    for dx, (image, reference) in enumerate(zip(images, expected_references, strict=True)):
        assert network.reference is reference
        flow = np.full((2, 20, 40), dx, np.float32)
        found = network.logits(image, None if reference is None else flow)
        assert found.shape == (3, 20, 40)
        if reference is None:
            np.testing.assert_allclose(found, image.transpose(2, 0, 1) / 255, atol=1e-6)
        else:
            padded = np.pad(reference, ((0, 12), (0, 8), (0, 0)), mode="edge") / 255
            pooled = padded.reshape(2, 16, 3, 16, 3).mean((1, 3))
            expected = pooled.repeat(16, 0).repeat(16, 1)[:20, :40].transpose(2, 0, 1) + dx
            np.testing.assert_allclose(found, expected, atol=1e-5)
    other = network.fresh()
    assert other.reference is None
    assert network.reference is images[3]
    network.reset()
    np.testing.assert_array_equal(network.labels(images[1]), images[1].argmax(2))


def test_keyframe_refuses_what_it_cannot_propagate(tmp_path: Path) -> None:
    network = load(write_keyframe(tmp_path / "keyframe.onnx"), threads=1)
    assert isinstance(network, OnnxKeyframe)
    network.labels(random_image(32, 32))
    with pytest.raises(ValueError, match="keyframe needs the flow to its `reference`"):
        network.labels(random_image(32, 32))
    with pytest.raises(ValueError, match=r"flow of shape \(2, 16, 16\).*32x32 px.*expected \(2, 32, 32\)"):
        network.labels(random_image(32, 32), np.zeros((2, 16, 16), np.float32))
    with pytest.raises(ValueError, match=r"frame of 64x32 px after one of 32x32 px: call reset\(\)"):
        network.labels(random_image(32, 64), np.zeros((2, 32, 64), np.float32))


def test_every_frame_is_a_key_frame_at_interval_1(tmp_path: Path) -> None:
    network = load(write_keyframe(tmp_path / "keyframe.onnx", key_interval=1), threads=1)
    assert isinstance(network, OnnxKeyframe)
    for seed in range(3):
        image = random_image(16, 16, seed)
        np.testing.assert_array_equal(network.labels(image), image.argmax(2))
        assert network.reference is None


def test_keyframe_file_with_a_wrong_interval(tmp_path: Path) -> None:
    with pytest.raises(
        NetworkFileError, match=r"wrong\.onnx: 'dwnet' metadata: key_interval: .* greater than or equal to 1, found 0"
    ):
        load(write_keyframe(tmp_path / "wrong.onnx", key_interval=0))


def test_refined_flow_comes_back_in_pixels_of_the_frame(models: Path) -> None:
    """A constant flow at an odd size: the tiny network changes only the unit, so the same flow must be returned."""
    network = load(models / "flow_refinement.onnx", kind="flow_refinement", threads=1)
    image = random_image(33, 50)
    flow = np.broadcast_to(np.array([3.5, -2.0], np.float32)[:, None, None], (2, 33, 50))
    refined = network.refine(image, image, flow)
    assert refined.shape == (2, 33, 50)
    np.testing.assert_allclose(refined, flow, atol=1e-5)
    # A neighbour darker by 0.2 in red adds 0.2 px of the small map: 3.2 px of the frame.
    bright, dark = np.zeros((32, 48, 3), np.uint8), np.zeros((32, 48, 3), np.uint8)
    bright[..., 0] = 51
    np.testing.assert_allclose(network.refine(bright, dark, np.zeros((2, 32, 48), np.float32))[0], 3.2, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"neighbour of shape \(32, 50, 3\) for a frame of shape \(33, 50, 3\); allowed is one shape"
    ):
        network.refine(image, image[:-1], flow)


def test_images_of_another_kind_are_refused(models: Path) -> None:
    network = load(models / "baseline.onnx", threads=1)
    for wrong in (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\) RGB, found"):
            network.labels(wrong)


def test_files_that_are_not_exported_networks(tmp_path: Path, models: Path) -> None:
    with pytest.raises(NetworkFileError, match=r"no exported network at .*nowhere\.onnx"):
        load(tmp_path / "nowhere.onnx")
    text = tmp_path / "text.onnx"
    text.write_text("not a network")
    with pytest.raises(NetworkFileError, match=r"text\.onnx is not an ONNX file"):
        load(text)
    with pytest.raises(NetworkFileError, match="has no 'dwnet' metadata"):
        load(write_segmenter(tmp_path / "bare.onnx", meta=None))
    with pytest.raises(NetworkFileError, match="labels no frames; load it with kind='flow_refinement'"):
        load(models / "flow_refinement.onnx")
    with pytest.raises(NetworkFileError, match="is a folder; allowed is one exported network"):
        load(models)
    with pytest.raises(NetworkFileError, match="kind 'segmenter'; expected 'flow_refinement'"):
        load(models / "baseline.onnx", kind="flow_refinement")
    with pytest.raises(ValueError, match="unknown kind 'detector'; allowed: segmenter"):
        load(models / "baseline.onnx", kind="detector")
    with pytest.raises(ValueError, match="threads must be at least 1, found 0"):
        load(models / "baseline.onnx", threads=0)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("{", "wrong.onnx: 'dwnet' metadata: Invalid JSON"),
        ("[]", r"wrong.onnx: 'dwnet' metadata: Input should be an object, found \[\]"),
        ({"format": 1, "kind": "segmenter"}, "wrong.onnx: 'dwnet' metadata: method: Field required"),
        (metadata("segmenter", "baseline", format=7), "metadata: format: Input should be 1, found 7"),
        (
            metadata("detector", "baseline"),
            "metadata: kind: Input should be 'segmenter', 'static_warp', .* found 'detector'",
        ),
        (metadata("static_warp", "static_warp"), "the inputs image; a static_warp has image, previous_features, flow"),
        (
            metadata("segmenter", "baseline", palette=[[0, 0, 0]]),
            "metadata: palette: 1 colours for 3 classes; allowed is one colour per class",
        ),
        (
            metadata("segmenter", "baseline", classes=["A", "B"], palette=[[0, 0, 0]] * 2),
            "scores 3 classes, but names 2",
        ),
        (metadata("segmenter", "baseline", stride=0), "metadata: stride: .* greater than or equal to 1, found 0"),
        (metadata("segmenter", "baseline", stride="16"), "metadata: stride: .* valid integer, found '16'"),
        (metadata("segmenter", "baseline", multiple=24), "metadata: multiple: .* multiples of the stride 16, found 24"),
        (metadata("segmenter", "baseline", channels=-1), "metadata: channels: .* greater than or equal to 1, found -1"),
        (metadata("segmenter", "baseline", classes=[], palette=[]), "metadata: classes: .* at least 1 item"),
        (
            metadata("segmenter", "baseline", palette=[[0, 0, 0], [0, 0, 256], [1, 1, 1]]),
            r"metadata: palette\.1\.2: .* less than or equal to 255, found 256",
        ),
        (metadata("segmenter", "baseline", metrics=[1]), r"metadata: metrics: .* an object, found \[1\]"),
    ],
)
def test_wrong_metadata(tmp_path: Path, meta: dict | str, message: str) -> None:
    with pytest.raises(NetworkFileError, match=message):
        load(write_segmenter(tmp_path / "wrong.onnx", meta=meta))


def test_files_of_earlier_versions_load(tmp_path: Path) -> None:
    """The first files had no multiple, key interval or commit, and had null for unknown values."""
    old = metadata("segmenter", "baseline", recipe=None, metrics={"iou_percent": [None, float("nan")]}, newer=[1])
    del old["commit"]
    info = load(write_segmenter(tmp_path / "old.onnx", meta=old)).info
    assert (info.multiple, info.key_interval, info.commit, info.recipe) == (info.stride, 1, "", {})
    assert info.metrics["iou_percent"][0] is None


def test_wrong_output_name(tmp_path: Path) -> None:
    with pytest.raises(NetworkFileError, match="the outputs scores; a segmenter has logits"):
        load(write_segmenter(tmp_path / "wrong.onnx", output="scores"))


def test_compared_networks_need_the_same_classes(tmp_path: Path, models: Path) -> None:
    baseline = load(models / "baseline.onnx")
    check_same_classes([])
    check_same_classes([baseline, load(models / "dwnet.onnx")])
    swapped = metadata("segmenter", "dwnet", classes=["Green", "Red", "Blue"])
    other = load(write_segmenter(tmp_path / "swapped.onnx", meta=swapped))
    with pytest.raises(
        NetworkFileError, match=r"swapped\.onnx predicts Green, Red, Blue; .*baseline\.onnx predicts Red"
    ):
        check_same_classes([baseline, other])
