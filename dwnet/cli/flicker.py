"""`dwnet flicker`."""

import sys
from pathlib import Path

import tyro

from dwnet.core.class_files import read_class_file
from dwnet.core.errors import DWNetError
from dwnet.core.progress import Progress
from dwnet.flicker.api import FlickerReport, measure_flicker, report_of
from dwnet.flicker.corpus import read_corpus
from dwnet.flicker.predictions import own_name
from dwnet.flicker.run import measure_corpus
from dwnet.flicker.settings import Settings, default_second_flow


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
    """Measure how much predictions flicker: table, JSON, CSV per frame, and one HTML page.

    Predictions are a folder of label PNGs, a losslessly coded indexed video, an .npy or .npz of ids or scores, or an
    exported network (.onnx) to run. Many clips: `--corpus`, also under `accelerate launch` or `torchrun`.

    Args:
        clip: a video file, or a folder of frames.
        predictions: one or several sets, each PATH or NAME=PATH.
        corpus: a JSON list of clips, or a folder with clips/ and predictions/NAME/; instead of CLIP and PREDICTIONS.
        truth: true labels of the clip, in the forms of predictions; a folder may leave frames out.
        output: folder for the files. A corpus keeps its records in clips/ below it, and a second run continues.
        flow: dis, dis_fast (quicker, less exact at edges), raft_small, raft_large, flownet2, or a folder of
            exact flow.
        flow_weights: weights of a flow network: published, or a file.
        second_flow: another flow, to see how far the result depends on it; default: dis_fast, or dis beside that.
        second_every: measure the second flow on every n-th pair of frames.
        classes: a file with names and colours of the classes, JSON or text; default: those of a network, or made up.
        ignore: an id in label maps for unknown pixels; 255 always is one.
        max_side: reduce the longer side of the frames to this, in pixels; label maps must have that size.
        fps: frames per second of a folder of frames.
        published: also measure temporal consistency as ETC and as VSPW define it, flaws included, to compare with
            papers.
    """
    if (corpus is None) == (clip is None) or (corpus is not None and (predictions or truth)):
        raise DWNetError("give a CLIP and its PREDICTIONS, or --corpus without them (it names truth itself)")
    if clip is not None:
        progress = Progress(own_name(clip))
        report = measure_flicker(
            clip,
            predictions,
            truth=truth,
            flow=flow,
            classes=classes,
            ignore=ignore,
            max_side=max_side,
            fps=fps,
            output=output,
            flow_weights=flow_weights,
            second_flow=second_flow,
            second_every=second_every,
            published=published,
            progress=progress,
        )
        progress.close()
        _print(report)
        return
    assert corpus is not None
    settings = Settings(
        flow=flow,
        flow_weights=flow_weights,
        second_flow=second_flow or default_second_flow(flow),
        second_every=second_every,
        ignore=ignore,
        max_side=max_side,
        fps=fps,
        published=published,
    )
    named = None if classes is None else read_class_file(classes).classes
    records = measure_corpus(read_corpus(corpus), settings, output, classes=named)
    if records is not None:
        _print(report_of(records, settings, output))


def _print(report: FlickerReport) -> None:
    assert report.output is not None
    sys.stdout.write(f"{report.table()}\n\n{report.output / 'flicker.html'}, .json, .csv\n")
