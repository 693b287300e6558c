"""Evaluation on a tiny CamVid of five frames: numbers by hand, the arguments of predictors, and the whole command with
its errors.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from dwnet.cli.main import main
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.files import code_commit
from dwnet.core.launch import ALONE, available_cpus
from dwnet.data import CAMVID_11, open_data
from dwnet.deploy.runtime import OnnxKeyframe, load
from dwnet.evaluation import predictors
from dwnet.evaluation.measure import Evaluation, EvaluationSettings, evaluate
from dwnet.evaluation.predictors import OnnxPredictor, load_predictor
from dwnet.evaluation.report import markdown
from dwnet.ops.device import device
from tests.exported import metadata, write_keyframe, write_segmenter

HEIGHT, WIDTH = 48, 64
# Three frames at distances of two raw frames, a distant frame of the same sequence, and a frame of another sequence.
NAMES = ("0016E5_07959", "0016E5_07961", "0016E5_07963", "0016E5_08001", "Seq05VD_f08003")
VOID = 11  # on disk


def texture(shift: int = 0) -> np.ndarray:
    rng = np.random.default_rng(0)
    image = cv2.resize(
        rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC
    )
    return np.roll(image, shift, axis=1)


def truth(index: int) -> np.ndarray:
    """Sky above, road below, some void; ids as on disk."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[24:] = 3
    labels[: index + 1, :8] = VOID
    return labels


def write_camvid(root: Path, shifts: tuple[int, ...] = (0,) * 5) -> Path:
    for index, (name, shift) in enumerate(zip(NAMES, shifts, strict=True)):
        for part, array in (("images", texture(shift)[..., ::-1]), ("labels", truth(index))):
            path = root / "val" / part / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), array)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_camvid(tmp_path_factory.mktemp("camvid"))


class Scripted:
    """Returns given label maps and logs the calls."""

    def __init__(self, answers: list[np.ndarray]) -> None:
        self.answers, self.log, self.flows = answers, "", list[np.ndarray | None]()
        self.reference: np.ndarray | None = None

    def reset(self) -> None:
        self.log += "R"
        self.reference = None

    def labels(self, image: np.ndarray, flow_px: np.ndarray | None) -> np.ndarray:
        assert image.dtype == np.uint8
        assert image.shape == (HEIGHT, WIDTH, 3)
        self.log += "." if flow_px is None else "f"
        self.flows.append(flow_px)
        self.reference = image
        return self.answers[len(self.flows) - 1]

    def warmup_frames(self, index: int) -> int:
        return 0

    def memory(self, position: int) -> int:
        raise AssertionError("a single process runs every frame, and none twice")


def answers() -> list[np.ndarray]:
    """Returns all sky, then twice sky with a block of 5 x 6 tree pixels, then two frames of car only."""
    first = np.zeros((HEIGHT, WIDTH), np.uint8)
    second = first.copy()
    second[10:15, 20:26] = 5
    car = np.full_like(first, 8)
    return [first, second, second.copy(), car, car.copy()]


def iou_by_loop(predictions: list[np.ndarray]) -> tuple[dict[int, float], float]:
    pairs = [
        (int(t), int(p))
        for index, prediction in enumerate(predictions)
        for t, p in zip(truth(index).ravel(), prediction.ravel(), strict=True)
        if t != VOID
    ]
    ious = {}
    for c in range(11):
        union = sum(c in pair for pair in pairs)
        if union:
            ious[c] = 100 * sum(t == p == c for t, p in pairs) / union
    return ious, 100 * sum(t == p for t, p in pairs) / len(pairs)


def test_numbers_by_hand(root: Path) -> None:
    data, told = open_data("camvid", root, "val"), list[tuple[int, int]]()
    predictor = Scripted(answers())
    result = evaluate("scripted", predictor, data, progress=lambda done, total: told.append((done, total)))
    ious, accuracy = iou_by_loop(answers())
    assert set(ious) == {0, 3, 5, 8}
    assert result.name == "scripted"
    assert result.segmentation.miou_percent == pytest.approx(sum(ious.values()) / 4)
    assert result.segmentation.pixel_accuracy_percent == pytest.approx(accuracy)
    for c, value in enumerate(result.segmentation.per_class_iou_percent):
        assert value == (pytest.approx(ious[c]) if c in ious else None)
    # Nothing moves: every pixel of the two consecutive pairs counts, and the 30 pixels of the block change once.
    assert result.flicker is not None
    assert (result.flicker.frames, result.flicker.pixels) == (2, 2 * HEIGHT * WIDTH)
    assert result.flicker.flips_percent == pytest.approx(100 * 30 / (2 * HEIGHT * WIDTH))
    assert told == [(i, 5) for i in range(1, 6)]


def test_flow_goes_to_consecutive_frames_only_and_the_others_start_afresh(root: Path) -> None:
    predictor = Scripted(answers())
    evaluate("scripted", predictor, open_data("camvid", root, "val"))
    assert predictor.log == "R.ffR.R."  # before the first, the fourth and the fifth frame
    flow = predictor.flows[1]
    assert flow is not None
    assert flow.shape == (2, HEIGHT, WIDTH)
    wide = Scripted(answers())
    evaluate("scripted", wide, open_data("camvid", root, "val"), EvaluationSettings(max_gap=38))
    assert wide.log == "R.fffR."
    none = Scripted(answers())
    assert evaluate("scripted", none, open_data("camvid", root, "val"), EvaluationSettings(max_gap=1)).flicker is None
    assert "f" not in none.log


def test_frames_that_follow_none_are_led_by_the_raw_frames_before_them(tmp_path: Path) -> None:
    """Extracted raw frames come before the first and the fourth frame, but not before the fifth. They do not count."""
    root = write_camvid(tmp_path)
    for name in ("0016E5_07958", "0016E5_07957", "0016E5_08000", "Seq05VD_f08001"):
        (root / "video_frames").mkdir(exist_ok=True)
        assert cv2.imwrite(str(root / "video_frames" / f"{name}.jpg"), texture(4)[..., ::-1])

    class Led(Scripted):
        def warmup_frames(self, index: int) -> int:
            return 1

    first, second, third, fourth, fifth = answers()
    lead = np.full_like(first, 7)
    led = Led([lead, first, second, third, lead, fourth, fifth])
    told = list[int]()
    result = evaluate("led", led, open_data("camvid", root, "val"), on_labels=lambda index, _: told.append(index))
    assert led.log == "R.fffR.fR."
    assert told == [0, 1, 2, 3, 4]
    assert result.without_warmup == 1
    alone = evaluate("alone", Scripted(answers()), open_data("camvid", root, "val"))
    assert (result.segmentation, result.flicker, alone.without_warmup) == (alone.segmentation, alone.flicker, 0)
    for flow in (led.flows[1], led.flows[5]):  # to the raw frame before, which is shifted right by 4 px
        assert flow is not None
        assert np.median(flow[:, 8:-8, 12:-12], axis=(1, 2)) == pytest.approx([4, 0], abs=0.4)
    keyframe = OnnxPredictor(load(write_keyframe(tmp_path / "keyframe.onnx", key_interval=3)))  # type: ignore[arg-type]
    assert [keyframe.warmup_frames(index) for index in range(5)] == [0, 1, 2, 0, 1]


def test_the_command_says_that_frames_before_are_missing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Led(Scripted):
        def warmup_frames(self, index: int) -> int:
            return 1

    monkeypatch.setattr(predictors, "load_predictor", lambda *_, **__: (Led(answers()), CAMVID_11.classes))
    assert main(["evaluate", "led.onnx", "--root", str(root)]) == 0
    assert "led uses previous frames; 3 of 5 frames have none\n" in capsys.readouterr().out


def test_a_keyframe_network_gets_the_flow_to_its_key_frame(tmp_path: Path) -> None:
    """The picture moves right by 2 px per frame. With key frames 0 and 3 the third flow is twice the second one."""
    data = open_data("camvid", write_camvid(tmp_path / "data", (0, 2, 4, 6, 6)), "val")
    network = load(write_keyframe(tmp_path / "keyframe.onnx", key_interval=3))
    assert isinstance(network, OnnxKeyframe)
    flows: list[np.ndarray | None] = []

    class Watched(OnnxKeyframe):
        def labels(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:
            assert (flow_px is None) == (self.reference is None)
            flows.append(flow_px)
            return super().labels(image, flow_px)

    watched = Watched(network.info, network.session, network._propagation)
    evaluate("keyframe", OnnxPredictor(watched), data)
    assert [flow is None for flow in flows] == [True, False, False, True, True]  # the last two have no previous frame
    for flow, expected in zip(flows[1:3], (-2, -4), strict=True):
        assert flow is not None
        assert np.median(flow[:, 8:-8, 12:-12], axis=(1, 2)) == pytest.approx([expected, 0], abs=0.4)


def test_another_flow_is_used_for_all(root: Path) -> None:
    predictor, asked = Scripted(answers()), list[tuple[int, ...]]()

    def flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        asked.append(frame.shape)
        return np.full((2, HEIGHT, WIDTH), 1e4, np.float32)  # leads out of the frame

    result = evaluate("scripted", predictor, open_data("camvid", root, "val"), EvaluationSettings(flow))
    assert asked == [(HEIGHT, WIDTH, 3)] * 4  # there and back for two pairs
    assert all(found is None or (found == 1e4).all() for found in predictor.flows)
    assert result.flicker is not None
    assert (result.flicker.pixels, result.flicker.flips_percent) == (0, None)


def test_the_flow_points_from_the_current_frame_to_the_one_before(tmp_path: Path) -> None:
    # The picture moves right by 3 px per frame.
    data = open_data("camvid", write_camvid(tmp_path, (0, 3, 6, 6, 6)), "val")
    predictor = Scripted(answers())
    evaluate("scripted", predictor, data)
    for flow in predictor.flows[1:3]:
        assert flow is not None
        assert np.median(flow[:, 8:-8, 12:-12], axis=(1, 2)) == pytest.approx([-3, 0], abs=0.3)


def test_the_ground_truth_scores_all_there_is(root: Path) -> None:
    data = open_data("camvid", root, "val")
    result = evaluate("truth", None, data)
    assert result.segmentation.miou_percent == 100
    assert result.segmentation.pixels == 5 * HEIGHT * WIDTH - 8 * (1 + 2 + 3 + 4 + 5)
    assert result.flicker is not None
    assert result.flicker.flips_percent == 0


def test_tables(root: Path) -> None:
    full = evaluate("a", Scripted(answers()), open_data("camvid", root, "val"))
    still = Evaluation("b", full.segmentation, None)
    lines = markdown([full, still], CAMVID_11.classes).splitlines()
    columns = [len(line.split("|")) for line in lines if line]
    assert columns == [12] * 4 + [5] * 13  # cells and the two ends
    assert lines[2].startswith(f"| a | {full.segmentation.miou_percent:.2f} | ")
    assert lines[3].endswith("| - | - | - | - | - | - | - |")
    sky = full.segmentation.per_class_iou_percent[0]
    assert lines[7] == f"| Sky | {sky:.2f} | {sky:.2f} |"
    assert lines[8] == "| Building | - | - |"


# --- the command -----------------------------------------------------------------------------------------------------


def write_bright_is_road(path: Path) -> Path:
    """An exported per-frame network: road (3) where red + green + blue > 1.5, else sky (0)."""
    weight, bias = np.zeros((11, 3, 1, 1), np.float32), np.full(11, -9, np.float32)
    weight[3], bias[3], bias[0] = 1, -1.5, 0
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["logits"])],
        "segmenter",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 11, "H", "W"])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    names, palette = list(CAMVID_11.classes), [list(colour) for colour in CAMVID_11.palette]
    meta = metadata("segmenter", "baseline", classes=names, palette=palette)
    helper.set_model_props(model, {"dwnet": json.dumps(meta)})
    onnx.save(model, str(path))
    return path


def test_the_command_prints_and_writes_the_numbers(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = write_bright_is_road(tmp_path / "bright.onnx"), tmp_path / "out" / "numbers.json"
    assert main(["evaluate", str(model), "--root", str(root), "--ground-truth", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    # No sum of the texture is so close to 1.5 * 255 that rounding matters.
    labels = np.where(texture().sum(axis=-1, dtype=int) > 1.5 * 255, 3, 0)
    ious, accuracy = iou_by_loop([labels] * 5)
    assert f"| bright | {sum(ious.values()) / 2:.2f} | {accuracy:.2f} | 0.00 |" in printed
    assert "| ground truth | 100.00 | 100.00 | 0.00 |" in printed
    assert "CamVid val, 5 frames" in printed
    assert "2 pairs at most 5 raw frames apart" in printed
    written = json.loads(output.read_text())
    assert written["data"] == {
        "kind": "camvid",
        "split": "val",
        "layout": open_data("camvid", root, "val").layout,
        "frames": 5,
        "classes": list(CAMVID_11.classes),
    }
    assert written["inference"] == {
        "text": "whole images, no test-time augmentation",
        "window": None,
        "stride": None,
        "scales": [1.0],
        "flip": False,
    }
    assert written["flow"] == {
        "name": "dis",
        "weights": "published",
        "second": "farneback",
        "max_gap": 5,
        "pairs": 2,
    }
    assert (written["format"], written["corruptions"]) == (3, None)
    assert written["runtime"] == {"name": "onnxruntime", "device": "cpu"}
    assert written["machine"]["cpus"] == available_cpus()
    assert (written["processes"], written["device"]) == (1, str(device(ALONE)))
    assert written["commit"] == code_commit()
    assert written["versions"]["torch"] == torch.__version__
    first, second = written["models"]
    assert (first["file"], first["sha256"]) == (str(model), hashlib.sha256(model.read_bytes()).hexdigest())
    assert (second["file"], second["sha256"]) == (None, None)
    assert (first["method"], first["keep"], first["corruptions"]) == ("baseline", None, None)
    stored = metadata("segmenter", "baseline")
    assert (first["recipe"], first["trained_by"], first["seed"]) == (stored["recipe"], stored["commit"], None)
    assert first["second_flicker"]["flips_percent"] == 0
    assert first["consistency"] == []  # never eight frames in a row
    assert len(first["segmentation"]["per_class_iou_percent"]) == len(first["flicker"]["per_class_percent"]) == 11
    assert (first["name"], second["name"]) == ("bright", "ground truth")
    assert first["segmentation"]["miou_percent"] == pytest.approx(sum(ious.values()) / 2)
    assert first["flicker"]["frames"] == 2
    assert os.listdir(output.parent) == ["numbers.json"]


def test_the_command_says_what_is_wrong(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, output = str(write_bright_is_road(tmp_path / "bright.onnx")), tmp_path / "numbers.json"
    other = str(write_segmenter(tmp_path / "three.onnx"))
    (tmp_path / "text.pt").write_text("no checkpoint")
    data = ["--root", str(root)]
    for arguments, reason in (
        ([good, "--root", str(tmp_path / "nowhere")], f"{tmp_path / 'nowhere'}: not a folder"),
        ([good, *data, "--split", "train"], "splits found in this 480 x 360 layout"),
        ([str(tmp_path / "gone.onnx"), *data], f"no exported network at {tmp_path / 'gone.onnx'}"),
        ([str(tmp_path / "gone.pt"), *data], f"checkpoint {tmp_path / 'gone.pt'}: no such file"),
        ([str(tmp_path / "text.pt"), *data], "not a readable PyTorch file"),
        ([other, *data], "knows the classes Red, Green, Blue; the data has Sky, Building"),
        ([good, *data, "--max-gap", "0"], "max_gap is 0; allowed are whole numbers from 1"),
        (data, "no model named: give exported networks or checkpoints, or --ground-truth"),
        ([good, *data, "--window", "0"], "window is 0; allowed are whole pixels from 1"),
        ([good, *data, "--window", "8", "--window-overlap", "1"], "window_overlap is 1; allowed is a part of the wind"),
        ([good, *data, "--window-overlap", "third"], "--window-overlap is 'third'; allowed is a part of the window"),
        ([good, *data, "--window-overlap", "1/0"], "--window-overlap is '1/0'; allowed is a part of the window"),
        ([good, *data, "--scales", "1", "0"], "scales are (1.0, 0.0); allowed are numbers above 0, at least one"),
        ([good, *data, "--server-files", str(tmp_path / "files")], "files for the test server are of Cityscapes' cla"),
        ([good, good, *data, "--server-files", str(tmp_path)], "--server-files: found 2 models; allowed is one"),
        ([good, *data, "--smooth", "bright", "--server-files", str(tmp_path)], "--server-files: found 2 models; allow"),
        ([good, good, *data], "two models are called 'bright'; allowed is one of each name (give NAME=PATH)"),
        ([good, f"a={good}", f"a={good}", *data], "two models are called 'a'"),
        ([good, *data, "--smooth", "dark"], "--smooth dark: allowed are bright, as NAME or NAME=KEEP"),
        ([good, *data, "--smooth", "bright=1"], "--smooth bright=1: keep is 1; allowed are numbers from 0 to below 1"),
        ([good, *data, "--second-flow", "dis"], "--second-flow is dis, the first flow; allowed is another one, or no"),
        ([good, *data, "--severities", "3"], "--corruption-names, --severities and --corruption-seed are allowed wi"),
        (
            [good, *data, "--corruptions", "--severities", "6"],
            "severities are 6; allowed are some of 1, 2, 3, 4, 5, ea",
        ),
        (
            [good, *data, "--corruptions", "--corruption-names", "rain"],
            "corruptions are rain; allowed are some of gaussian_noise, shot_noise",
        ),
    ):
        assert main(["evaluate", *arguments, "--output", str(output)]) == 1, arguments
        error = capsys.readouterr().err
        assert error.startswith("dwnet: ")
        assert reason in error
        assert len(error.splitlines()) == 1
        assert not output.exists()
    with pytest.raises(SystemExit):
        main(["evaluate", good, *data, "--split", "validation"])


def test_python_m_dwnet_ends_with_one_line_and_status_1(root: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", str(tmp_path / "gone.onnx"), "--root", str(root)]
    run = subprocess.run([sys.executable, "-m", "dwnet", *arguments], capture_output=True, text=True, timeout=600)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.splitlines()[-1].startswith("dwnet: no exported network at ")
    assert "Traceback" not in run.stderr


def test_models_are_told_apart_by_their_suffix(tmp_path: Path) -> None:
    predictor, classes = load_predictor(write_bright_is_road(tmp_path / "bright.onnx"))
    assert classes == CAMVID_11.classes
    bright = np.full((30, 40, 3), 200, np.uint8)
    assert set(predictor.labels(bright, None).ravel()) == {3}
    assert IGNORE_LABEL not in predictor.labels(bright // 4, None)
