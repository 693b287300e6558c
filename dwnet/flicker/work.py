"""Shares the clips of a corpus between processes: records on disk, assignment of clips, and waiting for the others.

Every clip has a record, a file with the result and a key. The key is made from the settings and the state of the
inputs. A clip whose record has the right key is not measured again, so an interrupted run can continue.

Under `accelerate launch` and `torchrun`, process r of n measures clips r, r + n, r + 2n, ... The first process waits
for the records of the others and returns all records in the order of the corpus, so the result does not depend on the
number of processes.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from dwnet import __version__
from dwnet.core.class_files import ClassFile
from dwnet.core.files import atomic_write
from dwnet.core.fingerprints import state_of
from dwnet.core.launch import Processes
from dwnet.flicker.corpus import CorpusClip
from dwnet.flicker.record import RECORD_FORMAT, Record
from dwnet.flicker.settings import Settings

BEAT_SECONDS = 1.0
SILENT_SECONDS = 60.0
"""A process that has not touched its file for this time counts as dead."""


def record_key(clip: CorpusClip, settings: Settings, classes: Sequence[ClassFile | None]) -> str:
    """Returns a key that changes with the settings, the inputs and the version of the library."""
    inputs = [state_of(path) if path.exists() else "missing" for path in clip.inputs()]
    flows = (settings.flow, settings.second_flow, settings.flow_weights)  # a name, or the path of a file or folder
    inputs += [state_of(Path(name)) for name in flows if Path(name).exists()]
    names = [name for name, _ in clip.predictions]
    named = [None if one is None else one.as_dict() for one in classes]
    content = json.dumps(
        [RECORD_FORMAT, __version__, clip.name, names, asdict(settings), inputs, named], sort_keys=True
    )
    return hashlib.sha256(content.encode()).hexdigest()


def read_record(path: Path, key: str) -> Record | None:
    """Returns the record in a file; None if there is no record with this key."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["record"] if content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(path: Path, key: str, record: Record) -> None:
    """Writes a record and its key, completely or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"key": key, "record": record}, allow_nan=False), encoding="utf-8")


def measure_missing(
    clips: Sequence[CorpusClip],
    keys: Sequence[str],
    folder: Path,
    measure: Callable[[CorpusClip, str], None],
    processes: Processes,
) -> list[Record] | None:
    """Measures the clips of this process that have no valid record. The first process gathers all records.

    Args:
        clips: the clips of the corpus.
        keys: the key of each clip's record.
        folder: folder of the records, ``NAME.json``.
        measure: called with a clip and its key; measures the clip and writes its record.
        processes: rank of this process and number of processes.

    Returns:
        All records in the order of the clips in the first process, None in the others.

    Raises:
        RuntimeError: if another process failed or died. Finished records remain.
        ValueError, OSError: from `measure`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{clip.name}.json" for clip in clips]
    with _alive(folder, processes):
        for index in range(processes.rank, len(clips), processes.count):
            if read_record(paths[index], keys[index]) is None:
                measure(clips[index], keys[index])
        if processes.rank:
            return None
        _wait(clips, paths, keys, folder, processes)
    records = [read_record(path, key) for path, key in zip(paths, keys, strict=True)]
    return [record for record in records if record is not None]


@contextmanager
def _alive(folder: Path, processes: Processes) -> Iterator[None]:
    """Touches a file periodically while this process works. An error is written to another file."""
    beat, failed = (folder / f".rank{processes.rank}.{end}" for end in ("alive", "failed"))
    # Error files of an earlier run are removed. The first process removes all of them, so that it reads no old error.
    for old in folder.glob(".rank*.failed") if processes.rank == 0 else [failed]:
        old.unlink(missing_ok=True)
    stop = threading.Event()

    def touch() -> None:
        while not stop.is_set():
            beat.touch()
            stop.wait(BEAT_SECONDS)

    thread = threading.Thread(target=touch, name="dwnet-alive", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        if processes.count > 1:
            failed.write_text(str(error) or type(error).__name__, encoding="utf-8", errors="backslashreplace")
        raise
    finally:
        stop.set()
        thread.join()
        beat.unlink(missing_ok=True)


def _wait(
    clips: Sequence[CorpusClip], paths: Sequence[Path], keys: Sequence[str], folder: Path, processes: Processes
) -> None:
    """Waits until all records exist. Raises RuntimeError if a process with missing records failed or died."""
    missing = set(range(len(clips)))
    # Elapsed time is measured with this machine's clock, because the clocks of other machines may differ.
    last_seen: dict[int, tuple[float, float]] = {}
    while True:
        missing = {index for index in missing if read_record(paths[index], keys[index]) is None}
        if not missing:
            return
        for rank in sorted({index % processes.count for index in missing}):
            failed = folder / f".rank{rank}.failed"
            if failed.exists():
                raise RuntimeError(f"process {rank} failed: {failed.read_text(encoding='utf-8')}")
            beat = folder / f".rank{rank}.alive"
            beaten = beat.stat().st_mtime if beat.exists() else 0.0
            if rank not in last_seen or last_seen[rank][0] != beaten:
                last_seen[rank] = (beaten, time.monotonic())
            if time.monotonic() - last_seen[rank][1] > SILENT_SECONDS:
                left = ", ".join(clips[index].name for index in sorted(missing) if index % processes.count == rank)
                raise RuntimeError(
                    f"process {rank} has not been heard of for {SILENT_SECONDS:.0f} s; still to measure: {left}. Start "
                    "the command again to continue"
                )
        time.sleep(0.2)
