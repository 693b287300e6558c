"""Label maps and scores on disk, read frame by frame: folders of PNGs, lossless video, .npy and .npz."""

import io
import math
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import IGNORE_LABEL
from dwnet.core.errors import DWNetError
from dwnet.core.files import natural_order
from dwnet.core.truth_folder import TruthFolder
from dwnet.deploy.runtime import argmax_labels
from dwnet.video import ExactVideo, VideoError

LOSSLESS_CODECS = ("ffv1", "png", "apng", "rawvideo", "qtrle")
INDEXED_FORMATS = ("gray", "pal8")
READABLE = "a folder of PNGs, a lossless video of class ids, .npy, .npz, or an exported network (.onnx)"
"""Allowed forms of predictions, for error messages."""
IDS_WANTED = "one channel of class ids (8 or 16 bits) or a palette whose indices are the ids"
_DISTRIBUTION_TOLERANCE = 1e-2


class PredictionError(DWNetError):
    """Predictions that cannot be read or do not match the clip. The message names the file and what is allowed."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one frame."""

    labels: NDArray[np.uint8]
    """(H, W), class ids and `IGNORE_LABEL`."""
    logits: NDArray[np.floating[Any]] | None = None
    """(K, H, W) scores whose softmax gives the class probabilities; None if only ids are known."""


def class_ids(ids: NDArray[Any], ignore: int | None, name: str) -> NDArray[np.uint8]:
    """Returns (H, W) integer ids as uint8. The ids `ignore` and 255 become `IGNORE_LABEL`.

    Raises:
        PredictionError: for another shape or type, or an id that is neither in 0..255 nor `ignore`.
    """
    if ids.ndim != 2 or ids.dtype.kind not in "iub" or ids.size == 0:
        raise PredictionError(f"{name}: is {ids.dtype} of shape {ids.shape}; allowed are integers of shape (H, W)")
    ignored = ids == ignore if ignore is not None and ignore != IGNORE_LABEL else None
    if ids.dtype != np.uint8:
        kept = ids if ignored is None else np.where(ignored, 0, ids)
        low, high = int(kept.min()), int(kept.max())
        if low < 0 or high > IGNORE_LABEL:
            raise PredictionError(
                f"{name}: holds the id {low if low < 0 else high}; allowed are 0..{IGNORE_LABEL - 1}, {IGNORE_LABEL} "
                "(ignore) and the id given as --ignore"
            )
        ids = ids.astype(np.uint8)
    if ignored is not None and ignored.any():
        ids = np.where(ignored, np.uint8(IGNORE_LABEL), ids)
    return ids


class LabelMaps(ABC):
    """A set of predictions on disk. Each iteration starts at the first frame. A frame without labels gives None."""

    kind: str
    """Description of the format, for the reports."""
    count: int | None
    """Number of frames; None if it is known only at the end."""

    @abstractmethod
    def __iter__(self) -> Generator[Prediction | None, None, None]: ...


class LabelFolder(LabelMaps):
    """PNGs of class ids. They are matched to the frames by name if file names agree with frame names, else by order.

    Args:
        folder: folder of the PNGs.
        frame_names: names of the clip's images without suffix; None for a video.
        ignore: a further id for unknown pixels.
        sparse: whether some frames may have no label map (ground truth); needs matching by name.
    """

    def __init__(
        self, folder: Path, frame_names: Sequence[str] | None, *, ignore: int | None = None, sparse: bool = False
    ) -> None:
        files = natural_order(file for file in folder.iterdir() if file.suffix.lower() == ".png")
        if not files:
            raise PredictionError(f"{folder}: is a folder without PNGs; allowed are label maps as PNG")
        self.kind = "label PNGs"
        self._folder, self._ignore = folder, ignore
        # Only names are kept: paths for every frame of an hour of video would take 100 MB.
        self._names = [file and file.name for file in _match(folder, files, frame_names, sparse=sparse)]
        self.count = len(self._names)

    def __iter__(self) -> Generator[Prediction | None, None, None]:
        for name in self._names:
            if name is None:
                yield None
                continue
            file = self._folder / name
            yield Prediction(class_ids(_read_png(file), self._ignore, str(file)))


def _match(folder: Path, files: list[Path], names: Sequence[str] | None, *, sparse: bool) -> list[Path | None]:
    found = {file.stem: file for file in files}
    known = [stem for stem in found if stem in set(names or ())]
    if names is None or not known:
        if names is not None and len(files) != len(names):
            raise PredictionError(
                f"{folder}: holds {len(files)} label maps for {len(names)} frames, and no file is named after a frame; "
                "allowed is one for each frame, or the frames' names"
            )
        return list(files)
    if len(known) < len(found):
        strange = next(stem for stem in found if stem not in set(known))
        raise PredictionError(
            f"{folder}: {len(known)} of {len(found)} label maps are named after a frame, {strange}.png is not; "
            "allowed is all of them (matched by name) or none (matched by order)"
        )
    missing = [name for name in names if name not in found]
    if missing and not sparse:
        raise PredictionError(
            f"{folder}: has no label map for {len(missing)} of {len(names)} frames, {missing[0]} among them; allowed "
            "is one for each frame"
        )
    return [found.get(name) for name in names]


def _read_png(file: Path) -> NDArray[Any]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            # The indices of a palette are the ids. EXIF rotation applies to label PNGs as it does to frames.
            if image.mode in ("L", "P", "I;16", "I", "1"):
                return np.asarray(ImageOps.exif_transpose(image))
            mode = image.mode
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise PredictionError(f"{file}: is not a PNG that can be read ({error}); allowed is {IDS_WANTED}") from error
    raise PredictionError(f"{file}: is a colour picture ({mode}); allowed is {IDS_WANTED}")


class LabelVideo(LabelMaps):
    """A video whose pixels are class ids: losslessly coded, one grey channel or a palette.

    Ids are read as stored, without colour conversion. The display matrix of the video is applied.

    Args:
        path: the video file.
        ignore: a further id for unknown pixels.

    Raises:
        PredictionError: for a file that is not a video, or whose coding does not preserve class ids.
    """

    def __init__(self, path: Path, *, ignore: int | None = None) -> None:
        self.path = path
        self._ignore = ignore
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
                yield Prediction(class_ids(frame.plane(), self._ignore, str(self.path)))
        except VideoError as error:
            raise PredictionError(str(error)) from error


class ArrayFile(LabelMaps):
    """A .npy file or the array of a .npz file: ids (T, H, W), or logits or probabilities (T, K, H, W).

    The file is read frame by frame, so memory use does not depend on its length. Scores are probabilities if the first
    frame is a distribution over the classes at every pixel. All other frames must then be distributions too.

    Raises:
        PredictionError: for a file that cannot be read, or an array of another shape or type.
    """

    def __init__(self, path: Path, *, ignore: int | None = None) -> None:
        self.path = path
        self._ignore = ignore
        with ExitStack() as stack:
            _, self._shape, self._dtype = self._open(stack)
        self.count = self._shape[0]
        whole = self._dtype.kind in "iub"
        if len(self._shape) != (3 if whole else 4) or self._dtype.kind not in "iubf" or 0 in self._shape:
            raise PredictionError(
                f"{path}: is {self._dtype} of shape {self._shape}; allowed are integer ids (T, H, W), or floating "
                "point logits or probabilities (T, K, H, W)"
            )
        self.scores: Literal["logits", "probabilities"] | None = None
        if not whole:
            if not 1 <= self._shape[1] <= IGNORE_LABEL:
                raise PredictionError(f"{path}: scores {self._shape[1]} classes; allowed are 1..{IGNORE_LABEL}")
            with ExitStack() as stack:
                first = self._frame(self._open(stack)[0], 0)
            self.scores = "probabilities" if _is_distribution(first) else "logits"
        self.kind = f"{path.suffix[1:].lower()} of {self.scores or 'ids'}"

    @property
    def num_classes(self) -> int | None:
        """Number of classes of the scores; None for ids."""
        return None if self.scores is None else self._shape[1]

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
        except (OSError, EOFError, zipfile.BadZipFile, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
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
                array, name = self._frame(file, index), f"{self.path}, frame {index}"
                if self.scores is None:
                    yield Prediction(class_ids(array, self._ignore, name))
                    continue
                if not np.isfinite(array).all():
                    raise PredictionError(f"{name}: holds values that are not finite; allowed are finite scores")
                if self.scores == "probabilities":
                    if not _is_distribution(array):
                        raise PredictionError(
                            f"{name}: is no distribution over the classes, though frame 0 is; allowed are "
                            "probabilities throughout, or logits throughout"
                        )
                    # The softmax of log-probabilities gives the probabilities.
                    yield Prediction(argmax_labels(array), np.log(np.maximum(array.astype(np.float32), 1e-12)))
                else:
                    yield Prediction(argmax_labels(array), array.astype(np.float32, copy=False))


def _is_distribution(scores: NDArray[Any]) -> bool:
    total = scores.sum(axis=0, dtype=np.float32)
    return bool((scores >= 0).all() and (np.abs(total - 1) < _DISTRIBUTION_TOLERANCE).all())


def open_label_maps(
    path: Path, frame_names: Sequence[str] | None, *, ignore: int | None = None, sparse: bool = False
) -> LabelMaps:
    """Returns the label maps or scores of a path: a folder, a video, .npy or .npz.

    For a folder that `dwnet street --truth` wrote, the subfolder labels/ is read.

    Raises:
        PredictionError: for a path that does not exist or holds no predictions.
    """
    if not path.exists():
        raise PredictionError(f"{path}: there is no such file or folder; allowed is {READABLE}")
    if path.is_dir():
        labels = TruthFolder(path).label_folder
        if labels.is_dir() and not any(path.glob("*.png")):
            path = labels
        return LabelFolder(path, frame_names, ignore=ignore, sparse=sparse)
    if path.suffix.lower() in (".npy", ".npz"):
        return ArrayFile(path, ignore=ignore)
    return LabelVideo(path, ignore=ignore)
