"""The function `dwnet.measure_flicker`, which measures the flicker of any predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from dwnet.core.class_files import read_class_file
from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError
from dwnet.flicker.corpus import CorpusClip
from dwnet.flicker.measure import Progress
from dwnet.flicker.predictions import named_path, own_name
from dwnet.flicker.record import Record, assemble
from dwnet.flicker.run import measure_files, write_reports
from dwnet.flicker.settings import Settings, default_second_flow
from dwnet.flicker.table import markdown

PathLike: TypeAlias = str | Path
Predictions: TypeAlias = PathLike | Sequence[PathLike] | Mapping[str, PathLike]
"""One set of predictions, several sets, or several sets by name."""


@dataclass(frozen=True)
class SetFlicker:
    """The figures of one set of predictions. Rates are in percent, and None if nothing could be counted."""

    name: str
    flips_percent: float | None
    """Pixels whose label changes along the flow."""
    temporal_consistency_percent: float | None
    """mIoU between the previous labels, warped along the flow, and the current labels."""
    miou_percent: float | None
    """mIoU with the truth; None without truth."""
    frames: int
    pairs: int
    """Number of pairs of frames compared. Pairs across a scene cut are left out."""
    figures: Mapping[str, Any] = field(repr=False)
    """All figures of the JSON report, including those per class (`dwnet.flicker.definitions.DEFINITIONS`)."""


@dataclass(frozen=True)
class FlickerReport:
    """The flicker of one or several sets of predictions."""

    sets: Mapping[str, SetFlicker]
    """The figures of each set by name, in the order given."""
    frames: int
    """Frames of the clip, or of all clips of a corpus."""
    scene_cuts: int
    output: Path | None
    """Folder with ``flicker.json``, ``flicker.csv`` and ``flicker.html``; None if none were written."""
    document: Mapping[str, Any] = field(repr=False)
    """The JSON report."""

    def __getitem__(self, name: str) -> SetFlicker:
        """Returns the figures of a set. Raises DWNetError for an unknown name."""
        if name not in self.sets:
            raise DWNetError(f"no set is called {name!r}; allowed are {', '.join(self.sets)}")
        return self.sets[name]

    def table(self) -> str:
        """Returns the text that `dwnet flicker` prints: a Markdown table with the figures of every set."""
        return markdown(self.document)


def measure_flicker(
    clip: PathLike,
    predictions: Predictions,
    *,
    truth: PathLike | None = None,
    flow: PathLike = "dis",
    classes: PathLike | ClassSet | None = None,
    ignore: int | None = None,
    max_side: int | None = None,
    fps: float = 25.0,
    output: PathLike | None = None,
    flow_weights: PathLike = "published",
    second_flow: PathLike | None = None,
    second_every: int = 30,
    published: bool = False,
    smooth: Sequence[str] = (),
    progress: Progress | None = None,
) -> FlickerReport:
    """Measures how much predictions flicker on a clip.

    Memory use does not depend on the length of the clip.

    Args:
        clip: a video file, or a folder of frames.
        predictions: paths of one or more sets. A set is a folder of label PNGs, a losslessly coded indexed video, an
            .npy or .npz of ids or scores, or an exported network (.onnx) to run. Names come from a
            mapping or from ``NAME=PATH`` in a list. The default name is that of the file or folder.
        truth: true labels in the same formats; a folder may have labels for some frames only.
        flow: dis, dis_fast (faster, less accurate at edges), farneback (slower, independent of dis), raft_small,
            raft_large, flownet2, or a folder of exact flow.
        classes: names and colours of the classes, or a file with them (JSON or text); None uses those of a network,
            or generated ones.
        ignore: a further id for unknown pixels in label maps; 255 always means unknown.
        max_side: longer side of the reduced frames, in pixels; label maps must have the reduced size.
        fps: frames per second of a folder of frames.
        output: folder for the JSON report, a CSV row per frame and the HTML page; None writes nothing.
        flow_weights: weights of a flow network: published, or a file.
        second_flow: another flow, which shows how much the result depends on the flow; None uses dis_fast, or dis if
            the flow is dis_fast.
        second_every: the second flow is measured on every n-th pair of frames.
        published: also measure temporal consistency exactly as the scripts of ETC and VSPW do.
        smooth: exported networks that are also measured with their class probabilities averaged along the flow, each
            ``NAME`` or ``NAME=KEEP``; KEEP is the weight of the past, 0 to below 1, default 0.5. The further sets are
            called ``NAME_smoothed``.
        progress: called after each frame with (number of frames done, number of all frames or None).

    Raises:
        DWNetError: for fewer than two frames, invalid settings, or files that cannot be read or do not match each
            other. The message names the file. No file is written in this case.
    """
    settings = Settings(
        flow=str(flow),
        flow_weights=str(flow_weights),
        second_flow=str(second_flow or default_second_flow(str(flow))),
        second_every=second_every,
        ignore=ignore,
        max_side=max_side,
        fps=fps,
        published=published,
        smooth=tuple(smooth),
    )
    path, folder = Path(clip), None if output is None else Path(output)
    one = CorpusClip(
        name=own_name(path),
        clip=path,
        predictions=_named(predictions),
        truth=None if truth is None else Path(truth),
    )
    record = measure_files(
        one,
        settings,
        classes=classes if classes is None or isinstance(classes, ClassSet) else read_class_file(classes).classes,
        table=None if folder is None else folder / "flicker.csv",
        progress=progress,
    )
    return report_of([record], settings, folder)


def report_of(records: Sequence[Record], settings: Settings, output: Path | None) -> FlickerReport:
    """Returns the report of measured clips. Unless `output` is None, writes it there as JSON and HTML.

    Raises:
        DWNetError: for clips with different sets or classes.
    """
    document = assemble(records, settings)
    if output is not None:
        write_reports(document, records, output)
    frames = sum(clip["frames"] for clip in document["clips"])
    return FlickerReport(
        sets={
            name: SetFlicker(
                name=name,
                flips_percent=figures["flip_rate_percent"],
                temporal_consistency_percent=figures["temporal_consistency_percent"],
                miou_percent=figures["miou_percent"],
                frames=frames,
                pairs=figures["pairs"],
                figures=figures,
            )
            for name, figures in document["sets"].items()
        },
        frames=frames,
        scene_cuts=sum(clip["scene_cuts"] for clip in document["clips"]),
        output=output,
        document=document,
    )


def _named(predictions: Predictions) -> tuple[tuple[str, Path], ...]:
    if isinstance(predictions, Mapping):
        return tuple((str(name), Path(path)) for name, path in predictions.items())
    several = [predictions] if isinstance(predictions, str | Path) else predictions
    return tuple(named_path(one) if isinstance(one, str) else (own_name(one), one) for one in several)
