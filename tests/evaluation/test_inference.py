"""Modes of inference: hand-computed averages, modes that must not change the result, a loop in float64, and names that
distinguish the results of different modes.
"""

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dwnet.cli.main import main
from dwnet.evaluation.inference import WHOLE, Inference, sliding_window, window_starts
from dwnet.evaluation.predictors import FramePredictor, load_predictor, method_predictor
from dwnet.method.specs import method_spec
from tests.evaluation.test_evaluate import write_bright_is_road, write_camvid
from tests.exported import write_keyframe, write_segmenter, write_static_warp
from tests.references import TinySegmenter, resize_loop

MODES = (
    WHOLE,
    Inference(flip=True),
    Inference(scales=(0.75, 1, 1.25)),
    Inference(scales=(0.75,)),
    Inference(window=16),
    Inference(window=16, window_overlap=Fraction(1, 2)),
    Inference(window=16, scales=(0.5, 1), flip=True),
)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def channels(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1) / 255


def pointwise(image: np.ndarray) -> Tensor:
    """A 1x1 convolution to 5 classes."""
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    return (weight[:, :, None, None] * channels(image)[None]).sum(dim=1)


def wide(image: np.ndarray) -> Tensor:
    """A 3x3 convolution, for which the surroundings of a window and the direction matter."""
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.conv2d(channels(image)[None], weight, padding=1)[0]


# ------------------------------------------------------------------------------------------------------------ windows


@given(side=st.integers(1, 200), window=st.integers(1, 60), overlap=st.fractions(0, Fraction(9, 10)))
def test_windows_cover_a_side_and_overlap_as_asked(side: int, window: int, overlap: Fraction) -> None:
    inference = Inference(window=window, window_overlap=overlap)
    assert inference.stride is not None
    side = max(side, window)
    starts = window_starts(side, window, inference.stride)
    assert (starts[0], starts[-1]) == (0, side - window)
    steps = np.diff(starts)
    assert (steps > 0).all()
    # Rounding changes the overlap by at most one pixel.
    assert all(window - step > overlap * window - 1 for step in steps)
    assert len(starts) == math.ceil((side - window) / inference.stride) + 1


def test_a_stride_is_what_the_overlap_leaves() -> None:
    assert Inference(window=768).stride == 512
    assert Inference(window=713).stride == 476  # PSPNet's: ceil(713 * 2 / 3)
    assert Inference(window=8, window_overlap=Fraction(0)).stride == 8
    assert WHOLE.stride is None


def test_logits_of_overlapping_windows_are_averaged() -> None:
    """Each window returns its first column: 0, 2 and 3 on a frame of 4 x 7 pixels."""
    image = np.zeros((4, 7, 3), np.uint8)
    image[..., 0] = np.arange(7)
    seen: list[tuple[int, ...]] = []

    def first_column(part: np.ndarray) -> Tensor:
        seen.append(part.shape)
        return torch.full((1, *part.shape[:2]), float(part[0, 0, 0]))

    found = sliding_window(first_column, image, window=4, stride=2)
    assert seen == [(4, 4, 3)] * 3
    expected = [0, 0, (0 + 2) / 2, (0 + 2 + 3) / 3, (2 + 3) / 2, (2 + 3) / 2, 3]
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.tensor(expected, dtype=torch.float32).expand(1, 4, 7))


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    window=st.integers(1, 50),
    overlap=st.fractions(0, Fraction(9, 10)),
)
def test_windows_change_nothing_for_a_pointwise_network(
    height: int, width: int, window: int, overlap: Fraction
) -> None:
    """The results are bit-identical, at odd sizes, and for frames that are smaller than the window."""
    image = picture(height, width)
    if window < 4:  # limits the number of windows
        overlap = Fraction(0)
    found = Inference(window=window, window_overlap=overlap).scores(pointwise, image)
    assert torch.equal(found, pointwise(image))


def test_a_window_as_large_as_the_frame_is_the_whole_frame() -> None:
    image = picture(24, 24)
    assert torch.equal(Inference(window=24).scores(wide, image), wide(image))
    assert not torch.equal(Inference(window=16).scores(wide, image), wide(image))


def test_a_frame_smaller_than_the_window_is_padded_with_its_edge() -> None:
    image = picture(5, 7)
    padded = np.pad(image, ((0, 4), (0, 2), (0, 0)), mode="edge")
    assert torch.equal(Inference(window=9).scores(wide, image), wide(padded)[:, :5, :7])


# --------------------------------------------------------------------------------------------- scales and mirror images


@pytest.mark.parametrize(("height", "width"), [(12, 16), (7, 11)])
def test_mirroring_changes_nothing_for_an_equivariant_network(height: int, width: int) -> None:
    image = picture(height, width)
    plain = pointwise(image).softmax(dim=0)
    assert torch.equal(Inference(flip=True).scores(pointwise, image), plain)
    windowed = Inference(window=5, flip=True).scores(pointwise, image)
    assert torch.equal(windowed, plain)
    assert not torch.equal(Inference(flip=True).scores(wide, image), wide(image).softmax(dim=0))


def test_a_mirrored_probability_by_hand() -> None:
    """Two classes, odds of 3^x at column x = 0, 1, 2: probabilities 1/2, 3/4, 9/10, and mirrored 9/10, 3/4, 1/2."""

    def columns(image: np.ndarray) -> Tensor:
        odds = math.log(3) * torch.arange(image.shape[1]).expand(image.shape[:2])
        return torch.stack((odds, torch.zeros(image.shape[:2])))

    found = Inference(flip=True).scores(columns, picture(2, 3))[0]
    assert torch.allclose(found, torch.tensor([0.7, 0.75, 0.7]).expand(2, 3), atol=1e-6)


def test_the_probabilities_of_scales_are_averaged_not_their_logits() -> None:
    """Odds of 1, 9 and 99 to 1 at the three sizes: the mean of 0.5, 0.9 and 0.99."""
    sizes: list[tuple[int, int]] = []

    def by_size(image: np.ndarray) -> Tensor:
        sizes.append(image.shape[:2])
        odds = {6: 1, 8: 9, 10: 99}[image.shape[0]]
        return torch.stack((torch.full(image.shape[:2], math.log(odds)), torch.zeros(image.shape[:2])))

    found = Inference(scales=(0.75, 1, 1.25)).scores(by_size, picture(8, 11))
    assert sizes == [(6, 8), (8, 11), (10, 14)]
    assert found.shape == (2, 8, 11)
    assert torch.allclose(found[0], torch.full((8, 11), (0.5 + 0.9 + 0.99) / 3), atol=1e-6)


@pytest.mark.parametrize("window", [None, 6, 40])
def test_everything_together_is_a_loop(window: int | None) -> None:
    """Scales, mirror images and windows together, for a network that is neither pointwise nor equivariant."""
    image, scales = picture(11, 15), (0.6, 1.0, 1.7)
    views = []
    for scale, mirrored in itertools.product(scales, (False, True)):
        seen = cv2.resize(image, (round(15 * scale), round(11 * scale)), interpolation=cv2.INTER_LINEAR)
        seen = seen[:, ::-1] if mirrored else seen
        height, width = seen.shape[:2]
        if window is None:
            logits = wide(seen.copy()).double().numpy()
        else:
            padded = np.pad(seen, ((0, max(0, window - height)), (0, max(0, window - width)), (0, 0)), mode="edge")
            total = np.zeros((4, *padded.shape[:2]))
            count = np.zeros(padded.shape[:2])
            stride = math.ceil(window / 2)
            tops = sorted({min(stride * i, padded.shape[0] - window) for i in range(20)})
            lefts = sorted({min(stride * i, padded.shape[1] - window) for i in range(20)})
            for top, left in itertools.product(tops, lefts):
                part = np.ascontiguousarray(padded[top : top + window, left : left + window])
                total[:, top : top + window, left : left + window] += wide(part).double().numpy()
                count[top : top + window, left : left + window] += 1
            logits = (total / count)[:, :height, :width]
        logits = logits[..., ::-1] if mirrored else logits
        exponentials = np.exp(resize_loop(logits, (11, 15)))
        views.append(exponentials / exponentials.sum(axis=0))
    inference = Inference(window=window, window_overlap=Fraction(1, 2), scales=scales, flip=True)
    assert np.allclose(inference.scores(wide, image).numpy(), np.mean(views, axis=0), atol=1e-5)


# ------------------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("inference", MODES, ids=str)
def test_an_exported_network_and_a_method_go_through_every_mode(inference: Inference, tmp_path: Path) -> None:
    """A pointwise network has the same labels in all modes without scaling. The sizes of labels are always correct."""
    image = picture(21, 33)
    onnx_predictor, _ = load_predictor(write_segmenter(tmp_path / "colour.onnx"), inference)
    torch.manual_seed(0)
    method_at_stride_1 = method_spec("baseline").build(TinySegmenter(stride=1))
    torch_predictor = method_predictor(method_at_stride_1, inference)
    for predictor in (onnx_predictor, torch_predictor):
        assert isinstance(predictor, FramePredictor)
        assert predictor.reference is None
        assert predictor.memory(3) == 0
        labels = predictor.labels(image, None)
        assert (labels.shape, labels.dtype) == ((21, 33), np.uint8)
    if set(inference.scales) == {1.0}:
        assert np.array_equal(onnx_predictor.labels(image, None), image.argmax(axis=2))
        plain = method_predictor(method_at_stride_1).labels(image, None)
        assert np.array_equal(torch_predictor.labels(image, None), plain)


def test_networks_with_a_memory_refuse_all_but_whole_images(tmp_path: Path) -> None:
    files = [write_static_warp(tmp_path / "static.onnx"), write_keyframe(tmp_path / "key.onnx")]
    for inference in MODES[1:]:
        for path in files:
            with pytest.raises(
                ValueError, match=rf"{path.name} is a \w+ network, found .*uses features of an earlier whole"
            ):
                load_predictor(path, inference)
        for name in ("static_warp", "keyframe"):
            method = method_spec(name).build(TinySegmenter())
            with pytest.raises(ValueError, match=f"last.pt is a {name} network, found .*; allowed are whole images"):
                method_predictor(method, inference, source="last.pt")
    assert [load_predictor(path)[1] for path in files] == [("Red", "Green", "Blue")] * 2


# -------------------------------------------------------------------------------------------------------------- names


def test_every_mode_has_a_name_of_its_own() -> None:
    assert len({str(mode) for mode in MODES}) == len({mode.short for mode in MODES}) == len(MODES)
    assert (str(WHOLE), WHOLE.short) == ("whole images, no test-time augmentation", "")
    everything = Inference(window=768, scales=(0.75, 1, 1.25), flip=True)
    assert everything.short == "window 768, stride 512, scales 0.75 1 1.25, flip"
    assert str(everything) == (
        "windows of 768 px every 512 px, logits averaged where they overlap, probabilities averaged over scales "
        "0.75, 1, 1.25 and mirror images"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window is 0"),
        ({"window": 8, "window_overlap": Fraction(1)}, "window_overlap is 1; allowed is a part of the window, 0 to be"),
        ({"window_overlap": Fraction(-1, 3)}, "window_overlap is -1/3"),
        ({"scales": ()}, "at least one"),
        ({"scales": (1.0, -0.5)}, r"scales are \(1.0, -0.5\); allowed are numbers above 0"),
        ({"scales": (math.inf,)}, r"scales are \(inf,\)"),
        ({"scales": (math.nan,)}, r"scales are \(nan,\)"),
        ({"scales": (1.0, 1.0)}, "allowed is each one once"),
    ],
)
def test_a_mode_that_cannot_be_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Inference(**options)


def test_the_command_names_the_mode_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mode is in the header, both tables and the JSON file. Ground truth has no mode. Flicker is still measured."""
    root, model = write_camvid(tmp_path / "data"), write_bright_is_road(tmp_path / "bright.onnx")
    arguments = ["evaluate", str(model), "--root", str(root), "--ground-truth", "--output", str(tmp_path / "all.json")]
    options = ["--window", "32", "--window-overlap", "0.25", "--scales", "1", "1.5", "--flip"]
    assert main([*arguments, *options]) == 0
    printed = capsys.readouterr().out
    mode = Inference(window=32, window_overlap=Fraction(1, 4), scales=(1, 1.5), flip=True)
    assert f"; {mode};\n" in printed
    row = "bright (window 32, stride 24, scales 1 1.5, flip)"
    assert f"\n| {row} | " in printed
    assert f"\n| class IoU % | {row} | ground truth |\n" in printed
    written = json.loads((tmp_path / "all.json").read_text())
    assert written["inference"] == {
        "text": str(mode),
        "window": 32,
        "stride": 24,
        "scales": [1.0, 1.5],
        "flip": True,
    }
    assert [model["name"] for model in written["models"]] == [row, "ground truth"]
    assert [model["flicker"]["frames"] for model in written["models"]] == [2, 2]
    assert main([*arguments[:4], "--window", "32"]) == 0
    # A pointwise network: windows alone change no number.
    windowed = capsys.readouterr().out
    assert main(arguments[:4]) == 0
    whole = capsys.readouterr().out
    plain = windowed.replace(" (window 32, stride 22)", "").replace(str(Inference(window=32)), str(WHOLE))
    assert plain == whole
