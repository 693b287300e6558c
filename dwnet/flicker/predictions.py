"""Sets of predictions: label maps on disk, or an exported network that runs on the clip."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import ClassSet
from dwnet.core.launch import Processes, threads
from dwnet.deploy.runtime import OnnxSegmenter, argmax_labels, load
from dwnet.flicker.label_maps import ArrayFile, LabelMaps, Prediction, PredictionError, open_label_maps
from dwnet.flow import dis_flow
from dwnet.video import prefetch

__all__ = [
    "FilePredictions",
    "NetworkPredictions",
    "Prediction",
    "PredictionError",
    "PredictionSet",
    "open_predictions",
]

READ_AHEAD = 4
"""Label maps read ahead of the frame they belong to, at most."""


class PredictionSet(ABC):
    """One set of predictions for one clip, asked for frame after frame."""

    name: str
    path: Path
    kind: str
    """For people, in every output."""
    classes: ClassSet | None = None
    """None where only ids are known."""
    num_classes: int | None = None
    """How many classes there are for certain; None where only the ids that occur are known."""

    @abstractmethod
    def predict(self, index: int, image: NDArray[np.uint8], *, follows: bool) -> Prediction | None:
        """The prediction for a frame; None where there is none (ground truth may leave frames out).

        Args:
            index: of the frame, from 0; every frame is asked for, in order.
            image: (H, W, 3) uint8 RGB.
            follows: whether the frame before belongs to the same shot.
        """

    def finish(self, frames: int) -> None:  # noqa: B027
        """Says how many frames the clip had; raises PredictionError if there are more predictions."""

    def close(self) -> None:  # noqa: B027
        """Stops reading."""


class FilePredictions(PredictionSet):
    """Label maps from disk, read ahead in the background."""

    def __init__(self, name: str, path: Path, maps: LabelMaps) -> None:
        self.name, self.path, self.kind = name, path, maps.kind
        self.count = maps.count
        self.num_classes = maps.num_classes if isinstance(maps, ArrayFile) else None
        self._maps = prefetch(maps, READ_AHEAD)

    def predict(self, index: int, image: NDArray[np.uint8], *, follows: bool) -> Prediction | None:  # noqa: D102
        try:
            prediction = next(self._maps)
        except StopIteration:
            raise PredictionError(
                f"{self.path}: holds {index} label maps and the clip has more frames; allowed is one for each frame"
            ) from None
        if prediction is not None and prediction.labels.shape != image.shape[:2]:
            height, width = prediction.labels.shape
            raise PredictionError(
                f"{self.path}: label map {index} is {width}x{height} pixels, the frame {image.shape[1]}x"
                f"{image.shape[0]}; allowed is the frame's size (--max-side reduces the frames)"
            )
        return prediction

    def finish(self, frames: int) -> None:  # noqa: D102
        if next(self._maps, "end") != "end":
            raise PredictionError(
                f"{self.path}: holds {self.count or 'more'} label maps for {frames} frames; allowed is one "
                "for each frame"
            )

    def close(self) -> None:  # noqa: D102
        self._maps.close()


class NetworkPredictions(PredictionSet):
    """What an exported network says of the clip's frames.

    A method that draws on earlier frames gets the DIS flow (medium) to them, whatever the flicker is measured along.
    """

    def __init__(self, name: str, path: Path, *, threads: int | None = None) -> None:
        network = load(path, threads=threads)
        if not isinstance(network, OnnxSegmenter):
            raise PredictionError(f"{path}: is a {network.info.kind}; allowed are networks that label frames")
        self.name, self.path, self._network = name, path, network
        self.kind = f"exported network, {network.info.method}"
        self.classes = ClassSet(network.info.path.stem, network.info.classes, network.info.palette)
        self.num_classes = len(self.classes)

    def predict(self, index: int, image: NDArray[np.uint8], *, follows: bool) -> Prediction | None:  # noqa: D102
        if not follows:
            self._network.reset()
        reference = self._network.reference
        logits = self._network.logits(image, None if reference is None else dis_flow(image, reference))
        return Prediction(argmax_labels(logits), logits)


def named_path(text: str) -> tuple[str, Path]:
    """``NAME=PATH`` or ``PATH`` as a name and a path; a path's own name is its file name without the suffix."""
    match = re.fullmatch(r"([^=/\\]+)=(.+)", text)
    if match is not None and not Path(text).exists():
        return match[1].strip(), Path(match[2])
    path = Path(text)
    return path.name if path.is_dir() else path.stem, path


def open_predictions(
    named: Sequence[tuple[str, Path]],
    frame_names: Sequence[str] | None,
    *,
    ignore: int | None = None,
) -> list[PredictionSet]:
    """Open every set of a clip.

    Args:
        named: name and path of each set.
        frame_names: of the clip's images, without suffix; None for a video.
        ignore: an id in label maps that means nothing is known; 255 always does.

    Raises:
        PredictionError: no set, two of one name, or one that cannot be read.
        NetworkFileError: an .onnx file that is no exported network.
    """
    if not named:
        raise PredictionError("no predictions named; allowed is one set or more")
    names = [name for name, _ in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PredictionError(f"two sets are called {twice[0]!r}; allowed is one of each name (give NAME=PATH)")
    return [
        NetworkPredictions(name, path, threads=threads(Processes.of_launcher()))
        if path.suffix == ".onnx"
        else FilePredictions(name, path, open_label_maps(path, frame_names, ignore=ignore))
        for name, path in named
    ]
