"""The figure of frames where the first model flickers: which frames and part are chosen, and the file."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dwnet.cli.main import main
from dwnet.core.errors import DWNetError
from dwnet.evaluation.counts import Motion
from dwnet.evaluation.figure import CROP_SHARE, FRAMES, TILE_WIDTH_PX, FigureMaker, ShownFrame
from dwnet.metrics import NearestWarp
from tests.evaluation.test_processes import as_camvid, root
from tests.exported import write_segmenter

__all__ = ["root"]  # the data set of twelve frames

HEIGHT, WIDTH = 50, 100
PALETTE = ((255, 0, 0), (0, 255, 0))


def still() -> Motion:
    flow = np.zeros((2, HEIGHT, WIDTH), np.float32)
    return Motion(flow, np.ones((HEIGHT, WIDTH), np.bool_), NearestWarp(flow))


def shown(index: int, flipped: tuple[int, int, int] | None, steady: tuple[int, int, int] | None = None) -> ShownFrame:
    """A frame whose first model has class 1 in a square (top, left, side), and whose second model in another one."""
    maps = []
    for square in (flipped, steady):
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        if square is not None:
            top, left, side = square
            labels[top : top + side, left : left + side] = 1
        maps.append(labels)
    image = np.full((HEIGHT, WIDTH, 3), 10 * index, np.uint8)
    return ShownFrame(index, image, np.zeros((HEIGHT, WIDTH), np.uint8), tuple(maps))


def test_the_part_with_the_largest_difference_is_shown(tmp_path: Path) -> None:
    maker = FigureMaker(["baseline", "dwnet"], PALETTE)
    squares = [None, None, (5, 5, 6), None, None, (30, 70, 10), None, (0, 0, 50), (0, 0, 50)]
    for index, square in enumerate(squares):
        # From frame 7 on both models flip the same large square, which is no difference.
        maker.add(shown(index, square, square if index > 6 else None), still() if index else None)
    sentence = maker.write(tmp_path / "figure.png")
    assert sentence.endswith(
        "figure.png: part of the frames 3 to 5 of the split, chosen because baseline flips there and dwnet does not"
    )
    picture = cv2.imread(str(tmp_path / "figure.png"))[..., ::-1]
    tile = (round(TILE_WIDTH_PX * int(HEIGHT * CROP_SHARE) / int(WIDTH * CROP_SHARE)) + 20, TILE_WIDTH_PX)
    assert picture.shape == (4 * tile[0] + 3 * 4, FRAMES * tile[1] + 2 * 4, 3)
    rows = [picture[row * (tile[0] + 4) + 20 : (row + 1) * (tile[0] + 4) - 4, 2 * (tile[1] + 4) :] for row in range(4)]
    assert (rows[0] == 50).all(), "the input of frame 5"
    green = [(row[..., 1].astype(int) > row[..., 0]).mean() for row in rows]
    assert green[1] == green[3] == 0
    assert green[2] == pytest.approx(100 / (20 * 40), abs=0.02), "the whole square is in the part"


def test_frames_across_a_cut_are_not_shown(tmp_path: Path) -> None:
    maker = FigureMaker(["a", "b"], PALETTE)
    for index in range(6):
        maker.add(shown(index, (0, 0, 9) if index % 2 else None), still() if index % 2 else None)
    with pytest.raises(DWNetError, match="the split has no 3 consecutive labelled frames to show"):
        maker.write(tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []


def test_the_model_to_compare_with() -> None:
    assert FigureMaker(["baseline", "dwnet", "static_warp"], PALETTE).steady == 1
    assert FigureMaker(["dwnet", "other", "last"], PALETTE).steady == 2
    with pytest.raises(DWNetError, match="the figure compares models; found 1, allowed are two or more"):
        FigureMaker(["dwnet"], PALETTE)


def test_the_command_writes_the_figure(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = as_camvid(write_segmenter(tmp_path / "frame.onnx"))
    arguments = ["evaluate", str(model), "--smooth", "frame=0.9", "--ground-truth", "--root", str(root)]
    assert main([*arguments, "--figure", str(tmp_path / "f.png")]) == 0
    assert "f.png: part of the frames " in capsys.readouterr().out
    picture = cv2.imread(str(tmp_path / "f.png"))
    assert picture.shape[1] == FRAMES * TILE_WIDTH_PX + 2 * 4
    assert main([*arguments, "--figure", str(tmp_path / "f.jpg")]) == 1
    assert "f.jpg: allowed for the figure is a .png file" in capsys.readouterr().err
