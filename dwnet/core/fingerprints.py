"""Fingerprints of input files and folders."""

import hashlib
import os
from pathlib import Path


def names_below(folder: Path) -> list[str]:
    """Names of all visible files below a folder, relative to it, sorted."""
    files = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names if name[0] != ".")
    return sorted(Path(file).relative_to(folder).as_posix() for file in files)


def sha256(path: Path) -> str:
    """SHA-256 of a file. Of a folder: SHA-256 of the lines ``NAME SHA256`` of its files, in sorted order."""
    if path.is_dir():
        whole = hashlib.sha256()
        for name in names_below(path):
            whole.update(f"{name} {sha256(path / name)}\n".encode())
        return whole.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(path: Path) -> str:
    """Fingerprint of a file or folder from names, sizes and modification times; the files are not read."""
    digest = hashlib.sha256(str(path).encode())
    for name in names_below(path) if path.is_dir() else [""]:
        file = path / name
        status = file.stat()
        digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
