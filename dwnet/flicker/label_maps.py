"""Label maps on disk, read frame by frame: folders of label images and lossless video."""

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dwnet.core.class_labels import ClassLabels, LabelError
from dwnet.core.label_images import LabelImageError
from dwnet.flicker.matching import Matched, PredictionError
from dwnet.video import ExactVideo, VideoError

LOSSLESS_CODECS = ("ffv1", "png", "apng", "rawvideo", "qtrle")
INDEXED_FORMATS = ("gray", "pal8")
READABLE = (
    "a folder of label images or of .npy files, a lossless video of class ids, .npy, .npz, or an exported network "
    "(.onnx)"
)
"""Allowed forms of predictions, for error messages."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one frame."""

    labels: NDArray[np.uint8]
    """(H, W), class ids and `IGNORE_LABEL`."""
    logits: NDArray[np.floating[Any]] | None = None
    """(K, H, W) scores whose softmax gives the class probabilities; None if only ids are known."""


class LabelMaps(ABC):
    """A set of predictions on disk. Each iteration starts at the first frame. A frame without labels gives None."""

    kind: str
    """Description of the format, for the reports."""
    count: int | None
    """Number of frames; None if it is known only at the end."""
    num_classes: int | None = None
    """Number of classes of scores; None for ids."""
    sparse: bool = False
    """Whether frames may have no labels. The maps may then end before the clip."""

    @abstractmethod
    def __iter__(self) -> Generator[Prediction | None, None, None]: ...


class LabelFolder(LabelMaps):
    """Label images of one folder.

    Args:
        matched: the file of each frame.
        labels: reads ids or colours.
        sparse: whether some frames may have no label map (ground truth).
    """

    def __init__(self, matched: Matched, labels: ClassLabels, *, sparse: bool = False) -> None:
        self.kind = f"label images, {matched.how}"
        self.sparse = sparse
        self._labels = labels
        # Only names are kept: paths for every frame of an hour of video would take 100 MB.
        self._folder = next(file.parent for file in matched.files if file is not None)
        self._names = [file and file.name for file in matched.files]
        self.count = len(self._names)

    def __iter__(self) -> Generator[Prediction | None, None, None]:
        for name in self._names:
            if name is None:
                yield None
                continue
            try:
                yield Prediction(self._labels.read(self._folder / name))
            except (LabelError, LabelImageError) as error:
                raise PredictionError(str(error)) from error


class LabelVideo(LabelMaps):
    """A video whose pixels are class ids: losslessly coded, one grey channel or a palette.

    Ids are read as stored, without colour conversion. The display matrix of the video is applied.

    Args:
        path: the video file.
        labels: turns ids into labels.

    Raises:
        PredictionError: for a file that is not a video, or whose coding does not preserve class ids.
    """

    def __init__(self, path: Path, labels: ClassLabels) -> None:
        self.path = path
        self._labels = labels
        try:
            self._video = ExactVideo(path, allowed=READABLE)
        except VideoError as error:
            raise PredictionError(str(error)) from error
        codec, pixels = self._video.codec, self._video.pixel_format
        if codec not in LOSSLESS_CODECS or pixels not in INDEXED_FORMATS:
            raise PredictionError(
                f"{path}: is coded as {codec} with {pixels} pixels, which does not keep class ids; allowed are the "
                f"lossless codecs {', '.join(LOSSLESS_CODECS)} with {' or '.join(INDEXED_FORMATS)} pixels (for example "
                "`ffmpeg -i %06d.png -c:v ffv1 -pix_fmt gray labels.mkv`)"
            )
        self.kind = f"indexed video, {codec} {pixels}"
        self.count = None

    def __iter__(self) -> Generator[Prediction | None, None, None]:
        try:
            for frame in self._video:
                if frame.pixel_format != self._video.pixel_format:
                    raise PredictionError(
                        f"{self.path}: frame {frame.index} has {frame.pixel_format} pixels; allowed are "
                        f"{self._video.pixel_format} pixels throughout"
                    )
                yield Prediction(self._labels.from_ids(frame.plane(), f"{self.path}, frame {frame.index}"))
        except (VideoError, LabelError) as error:
            raise PredictionError(str(error)) from error
