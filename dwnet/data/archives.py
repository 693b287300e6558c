"""Data sets in archives: a zip file is unpacked once, beside itself."""

import glob
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dwnet.core.files import listed
from dwnet.core.progress import Progress
from dwnet.data.pairs import DataError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SKIPPED = ("__MACOSX",)
"""Top folders in archives that hold no data."""


def data_folder(path: Path, *, is_layout: Callable[[Path], bool]) -> Path:
    """Returns the folder of a data set: itself, an unpacked zip file, or the only folder inside.

    Archives often hold one folder with everything. A folder without a layout that holds nothing but one folder or one
    zip file is that folder or file.

    Args:
        path: a folder, a zip file, or the name of a zip file without ``.zip``.
        is_layout: returns whether a folder has a layout of the data set.

    Raises:
        DataError: for a zip file that cannot be unpacked.
    """
    if not path.exists() and path.with_name(f"{path.name}.zip").is_file():
        path = path.with_name(f"{path.name}.zip")
    given = path
    while not (path.is_dir() and is_layout(path)):
        if path.is_file() and path.suffix.lower() == ".zip":
            path = unpacked(path)
            continue
        inside = [entry for entry in listed(path) if entry.name not in _SKIPPED] if path.is_dir() else []
        holders = [entry for entry in inside if entry.is_dir() or entry.suffix.lower() == ".zip"]
        if len(holders) != 1:
            return given if given.is_dir() else path
        path = holders[0]
    return path


def unpacked(archive: Path) -> Path:
    """Returns the folder with the content of a zip file, ``.NAME.unpacked-KEY`` beside it.

    The key changes with the size and the time of the file. An existing folder is not written again. Several processes
    may unpack the same file. Hidden files are left out.

    Raises:
        DataError: for a file that is no intact zip file or is encrypted, for paths outside the archive, or without
            space or permission to write.
    """
    status = archive.stat()
    key = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:12]
    target = archive.with_name(f".{archive.stem}.unpacked-{key}")
    if target.is_dir():
        return target
    try:
        with _locked(archive):
            if not target.is_dir():  # another process may have unpacked it meanwhile
                _unpack(archive, target)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error}); allowed is an intact zip file") from error
    except OSError as error:
        raise DataError(
            f"{archive}: cannot be unpacked into {archive.parent} ({error.strerror}); allowed is a folder with space "
            "and permission to write, or a data set that is unpacked already"
        ) from error
    return target


@contextmanager
def _locked(archive: Path) -> Iterator[None]:
    """Waits until no other process unpacks the archive. The lock ends with the process, even if that is killed."""
    path = archive.with_name(f".{archive.stem}.unpacking")
    try:
        with path.open("a") as lock:
            if fcntl is not None:
                with suppress(OSError):  # a file system without locks
                    fcntl.lockf(lock, fcntl.LOCK_EX)
            yield
    finally:
        path.unlink(missing_ok=True)


def _unpack(archive: Path, target: Path) -> None:
    for leftover in archive.parent.glob(f"{glob.escape(f'.{archive.stem}.unpacking-')}*"):  # of a killed process
        shutil.rmtree(leftover, ignore_errors=True)
    progress = Progress(f"unpacks {archive.name}")
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=f".{archive.stem}.unpacking-") as beside:
        new = Path(beside) / "new"
        new.mkdir()
        _extract(archive, new, progress)
        new.rename(target)
    progress.close()


def _extract(archive: Path, folder: Path, progress: Progress) -> None:
    with zipfile.ZipFile(archive) as content:
        members = [member for member in content.infolist() if not member.is_dir() and _is_data(member.filename)]
        locked = next((member.filename for member in members if member.flag_bits & 1), None)
        if locked is not None:
            raise DataError(f"{archive}: {locked} is encrypted; allowed are archives without a password")
        needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
        if needed > free:
            raise DataError(
                f"{archive}: needs {needed / 1e9:.2f} GB unpacked, and {archive.parent} has {free / 1e9:.2f} GB free; "
                "allowed is a disk with enough space"
            )
        for done, member in enumerate(members, start=1):
            target = (folder / member.filename).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise DataError(f"{archive}: holds the path {member.filename!r}; allowed are paths inside the archive")
            content.extract(member, folder)
            progress(done, len(members))


def _is_data(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return not any(part in _SKIPPED or (part.startswith(".") and part not in (".", "..")) for part in parts)
