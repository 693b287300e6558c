"""Opening a data set by its name."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import ClassSet
from dwnet.core.data_kinds import DataKind, Neighbours, Split
from dwnet.core.errors import DWNetError
from dwnet.data import camvid, cityscapes, own
from dwnet.data.pair_dataset import PairDataset, check_options
from dwnet.data.pairs import FrameSample, PairSample
from dwnet.data.sources import FramePlace, Source
from dwnet.data.street_source import StreetSource
from dwnet.data.transforms import Augmentation
from dwnet.street.cache import ArrayCache

_CACHE_SHARES: dict[Split, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
"""Shares of the street's cache. Every evaluation reads val or test again, so train leaves room for them."""


class FrameData(Protocol):
    """A data set as evaluation uses it: sample `i` shows `frames[i]`."""

    classes: ClassSet
    layout: str
    names: tuple[str, ...]

    @property
    def frames(self) -> Sequence[FramePlace]:
        """The place of each sample's frame."""

    def set_epoch(self, epoch: int) -> None:
        """Selects the random numbers of an epoch."""

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Returns only the labels of one whole frame, (H, W) uint8."""

    def warmup_frames(self, index: int, most: int) -> list[NDArray[np.uint8]]:
        """Returns the raw frames right before a frame, in order, (H, W, 3) uint8 RGB: `most`, or fewer if some lack."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> FrameSample | PairSample: ...


def open_data(
    kind: DataKind,
    root: Path | None,
    split: Split,
    *,
    neighbours: Neighbours = "none",
    max_offset: int = 5,
    augment: Augmentation | None = None,
    photometric: float = 0.0,
    neighbour_photometric: float = 1.0,
    seed: int = 0,
    coarse: bool = False,
    street_size: tuple[int, int] = (360, 480),
    street_cache_gb: float = 0.0,
) -> PairDataset:
    """Returns one split of a data set.

    Args:
        kind: name of the data set.
        root: its folder; None is ``data/KIND``. The street's folder holds its cache.
        split: ``train``, ``val`` or ``test``.
        neighbours: what a frame is paired with. The street renders real neighbours and knows the exact flow to them.
        max_offset: largest distance to the neighbour, in raw frames (5 in the paper, section 3.1).
        augment: random geometry and colour; None gives whole frames.
        photometric: strength of random photometric changes of the frames, 0 (off) to 2 (`PairDataset`).
        neighbour_photometric: strength of those of a synthetic neighbour, 0 (off) to 2.
        seed: seed of all random numbers, at least 0.
        coarse: True opens Cityscapes' coarsely labelled frames of train_extra, which have no real neighbours.
        street_size: height and width of the street's frames, in pixels.
        street_cache_gb: size of the cache of rendered frames on disk, in 10^9 bytes; 0 keeps nothing.

    Raises:
        DataError: if files are missing or wrong.
        DWNetError: for an option that is not allowed.
    """
    root = Path("data", kind) if root is None else Path(root)
    if kind not in get_args(DataKind):
        raise DWNetError(f"unknown data set {kind!r}; allowed are {', '.join(get_args(DataKind))}")
    if coarse and kind != "cityscapes":
        raise DWNetError(f"coarse labels: found data set {kind!r}; allowed is 'cityscapes'")
    check_options(neighbours=neighbours, max_offset=max_offset, seed=seed)
    source: Source[Any]
    if kind == "street":
        source = StreetSource(split, size=street_size, cache=_street_cache(root, split, street_cache_gb))
    elif kind == "cityscapes":
        source = cityscapes.scan(root, split, neighbours=neighbours, max_offset=max_offset, coarse=coarse)
    else:
        scan = camvid.scan if kind == "camvid" else own.scan
        source = scan(root, split, neighbours=neighbours, max_offset=max_offset)
    return PairDataset(
        source,
        neighbours=neighbours,
        max_offset=max_offset,
        augment=augment,
        photometric=photometric,
        neighbour_photometric=neighbour_photometric,
        seed=seed,
    )


def _street_cache(root: Path, split: Split, gigabytes: float) -> ArrayCache | None:
    if not 0 <= gigabytes < math.inf:
        raise DWNetError(f"street_cache_gb: found {gigabytes}; allowed are numbers of at least 0")
    limit_bytes = int(gigabytes * 1e9 * _CACHE_SHARES.get(split, 1.0))
    return ArrayCache(root / "cache" / split, limit_bytes=limit_bytes) if limit_bytes else None
