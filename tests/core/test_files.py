"""Files are written completely or not at all, even if writing is interrupted."""

import os
import subprocess
from pathlib import Path

import pytest

from dwnet.core import files
from dwnet.core.files import atomic_write, code_commit


def test_a_new_file_appears_with_its_folder_and_ordinary_permissions(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "numbers.json"
    with atomic_write(target) as temporary:
        assert temporary.parent == target.parent  # os.replace needs one file system
        assert temporary.suffix == ".json"  # writers choose their format by the suffix
        temporary.write_text("1")
        assert not target.exists()
    assert target.read_text() == "1"
    assert os.listdir(target.parent) == ["numbers.json"]
    reference = tmp_path / "reference"
    reference.write_text("")
    assert target.stat().st_mode == reference.stat().st_mode


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "model.onnx"
    target.write_text("old")

    def interrupted() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half of the new")
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_a_target_that_is_a_folder_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"), atomic_write(tmp_path / "taken") as temporary:
        temporary.write_text("x")
    assert os.listdir(tmp_path) == ["taken"]


def test_the_commit_is_known_in_a_checkout_and_unknown_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false"]
        run = ["git", *identity, *arguments]
        return subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    module = tmp_path / "dwnet/core/files.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    monkeypatch.setattr(files, "__file__", str(module))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code_commit() == "unknown"
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert code_commit() == git("rev-parse", "HEAD")
    module.write_text("changed")
    assert code_commit() == git("rev-parse", "HEAD") + "+changes"


def test_a_package_installed_inside_another_project_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commit = ["git", "-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "--allow-empty", "-m", "theirs"]
    subprocess.run(commit, cwd=tmp_path, check=True)
    module = tmp_path / ".venv/lib/site-packages/dwnet/core/files.py"
    monkeypatch.setattr(files, "__file__", str(module))
    assert code_commit() == "unknown"
