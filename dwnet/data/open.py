"""Every data set by its name."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError
from dwnet.data.camvid import CamVid
from dwnet.data.cityscapes import Cityscapes
from dwnet.data.frames import Neighbours, Split
from dwnet.data.own import OwnData
from dwnet.data.pairs import FrameSample, PairSample
from dwnet.data.street_pairs import StreetNeighbours, StreetPairs
from dwnet.data.transforms import Augmentation
from dwnet.street.cache import ArrayCache

Kind = Literal["camvid", "cityscapes", "own", "street"]
"""``street`` is rendered on the fly; its folder only keeps what was rendered."""

_ON_DISK: dict[str, type[CamVid] | type[Cityscapes] | type[OwnData]] = {
    "camvid": CamVid,
    "cityscapes": Cityscapes,
    "own": OwnData,
}
_STREET: dict[str, StreetNeighbours] = {
    "none": "none",
    "camera_motion": "camera_motion",
    "labelled": "previous",
    "video": "rendered",
    "previous": "previous",
    "mixed": "mixed",
}
_CACHE_SHARES: dict[Split, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
"""Of the street's cache, so that training leaves room for the frames that each evaluation asks for again."""


class FramePlace(Protocol):
    """Where a frame lies in its video."""

    @property
    def sequence(self) -> str:
        """Frames of one sequence follow each other by `number`."""

    @property
    def number(self) -> int:
        """Of the raw frame."""


class FrameData(Protocol):
    """What every data set here offers; `samples[i]` is of `frames[i]`."""

    classes: ClassSet
    layout: str
    names: tuple[str, ...]

    @property
    def frames(self) -> Sequence[FramePlace]:
        """What each sample is of."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the random numbers of an epoch."""

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Return the labels of one whole frame alone, (H,W) uint8."""

    def warmup_frames(self, index: int, most: int) -> list[NDArray[np.uint8]]:
        """Return the raw frames right before one, (H,W,3) uint8 RGB, up to `most`, as far as the data has a video."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FrameSample | PairSample: ...


def open_data(
    kind: Kind,
    root: Path | None,
    split: Split,
    *,
    neighbours: Neighbours = "none",
    max_offset: int = 5,
    augment: Augmentation | None = None,
    seed: int = 0,
    street_size: tuple[int, int] = (360, 480),
    street_cache_gb: float = 0.0,
) -> FrameData:
    """One split of a data set.

    Args:
        kind: which.
        root: its folder; None is ``data/KIND``. The street's holds its cache.
        split: ``train``, ``val`` or ``test``.
        neighbours: what a frame is paired with. The street renders real ones (``video``; ``labelled`` is the frame
            before), and the flow is exact in all of them.
        max_offset: largest distance to the neighbour, in raw frames.
        augment: random geometry and colour; None gives whole frames.
        seed: of all random numbers.
        street_size: height and width of the street's frames, in pixels.
        street_cache_gb: how much of what the street renders is kept on disk, in 10^9 bytes; 0 keeps nothing.

    Raises:
        DataError: files are missing or wrong.
        ValueError: an option that is not allowed.
    """
    options: dict[str, Any] = {"max_offset": max_offset, "augment": augment, "seed": seed}
    root = Path("data", kind) if root is None else root
    if kind == "street":
        if neighbours not in _STREET:
            raise DWNetError(f"neighbours of the street: found {neighbours!r}; allowed are {', '.join(_STREET)}")
        cache = _street_cache(root, split, street_cache_gb)
        return StreetPairs(split, neighbours=_STREET[neighbours], size=street_size, cache=cache, **options)
    if kind not in _ON_DISK:
        raise DWNetError(f"unknown data set {kind!r}; allowed are {', '.join(get_args(Kind))}")
    return _ON_DISK[kind](root, split, neighbours=neighbours, **options)


def _street_cache(root: Path, split: Split, gigabytes: float) -> ArrayCache | None:
    if not 0 <= gigabytes < math.inf:
        raise DWNetError(f"street_cache_gb: found {gigabytes}; allowed are numbers of at least 0")
    limit_bytes = int(gigabytes * 1e9 * _CACHE_SHARES.get(split, 1.0))
    return ArrayCache(root / "cache" / split, limit_bytes=limit_bytes) if limit_bytes else None
