"""mIoU under the common corruptions (`dwnet evaluate --corruptions`), resumable, by any number of processes.

Each corruption is applied to single frames with its own random numbers, as in the published benchmark; the labels stay.
The mean performance under corruption is the mean of the mIoU over all corruptions and severities (mPC of Michaelis et
al., Benchmarking robustness in object detection, 2019).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dwnet import __version__
from dwnet.core.errors import DWNetError
from dwnet.core.files import atomic_write, code_commit
from dwnet.core.tables import markdown_table, number_cell
from dwnet.data.open import FrameData
from dwnet.data.pairs import FrameSample, PairSample
from dwnet.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from dwnet.evaluation.counts import WINDOWS, Evaluation
from dwnet.evaluation.measure import EvaluationSettings, evaluate_models
from dwnet.evaluation.predictors import Predictor
from dwnet.evaluation.processes import broadcast_from_first, raise_on_all_processes

RECORD_FORMAT = 1
"""Version of a record. A record of another version is measured again."""

Progress = Callable[[int, int], None]
"""Called with (number of frames done, number of all frames) over all corruptions, of this process."""


class CorruptedData:
    """A data set whose frames are corrupted; labels and everything else are those of the data set.

    The random numbers of a frame depend on the seed, the corruption, the severity and the frame alone, so that every
    model and every process sees the same frames.

    Args:
        data: whole frames without augmentation.
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: seed of the random numbers, at least 0.
    """

    def __init__(self, data: FrameData, name: str, severity: int, seed: int = 0) -> None:
        self._data, self.name, self.severity = data, name, severity
        self._seed = (seed, list(CORRUPTIONS).index(name), severity)
        self.classes, self.layout, self.names = data.classes, data.layout, data.names

    @property
    def frames(self) -> Sequence[Any]:
        """The place of each sample's frame."""
        return self._data.frames

    def set_epoch(self, epoch: int) -> None:
        """Selects the random numbers of an epoch of the data set."""
        self._data.set_epoch(epoch)

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Returns only the labels of one whole frame, (H, W) uint8."""
        return self._data.labels(index)

    def warmup_frames(self, index: int, most: int) -> list[NDArray[np.uint8]]:
        """Returns the raw frames right before a frame, corrupted, (H, W, 3) uint8 RGB: `most`, or fewer."""
        images = self._data.warmup_frames(index, most)
        return [self._corrupt(image, index, len(images) - place) for place, image in enumerate(images)]

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> FrameSample | PairSample:
        sample = self._data[index]
        image = (sample["frame"].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        corrupted = sample.copy()
        corrupted["frame"] = torch.from_numpy(self._corrupt(image, index, 0)).permute(2, 0, 1).float() / 255
        return corrupted

    def _corrupt(self, image: NDArray[np.uint8], index: int, before: int) -> NDArray[np.uint8]:
        random = np.random.default_rng((*self._seed, index, before))
        return corrupt(image, self.name, self.severity, random)


@dataclass(frozen=True)
class CorruptionSettings:
    """Which corruptions are measured. Raises DWNetError for an unknown name or severity, or one given twice."""

    names: tuple[str, ...] = tuple(CORRUPTIONS)
    severities: tuple[int, ...] = SEVERITIES
    seed: int = 0
    """Seed of the random numbers, at least 0."""

    def __post_init__(self) -> None:
        for what, values, allowed in (
            ("corruptions", self.names, tuple(CORRUPTIONS)),
            ("severities", self.severities, SEVERITIES),
        ):
            if not values or set(values) - set(allowed) or len(set(values)) < len(values):
                raise DWNetError(
                    f"{what} are {', '.join(map(str, values)) or 'none'}; allowed are some of "
                    f"{', '.join(map(str, allowed))}, each once"
                )
        if self.seed < 0:
            raise DWNetError(f"the seed of the corruptions is {self.seed}; allowed are whole numbers from 0")


@dataclass(frozen=True)
class CorruptionScores:
    """The scores of one model under one corruption at one severity."""

    corruption: str
    severity: int
    miou_percent: float | None
    per_class_iou_percent: tuple[float | None, ...]
    pixel_accuracy_percent: float | None
    vc_percent: Mapping[str, float | None]
    """VC_n by n, as text; None where no n labelled frames are consecutive."""


@dataclass(frozen=True)
class Robustness:
    """The scores of one model under all measured corruptions."""

    name: str
    scores: tuple[CorruptionScores, ...]

    def miou_percent(self, corruption: str) -> float | None:
        """Returns the mean mIoU over the severities of a corruption; None if nothing was labelled."""
        return _mean([one.miou_percent for one in self.scores if one.corruption == corruption])

    @property
    def mean_miou_percent(self) -> float | None:
        """The mean mIoU over all corruptions and severities (mPC)."""
        return _mean([one.miou_percent for one in self.scores])

    def mean_vc_percent(self, n: int) -> float | None:
        """Returns the mean VC_n over all corruptions and severities."""
        return _mean([one.vc_percent[str(n)] for one in self.scores])


def evaluate_corruptions(
    models: Sequence[tuple[str, Predictor]],
    keys: Sequence[str],
    data: FrameData,
    settings: EvaluationSettings,
    chosen: CorruptionSettings,
    records: Path,
    *,
    progress: Progress | None = None,
) -> list[Robustness]:
    """Measures models under corruptions. Finished parts are read from their records. Collective.

    Args:
        models: name and predictor of each model.
        keys: for each model a text that changes with everything that its scores depend on, except for the corruption:
            the file, the inference settings, the data and the flow.
        data: whole frames without augmentation.
        settings: settings of the evaluation. Flicker along a flow is not measured, since the flow of corrupted frames
            is no judge; VC_n needs no flow.
        chosen: the corruptions.
        records: folder of the records, one JSON file for each model, corruption and severity. Several machines must
            share it.
        progress: called after each frame.

    Raises:
        RuntimeError: if another process failed. Finished records remain.
        ValueError, OSError: for errors of the data or a model.
    """
    settings = replace(settings, flicker=False, second_flow=None)
    units = [(name, severity) for name in chosen.names for severity in chosen.severities]
    paths = [[_record_path(records, key, unit, chosen.seed) for key in keys] for unit in units]
    found = [[_read(path) for path in row] for row in paths] if settings.processes.rank == 0 else []
    found = broadcast_from_first(found, settings.processes)
    todo = [place for place, row in enumerate(found) if None in row]
    for done, place in enumerate(todo):
        missing = [number for number, scores in enumerate(found[place]) if scores is None]
        corrupted = CorruptedData(data, *units[place], chosen.seed)
        evaluations = evaluate_models(
            [models[number] for number in missing],
            corrupted,
            settings,
            progress=None if progress is None else _part(progress, done, len(todo)),
        )
        error: Exception | None = None
        for number, evaluation in zip(missing, evaluations, strict=True):
            found[place][number] = _scores(evaluation, *units[place])
            if settings.processes.rank == 0 and error is None:
                try:
                    _write(paths[place][number], found[place][number])
                except OSError as failed:  # the other processes must learn of it, otherwise they wait
                    error = failed
        raise_on_all_processes(error, settings.processes)
    return [Robustness(name, tuple(row[number] for row in found)) for number, (name, _) in enumerate(models)]


def markdown(robustness: Sequence[Robustness], clean: Sequence[Evaluation], chosen: CorruptionSettings) -> str:
    """Returns a Markdown table: mIoU without corruption, under each one, and their mean; then the mean of VC_n."""
    names = [one.name for one in robustness]
    without = [one.segmentation.miou_percent for one in clean]
    means = [one.mean_miou_percent for one in robustness]
    rows: list[tuple[str, list[float | None]]] = [("no corruption", without)]
    rows += [(name.replace("_", " "), [one.miou_percent(name) for one in robustness]) for name in chosen.names]
    rows.append(("mean of the corruptions", means))
    shares = [100 * mean / full if mean and full else None for mean, full in zip(means, without, strict=True)]
    rows.append(("mean in percent of no corruption", shares))
    for n in WINDOWS:
        vc = [one.mean_vc_percent(n) for one in robustness]
        rows += [(f"mean VC{n} %", vc)] if any(value is not None for value in vc) else []
    return markdown_table(["mIoU % under", *names], [[name, *map(number_cell, values)] for name, values in rows])


def document(robustness: Robustness) -> dict[str, Any]:
    """Returns the scores of a model as values for JSON, without those of each class, which the records have."""
    scores = [
        {key: value for key, value in asdict(one).items() if key != "per_class_iou_percent"}
        for one in robustness.scores
    ]
    return {
        "mean_miou_percent": robustness.mean_miou_percent,
        "mean_vc_percent": {str(n): robustness.mean_vc_percent(n) for n in WINDOWS},
        "scores": scores,
    }


def _part(progress: Progress, done: int, parts: int) -> Progress:
    return lambda frame, frames: progress(done * frames + frame, parts * frames)


def _scores(evaluation: Evaluation, corruption: str, severity: int) -> CorruptionScores:
    found = evaluation.segmentation
    return CorruptionScores(
        corruption=corruption,
        severity=severity,
        miou_percent=found.miou_percent,
        per_class_iou_percent=tuple(found.per_class_iou_percent),
        pixel_accuracy_percent=found.pixel_accuracy_percent,
        vc_percent={str(n): evaluation.vc_percent(n) for n in WINDOWS},
    )


def _record_path(records: Path, key: str, unit: tuple[str, int], seed: int) -> Path:
    corruption, severity = unit
    text = json.dumps([RECORD_FORMAT, __version__, code_commit(), key, corruption, severity, seed])
    return records / f"{corruption}_{severity}_{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"


def _read(path: Path) -> CorruptionScores | None:
    """Returns the scores of a record; None if there is no readable one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return CorruptionScores(**{**values, "per_class_iou_percent": tuple(values["per_class_iou_percent"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, scores: CorruptionScores) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(asdict(scores), allow_nan=False) + "\n", encoding="utf-8")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
