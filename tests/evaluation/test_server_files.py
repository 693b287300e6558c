"""Files for Cityscapes' test server: the official evaluator reads them and finds the same IoU. All or none exist."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from dwnet.cli.main import main
from dwnet.core.launch import Processes
from dwnet.data import CAMVID_11, CITYSCAPES_19, open_data
from dwnet.data.cityscapes import TRAIN_IDS
from dwnet.data.pairs import DataError
from dwnet.deploy.runtime import load
from dwnet.evaluation.server_files import check_server_folder, server_files, without_labels
from tests.evaluation.test_processes import write_cityscapes_network

NAMES = ("aachen_000000_000019", "aachen_000001_000019", "bad-honnef_000000_000019")
HEIGHT, WIDTH = 61, 83
LARGEST_LABEL_ID = 33
"""The largest id on disk."""


def write_cityscapes(root: Path, split: str = "val", *, labels: bool = True) -> Path:
    """Writes frames of noise, and labels in blocks with all ids, including ignored ones."""
    rng = np.random.default_rng(7)
    for name in NAMES:
        city = name.partition("_")[0]
        small = rng.integers(0, LARGEST_LABEL_ID + 1, (13, 17), dtype=np.uint8)
        image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        ids = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
        ids[ids == 31] = 0  # class train is predicted but does not occur
        files = {root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png": image}
        if labels:
            files[root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png"] = ids
        for path, array in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), array)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cityscapes(tmp_path_factory.mktemp("cityscapes"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cityscapes_network(tmp_path_factory.mktemp("model") / "city.onnx")


def run(model: Path, root: Path, *options: object, split: str = "val") -> int:
    arguments = ["evaluate", model, "--dataset", "cityscapes", "--root", root, "--split", split, *options]
    return main([str(one) for one in arguments])


@pytest.mark.parametrize(
    "mode", [[], ["--window", "40", "--scales", "0.75", "1", "--flip"]], ids=["whole", "augmented"]
)
def test_the_official_evaluator_finds_the_files_and_the_same_iou(
    mode: list[str], root: Path, model: Path, tmp_path: Path
) -> None:
    """The IoU of each class agrees to 1e-9, with ignored ids. Ours uses train ids, the official one uses label ids."""
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    assert run(model, root, *mode, "--server-files", tmp_path / "files", "--output", tmp_path / "all.json") == 0
    (ours,) = json.loads((tmp_path / "all.json").read_text())["models"]
    settings = official.args
    settings.evalInstLevelScore, settings.JSONOutput, settings.quiet = False, False, True
    settings.predictionPath, settings.predictionWalk = str(tmp_path / "files"), None
    truth = sorted(map(str, (root / "gtFine" / "val").glob("*/*_labelIds.png")))
    assert len(truth) == 3
    found = [official.getPrediction(settings, path) for path in truth]
    theirs = official.evaluateImgLists(found, truth, settings)
    iou = [theirs["classScores"][name] for name in CITYSCAPES_19.classes]
    assert not np.isnan(iou).any()
    assert theirs["classScores"]["train"] == 0 < max(iou)
    assert ours["segmentation"]["per_class_iou_percent"] == pytest.approx([100 * one for one in iou], rel=1e-9, abs=0)
    assert ours["segmentation"]["miou_percent"] == pytest.approx(100 * theirs["averageScoreClasses"], rel=1e-9, abs=0)
    ignored = sum(sum(theirs["confMatrix"][i]) for i in range(LARGEST_LABEL_ID + 1) if i not in TRAIN_IDS)
    assert ours["segmentation"]["pixels"] == 3 * HEIGHT * WIDTH - ignored < 3 * HEIGHT * WIDTH


def test_an_absent_class_is_left_out_as_the_official_evaluator_does(root: Path, tmp_path: Path) -> None:
    """Predictions equal the truth except for two classes, one of which does not occur."""
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    from dwnet.core.launch import ALONE
    from dwnet.evaluation.measure import Counts

    data, counts = open_data("cityscapes", root, "val"), Counts(19)
    with server_files(tmp_path / "files", data.names, ALONE) as write:
        for index in range(3):
            truth = data[index]["labels"].numpy()
            labels = np.where(truth == 255, 3, truth).astype(np.uint8)
            labels[labels == 5] = 6
            counts.frame(labels, truth)
            write(index, labels)
    result = counts.evaluation("edited").segmentation
    settings = official.args
    settings.evalInstLevelScore, settings.JSONOutput, settings.quiet = False, False, True
    truths = [str(frame.labels) for frame in data.frames]
    found = [str(tmp_path / "files" / f"{name}_pred_labelIds.png") for name in data.names]
    theirs = official.evaluateImgLists(found, truths, settings)
    assert result.absent_classes == (16,)  # train
    for name, value in zip(CITYSCAPES_19.classes, result.per_class_iou_percent, strict=True):
        expected = theirs["classScores"][name]
        assert (value is None) == np.isnan(expected)
        assert value is None or value == pytest.approx(100 * expected, rel=1e-9, abs=0)
    assert result.per_class_iou_percent[5] == 0
    assert result.per_class_iou_percent[0] == 100
    assert result.miou_percent == pytest.approx(100 * theirs["averageScoreClasses"], rel=1e-9, abs=0)


def test_the_files_are_the_networks_labels_in_full_size(root: Path, model: Path, tmp_path: Path) -> None:
    files = tmp_path / "deep" / "files"
    assert run(model, root, "--server-files", files) == 0
    assert sorted(os.listdir(files)) == [f"{name}_pred_labelIds.png" for name in NAMES]
    assert os.listdir(files.parent) == ["files"]
    network = load(model)
    ids = np.array(list(TRAIN_IDS))  # in the order of the train ids
    for name in NAMES:
        image = cv2.imread(str(next(root.glob(f"leftImg8bit/val/*/{name}_leftImg8bit.png"))))[..., ::-1]
        written = cv2.imread(str(files / f"{name}_pred_labelIds.png"), cv2.IMREAD_UNCHANGED)
        assert (written.shape, written.dtype) == ((HEIGHT, WIDTH), np.uint8)
        assert np.array_equal(written, ids[network.labels(np.ascontiguousarray(image))])  # type: ignore[attr-defined]


def test_frames_without_labels_need_none(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The test split is published without labels. No IoU is printed."""
    root = write_cityscapes(tmp_path / "data", "test", labels=False)
    assert run(model, root, "--server-files", tmp_path / "files", split="test") == 0
    assert len(os.listdir(tmp_path / "files")) == 3
    printed = capsys.readouterr().out
    assert "Cityscapes test, 3 frames, leftImg8bit without labels, test; whole images" in printed
    assert "| city | - | - | - | - | - | - |" in printed
    assert f"{tmp_path / 'files'}: 3 files for the test server" in printed
    # Without server files the command refuses a split without labels.
    assert run(model, root, split="test") == 1
    assert "gtFine" in capsys.readouterr().err
    assert without_labels(root, "test").names == NAMES
    with pytest.raises(DataError, match=r"leftImg8bit.train: found no CITY/\*_leftImg8bit.png"):
        without_labels(root, "train")
    (root / "leftImg8bit" / "test" / "aachen" / "odd_leftImg8bit.png").touch()
    with pytest.raises(DataError, match=r"odd_leftImg8bit.png: not named CITY_SNIPPET_FRAME_leftImg8bit.png"):
        without_labels(root, "test")


def test_all_files_or_none(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last frame is not an image: a new folder is removed, and files of an earlier run are unchanged."""
    root, files = write_cityscapes(tmp_path / "data"), tmp_path / "out" / "files"
    broken = root / "leftImg8bit" / "val" / "bad-honnef" / f"{NAMES[2]}_leftImg8bit.png"
    image = broken.read_bytes()
    broken.write_text("no image")
    assert run(model, root, "--server-files", files) == 1
    assert f"{broken}: not a readable image" in capsys.readouterr().err
    assert os.listdir(files.parent) == []
    broken.write_bytes(image)
    assert run(model, root, "--server-files", files) == 0
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    broken.write_text("no image")
    assert run(model, root, "--server-files", files, "--flip") == 1
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before
    assert os.listdir(files.parent) == ["files"]


def test_a_folder_with_anything_else_is_left_alone(root: Path, model: Path, tmp_path: Path) -> None:
    data = open_data("cityscapes", root, "val")
    (tmp_path / "file").touch()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"own: holds thesis.tex; allowed for the test server's files is a new folder"):
        check_server_folder(tmp_path / "own", data)
    with pytest.raises(ValueError, match="file: is no folder; allowed"):
        check_server_folder(tmp_path / "file", data)
    assert run(model, root, "--server-files", tmp_path / "own") == 1
    assert os.listdir(tmp_path / "own") == ["thesis.tex"]
    check_server_folder(tmp_path / "new", data)
    data.classes = CAMVID_11
    with pytest.raises(ValueError, match="files for the test server are of Cityscapes' classes; the data has Sky, Bui"):
        check_server_folder(tmp_path / "new", data)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"a_b_pred_labelIds.png: could not be written"),
        server_files(tmp_path / "files", ["no folder/a_b"], Processes(0, 1)) as write,
    ):
        write(0, np.zeros((2, 2), np.uint8))
    assert os.listdir(tmp_path) == []
