"""Many clips: what belongs together, which process measures which, and waiting for the others.

Every clip's record is a file, written whole, with a key made of the settings and the inputs' state. A record with the
right key is not measured again, so a run that was interrupted continues where it stopped. Under `accelerate launch` or
`torchrun` process r takes every n-th clip; the first waits for the others' files and puts them together in the corpus's
order, so the result does not depend on the number of processes.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dwnet import __version__
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write, natural_order
from dwnet.core.fingerprints import state_of
from dwnet.core.launch import Processes
from dwnet.flicker.record import RECORD_FORMAT, Record, Settings

BEAT_SECONDS = 1.0
SILENT_SECONDS = 60.0
"""A process that has not touched its file for so long is taken for dead."""
LAYOUT = (
    'a JSON list of {"name", "clip", "predictions": {NAME: PATH}, "truth" and "flow" if there are any}, paths relative '
    "to the file; or a folder with clips/, predictions/NAME/ and, if there is any, truth/, where what belongs to a "
    "clip has its name"
)


class CorpusError(DWNetError):
    """A corpus that cannot be read; the message says what was found and what is allowed."""


@dataclass(frozen=True)
class CorpusClip:
    """A clip, and what is predicted for it."""

    name: str
    clip: Path
    predictions: tuple[tuple[str, Path], ...]
    """Name and path of each set."""
    truth: Path | None = None
    flow: Path | None = None
    """Folder of exact flow; None takes the flow of the settings."""

    def inputs(self) -> list[Path]:
        """Every path that is read."""
        paths = [self.clip, *(path for _, path in self.predictions), self.truth, self.flow]
        return [path for path in paths if path is not None]


def read_corpus(path: str | Path) -> list[CorpusClip]:
    """The clips of a corpus, in its order.

    Raises:
        CorpusError: for anything but the layout it names, two clips of one name, or clips with different sets.
    """
    path = Path(path)
    if path.is_dir():
        clips = _from_folder(path)
    elif path.is_file():
        try:
            clips = [_from_entry(path, entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CorpusError(f"{path}: is no corpus ({type(error).__name__}: {error}); allowed is {LAYOUT}") from error
    else:
        raise CorpusError(f"{path}: there is no such corpus; allowed is {LAYOUT}")
    if not clips:
        raise CorpusError(f"{path}: names no clip; allowed is {LAYOUT}")
    names = [clip.name for clip in clips]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CorpusError(f"{path}: names the clip {twice!r} twice; allowed is one of each name")
    sets = [name for name, _ in clips[0].predictions]
    for clip in clips:
        if [name for name, _ in clip.predictions] != sets:
            raise CorpusError(
                f"{path}: clip {clip.name!r} has the sets {', '.join(name for name, _ in clip.predictions)}; allowed "
                f"are those of the first clip in its order, {', '.join(sets)}"
            )
    return clips


def _from_entry(path: Path, entry: dict[str, Any]) -> CorpusClip:
    strange = set(entry) - {"name", "clip", "predictions", "truth", "flow"}
    if strange:
        raise CorpusError(f"an entry has the keys {', '.join(sorted(strange))}")
    clip = path.parent / entry["clip"]
    name = entry.get("name", clip.stem)
    if not name or Path(name).name != name or name.startswith("."):
        raise CorpusError(f"a clip is called {name!r}, which is no file name")
    return CorpusClip(
        name=name,
        clip=clip,
        predictions=tuple((one, path.parent / where) for one, where in entry["predictions"].items()),
        truth=path.parent / entry["truth"] if entry.get("truth") else None,
        flow=path.parent / entry["flow"] if entry.get("flow") else None,
    )


def _from_folder(folder: Path) -> list[CorpusClip]:
    clips_folder, sets_folder, truth = folder / "clips", folder / "predictions", folder / "truth"
    if not clips_folder.is_dir() or not sets_folder.is_dir():
        raise CorpusError(f"{folder}: has no clips/ and predictions/; allowed is {LAYOUT}")
    sets = natural_order(one for one in sets_folder.iterdir() if not one.name.startswith("."))
    clips = natural_order(clip for clip in clips_folder.iterdir() if not clip.name.startswith("."))
    return [
        CorpusClip(
            name=_name(clip),
            clip=clip,
            # A network is run on every clip.
            predictions=tuple(
                (one.stem, one) if one.suffix == ".onnx" else (one.name, _belonging(one, clip)) for one in sets
            ),
            truth=_belonging(truth, clip) if truth.is_dir() else None,
        )
        for clip in clips
    ]


def _name(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _belonging(folder: Path, clip: Path) -> Path:
    found = [path for path in folder.iterdir() if _name(path) == _name(clip)] if folder.is_dir() else []
    if len(found) != 1:
        raise CorpusError(
            f"{folder}: holds {len(found)} entries called {_name(clip)!r}; allowed is exactly one for each clip"
        )
    return found[0]


def record_key(clip: CorpusClip, settings: Settings, classes: Path | None) -> str:
    """Says whether a record is still right: changes with the settings, the inputs and the library's version."""
    inputs = [state_of(path) if path.exists() else "missing" for path in clip.inputs()]
    flows = (settings.flow, settings.second_flow, settings.flow_weights)  # names, or files and folders
    inputs += [state_of(Path(name)) for name in flows if Path(name).exists()]
    names = [name for name, _ in clip.predictions]
    named = "" if classes is None else classes.read_text(encoding="utf-8")
    content = json.dumps(
        [RECORD_FORMAT, __version__, clip.name, names, asdict(settings), inputs, named], sort_keys=True
    )
    return hashlib.sha256(content.encode()).hexdigest()


def read_record(path: Path, key: str) -> Record | None:
    """The record in a file; None if there is none, or one of other inputs or settings."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["record"] if content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(path: Path, key: str, record: Record) -> None:
    """Write a record whole, with its key."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"key": key, "record": record}, allow_nan=False), encoding="utf-8")


def measure_missing(
    clips: Sequence[CorpusClip],
    keys: Sequence[str],
    folder: Path,
    measure: Callable[[CorpusClip, str], None],
    processes: Processes,
) -> list[Record] | None:
    """Measure this process's clips that have no valid record, and, in the first process, gather all records.

    Args:
        clips: of the corpus.
        keys: of their records.
        folder: where records are, ``NAME.json``.
        measure: measures a clip and writes its record, given its key.
        processes: who this is.

    Returns:
        All records in the order of the clips in the first process, None in the others.

    Raises:
        RuntimeError: another process failed or died; every record that was finished stays.
        ValueError, OSError: what `measure` raises.
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
    """Touches a file as long as this process works; what ends it with an error is left in another."""
    beat, failed = (folder / f".rank{processes.rank}.{end}" for end in ("alive", "failed"))
    # Those of a run before this one say nothing; the first process clears all, so that it does not read an old one.
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
            failed.write_text(str(error) or type(error).__name__, encoding="utf-8")
        raise
    finally:
        stop.set()
        thread.join()
        beat.unlink(missing_ok=True)


def _wait(
    clips: Sequence[CorpusClip], paths: Sequence[Path], keys: Sequence[str], folder: Path, processes: Processes
) -> None:
    """Returns when every record is there; raises RuntimeError when one cannot come any more."""
    missing = set(range(len(clips)))
    # By its own clock: another machine's may differ.
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
                    "again to continue"
                )
        time.sleep(0.2)
