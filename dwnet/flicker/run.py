"""Measures clips and corpora from files, and writes the reports."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dwnet.core.classes import ClassSet
from dwnet.core.files import atomic_write
from dwnet.core.fingerprints import sha256
from dwnet.core.launch import Processes
from dwnet.core.progress import Progress as ShownProgress
from dwnet.core.tables import CsvTable
from dwnet.flicker.corpus import CorpusClip, CorpusError
from dwnet.flicker.flows import open_flow
from dwnet.flicker.label_maps import open_label_maps
from dwnet.flicker.measure import Progress, measure_clip
from dwnet.flicker.predictions import FilePredictions, PredictionSet, open_predictions
from dwnet.flicker.record import Record, make_record
from dwnet.flicker.report import html_report
from dwnet.flicker.rows import FrameRows, row_columns
from dwnet.flicker.settings import Settings
from dwnet.flicker.work import measure_missing, record_key, write_record
from dwnet.video import VideoReader, image_files, open_video


def measure_files(
    clip: CorpusClip,
    settings: Settings,
    *,
    classes: ClassSet | None = None,
    table: Path | None = None,
    progress: Progress | None = None,
) -> Record:
    """Measures every set of a clip and returns the clip's record.

    Args:
        clip: paths of the clip and its predictions.
        settings: settings of the measurement.
        classes: names and colours; None uses those of a network, or generated ones.
        table: CSV file with a row per frame, written completely or not at all; None writes no file.
        progress: called after each frame.

    Raises:
        DWNetError: for files that cannot be read or do not match each other.
    """
    with ExitStack() as stack:
        stack.enter_context(_memory_and_threads())
        reader = stack.enter_context(open_video(clip.clip, max_side=settings.max_side, image_fps=settings.fps))
        sets, truth = _open_sets(clip, settings)
        flow = open_flow(str(clip.flow or settings.flow), weights=settings.flow_weights, published=settings.published)
        second = open_flow(settings.second_flow, weights=settings.second_flow_weights, published=False)
        digests = _hashing(stack, reader, [*sets, *([truth] if truth is not None else [])])
        on_row = None
        if table is not None:
            temporary = stack.enter_context(atomic_write(table))
            columns = row_columns([one.name for one in sets])
            on_row = FrameRows(stack.enter_context(CsvTable(temporary, columns)), clip.name)
        result = measure_clip(
            reader,
            sets,
            flow,
            second_flow=second,
            second_every=settings.second_every,
            truth=truth,
            classes=classes,
            on_row=on_row,
            progress=progress,
        )
        found = {path: digest.result() for path, digest in digests.items()}
        return make_record(clip.name, reader, result, sets, truth, (flow, second), found)


def measure_corpus(
    clips: Sequence[CorpusClip], settings: Settings, output: Path, *, classes: ClassSet | None = None
) -> list[Record] | None:
    """Measures the clips of a corpus that have no valid record, and writes ``flicker.csv`` for all clips.

    Under `accelerate launch` and `torchrun` the processes share the clips. Progress is printed on stderr.

    Args:
        clips: the clips of the corpus.
        settings: settings of the measurement.
        output: output folder; its subfolder ``clips`` holds the records and CSV files of the clips.
        classes: names and colours; None uses those of a network, or generated ones.

    Returns:
        The records in the order of the clips in the first process; None in the others.

    Raises:
        CorpusError: if a clip cannot be measured. The message names the clip.
        RuntimeError: if another process failed.
    """
    folder = output / "clips"

    def measure(one: CorpusClip, key: str) -> None:
        progress = ShownProgress(one.name)
        try:
            record = measure_files(one, settings, classes=classes, table=folder / f"{one.name}.csv", progress=progress)
        except ValueError as error:
            raise CorpusError(f"clip {one.name}: {error}") from error
        progress.close()
        write_record(folder / f"{one.name}.json", key, record)

    keys = [record_key(one, settings, classes) for one in clips]
    records = measure_missing(clips, keys, folder, measure, Processes.of_launcher())
    if records is not None:
        _join_tables([folder / f"{one.name}.csv" for one in clips], output / "flicker.csv")
    return records


def write_reports(document: dict[str, Any], records: Sequence[Record], output: Path) -> None:
    """Writes ``flicker.json`` and ``flicker.html`` into `output`, each completely or not at all."""
    for name, content in (
        ("flicker.json", json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"),
        ("flicker.html", html_report(document, records, output)),
    ):
        with atomic_write(output / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _open_sets(clip: CorpusClip, settings: Settings) -> tuple[list[PredictionSet], FilePredictions | None]:
    names = [file.stem for file in image_files(clip.clip)] if clip.clip.is_dir() else None
    sets = open_predictions(clip.predictions, names, ignore=settings.ignore, smooth=settings.smooth)
    if clip.truth is None:
        return sets, None
    maps = open_label_maps(clip.truth, names, ignore=settings.ignore, sparse=True)
    return sets, FilePredictions("truth", clip.truth, maps)


def _hashing(stack: ExitStack, reader: VideoReader, sets: Sequence[PredictionSet]) -> dict[Path, "Future[str]"]:
    """Starts hashing the inputs in a background thread, and returns the futures by path."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="dwnet-hash")
    stack.callback(pool.shutdown, cancel_futures=True)
    return {path: pool.submit(sha256, path) for path in {reader.path, *(one.path for one in sets)}}


def _join_tables(parts: Sequence[Path], whole: Path) -> None:
    """Joins CSV files with the same columns into one file."""
    with atomic_write(whole) as temporary, temporary.open("w", encoding="utf-8") as joined:
        for position, path in enumerate(parts):
            with path.open(encoding="utf-8") as part:
                header = next(part)
                joined.writelines([header] if position == 0 else [])
                joined.writelines(part)


@contextmanager
def _memory_and_threads() -> Iterator[None]:
    # glibc returns large freed blocks to the system. Allocating them again for every frame takes longer than the
    # computation. After a block of this size was freed, glibc keeps smaller freed blocks.
    np.empty(31 * 2**20, np.uint8)
    # Pairs of frames run in parallel; OpenCV's own threads would compete with them.
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
