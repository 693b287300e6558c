"""`dwnet flicker --flow --truth` reads the folder of `dwnet street --truth` and gives the numbers of the scene."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from dwnet.cli.main import main
from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.core.truth_folder import TruthFolder
from dwnet.flicker import ExactFlow
from dwnet.street import StreetScene

START, FRAMES, SIZE = 60, 5, (48, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of five frames, clip.mp4, and its truth."""
    folder = tmp_path_factory.mktemp("street")
    arguments = ["street", folder / "clip.mp4", "--seed", 5, "--look", "overcast", "--size", SIZE[1], SIZE[0]]
    arguments += ["--seconds", FRAMES / 25, "--start-seconds", START / 25, "--truth", folder / "truth"]
    assert main([str(argument) for argument in arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def scene() -> StreetScene:
    return StreetScene(5, width=SIZE[1], height=SIZE[0], look="overcast")


def measured(output: Path, *arguments: object) -> dict:
    """Runs `dwnet flicker`; returns the numbers of each set."""
    assert main(["flicker", *map(str, arguments), "--output", str(output), "--second-every", "100"]) == 0
    return json.loads((output / "flicker.json").read_text())["sets"]


def flips(scene: StreetScene, labels: dict[int, np.ndarray]) -> tuple[int, int]:
    """Returns flips and compared pixels, counted along the scene's flow from each frame to the previous one."""
    count = compared = 0
    for t in range(START + 1, START + FRAMES):
        flow, visible = scene.flow(t, -1)
        y, x = np.mgrid[: SIZE[0], : SIZE[1]] + flow[::-1].astype(np.float64)
        inside = (x >= 0) & (y >= 0) & (x <= SIZE[1] - 1) & (y <= SIZE[0] - 1) & visible
        row, column = (np.where(inside, np.floor(place + 0.5), 0).astype(int) for place in (y, x))
        before, now = labels[t - 1][row, column], labels[t]
        known = inside & (before != IGNORE_LABEL) & (now != IGNORE_LABEL)
        count, compared = count + int((known & (before != now)).sum()), compared + int(known.sum())
    return count, compared


def test_the_numbers_are_those_of_the_scenes_flow(folder: Path, scene: StreetScene, tmp_path: Path) -> None:
    truth = {t: scene.render(t).labels for t in range(START, START + FRAMES)}
    drawn = np.random.default_rng(0).random((FRAMES, *SIZE)) < 0.1
    noisy = {t: np.where(drawn[t - START], np.uint8(3), labels) for t, labels in truth.items()}
    np.save(tmp_path / "noisy.npy", np.stack(list(noisy.values())))
    arguments = ("--flow", folder / "truth", "--truth", folder / "truth")
    sets = (f"labels={folder / 'truth/labels'}", f"noisy={tmp_path / 'noisy.npy'}")
    found = measured(tmp_path / "out", folder / "clip.mp4", *sets, *arguments)
    for name, labels in (("labels", truth), ("noisy", noisy)):
        count, compared = flips(scene, labels)
        assert (count > 0) == (name == "noisy")
        assert found[name]["pixels_compared"] == compared
        assert found[name]["flip_rate_percent"] == pytest.approx(100 * count / compared, abs=1e-9)
    assert found["labels"]["pixel_accuracy_percent"] == 100
    known = np.stack(list(truth.values())) != IGNORE_LABEL
    expected = 100 * (np.stack(list(noisy.values())) == np.stack(list(truth.values())))[known].mean()
    assert found["noisy"]["pixel_accuracy_percent"] == pytest.approx(expected, abs=1e-9)


def test_it_is_the_same_flow_as_in_the_other_layouts(folder: Path, scene: StreetScene, tmp_path: Path) -> None:
    """Both directions and the visible pixels are equal, also for the published definitions. The images are a clip."""
    (tmp_path / "npz").mkdir()
    for t in range(START + 1, START + FRAMES):
        flow, visible = scene.flow(t, -1)
        back, _ = scene.flow(t - 1, 1)
        np.savez(tmp_path / f"npz/{t}.npz", to_previous=flow, from_previous=back, visible=visible)
    truth = folder / "truth"
    rest = (f"labels={truth}", "--truth", truth / "labels", "--published")
    of_truth = measured(tmp_path / "a", truth / "image", *rest, "--flow", truth)
    of_npz = measured(tmp_path / "b", truth / "image", *rest, "--flow", tmp_path / "npz")
    assert of_truth == of_npz
    assert of_truth["labels"]["tc_etc_percent"] is not None


def test_each_frame_has_its_own_flow_to_the_frame_before(folder: Path, scene: StreetScene) -> None:
    source, image = ExactFlow(folder / "truth"), np.zeros((*SIZE, 3), np.uint8)
    for index in range(1, FRAMES):
        motion = source.pair(index, image, image)
        flow, visible = scene.flow(START + index, -1)
        assert motion is not None
        np.testing.assert_array_equal(motion.to_previous_px, flow)
        np.testing.assert_array_equal(motion.visible, visible)
        assert 0.3 < visible.mean() < 1
    source.finish(FRAMES)
    with pytest.raises(ValueError, match="holds 4 flows for a clip of 6 frames"):
        source.finish(FRAMES + 1)


def test_a_frame_that_two_files_share_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for name in ("0.png", "000000.png", "000002.png"):
        (tmp_path / "labels" / name).touch()
    with pytest.raises(DWNetError, match="has frame 0 twice; allowed is one file for each frame"):
        TruthFolder(tmp_path).frames()


def test_what_is_missing_or_damaged_is_named(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "truth"
    shutil.copytree(folder / "truth", root)
    files, image = TruthFolder(root), np.zeros((*SIZE, 3), np.uint8)
    good = files.occluded(62, "backward").read_bytes()
    for content, message in (
        (b"", r"000062\.png: is no image that can be read \(0 bytes\)"),
        (cv2.imencode(".png", np.full(SIZE, 7, np.uint8))[1].tobytes(), r"000062\.png: .* holds 0 \(visible\)"),
        (cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes(), r"000062\.png is bool of shape \(9, 9\)"),
    ):
        files.occluded(62, "backward").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            ExactFlow(root).pair(2, image, image)
    files.occluded(62, "backward").write_bytes(good)
    files.flow(61, "forward").write_bytes(b"PIEH")
    with pytest.raises(ValueError, match=r"flow_forward.000061\.flo: is no \.flo file"):
        ExactFlow(root).pair(2, image, image)
    files.flow(61, "forward").unlink()
    with pytest.raises(ValueError, match=r"flow_forward.000061\.flo: missing \(1 of 12 files of flow and occlusion\)"):
        ExactFlow(root)
    files.labels(63).unlink()
    with pytest.raises(ValueError, match=r"labels: has no frame 63; allowed are all of 60 to 64"):
        ExactFlow(root)
    (root / "labels/cover.png").write_bytes(good)
    with pytest.raises(ValueError, match=r"labels: found cover\.png; allowed are the frames by number"):
        ExactFlow(root)
