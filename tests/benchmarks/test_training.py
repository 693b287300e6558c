"""The benchmark of training runs with small sizes, and both of its loops have the same loss."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_quick() -> None:
    command = [sys.executable, str(Path(__file__).with_name("training.py")), "--quick", "--rounds", "1"]
    run = subprocess.run([*command, "--peak-tflops", "0.5"], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    rates = re.search(r"images/s: plain loop (\S+), ours (\S+) .*losses of the same batch are (\S+) apart", run.stdout)
    assert rates is not None, run.stdout
    assert float(rates[1]) > 0
    assert float(rates[2]) > 0
    assert float(rates[3]) < 1e-4
    assert len(re.findall(r"ours waits for data \d+\.\d% of the time", run.stdout)) == 2  # at both sizes of crop
    used = re.search(r"(\S+) ms a step of (\S+) TFLOP, (\S+) TFLOP/s, (\S+)% of 0\.5 TFLOP/s", run.stdout)
    assert used is not None, run.stdout
    milliseconds, work, achieved, share = (float(value) for value in used.groups())
    assert achieved > 0
    assert abs(1000 * work / milliseconds - achieved) < 0.02 * achieved
    assert abs(achieved / 0.5 * 100 - share) < 0.06
