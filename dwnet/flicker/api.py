"""The function `dwnet.measure_flicker`, which measures the flicker of any predictions."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from markupsafe import Markup

from dwnet.core.class_files import ClassFile, read_class_file
from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError
from dwnet.flicker.corpus import CorpusClip
from dwnet.flicker.measure import Progress
from dwnet.flicker.player import FlickerPlayer
from dwnet.flicker.predictions import named_path, own_name
from dwnet.flicker.record import Record, assemble
from dwnet.flicker.run import measure_files, write_reports
from dwnet.flicker.settings import Settings, default_second_flow
from dwnet.flicker.table import markdown
from dwnet.viewer import DEFAULT_MB

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
    ignore: int | Sequence[int] = (),
    max_side: int | None = None,
    fps: float = 25.0,
    output: PathLike | None = None,
    flow_weights: PathLike = "published",
    second_flow: PathLike | None = None,
    second_every: int = 30,
    published: bool = False,
    smooth: Sequence[str] = (),
    threshold: float | None = None,
    truth_classes: PathLike | ClassSet | None = None,
    player_mb: int = DEFAULT_MB,
    progress: Progress | None = None,
) -> FlickerReport:
    """Measures how much predictions flicker on a clip.

    Memory use does not depend on the length of the clip.

    Args:
        clip: a video file, or a folder of frames.
        predictions: paths of one or more sets. A set is a folder of label PNGs, a losslessly coded indexed video, an
            .npy or .npz of ids or scores, or an exported network (.onnx) to run. Names come from a
            mapping or from ``NAME=PATH`` in a list. The default name is that of the file or folder.
        truth: true labels in the same formats; a folder may have labels for some frames only. Those of a video are
            matched by the frame number in the name, counted from 0.
        flow: dis, dis_fast (faster, less accurate at edges), farneback (slower, independent of dis), raft_small,
            raft_large, flownet2, or a folder of exact flow.
        classes: a file with names, ids and colours of the classes (`dwnet.core.class_files`), or a set of classes
            whose ids are their positions; None uses those of a network, or generated ones. Label maps of predictions
            and truth hold the ids of the file.
        ignore: further ids for unknown pixels in label maps. 255 means unknown, unless the file gives it to a class.
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
        threshold: scores of one class above this value are label 1; None uses 0.5 for probabilities, 0 for logits.
        truth_classes: a classes file with the ids of the truth, if they are not those of `classes`.
        player_mb: largest size of the frames that the report's player stores, in MB; a longer clip is stored at a lower
            rate, except around the worst moments. 0: no player.
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
        ignore=(ignore,) if isinstance(ignore, int) else tuple(ignore),
        threshold=threshold,
        max_side=max_side,
        fps=fps,
        published=published,
        smooth=tuple(smooth),
        player_mb=player_mb,
    )
    path, folder = Path(clip), None if output is None else Path(output)
    one = CorpusClip(
        name=own_name(path),
        clip=path,
        predictions=_named(predictions),
        truth=None if truth is None else Path(truth),
    )
    with ExitStack() as stack:
        player, body = None, None
        if folder is not None and player_mb:
            player = stack.enter_context(FlickerPlayer(folder, "flicker", player_mb))
        elif folder is not None:
            shutil.rmtree(folder / "flicker_frames", ignore_errors=True)  # of an earlier run with a player
        record = measure_files(
            one,
            settings,
            classes=_class_file(classes),
            truth_classes=_class_file(truth_classes),
            table=None if folder is None else folder / "flicker.csv",
            player=player,
            progress=progress,
        )
        if player is not None:
            body = player.finish(record, {"CSV": "flicker.csv", "JSON": "flicker.json"})
    return report_of([record], settings, folder, player=body)


def report_of(
    records: Sequence[Record], settings: Settings, output: Path | None, *, player: Markup | None = None
) -> FlickerReport:
    """Returns the report of measured clips. Unless `output` is None, writes it there as JSON and HTML.

    `player` is the player of the only clip (`FlickerPlayer.finish`); without it the report has a plot instead.

    Raises:
        DWNetError: for clips with different sets or classes.
    """
    document = assemble(records, settings)
    if output is not None:
        write_reports(document, records, output, player)
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


def _class_file(classes: PathLike | ClassSet | None) -> ClassFile | None:
    if classes is None:
        return None
    return ClassFile.of(classes) if isinstance(classes, ClassSet) else read_class_file(classes)


def _named(predictions: Predictions) -> tuple[tuple[str, Path], ...]:
    if isinstance(predictions, Mapping):
        return tuple((str(name), Path(path)) for name, path in predictions.items())
    several = [predictions] if isinstance(predictions, str | Path) else predictions
    return tuple(named_path(one) if isinstance(one, str) else (own_name(one), one) for one in several)
