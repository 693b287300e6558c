"""Files: image suffixes, listing, atomic writing of files and folders, natural order, the git commit of the code."""

import errno
import os
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dwnet.core.temporary import temporary_file, temporary_folder

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes of image files, in lower case."""
_FULL_BYTES = 1 << 20
"""A disk with less free space is full."""


def listed(folder: Path, suffixes: Collection[str] | None = None) -> list[Path]:
    """Returns the entries of a folder sorted by name, without those whose names start with a dot.

    Such names are hidden files: ``._NAME``, which macOS writes beside NAME on other file systems, and ``.DS_Store``.

    Args:
        folder: an existing folder.
        suffixes: only files with one of these suffixes, in lower case with the dot; None returns all entries.
    """
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if suffixes is None:
        return entries
    return [entry for entry in entries if entry.suffix.lower() in suffixes and entry.is_file()]


def same_form(name: str) -> str:
    """Returns a file name in Unicode's composed form (NFC). macOS stores names in the decomposed form."""
    return unicodedata.normalize("NFC", name)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`. Renames it to `path` on success, and removes it on any exception.

    If the process is killed, `path` is either the old file or the new one, and the next call that writes into the
    folder removes the temporary file. A missing parent folder is created.

    Raises:
        OSError: if the disk is full, whatever error the writer had: libraries report a full disk in their own ways.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary_file(target) as temporary:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            mode = 0o666 & ~_umask()
            temporary.chmod(mode)
            os.replace(temporary, target)
    except Exception as error:
        free = shutil.disk_usage(target.parent).free
        if free >= _FULL_BYTES:
            raise
        message = f"no space left on device ({free / 1e6:.1f} MB free), {target.name} is not written"
        raise OSError(errno.ENOSPC, message, str(target)) from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def code_commit() -> str:
    """Returns the git commit of this code, plus "+changes" if tracked files differ; "unknown" outside a clone."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():  # an installed package may lie in the repository of another project
        return "unknown"
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=folder, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder beside `target`. It replaces `target` on success and is removed on any exception.

    If the process is killed, the next call with the same target removes what is left, or restores the old folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)

    def rescue(left_over: Path) -> None:
        if (left_over / "old").exists() and not target.exists():
            (left_over / "old").rename(target)

    with temporary_folder(target.parent, target.name, rescue) as beside:
        new, old = beside / "new", beside / "old"
        new.mkdir()  # the temporary folder has mode 0700; this one has the usual mode
        yield new
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)


def natural_order(files: Iterable[Path]) -> list[Path]:
    """Returns the files sorted by name. Numbers in names are compared by value: ``f2.png`` comes before ``f10.png``."""

    def key(file: Path) -> tuple[list[tuple[int, str]], str]:
        pieces = re.split(r"(\d+)", file.name)
        return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces], file.name

    return sorted(files, key=key)
