"""A killed comparison: the next one in the same folder removes what it left. SIGTERM and SIGHUP leave nothing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dwnet.comparison import Networks, compare
from tests.exported import textured_frame, write_clip

KILL_AT_FRAME_3 = """
import os, sys
from dwnet.cli.main import main
from dwnet.comparison.files import ComparisonWriter
real = ComparisonWriter.write
def write(self, frame):
    real(self, frame)
    if frame.compared == 3:
        os.kill(os.getpid(), int(sys.argv[1]))
ComparisonWriter.write = write
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_nothing_of_a_killed_comparison_stays(
    number: signal.Signals, networks: Networks, models: Path, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "drive.mp4", [textured_frame(index, shift_px=2 * index) for index in range(6)])
    output = tmp_path / "out"
    arguments = ["compare", str(clip), "--models", str(models), "--output", str(output)]
    ended = subprocess.run(
        [sys.executable, "-c", KILL_AT_FRAME_3, str(int(number)), *arguments], capture_output=True, text=True
    )
    if number == signal.SIGKILL:
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert [path.name.startswith(".comparison.dwnet-") for path in output.iterdir()] == [True]
    else:
        assert ended.returncode == 130, ended.stderr
        assert "interrupted; no incomplete file remains" in ended.stderr
        assert not output.exists()
    for _ in compare(clip, networks, output_dir=output):
        pass
    assert not [path.name for path in output.iterdir() if path.name.startswith(".")]
    assert (output / "drive_comparison.json").exists()
