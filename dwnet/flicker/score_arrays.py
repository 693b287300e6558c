"""Ids and scores in arrays: .npy and .npz files of all frames, and folders with an .npy file for each frame."""

import math
import zipfile
import zlib
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dwnet.core.class_labels import ClassLabels, LabelError
from dwnet.core.classes import IGNORE_LABEL
from dwnet.deploy.runtime import argmax_labels
from dwnet.flicker.label_maps import LabelMaps, Prediction
from dwnet.flicker.matching import Matched, PredictionError

ALLOWED = (
    "integer ids (T, H, W), floating point logits or probabilities (T, K, H, W), or scores of one class (T, 1, H, W) "
    "or (T, H, W)"
)
ALLOWED_OF_A_FRAME = (
    "integer ids (H, W), floating point logits or probabilities (K, H, W), or scores of one class (1, H, W) or (H, W)"
)
_DISTRIBUTION_TOLERANCE = 1e-2
_SMALLEST = 1e-12
"""Smallest probability whose logarithm is taken."""

Scores = Literal["logits", "probabilities"]


class FrameArrays:
    """Turns the arrays of single frames into predictions. The first frame decides what they hold.

    - Integers (H, W) or (1, H, W) are ids.
    - Floating point numbers (K, H, W) are probabilities if they are a distribution over the classes at every pixel,
      else logits. The label is the class with the highest score.
    - Floating point numbers (1, H, W) or (H, W) are scores of class 1 of two classes: probabilities if all lie in 0..1,
      else logits. The label is 1 above the threshold: 0.5 for probabilities, 0 for logits, or the one given.

    Args:
        first: array of the first frame.
        name: name of the first frame, for messages.
        labels: turns ids into labels.
        threshold: threshold of scores of one class; None uses the defaults.
        allowed: allowed forms, for messages.

    Raises:
        PredictionError: for an array of another shape or type.
    """

    def __init__(
        self, first: NDArray[Any], name: str, labels: ClassLabels, *, threshold: float | None, allowed: str
    ) -> None:
        self._labels = labels
        self.scores: Scores | None = None
        self.threshold: float | None = None
        """Threshold of scores of one class; None for other arrays."""
        self.num_classes: int | None = None
        whole = first.dtype.kind in "iub"
        if first.ndim == 3 and first.shape[0] == 1:
            first = first[0]
        if first.ndim not in ((2,) if whole else (2, 3)) or first.dtype.kind not in "iubf" or 0 in first.shape:
            raise PredictionError(f"{name}: is {first.dtype} of shape {first.shape}; allowed are {allowed}")
        if whole:
            return
        if first.ndim == 3:
            if first.shape[0] > IGNORE_LABEL:
                raise PredictionError(f"{name}: scores {first.shape[0]} classes; allowed are 1..{IGNORE_LABEL}")
            self.num_classes = first.shape[0]
            self.scores = "probabilities" if _is_distribution(first) else "logits"
            return
        self.num_classes = 2
        self.scores = "probabilities" if first.min() >= 0 and first.max() <= 1 else "logits"
        default = 0.5 if self.scores == "probabilities" else 0.0
        self.threshold = default if threshold is None else threshold

    @property
    def kind(self) -> str:
        """What the arrays hold, for the reports."""
        if self.threshold is None:
            return self.scores or "ids"
        return f"{self.scores} of one class, label 1 above {self.threshold:g}"

    def prediction(self, array: NDArray[Any], name: str) -> Prediction:
        """Returns the prediction in the array of a frame.

        Raises:
            PredictionError: for an array of another form than the first one, values that are not finite, or ids that
                are not allowed.
        """
        if array.ndim == 3 and array.shape[0] == 1:
            array = array[0]
        if self.scores is None:
            try:
                return Prediction(self._labels.from_ids(array, name))
            except LabelError as error:
                raise PredictionError(str(error)) from error
        if array.dtype.kind != "f" or array.ndim != (3 if self.threshold is None else 2):
            raise PredictionError(
                f"{name}: is {array.dtype} of shape {array.shape}; allowed are {self.kind} throughout"
            )
        if self.threshold is None and array.shape[0] != self.num_classes:
            raise PredictionError(f"{name}: scores {array.shape[0]} classes; allowed are {self.num_classes} throughout")
        if not np.isfinite(array).all():
            raise PredictionError(f"{name}: holds values that are not finite; allowed are finite scores")
        scores = array.astype(np.float32, copy=False)
        return self._of_one_class(scores, name) if self.threshold is not None else self._of_classes(scores, array, name)

    def _of_classes(self, scores: NDArray[np.float32], array: NDArray[Any], name: str) -> Prediction:
        if self.scores == "logits":
            return Prediction(argmax_labels(array), scores)
        if not _is_distribution(array):
            raise PredictionError(
                f"{name}: is no distribution over the classes, though frame 0 is; allowed are probabilities "
                "throughout, or logits throughout"
            )
        # The softmax of log-probabilities gives the probabilities.
        return Prediction(argmax_labels(array), np.log(np.maximum(scores, _SMALLEST)))

    def _of_one_class(self, scores: NDArray[np.float32], name: str) -> Prediction:
        assert self.threshold is not None
        labels = (scores > self.threshold).astype(np.uint8)
        if self.scores == "logits":  # the softmax of (0, x) gives the sigmoid of x
            return Prediction(labels, np.stack((np.zeros_like(scores), scores)))
        if scores.min() < 0 or scores.max() > 1:
            raise PredictionError(
                f"{name}: holds values outside 0..1, though frame 0 does not; allowed are probabilities throughout, or "
                "logits throughout (their threshold is 0)"
            )
        return Prediction(labels, np.log(np.maximum(np.stack((1 - scores, scores)), _SMALLEST)))


class ArrayFile(LabelMaps):
    """A .npy file, or the array of a .npz file, of all frames: `FrameArrays` with a leading axis of frames.

    The file is read frame by frame, so memory use does not depend on its length.

    Args:
        path: the file.
        labels: turns ids into labels.
        threshold: threshold of scores of one class; None uses the defaults.

    Raises:
        PredictionError: for a file that cannot be read, or an array of another shape or type.
    """

    def __init__(self, path: Path, labels: ClassLabels | None = None, *, threshold: float | None = None) -> None:
        self.path = path
        with ExitStack() as stack:
            file, self._shape, self._dtype = self._open(stack)
            form = f"{path}: is {self._dtype} of shape {self._shape}; allowed are {ALLOWED}"
            dimensions = (3, 4) if self._dtype.kind in "iubf" else ()
            if len(self._shape) not in dimensions or 0 in self._shape:
                raise PredictionError(form)
            if self._dtype.kind in "iub" and len(self._shape) == 4 and self._shape[1] != 1:
                raise PredictionError(form)
            if self._dtype.kind == "f" and len(self._shape) == 4 and self._shape[1] > IGNORE_LABEL:
                raise PredictionError(f"{path}: scores {self._shape[1]} classes; allowed are 1..{IGNORE_LABEL}")
            first = self._frame(file, 0)
        self._frames = FrameArrays(first, str(path), labels or ClassLabels(), threshold=threshold, allowed=ALLOWED)
        self.count, self.num_classes = self._shape[0], self._frames.num_classes
        self.kind = f"{path.suffix[1:].lower()} of {self._frames.kind}"

    @property
    def scores(self) -> Scores | None:
        """What the scores are; None for ids."""
        return self._frames.scores

    def _open(self, stack: ExitStack) -> tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]:
        """Returns the file, positioned after the header, with the shape and dtype of the array."""
        try:
            if self.path.suffix.lower() == ".npz":
                archive = stack.enter_context(zipfile.ZipFile(self.path))
                members = [name for name in archive.namelist() if name.endswith(".npy")]
                if len(members) != 1:
                    raise PredictionError(
                        f"{self.path}: holds the arrays {', '.join(name[:-4] for name in members) or '(none)'}; "
                        "allowed is exactly one"
                    )
                file: IO[bytes] = stack.enter_context(archive.open(members[0]))
            else:
                file = stack.enter_context(self.path.open("rb"))
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran_order, dtype = read(file)
        except PredictionError:
            raise
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise PredictionError(f"{self.path}: is no {self.path.suffix} file that can be read ({error})") from error
        if fortran_order and len(shape) > 1:
            raise PredictionError(f"{self.path}: is stored in Fortran order; allowed is C order (np.ascontiguousarray)")
        return file, shape, dtype

    def _frame(self, file: IO[bytes], index: int) -> NDArray[Any]:
        length = math.prod(self._shape[1:]) * self._dtype.itemsize
        try:
            data = file.read(length)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise PredictionError(f"{self.path}: is damaged at frame {index} ({error})") from error
        if len(data) != length:
            raise PredictionError(
                f"{self.path}: ends within frame {index} of {self._shape[0]}; allowed is an intact file"
            )
        return np.frombuffer(data, self._dtype).reshape(self._shape[1:])

    def __iter__(self) -> Generator[Prediction | None, None, None]:
        with ExitStack() as stack:
            file, _, _ = self._open(stack)
            for index in range(self._shape[0]):
                yield self._frames.prediction(self._frame(file, index), f"{self.path}, frame {index}")


class ArrayFolder(LabelMaps):
    """A folder with one .npy file for each frame, each as in `FrameArrays`.

    Args:
        matched: the file of each frame.
        labels: turns ids into labels.
        threshold: threshold of scores of one class; None uses the defaults.
        sparse: whether some frames may have no file.
    """

    def __init__(
        self, matched: Matched, labels: ClassLabels, *, threshold: float | None = None, sparse: bool = False
    ) -> None:
        self.sparse, self._files = sparse, matched.files
        first = next(file for file in matched.files if file is not None)
        self._frames = FrameArrays(_load(first), str(first), labels, threshold=threshold, allowed=ALLOWED_OF_A_FRAME)
        self.count, self.num_classes = len(matched.files), self._frames.num_classes
        self.kind = f"npy files of {self._frames.kind}, {matched.how}"

    def __iter__(self) -> Generator[Prediction | None, None, None]:
        for file in self._files:
            yield None if file is None else self._frames.prediction(_load(file), str(file))


def _load(file: Path) -> NDArray[Any]:
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise PredictionError(f"{file}: is no .npy file that can be read ({error})") from error


def _is_distribution(scores: NDArray[Any]) -> bool:
    total = scores.sum(axis=0, dtype=np.float32)
    return bool((scores >= 0).all() and (np.abs(total - 1) < _DISTRIBUTION_TOLERANCE).all())
