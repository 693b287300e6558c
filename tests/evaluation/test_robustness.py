"""mIoU under corruptions: what a model sees, the means, records that a run continues from, and several processes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from dwnet.cli.main import main
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.data import open_data
from dwnet.evaluation import robustness as module
from dwnet.evaluation.corruptions import corrupt
from dwnet.evaluation.measure import EvaluationSettings
from dwnet.evaluation.robustness import CorruptedData, CorruptionSettings, evaluate_corruptions
from dwnet.metrics import miou
from tests.evaluation.test_processes import accelerate, as_camvid, launched, root
from tests.exported import write_segmenter, write_static_warp

__all__ = ["root"]  # the data set of twelve frames

SCORES = ("miou_percent", "pixel_accuracy_percent", "vc_percent")
CHOSEN = CorruptionSettings(("contrast", "impulse_noise"), (1, 5))


class Brightest:
    """Labels each pixel by its strongest colour, and keeps the frames."""

    reference: None = None

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []

    def reset(self) -> None:
        pass

    def labels(self, image: np.ndarray, flow_px: np.ndarray | None) -> np.ndarray:
        self.frames.append(image)
        return image.argmax(axis=2).astype(np.uint8)

    def warmup_frames(self, index: int) -> int:
        return 0

    def memory(self, position: int) -> int:
        return 0


def test_the_frames_are_corrupted_and_the_labels_are_not(root: Path) -> None:
    data = open_data("camvid", root, "val")
    noisy = CorruptedData(data, "impulse_noise", 5)
    assert (len(noisy), noisy.names, noisy.classes, noisy.layout) == (12, data.names, data.classes, data.layout)
    clean = (data[3]["frame"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    seen = (noisy[3]["frame"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    assert 0.15 < (seen != clean).mean() < 0.3
    np.testing.assert_array_equal(noisy[3]["labels"], data[3]["labels"])
    np.testing.assert_array_equal(noisy[3]["frame"], noisy[3]["frame"])
    changed = [
        CorruptedData(data, "impulse_noise", 5, seed)[index]["frame"] for seed, index in ((0, 3), (1, 3), (0, 4))
    ]
    assert not np.array_equal(changed[0], changed[1])
    assert not np.array_equal(changed[0] != data[3]["frame"], changed[2] != data[4]["frame"]), "each frame has its own"


def test_scores_by_hand_and_their_means(root: Path, tmp_path: Path) -> None:
    data, predictor = open_data("camvid", root, "val"), Brightest()
    told: list[tuple[int, int]] = []
    settings = EvaluationSettings()
    (found,) = evaluate_corruptions(
        [("brightest", predictor)],
        ["key"],
        data,
        settings,
        CHOSEN,
        tmp_path,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(done, 48) for done in range(1, 49)]
    assert [(one.corruption, one.severity) for one in found.scores] == [
        ("contrast", 1),
        ("contrast", 5),
        ("impulse_noise", 1),
        ("impulse_noise", 5),
    ]
    truth = np.concatenate([data[index]["labels"].numpy() for index in range(12)])
    for place, one in enumerate(found.scores):
        predicted = np.concatenate([frame.argmax(axis=2) for frame in predictor.frames[12 * place : 12 * place + 12]])
        expected = miou(np.where(truth == IGNORE_LABEL, 0, predicted).astype(np.uint8), truth, num_classes=11)
        assert one.miou_percent == pytest.approx(expected)
        assert one.vc_percent["8"] is not None
        assert one.vc_percent["16"] is None
    scores = [one.miou_percent for one in found.scores]
    assert found.miou_percent("contrast") == pytest.approx((scores[0] + scores[1]) / 2)
    assert found.mean_miou_percent == pytest.approx(sum(scores) / 4)
    assert scores[2] > scores[3] + 5


def test_a_run_continues_from_its_records(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, settings = open_data("camvid", root, "val"), EvaluationSettings()
    whole = evaluate_corruptions([("a", Brightest())], ["key"], data, settings, CHOSEN, tmp_path / "whole")
    evaluate, calls = module.evaluate_models, []

    def failing(*arguments: object, **options: object) -> object:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "evaluate_models", failing)
    with pytest.raises(KeyboardInterrupt):
        evaluate_corruptions([("a", Brightest())], ["key"], data, settings, CHOSEN, tmp_path / "parts")
    assert len(os.listdir(tmp_path / "parts")) == 2
    (tmp_path / "parts" / os.listdir(tmp_path / "parts")[0]).write_text("{")  # a damaged record is measured again
    predictor = Brightest()
    found = evaluate_corruptions([("a", predictor)], ["key"], data, settings, CHOSEN, tmp_path / "parts")
    assert found == whole
    assert len(predictor.frames) == 3 * 12
    again = Brightest()
    assert evaluate_corruptions([("a", again)], ["key"], data, settings, CHOSEN, tmp_path / "parts") == whole
    assert again.frames == []
    other = Brightest()  # another file, or other settings
    evaluate_corruptions([("a", other)], ["other key"], data, settings, CHOSEN, tmp_path / "parts")
    assert len(other.frames) == 4 * 12


def test_settings_out_of_range_are_refused() -> None:
    for names, severities, reason in (
        (("rain",), (1,), "corruptions are rain; allowed are some of gaussian_noise"),
        (("fog", "fog"), (1,), "corruptions are fog, fog; allowed are some of .*, each once"),
        (("fog",), (0, 1), "severities are 0, 1; allowed are some of 1, 2, 3, 4, 5, each once"),
        (("fog",), (), "severities are none; allowed are some of"),
    ):
        with pytest.raises(DWNetError, match=reason):
            CorruptionSettings(names, severities)
    with pytest.raises(DWNetError, match="the seed of the corruptions is -1; allowed are whole numbers from 0"):
        CorruptionSettings(seed=-1)


@pytest.fixture
def arguments(root: Path, tmp_path: Path) -> list[str]:
    models = [
        as_camvid(write_segmenter(tmp_path / "frame.onnx")),
        as_camvid(write_static_warp(tmp_path / "static.onnx")),
    ]
    options = ["--corruptions", "--corruption-names", "snow", "contrast", "--severities", "2", "4"]
    return [*map(str, models), "--smooth", "frame", "--ground-truth", "--root", str(root), *options]


@pytest.mark.slow
def test_a_launch_gives_what_one_process_gives(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    documents = []
    for name in ("several", "one"):
        own = ["--records", str(tmp_path / name), "--output", str(tmp_path / f"{name}.json")]
        if name == "several":
            printed = launched([*accelerate(2), "-m", "dwnet", "evaluate", *arguments, *own], tmp_path)
        else:
            assert main(["evaluate", *arguments, *own]) == 0
        documents.append(json.loads((tmp_path / f"{name}.json").read_text())["models"])
    assert printed == capfd.readouterr().out
    assert documents[0] == documents[1]


def test_the_command_prints_and_writes_the_scores(
    arguments: list[str], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["--records", str(tmp_path / "one"), "--output", str(tmp_path / "one.json")]
    assert main(["evaluate", *arguments, *one]) == 0
    printed = capsys.readouterr().out
    assert "\n| mIoU % under | frame | frame_smoothed | static |\n" in printed
    rows = [line.split(" | ")[0].removeprefix("| ") for line in printed.partition("mIoU % under")[2].splitlines()[2:]]
    assert rows == [
        "no corruption",
        "snow",
        "contrast",
        "mean of the corruptions",
        "mean in percent of no corruption",
        "mean VC8 %",
    ]
    ours = json.loads((tmp_path / "one.json").read_text())["models"]
    assert [model["name"] for model in ours] == ["frame", "frame_smoothed", "static", "ground truth"]
    assert [model["keep"] for model in ours] == [None, 0.5, None, None]
    assert ours[3]["corruptions"] is None
    for model in ours[:3]:
        assert [(s["corruption"], s["severity"]) for s in model["corruptions"]["scores"]] == [
            ("snow", 2),
            ("snow", 4),
            ("contrast", 2),
            ("contrast", 4),
        ]
        assert all(set(s) == {"corruption", "severity", *SCORES} for s in model["corruptions"]["scores"])
        assert model["second_flicker"]["frames"] == 9
        assert [one["n"] for one in model["consistency"]] == [8]
    assert len(os.listdir(tmp_path / "one")) == 3 * 4
    # The frames of the model are those that `corrupt` gives.
    data = CorruptedData(open_data("camvid", root, "val"), "snow", 2)
    clean = (open_data("camvid", root, "val")[5]["frame"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    expected = corrupt(clean, "snow", 2, np.random.default_rng((0, 7, 2, 5, 0)))
    np.testing.assert_array_equal((data[5]["frame"].permute(1, 2, 0).numpy() * 255).round(), expected)
