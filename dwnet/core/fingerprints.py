"""Fingerprints of input files and folders."""

import hashlib
import os
from pathlib import Path


def names_below(folder: Path) -> list[str]:
    """Returns the sorted relative paths of all files below a folder, without files whose names start with a dot."""
    files = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names if name[0] != ".")
    return sorted(Path(file).relative_to(folder).as_posix() for file in files)


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file. For a folder: the SHA-256 of the lines ``NAME SHA256`` of its files, sorted."""
    if path.is_dir():
        whole = hashlib.sha256()
        for name in names_below(path):
            whole.update(f"{name} {sha256(path / name)}\n".encode())
        return whole.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(path: Path) -> str:
    """Returns a fingerprint of a file or folder from paths, sizes and modification times, without reading the files."""
    digest = hashlib.sha256(str(path).encode())
    for name in names_below(path) if path.is_dir() else [""]:
        file = path / name
        status = file.stat()
        digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
