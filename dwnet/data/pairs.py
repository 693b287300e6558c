"""Samples of all data sets: labelled frames, alone or paired with a neighbour, as tensors that torch batches.

A data set is a `torch.utils.data.Dataset` of `FrameSample` or `PairSample`. `make_sample` makes a sample from arrays.
Randomness: `item_generators` returns two generators for each item of each epoch. Therefore a sample depends on (seed,
epoch, index) only, for any number of workers or processes and after any resume. The augmentation has a separate
generator, so frames are the same with and without neighbours.
"""

import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NotRequired, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from dwnet.core.errors import DWNetError, first_line
from dwnet.core.label_images import MAX_PIXELS
from dwnet.data.transforms import (
    Augmentation,
    grey_mean,
    image_to_chw,
    transform_colour,
    transform_flow,
    transform_image,
    transform_labels,
)


class DataError(DWNetError):
    """A wrong data set on disk. The message names the file, what was found and what is allowed.

    Args:
        message: the first problem and the number of problems.
        problems: all problems, a line each; default: the message alone.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)

    def __reduce__(self) -> tuple[type["DataError"], tuple[str, tuple[str, ...]]]:
        """Returns what pickle needs: workers of a loader send the error to their parent process."""
        return type(self), (str(self), self.problems)


_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


@contextmanager
def collecting_problems() -> Iterator[list[str]]:
    """Yields a list that collects the problems passed to `refuse`. Inside, `refuse` does not raise: checks continue."""
    problems: list[str] = []
    token = _collected.set(problems)
    try:
        yield problems
    finally:
        _collected.reset(token)


def collecting() -> bool:
    """Returns whether problems are being collected. Only then are problems reported that training tolerates."""
    return _collected.get() is not None


def refuse(error: DataError) -> None:
    """Raises `error`; inside `collecting_problems` it records the problems instead, and the check continues."""
    problems = _collected.get()
    if problems is None:
        raise error
    problems.extend(error.problems)


class FrameSample(TypedDict):
    """A labelled frame; `default_collate` batches it."""

    frame: torch.Tensor
    """(3,H,W) float32 RGB 0..1."""
    labels: torch.Tensor
    """(H,W) int64 class ids, `IGNORE_LABEL` where there is none."""
    name: str
    """Name of the frame in the data set."""
    index: int
    """Index of the sample in the data set."""


class PairSample(FrameSample):
    """A labelled frame I_t and a neighbour I_{t+k} (section 3.1).

    `flow` and `visible` are both present or both absent, equally for all samples of a data set. They are present if the
    exact motion is known.
    """

    neighbour: torch.Tensor
    """(3,H,W) float32 RGB 0..1, under the same augmentation as `frame`."""
    offset: int
    """k in raw frames, signed; 0 only where `paired` is False."""
    flow: NotRequired[torch.Tensor]
    """(2,H,W) float32 pixels from `frame` to `neighbour`, channel 0 = dx, 1 = dy."""
    visible: NotRequired[torch.Tensor]
    """(H,W) bool: where `flow` is exact and ends inside `neighbour`."""
    coarse_flow: NotRequired[torch.Tensor]
    """(2, H, W) float32 pixels from `frame` to `neighbour`, from a flow estimator (`with_flow`)."""
    paired: NotRequired[bool]
    """False if `neighbour` is only a placeholder in the batch (`mixed_in`). Without this key all samples are pairs."""


def item_generators(seed: int, epoch: int, index: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Returns two independent generators of one item in one epoch: (for its augmentation, for its neighbour)."""
    augmentation, neighbour = np.random.default_rng([seed, epoch, index]).spawn(2)
    return augmentation, neighbour


def photometric_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Returns the generator of one item's photometric changes. It is independent of both `item_generators`."""
    return np.random.default_rng([seed, epoch, index]).spawn(3)[2]


class EpochData(Dataset[FrameSample | PairSample], ABC):
    """A data set whose samples depend on (seed, epoch, index) only.

    The epoch is in shared memory, so that `set_epoch` also reaches the copies in a DataLoader's persistent workers.
    Call it before the iteration of the epoch starts.

    Args:
        seed: seed of all random numbers, at least 0.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of samples."""

    def set_epoch(self, epoch: int) -> None:
        """Selects the random numbers of an epoch, from 0, here and in the workers that share this data set."""
        if epoch < 0:
            raise DWNetError(f"epoch: found {epoch}; allowed are whole numbers of at least 0")
        self._epoch.fill_(epoch)

    def _item(self, index: int) -> tuple[int, np.random.Generator, np.random.Generator]:
        """Returns the index from 0 and the `item_generators` of this epoch; raises IndexError beyond the last index."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: found {index}; allowed are 0..{len(self) - 1}")
        index %= len(self)
        return index, *item_generators(self._seed, int(self._epoch), index)


def make_sample(
    *,
    name: str,
    index: int,
    frame: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    neighbour: NDArray[np.uint8] | None = None,
    offset: int = 0,
    flow_px: NDArray[np.float32] | None = None,
    visible: NDArray[np.bool_] | None = None,
    augment: Augmentation | None = None,
    rng: np.random.Generator | None = None,
) -> FrameSample | PairSample:
    """Returns one augmented sample as tensors.

    Args:
        name: name of the frame.
        index: index of the sample in the data set.
        frame: (H,W,3) uint8 RGB.
        labels: (H,W) uint8 class ids, `IGNORE_LABEL` where there is none.
        neighbour: (H,W,3) uint8 RGB, or None for a single frame.
        offset: raw frames to the neighbour, signed; not 0 where there is a neighbour.
        flow_px: (2,H,W) float32 from frame to neighbour in pixels, where known.
        visible: (H,W) bool, with `flow_px`.
        augment: the augmentation; None keeps size and colours.
        rng: generator of the augmentation; needed with `augment`.

    Raises:
        DWNetError: for a neighbour without offset, a flow without visibility or neighbour, or `augment` without `rng`.
    """
    if (neighbour is None) != (offset == 0):
        found = "no" if neighbour is None else "a"
        raise DWNetError(f"sample {name}: found {found} neighbour with offset {offset}; allowed are both or neither")
    if (flow_px is None) != (visible is None) or (flow_px is not None and neighbour is None):
        raise DWNetError(f"sample {name}: flow and visibility are allowed together only, and only with a neighbour")
    images = [frame] if neighbour is None else [frame, neighbour]
    if augment is None:
        tensors = [image_to_chw(image) for image in images]
    else:
        if rng is None:
            raise DWNetError(f"sample {name}: an augmentation needs a generator; found None")
        params = augment.draw(rng, frame.shape[0], frame.shape[1])
        colour = augment.draw_colour(rng)
        tensors = [transform_image(image, params) for image in images]
        grey = grey_mean(tensors[0])
        tensors = [transform_colour(image, colour, mean_grey=grey) for image in tensors]
        labels = transform_labels(labels, params)
        if flow_px is not None and visible is not None:
            flow_px, visible = transform_flow(flow_px, visible, params)
    single = FrameSample(
        frame=torch.from_numpy(tensors[0]),
        labels=torch.from_numpy(labels.astype(np.int64)),
        name=name,
        index=index,
    )
    if neighbour is None:
        return single
    pair = PairSample(**single, neighbour=torch.from_numpy(tensors[1]), offset=offset)
    if flow_px is not None and visible is not None:
        pair["flow"] = torch.from_numpy(np.ascontiguousarray(flow_px))
        pair["visible"] = torch.from_numpy(np.ascontiguousarray(visible))
    return pair


def read_image(path: Path) -> NDArray[np.uint8]:
    """Returns an image file as (H, W, 3) uint8 RGB, turned upright by its EXIF orientation.

    Raises:
        DataError: for a file that is missing, no image, or has more than `MAX_PIXELS` pixels.
    """
    return cv2.cvtColor(_decode(path), cv2.COLOR_BGR2RGB)


def _decode(path: Path) -> NDArray:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    check_pixels(path, data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise DataError(f"{path}: cannot be decoded ({first_line(error)})") from error
    if image is None:
        raise DataError(f"{path}: not a readable image ({len(data)} bytes found; JPEG or PNG is allowed)")
    return image


def check_pixels(path: Path, data: bytes) -> None:
    """Raises DataError if an encoded image has more than `MAX_PIXELS` pixels. Nothing is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.open(io.BytesIO(data)).close()
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: is too large ({first_line(error)}); allowed are {MAX_PIXELS} pixels") from error
    except (OSError, SyntaxError, ValueError):
        return  # OpenCV reads some files that Pillow does not know
