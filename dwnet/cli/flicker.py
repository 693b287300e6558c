"""The command `dwnet flicker`: a clip, or a corpus of them, and sets of predictions in; four reports out."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import tyro

from dwnet.core.class_files import read_class_file
from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write
from dwnet.core.fingerprints import sha256
from dwnet.core.launch import Processes
from dwnet.core.progress import Progress
from dwnet.flicker.corpus import (
    CorpusClip,
    CorpusError,
    measure_missing,
    read_corpus,
    record_key,
    write_record,
)
from dwnet.flicker.flows import open_flow
from dwnet.flicker.label_maps import open_label_maps
from dwnet.flicker.measure import measure_clip
from dwnet.flicker.predictions import FilePredictions, named_path, open_predictions
from dwnet.flicker.record import FrameTable, Record, Settings, assemble, make_record
from dwnet.flicker.report import html_report
from dwnet.flicker.table import markdown
from dwnet.video import image_files, open_video


def flicker(
    clip: tyro.conf.Positional[Path | None] = None,
    predictions: tyro.conf.Positional[tuple[str, ...]] = (),
    /,
    corpus: Path | None = None,
    truth: Path | None = None,
    output: Path = Path("flicker"),
    flow: str = "dis",
    flow_weights: str = "published",
    second_flow: str | None = None,
    second_every: int = 30,
    classes: Path | None = None,
    ignore: int | None = None,
    max_side: int | None = None,
    fps: float = 25.0,
    published: bool = False,
) -> None:
    """Measure how much predictions flicker: table, JSON, CSV a frame, and one HTML page.

    Predictions are a folder of label PNGs, a losslessly coded indexed video, an .npy or .npz of ids or scores, or an
    exported network (.onnx) to run. Many clips: `--corpus`, also under `accelerate launch` or `torchrun`.

    Args:
        clip: a video file, or a folder of frames.
        predictions: one or several sets, each PATH or NAME=PATH.
        corpus: a JSON list of clips, or a folder with clips/ and predictions/NAME/; instead of CLIP and PREDICTIONS.
        truth: true labels of the clip, as predictions; a folder may leave frames out.
        output: folder for the files; a corpus's records lie in its clips/, and a second run continues.
        flow: dis, dis_fast (quicker, less exact at edges), raft_small, raft_large, flownet2, or a folder of
            exact flow.
        flow_weights: for a flow network: published, or a file.
        second_flow: another flow, to see how far the result depends on it; default: dis_fast, or dis beside that.
        second_every: on every n-th pair of frames.
        classes: a file with the classes' names and colours, JSON or text; default: a network's, or made up.
        ignore: an id in label maps that means nothing is known; 255 always does.
        max_side: the frames' longer side is reduced to this, in pixels; label maps have to have that size.
        fps: frames a second of a folder of frames.
        published: also the temporal consistency as ETC and as VSPW define it, flaws included, to compare with papers.
    """
    if (corpus is None) == (clip is None) or (corpus is not None and (predictions or truth)):
        raise DWNetError("give a CLIP and its PREDICTIONS, or --corpus without them (it names truth itself)")
    if second_every < 1:
        raise DWNetError(f"--second-every is {second_every}; allowed are whole numbers from 1")
    settings = Settings(
        flow=flow,
        flow_weights=flow_weights,
        second_flow=second_flow or ("dis" if flow == "dis_fast" else "dis_fast"),
        second_every=second_every,
        ignore=ignore,
        max_side=max_side,
        fps=fps,
        published=published,
    )
    _use_memory_and_threads_well()
    named = None if classes is None else read_class_file(classes).classes
    if corpus is not None:
        _measure_corpus(read_corpus(corpus), settings, named, classes, output)
        return
    assert clip is not None
    one = CorpusClip(
        clip.name if clip.is_dir() else clip.stem, clip, tuple(named_path(text) for text in predictions), truth
    )
    table = output / "flicker.csv"
    record = _measure(one, settings, named, table)
    _report([record], settings, output)


def _use_memory_and_threads_well() -> None:
    # glibc gives large blocks back to the system when they are freed, and asking again for every frame costs more than
    # what is computed there. Once a block of this size was freed, it keeps those below it.
    np.empty(31 * 2**20, np.uint8)
    # Pairs of frames run in parallel; OpenCV's own threads inside each would only compete.
    cv2.setNumThreads(1)


def _measure(one: CorpusClip, settings: Settings, named: ClassSet | None, table: Path) -> Record:
    """Measure a clip, write its CSV, and return its record."""
    with ExitStack() as stack:
        reader = stack.enter_context(open_video(one.clip, max_side=settings.max_side, image_fps=settings.fps))
        names = [file.stem for file in image_files(one.clip)] if one.clip.is_dir() else None
        sets = open_predictions(one.predictions, names, ignore=settings.ignore)
        truth = None
        if one.truth is not None:
            maps = open_label_maps(one.truth, names, ignore=settings.ignore, sparse=True)
            truth = FilePredictions("truth", one.truth, maps)
        flow = open_flow(str(one.flow or settings.flow), weights=settings.flow_weights, published=settings.published)
        # The weights are the first flow's.
        weights = settings.flow_weights if settings.second_flow == settings.flow else "published"
        second = open_flow(settings.second_flow, weights=weights, published=False)
        paths = {reader.path, *(part.path for part in (*sets, *([truth] if truth is not None else [])))}
        hashing = stack.enter_context(ThreadPoolExecutor(1))
        digests = {path: hashing.submit(sha256, path) for path in paths}
        progress = Progress(one.name)
        with atomic_write(table) as temporary:
            with FrameTable(temporary, one.name, [part.name for part in sets]) as rows:
                result = measure_clip(
                    reader,
                    sets,
                    flow,
                    second_flow=second,
                    second_every=settings.second_every,
                    truth=truth,
                    classes=named,
                    on_row=rows,
                    progress=progress,
                )
            progress.close()
        found = {path: digest.result() for path, digest in digests.items()}
        return make_record(one.name, reader, result, sets, truth, (flow, second), found)


def _measure_corpus(
    clips: list[CorpusClip], settings: Settings, named: ClassSet | None, classes: Path | None, output: Path
) -> None:
    processes, folder = Processes.of_launcher(), output / "clips"
    keys = [record_key(one, settings, classes) for one in clips]

    def measure(one: CorpusClip, key: str) -> None:
        try:
            record = _measure(one, settings, named, folder / f"{one.name}.csv")
        except ValueError as error:
            raise CorpusError(f"clip {one.name}: {error}") from error
        write_record(folder / f"{one.name}.json", key, record)

    records = measure_missing(clips, keys, folder, measure, processes)
    if records is None:
        return
    with atomic_write(output / "flicker.csv") as temporary, temporary.open("w", encoding="utf-8") as whole:
        for position, one in enumerate(clips):
            with (folder / f"{one.name}.csv").open(encoding="utf-8") as part:
                header = next(part)
                whole.writelines([header] if position == 0 else [])
                whole.writelines(part)
    _report(records, settings, output)


def _report(records: list[Record], settings: Settings, output: Path) -> None:
    document = assemble(records, settings)
    for name, content in (
        ("flicker.json", json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"),
        ("flicker.html", html_report(document, records, output)),
    ):
        with atomic_write(output / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    sys.stdout.write(f"{markdown(document)}\n\n{output / 'flicker.html'}, .json, .csv\n")
