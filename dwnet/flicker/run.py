"""Measures clips and corpora from files, and writes the reports."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from dwnet.core.class_files import ClassFile
from dwnet.core.class_labels import ClassLabels
from dwnet.core.files import atomic_write
from dwnet.core.fingerprints import sha256
from dwnet.core.launch import Processes
from dwnet.core.opencv_threads import one_opencv_thread
from dwnet.core.progress import Progress as ShownProgress
from dwnet.core.tables import CsvTable
from dwnet.flicker.corpus import CorpusClip, CorpusError
from dwnet.flicker.flows import open_flow
from dwnet.flicker.matching import PredictionError
from dwnet.flicker.measure import Progress, RowSink, measure_clip
from dwnet.flicker.open_labels import open_label_maps
from dwnet.flicker.player import FlickerPlayer, share_mb
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
    classes: ClassFile | None = None,
    truth_classes: ClassFile | None = None,
    table: Path | None = None,
    player: FlickerPlayer | None = None,
    progress: Progress | None = None,
) -> Record:
    """Measures every set of a clip and returns the clip's record.

    Args:
        clip: paths of the clip and its predictions.
        settings: settings of the measurement.
        classes: names, ids and colours; None uses those of a network, or generated ones.
        truth_classes: the ids and colours of the truth, for the same classes; None: as in `classes`.
        table: CSV file with a row per frame, written completely or not at all; None writes no file.
        player: collects the frames; None collects none.
        progress: called after each frame.

    Raises:
        DWNetError: for files that cannot be read or do not match each other.
    """
    with ExitStack() as stack:
        stack.enter_context(_memory_and_threads())
        reader = stack.enter_context(open_video(clip.clip, max_side=settings.max_side, image_fps=settings.fps))
        sets, truth = _open_sets(clip, settings, reader, classes, truth_classes or classes)
        flow = open_flow(str(clip.flow or settings.flow), weights=settings.flow_weights, published=settings.published)
        second = open_flow(settings.second_flow, weights=settings.second_flow_weights, published=False)
        digests = _hashing(stack, reader, [*sets, *([truth] if truth is not None else [])])
        named = classes.classes if classes is not None else truth_classes.classes if truth_classes else None
        on_row: list[RowSink] = []
        if table is not None:
            temporary = stack.enter_context(atomic_write(table))
            columns = row_columns([one.name for one in sets])
            on_row.append(FrameRows(stack.enter_context(CsvTable(temporary, columns)), clip.name))
        if player is not None:
            player.begin([one.name for one in sets], named or next((one.classes for one in sets if one.classes), None))
            on_row.append(player)
        result = measure_clip(
            reader,
            sets,
            flow,
            second_flow=second,
            second_every=settings.second_every,
            truth=truth,
            classes=named,
            on_row=on_row,
            progress=progress,
        )
        found = {path: digest.result() for path, digest in digests.items()}
        return make_record(clip.name, reader, result, sets, truth, (flow, second), found)


def measure_corpus(
    clips: Sequence[CorpusClip],
    settings: Settings,
    output: Path,
    *,
    classes: ClassFile | None = None,
    truth_classes: ClassFile | None = None,
) -> list[Record] | None:
    """Measures the clips of a corpus that have no valid record, and writes ``flicker.csv`` for all clips.

    Under `accelerate launch` and `torchrun` the processes share the clips. Progress is printed on stderr.

    Args:
        clips: the clips of the corpus.
        settings: settings of the measurement.
        output: output folder; its subfolder ``clips`` holds the records and CSV files of the clips.
        classes: names, ids and colours; None uses those of a network, or generated ones.
        truth_classes: the ids and colours of the truth, for the same classes; None: as in `classes`.

    Returns:
        The records in the order of the clips in the first process; None in the others.

    Raises:
        CorpusError: if a clip cannot be measured. The message names the clip.
        RuntimeError: if another process failed.
    """
    folder, budget_mb = output / "clips", share_mb(settings.player_mb, len(clips))

    def measure(one: CorpusClip, key: str) -> None:
        progress = ShownProgress(one.name)
        with ExitStack() as stack:
            player = stack.enter_context(FlickerPlayer(folder, one.name, budget_mb)) if budget_mb else None
            record = measure_one(one, player, progress)
            if player is not None:
                player.write_page(record)
        progress.close()
        write_record(folder / f"{one.name}.json", key, record)

    def measure_one(one: CorpusClip, player: FlickerPlayer | None, progress: Progress) -> Record:
        try:
            return measure_files(
                one,
                settings,
                classes=classes,
                truth_classes=truth_classes,
                table=folder / f"{one.name}.csv",
                player=player,
                progress=progress,
            )
        except ValueError as error:
            raise CorpusError(f"clip {one.name}: {error}") from error

    keys = [record_key(one, settings, (classes, truth_classes)) for one in clips]
    records = measure_missing(clips, keys, folder, measure, Processes.of_launcher())
    if records is not None:
        _join_tables([folder / f"{one.name}.csv" for one in clips], output / "flicker.csv")
    return records


def write_reports(
    document: dict[str, Any], records: Sequence[Record], output: Path, player: Markup | None = None
) -> None:
    """Writes ``flicker.json`` and ``flicker.html`` into `output`, each completely or not at all.

    `player` is the player of the only clip (`FlickerPlayer.finish`).
    """
    for name, content in (
        ("flicker.json", json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"),
        ("flicker.html", html_report(document, records, output, player)),
    ):
        with atomic_write(output / name) as temporary:
            temporary.write_text(content, encoding="utf-8", errors="backslashreplace")


def _open_sets(
    clip: CorpusClip,
    settings: Settings,
    reader: VideoReader,
    classes: ClassFile | None,
    truth_classes: ClassFile | None,
) -> tuple[list[PredictionSet], FilePredictions | None]:
    if classes is not None and truth_classes is not None and truth_classes.classes.classes != classes.classes.classes:
        raise PredictionError(
            f"--truth-classes names {', '.join(truth_classes.classes.classes)}; --classes names "
            f"{', '.join(classes.classes.classes)}; allowed are the same classes in the same order"
        )
    frames = [file.stem for file in image_files(clip.clip)] if clip.clip.is_dir() else reader.info.frames
    labels = ClassLabels(classes, settings.ignore)
    sets = open_predictions(
        clip.predictions, frames, labels=labels, threshold=settings.threshold, smooth=settings.smooth
    )
    if clip.truth is None:
        return sets, None
    true_labels = ClassLabels(truth_classes, settings.ignore)
    maps = open_label_maps(clip.truth, frames, labels=true_labels, threshold=settings.threshold, sparse=True)
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
    with one_opencv_thread():
        yield
