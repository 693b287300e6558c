"""Sets of predictions: label maps on disk, or an exported network that runs on the clip."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import classes_needed
from dwnet.core.class_labels import ClassLabels
from dwnet.core.classes import IGNORE_LABEL, ClassSet
from dwnet.core.errors import DWNetError
from dwnet.core.launch import Processes, threads
from dwnet.deploy.runtime import OnnxSegmenter, argmax_labels, load_any
from dwnet.deploy.smoothing import SmoothedSegmenter, parse_smooth, smoothed_name
from dwnet.flicker.label_maps import LabelMaps, Prediction
from dwnet.flicker.matching import PredictionError
from dwnet.flicker.open_labels import open_label_maps
from dwnet.flow import dis_flow
from dwnet.video import prefetch

READ_AHEAD = 4
"""Largest number of label maps that are read ahead."""


class PredictionSet(ABC):
    """One set of predictions for one clip, read frame by frame."""

    name: str
    path: Path
    kind: str
    """Description of the predictions, for the reports."""
    classes: ClassSet | None = None
    """Names and colours of the classes; None if only ids are known."""
    num_classes: int | None = None
    """Number of classes; None if only the ids that occur are known."""

    @abstractmethod
    def predict(self, index: int, image: NDArray[np.uint8], *, follows: bool) -> Prediction | None:
        """Returns the prediction for a frame; None if there is none, which only truth allows.

        Args:
            index: index of the frame, from 0. The method is called for every frame, in order.
            image: (H, W, 3) uint8 RGB.
            follows: whether the previous frame belongs to the same scene.
        """

    def finish(self, frames: int) -> None:  # noqa: B027
        """Raises PredictionError if there are predictions for more than `frames` frames."""

    def close(self) -> None:  # noqa: B027
        """Stops reading the predictions."""


class FilePredictions(PredictionSet):
    """Label maps from disk, which a background thread reads ahead."""

    def __init__(self, name: str, path: Path, maps: LabelMaps) -> None:
        self.name, self.path, self.kind = name, path, maps.kind
        self.count = maps.count
        self.num_classes = maps.num_classes
        self._sparse = maps.sparse
        self._maps = prefetch(maps, READ_AHEAD)
        self._classes_found = 0
        """Highest class id found plus one."""
        self._void_found = False

    def predict(self, index: int, image: NDArray[np.uint8], *, follows: bool) -> Prediction | None:  # noqa: D102
        try:
            prediction = next(self._maps)
        except StopIteration:
            if self._sparse:
                return None
            raise PredictionError(
                f"{self.path}: holds {index} label maps and the clip has more frames; allowed is one for each frame"
            ) from None
        if prediction is not None and prediction.labels.shape != image.shape[:2]:
            height, width = prediction.labels.shape
            raise PredictionError(
                f"{self.path}: label map {index} is {width}x{height} pixels, the frame {image.shape[1]}x"
                f"{image.shape[0]}; allowed is the frame's size (--max-side reduces the frames)"
            )
        if prediction is not None and self._classes_found < 2:
            self._classes_found = max(self._classes_found, classes_needed(prediction.labels))
            self._void_found |= bool(prediction.labels.max() == IGNORE_LABEL)
        return prediction

    def finish(self, frames: int) -> None:  # noqa: D102
        for further in self._maps:
            if self._sparse and further is not None:
                raise PredictionError(
                    f"{self.path}: labels frame {(self.count or 0) - 1}, the clip has {frames} frames; allowed are the "
                    "numbers of its frames, counted from 0"
                )
            if not self._sparse:
                raise PredictionError(
                    f"{self.path}: holds {self.count or 'more'} label maps for {frames} frames; allowed is one "
                    "for each frame"
                )
        if self._void_found and self._classes_found < 2:
            # Labels of one class and unknown pixels never flip, whatever they show.
            found = "the ids 0 and 255" if self._classes_found else "unknown pixels"
            raise PredictionError(
                f"{self.path}: holds only {found}, and 255 means unknown; allowed are two classes or more (masks of 0 "
                'and 255: --classes FILE with {"classes": ["background", {"name": NAME, "id": 255}]})'
            )

    def close(self) -> None:  # noqa: D102
        self._maps.close()


class NetworkPredictions(PredictionSet):
    """Predictions of an exported network that runs on the frames.

    A method that uses earlier frames gets DIS flow (medium), whatever flow the measurement uses.

    Args:
        name: name of the set.
        path: the file.
        threads: CPU threads of a run; None uses every CPU that this process may use.
        keep: weight of the past if the probabilities are smoothed along the flow; None leaves them as they are.
    """

    def __init__(self, name: str, path: Path, *, threads: int | None = None, keep: float | None = None) -> None:
        network = load_any(path, threads=threads)
        if not isinstance(network, OnnxSegmenter):
            raise PredictionError(f"{path}: is a {network.info.kind} network; allowed are networks that label frames")
        self.name, self.path, self._network = name, path, network
        self.kind = f"exported network, {network.info.method}"
        if not network.session.choice.usual:
            self.kind += f", run by {network.session.choice.short}"
        if keep is not None:
            self._network = SmoothedSegmenter(network, keep)
            self.kind += f", probabilities smoothed along DIS flow with keep {keep:g}"
        self.classes = ClassSet(network.info.path.stem, network.info.classes, network.info.palette)
        self.num_classes = len(self.classes)

    def predict(self, index: int, image: NDArray[np.uint8], *, follows: bool) -> Prediction | None:  # noqa: D102
        if not follows:
            self._network.reset()
        reference = self._network.reference
        flow_px = None if reference is None else dis_flow(image, reference)
        if not self._network.scored:
            return Prediction(self._network.labels(image, flow_px))
        logits = self._network.logits(image, flow_px)
        try:
            return Prediction(argmax_labels(logits), logits)
        except DWNetError as error:
            raise PredictionError(f"{self.path}, frame {index}: {error}") from error


def named_path(text: str) -> tuple[str, Path]:
    """Returns name and path from ``NAME=PATH`` or ``PATH``. The default name is that of `own_name`."""
    match = re.fullmatch(r"([^=/\\]+)=(.+)", text)
    if match is not None and not Path(text).exists():
        return match[1].strip(), Path(match[2])
    return own_name(Path(text)), Path(text)


def own_name(path: Path) -> str:
    """Returns the name of a folder, or the name of a file without its suffix."""
    return path.name if path.is_dir() else path.stem


def open_predictions(
    named: Sequence[tuple[str, Path]],
    frames: Sequence[str] | int | None,
    *,
    labels: ClassLabels | None = None,
    threshold: float | None = None,
    smooth: Sequence[str] = (),
) -> list[PredictionSet]:
    """Opens every set of a clip.

    Args:
        named: name and path of each set.
        frames: names of the clip's images, without suffix; for a video the number of frames, None if it is unknown.
        labels: ids and colours of the classes in label maps, and ids that are ignored; None keeps ids as they are.
        threshold: threshold of scores of one class; None uses 0.5 for probabilities and 0 for logits.
        smooth: names of exported networks that are also measured with smoothed probabilities, each ``NAME`` or
            ``NAME=KEEP`` (`dwnet.deploy.smoothing`). The further sets are called ``NAME_smoothed``.

    Raises:
        PredictionError: without sets, or for a set without a name, two sets of one name, or a set that cannot be read.
        NetworkFileError: for an .onnx file that is not an exported network.
    """
    if not named:
        raise PredictionError("no predictions named; allowed is one set or more")
    names = [name for name, _ in named]
    if "" in names:
        raise PredictionError(f"{named[names.index('')][1]}: the set has an empty name; allowed is a name for each set")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PredictionError(f"two sets are called {twice[0]!r}; allowed is one of each name (give NAME=PATH)")
    further = parse_smooth(smooth, [name for name, path in named if path.suffix == ".onnx"])
    taken = sorted({smoothed_name(*one) for one in further} & set(names))
    if taken:
        raise PredictionError(f"two sets are called {taken[0]!r}; allowed is one of each name (give NAME=PATH)")
    cpus = threads(Processes.of_launcher())
    sets: list[PredictionSet] = []
    for name, path in named:
        if path.suffix != ".onnx":
            maps = open_label_maps(path, frames, labels=labels, threshold=threshold)
            sets.append(FilePredictions(name, path, maps))
            continue
        sets.append(NetworkPredictions(name, path, threads=cpus))
        keeps = [keep for one, keep in further if one == name]
        sets += [NetworkPredictions(smoothed_name(name, keep), path, threads=cpus, keep=keep) for keep in keeps]
    return sets
