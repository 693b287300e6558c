"""What killed processes leave is removed by the next writer; what living processes write is not."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dwnet.core import temporary
from dwnet.core.files import atomic_folder, atomic_write

WRITE = """
import os, signal, sys, time
from pathlib import Path
from dwnet.core.files import atomic_folder, atomic_write
from dwnet.core.temporary import temporary_folder

def end():
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    print("writing", flush=True)
    time.sleep(60)

folder = Path(sys.argv[2])
"""
ATOMIC_FILE = """
with atomic_write(folder / "table.csv") as path:
    path.write_text("half")
    end()
"""
FOLDER = """
with temporary_folder(folder, "comparison") as path:
    (path / "deep").mkdir()
    (path / "deep/a.mp4").write_text("half")
    end()
"""
ATOMIC_FOLDER = """
with atomic_folder(folder / "model") as path:
    (path / "a").write_text("half")
    end()
"""
BETWEEN_RENAMES = """
real = Path.rename
def rename(path, target):
    if path.name == "new":
        end()
    return real(path, target)
Path.rename = rename
with atomic_folder(folder / "model") as path:
    (path / "a").write_text("new")
"""


def command(code: str, how: str, folder: Path) -> list[str]:
    return [sys.executable, "-c", WRITE + code, how, str(folder)]


def run_killed(code: str, folder: Path) -> None:
    ended = subprocess.run(command(code, "kill", folder), capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.fixture
def writing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the middle of writing."""
    with subprocess.Popen(command(request.param, "wait", tmp_path), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def search_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_SECONDS_BETWEEN_SEARCHES", 0.0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_next_file_in_the_folder_removes_a_left_over_one(tmp_path: Path) -> None:
    run_killed(ATOMIC_FILE, tmp_path)
    assert [name[:16] for name in names(tmp_path)] == [".table.dwnet-"[:16] + names(tmp_path)[0][13:16]]
    with atomic_write(tmp_path / "other.json") as path:
        path.write_text("1")
    assert names(tmp_path) == ["other.json"]


def test_the_next_folder_of_the_same_name_removes_a_left_over_one(tmp_path: Path) -> None:
    run_killed(FOLDER, tmp_path)
    run_killed(FOLDER, tmp_path)
    assert len(names(tmp_path)) == 1  # the second run removed what the first had left
    with temporary.temporary_folder(tmp_path, "comparison") as folder:
        assert names(tmp_path) == [folder.name]
    assert names(tmp_path) == []


def test_a_killed_replacement_leaves_the_old_folder(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model") as path:
        (path / "a").write_text("old")
    run_killed(ATOMIC_FOLDER, tmp_path)
    assert (tmp_path / "model/a").read_text() == "old"
    run_killed(BETWEEN_RENAMES, tmp_path)
    assert not (tmp_path / "model").exists()  # killed in the one moment in which there is neither
    with pytest.raises(KeyError), atomic_folder(tmp_path / "model"):
        raise KeyError  # what the killed process moved away is restored first
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model/a").read_text() == "old"


@pytest.mark.parametrize("writing", [ATOMIC_FILE, FOLDER, ATOMIC_FOLDER], indirect=True)
def test_what_a_living_process_writes_is_kept(writing: subprocess.Popen[str], tmp_path: Path) -> None:
    (before,) = names(tmp_path)
    for _ in range(2):
        with atomic_write(tmp_path / "table.csv") as path:
            path.write_text("whole")
        with temporary.temporary_folder(tmp_path, "comparison"):
            pass
        with atomic_folder(tmp_path / "model") as path:
            (path / "a").write_text("whole")
        assert names(tmp_path) == [before, "model", "table.csv"]
    writing.kill()
    writing.wait()
    with temporary.temporary_folder(tmp_path, "comparison"), atomic_folder(tmp_path / "model"):
        assert before not in names(tmp_path)


def test_files_of_the_user_are_kept(tmp_path: Path) -> None:
    mine = [".clip.original.mp4", ".comparison-12345678", ".a.dwnet-notes.txt", "a.dwnet-0123456789.txt"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".b.dwnet-0123456789.txt").symlink_to(tmp_path / "a.dwnet-0123456789.txt")
    with atomic_write(tmp_path / "clip.mp4") as path, temporary.temporary_folder(tmp_path, "comparison"):
        path.write_text("1")
    assert set(names(tmp_path)) >= {*mine, "clip.mp4"}


def test_names_of_255_bytes(tmp_path: Path) -> None:
    for name in ("x" * 251 + ".mp4", "ü" * 125 + ".mp4"):
        with atomic_write(tmp_path / name) as path:
            path.write_text("1")
            assert path.suffix == ".mp4"
            assert len(os.fsencode(path.name)) <= 255
        assert (tmp_path / name).read_text() == "1"


def test_a_folder_is_searched_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_SECONDS_BETWEEN_SEARCHES", 3600.0)
    searched = []
    real = os.scandir
    monkeypatch.setattr(temporary.os, "scandir", lambda path: searched.append(path) or real(path))
    for number in range(20):
        with atomic_write(tmp_path / f"{number}.json") as path:
            path.write_text("1")
    assert searched == [tmp_path]
