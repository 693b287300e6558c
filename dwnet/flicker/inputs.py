"""Input files: their order, their fingerprints, and whether they have changed since."""

import hashlib
from pathlib import Path


def files_of(path: Path) -> list[Path]:
    """The file itself, or every visible file below the folder, in a fixed order."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))


def sha256(path: Path) -> str:
    """Of a file its SHA-256; of a folder that of the lines ``NAME SHA256`` of its files, in order."""
    if path.is_dir():
        lines = "".join(f"{file.relative_to(path).as_posix()} {sha256(file)}\n" for file in files_of(path))
        return hashlib.sha256(lines.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(path: Path) -> str:
    """Changes when a file below `path` is changed, added or removed: from names, sizes and times, without reading."""
    digest = hashlib.sha256(str(path).encode())
    for file in files_of(path):
        status = file.stat()
        digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
