"""The truth on disk is equal to the truth of the scene, and an interrupted run leaves no incomplete file."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dwnet.flow.flow_files import read_flo
from dwnet.street import StreetScene, write_truth


@pytest.fixture(scope="module")
def scene() -> StreetScene:
    return StreetScene(5, width=64, height=48, look="overcast")


def test_files_hold_the_scene(tmp_path: Path, scene: StreetScene) -> None:
    told: list[tuple[int, int]] = []
    assert write_truth(scene, tmp_path, count=2, start=60, progress=lambda *done: told.append(done)) == 2
    assert told == [(1, 2), (2, 2)]
    for t in (60, 61):
        frame, name = scene.render(t), f"{t:06d}"

        def png(folder: str, name: str = name) -> np.ndarray:
            return cv2.imread(str(tmp_path / folder / f"{name}.png"), cv2.IMREAD_UNCHANGED)

        np.testing.assert_array_equal(png("image")[..., ::-1], frame.image)
        np.testing.assert_array_equal(png("labels"), frame.labels)
        np.testing.assert_array_equal(png("instances"), frame.instances)
        with np.load(tmp_path / "depth" / f"{name}.npz") as stored:
            np.testing.assert_array_equal(stored["depth_m"], frame.depth_m)
        for direction, k in (("forward", 1), ("backward", -1)):
            flow_px, visible = scene.flow(t, k)
            np.testing.assert_array_equal(read_flo(tmp_path / f"flow_{direction}" / f"{name}.flo"), flow_px)
            np.testing.assert_array_equal(png(f"occluded_{direction}") == 0, visible)


def test_flo_files_are_middleburys(tmp_path: Path, scene: StreetScene) -> None:
    """OpenCV reads the same flow."""
    write_truth(scene, tmp_path, count=1, start=60)
    flow = cv2.readOpticalFlow(str(tmp_path / "flow_forward" / "000060.flo"))
    np.testing.assert_array_equal(flow.transpose(2, 0, 1), scene.flow(60, 1)[0])


def test_the_first_frame_has_no_flow_backward(tmp_path: Path, scene: StreetScene) -> None:
    write_truth(scene, tmp_path, count=1)
    assert (tmp_path / "flow_forward" / "000000.flo").is_file()
    assert not (tmp_path / "flow_backward").exists()


def test_an_interrupted_run_leaves_whole_files_only(tmp_path: Path, scene: StreetScene) -> None:
    write_truth(scene, tmp_path / "whole", count=2, start=60)

    def stop(done: int, _: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_truth(scene, tmp_path / "cut", count=2, start=60, progress=stop)
    files = [path for path in (tmp_path / "cut").rglob("*") if path.is_file()]
    assert len(files) == 8
    for path in files:
        assert path.read_bytes() == (tmp_path / "whole" / path.relative_to(tmp_path / "cut")).read_bytes()


def test_bad_requests_are_named(tmp_path: Path, scene: StreetScene) -> None:
    with pytest.raises(ValueError, match=r"frames 0\.\.999; 2 from 999 on"):
        write_truth(scene, tmp_path, count=2, start=999)
