"""Files of flow are written and read by OpenCV. A damaged file gives one clear error and does not end the process."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dwnet.core.errors import DWNetError
from dwnet.flow.flow_files import read_flo, write_flo

FLOW = np.random.default_rng(0).normal(0, 9, (2, 5, 7)).astype(np.float32)
SIZE = np.array([7, 5], "<i4").tobytes()


def test_a_flow_comes_back_and_is_middleburys(tmp_path: Path) -> None:
    write_flo(tmp_path / "a.flo", FLOW)
    np.testing.assert_array_equal(read_flo(tmp_path / "a.flo"), FLOW)
    np.testing.assert_array_equal(cv2.readOpticalFlow(str(tmp_path / "a.flo")).transpose(2, 0, 1), FLOW)
    expected = b"PIEH" + SIZE + FLOW.transpose(1, 2, 0).tobytes()
    assert (tmp_path / "a.flo").read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a.flo"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is no \.flo file \(0 bytes\); allowed is Middlebury's format"),
        (b"PIEH", r"is no \.flo file \(4 bytes\)"),
        (b"nothing of the kind", r"is no \.flo file \(19 bytes\)"),
        (b"PIEH" + SIZE + bytes(8 * 35 - 4), r"is damaged, found 288 bytes; a flow of 7 x 5 has 292"),
        (b"PIEH" + SIZE + bytes(8 * 35 + 1), r"is damaged, found 293 bytes; a flow of 7 x 5 has 292"),
        (b"PIEH" + np.array([-1, 5], "<i4").tobytes() + bytes(80), r"is damaged, its header says -1 x 5 pixels"),
        (b"PIEH" + np.array([0, 5], "<i4").tobytes(), r"is damaged, its header says 0 x 5 pixels"),
        (b"PIEH" + np.array([2**31 - 1] * 2, "<i4").tobytes() + bytes(80), r"is damaged, found 92 bytes; a flow of 21"),
    ],
)
def test_damaged_files_are_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.flo"
    path.write_bytes(content)
    with pytest.raises(DWNetError, match=rf"bad\.flo: {message}"):
        read_flo(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DWNetError, match=r"no\.flo: cannot be read \(No such file"):
        read_flo(tmp_path / "no.flo")
