"""Every data set by its name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from dwnet.data.camvid import CamVid
from dwnet.data.cityscapes import Cityscapes
from dwnet.data.classes import ClassSet
from dwnet.data.frames import Neighbours, Split
from dwnet.data.own import OwnData
from dwnet.data.pairs import FrameSample, PairSample
from dwnet.data.street_pairs import StreetNeighbours, StreetPairs
from dwnet.data.transforms import Augmentation

Kind = Literal["camvid", "cityscapes", "own", "street"]
"""``street`` is rendered on the fly, and needs no folder."""

_ON_DISK: dict[str, type[CamVid] | type[Cityscapes] | type[OwnData]] = {
    "camvid": CamVid,
    "cityscapes": Cityscapes,
    "own": OwnData,
}
_STREET: dict[str, StreetNeighbours] = {"none": "none", "video": "rendered", "labelled": "previous"}


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
) -> FrameData:
    """One split of a data set.

    Args:
        kind: which.
        root: its folder; None is ``data/KIND``. The street has none.
        split: ``train``, ``val`` or ``test``.
        neighbours: what a frame is paired with. The street renders real ones (``video``; ``labelled`` is the frame
            before), with their exact flow.
        max_offset: largest distance to the neighbour, in raw frames.
        augment: random geometry and colour; None gives whole frames.
        seed: of all random numbers.
        street_size: height and width of the street's frames, in pixels.

    Raises:
        DataError: files are missing or wrong.
        ValueError: an option that is not allowed.
    """
    options: dict[str, Any] = {"max_offset": max_offset, "augment": augment, "seed": seed}
    if kind == "street":
        if neighbours not in _STREET:
            raise ValueError(f"neighbours of the street: found {neighbours!r}; allowed are {', '.join(_STREET)}")
        return StreetPairs(split, neighbours=_STREET[neighbours], size=street_size, **options)
    if kind not in _ON_DISK:
        raise ValueError(f"unknown data set {kind!r}; allowed are {', '.join(get_args(Kind))}")
    return _ON_DISK[kind](Path("data", kind) if root is None else root, split, neighbours=neighbours, **options)
