"""A run that is killed repeatedly and resumed ends with the same state as an uninterrupted run."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import numpy as np
import pytest

from dwnet.deploy.checkpoint import load_checkpoint
from tests.train.helpers import REPOSITORY, Command, assert_same_state, run_command, save_until, tiny_options

SEED = 20210101
STEPS = 3
MOST_STEPS = 3  # between two kills, so that the run outlasts them however the machine's speed changes


def wait_for(condition: Callable[[], bool], ended: Callable[[], object], seconds: float = 300) -> bool:
    """Returns whether `condition` became true before the process ended."""
    end = time.monotonic() + seconds
    while not condition():
        if ended() is not None:
            return condition()
        assert time.monotonic() < end
        time.sleep(0.002)
    return True


def newest_iteration(folder: Path) -> int:
    """Returns the latest iteration with a numbered checkpoint."""
    return max((int(path.stem.removeprefix("iteration_")) for path in folder.glob("iteration_*.pt")), default=0)


def written_at(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def assert_whole(folder: Path) -> int:
    """Asserts that all files with final names are readable; returns the iteration of last.pt."""
    for checkpoint in folder.glob("[!.]*.pt"):
        load_checkpoint(checkpoint)
    for name in ("recipe.json", "metrics.jsonl"):
        for text in [(folder / name).read_text()] if (folder / name).exists() else []:
            assert [json.loads(text)] if name == "recipe.json" else [json.loads(line) for line in text.splitlines()]
    last = folder / "last.pt"
    return load_checkpoint(last).iteration if last.exists() else 0


def warm_server(monkeypatch: pytest.MonkeyPatch) -> ForkServerContext:
    """Forks processes from one that has imported the trainer already (multiprocessing's own)."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.train.helpers"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the server does not take over sys.path
    return context


@pytest.mark.parametrize(("kills", "epochs"), [(6, 12), pytest.param(20, 30, marks=pytest.mark.slow)])
def test_killed_repeatedly(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int, epochs: int
) -> None:
    """SIGKILL at random moments of a process: during its start, steps, evaluations and writing of checkpoints.

    A checkpoint is written at every step, so that many kills happen during writing.
    """
    context = warm_server(monkeypatch)
    log = tmp_path / "log.txt"

    def start(name: str, *more: str) -> ForkServerProcess:
        options = ["--epochs", str(epochs), "--checkpoint-every", "1", "--keep-checkpoints", "3", "--name", name]
        options += ["--evaluate-every", "2", "--network.dropout", "0.3", "--log-every", "7", "--pictures", "0"]
        arguments = ["--recipe", "camvid_lite0_baseline", *tiny_options(camvid, tmp_path), *options, *more]
        process = context.Process(target=run_command, args=(arguments, log))
        process.start()
        return process

    whole = start("whole")
    wait_for((tmp_path / "whole/last.pt").exists, lambda: whole.exitcode)
    began = time.monotonic()
    whole.join(300)
    assert whole.exitcode == 0, log.read_text()
    step_seconds = (time.monotonic() - began) / (epochs * STEPS)

    rng = np.random.default_rng(SEED)
    folder = tmp_path / "killed"
    last = folder / "last.pt"
    reached = [0]
    leftovers = 0
    for kill in range(kills):
        process = start("killed", *(["--resume"] if last.exists() else []))
        before, most = written_at(last), newest_iteration(folder) + MOST_STEPS

        def wait(seconds: float, p: ForkServerProcess = process, most: int = most) -> None:
            end = time.monotonic() + seconds
            wait_for(lambda: time.monotonic() >= end or newest_iteration(folder) >= most, lambda: p.exitcode)

        if kill % 4 == 0:  # in its start
            wait(rng.uniform(0, 1))
        else:
            trained = wait_for(lambda before=before: written_at(last) != before, lambda p=process: p.exitcode)
            assert trained, log.read_text()
            if kill % 4 == 1:  # while a checkpoint is written
                wait_for(
                    lambda most=most: any(folder.glob(".*.pt")) or newest_iteration(folder) >= most,
                    lambda p=process: p.exitcode,
                )
                time.sleep(rng.uniform(0, 0.01))
            else:  # wherever it is, in units of what a step takes on this machine
                wait(rng.uniform(0, 2 * step_seconds))
        assert process.exitcode is None, f"the run was over before kill {kill}: {log.read_text()}"
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        process.close()
        reached.append(assert_whole(folder))
        leftovers += len(list(folder.glob(".*")))
    print(f"seed {SEED}: killed after iterations {reached[1:]}, {leftovers} half-written files beside them")
    assert reached == sorted(reached)
    assert reached[-1] > kills // 2

    final = start("killed", "--resume")
    final.join(300)
    assert final.exitcode == 0, log.read_text()
    assert_whole(folder)
    for name in ("last.pt", "best.pt", *(f"iteration_{epochs * STEPS - back:06d}.pt" for back in range(3))):
        assert_same_state(load_checkpoint(folder / name), load_checkpoint(tmp_path / "whole" / name))
    assert (folder / "metrics.jsonl").read_text() == (tmp_path / "whole/metrics.jsonl").read_text()
    files = [sorted(path.name for path in at.iterdir()) for at in (folder, tmp_path / "whole")]
    assert files[0] == files[1]


def test_killed_at_any_byte_of_a_checkpoint(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train("--epochs", "1", "--name", "run", "--trackers", "none") == 0
    last = tmp_path / "runs/run/last.pt"
    before = load_checkpoint(last)
    size = last.stat().st_size
    places = np.random.default_rng(SEED).integers(1, size - 1, 4)
    for limit_bytes, ends in [(0, -signal.SIGXFSZ), *((int(n), -signal.SIGXFSZ) for n in places), (2 * size, 0)]:
        process = warm_server(monkeypatch).Process(target=save_until, args=(last, limit_bytes))
        process.start()
        process.join(60)
        assert process.exitcode == ends, limit_bytes
        if ends:
            assert_same_state(load_checkpoint(last), before)
    assert load_checkpoint(last).iteration == before.iteration + 1  # what was not killed was written


@pytest.mark.slow
def test_the_launchers_death_stops_and_saves(camvid: Path, tmp_path: Path) -> None:
    """SIGTERM to `accelerate launch` of one process. The launcher does not forward the signal."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "--cpu", "train/main.py"]
    command += ["--recipe", "camvid_lite0_baseline", *tiny_options(camvid, tmp_path / "runs"), "--name", "run"]
    command += ["--epochs", "400", "--checkpoint-every", "1", "--evaluate-every", "400", "--trackers", "none"]
    log = tmp_path / "log.txt"
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        launcher = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output)
        assert wait_for((tmp_path / "runs/run/last.pt").exists, launcher.poll), log.read_text()
        launcher.terminate()
        launcher.wait(60)
        # The run outlives its launcher for as long as it takes to save.
        assert wait_for(lambda: "continue with --resume" in log.read_text(), lambda: None, seconds=60), log.read_text()
    stopped = re.search(r"stopped at iteration (\d+), saved", log.read_text())
    assert stopped is not None
    assert load_checkpoint(tmp_path / "runs/run/last.pt").iteration == int(stopped[1]) < 1200


def test_one_run_in_a_folder(camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process is refused while another one trains in the folder, and accepted after that one was killed."""
    context = warm_server(monkeypatch)
    options = ["--recipe", "camvid_lite0_baseline", *tiny_options(camvid, tmp_path), "--name", "run"]
    options += ["--epochs", "400", "--checkpoint-every", "1", "--evaluate-every", "400", "--trackers", "none"]
    last = tmp_path / "run/last.pt"

    def start(log: str, *more: str) -> ForkServerProcess:
        process = context.Process(target=run_command, args=([*options, *more], tmp_path / log))
        process.start()
        return process

    first = start("first.txt")
    assert wait_for(last.exists, lambda: first.exitcode)
    second = start("second.txt", "--resume")
    second.join(120)
    assert second.exitcode == 1
    assert (
        (tmp_path / "second.txt")
        .read_text()
        .strip()
        .endswith(
            f"train/main.py: another process trains in {tmp_path / 'run'}; choose another --name, or end that one"
        )
    )
    assert first.exitcode is None
    first.kill()
    first.join(60)
    third = start("third.txt", "--resume")
    before = written_at(last)
    assert wait_for(lambda: written_at(last) != before, lambda: third.exitcode), (tmp_path / "third.txt").read_text()
    third.kill()
    third.join(60)


@pytest.mark.slow
def test_killed_command(train: Command, camvid: Path, tmp_path: Path) -> None:
    """The real command from the repository's root, without installation: SIGTERM to its whole process group (as job
    schedulers do it, so the loader's workers get it too), resumed, SIGKILL at a random moment, resumed."""
    options = ["--epochs", "8", "--checkpoint-every", "1", "--network.dropout", "0.3", "--evaluate-every", "99"]
    command = [sys.executable, "train/main.py", "--recipe", "camvid_lite0_baseline", "--name", "run"]
    command += [*tiny_options(camvid, tmp_path / "runs"), *options, "--data.workers", "2"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    last = tmp_path / "runs/run/last.pt"

    def start(*more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, *more],
            cwd=REPOSITORY,
            env=environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    process = start()
    assert wait_for(last.exists, process.poll)
    os.killpg(process.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 75, error
    assert re.search(rb"stopped at iteration \d+, saved to \S+last.pt; continue with --resume", error)
    stopped = load_checkpoint(last).iteration
    assert 1 <= stopped < 24

    process = start("--resume")
    before = written_at(last)
    assert wait_for(lambda: written_at(last) != before, process.poll)
    time.sleep(np.random.default_rng().uniform(0, 0.1))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    killed = load_checkpoint(last).iteration
    assert killed > stopped

    assert train(*options, "--name", "run", "--resume") == 0
    assert train(*options, "--name", "whole") == 0
    assert_same_state(load_checkpoint(last), load_checkpoint(tmp_path / "runs/whole/last.pt"))
    assert not list((tmp_path / "runs/run").glob(".*"))
