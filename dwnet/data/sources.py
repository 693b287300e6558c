"""Sources of labelled frames: what a data set on disk and the rendered street have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import ClassSet
from dwnet.core.data_kinds import Neighbours


class FramePlace(Protocol):
    """The place of a frame in its video."""

    @property
    def sequence(self) -> str:
        """The video. Frames of one sequence follow each other by `number`."""

    @property
    def number(self) -> int:
        """Number of the raw frame."""


class NamedPlace(FramePlace, Protocol):
    """The place of a frame that has a name."""

    @property
    def name(self) -> str:
        """Name of the frame within its data set."""


FrameT = TypeVar("FrameT", bound=NamedPlace)


@dataclass(frozen=True)
class RealNeighbour:
    """A real frame near a labelled one."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    flow_px: NDArray[np.float32] | None = None
    """(2, H, W) float32 in pixels from the labelled frame to this one; None where it is unknown."""
    visible: NDArray[np.bool_] | None = None
    """(H, W) bool, True where the flow is exact and ends inside this frame; None without flow."""


class Source(ABC, Generic[FrameT]):
    """One split of a data set: its labelled frames, and functions that return their pixels.

    `PairDataset` pairs and augments the frames.
    """

    classes: ClassSet
    layout: str
    """Description of the layout of the files, for reports."""
    frames: tuple[FrameT, ...]
    """In order; frames of one sequence by rising number."""
    rendered: bool = False
    """Whether frames are rendered on request, which is slower than reading files."""
    exact_flow: bool = False
    """Whether real neighbours come with their flow."""

    @abstractmethod
    def choices(self, neighbours: Neighbours, max_offset: int) -> tuple[tuple[FrameT, ...], tuple[Sequence[int], ...]]:
        """Returns the frames that can have neighbours of a kind, and for each the offsets of its real neighbours.

        Args:
            neighbours: the kind of neighbours.
            max_offset: largest distance to the neighbour, in raw frames.

        Returns:
            Frames, and for each the possible offsets in raw frames, rising, signed, never 0. The second tuple is empty
            for neighbours that are not real.

        Raises:
            DataError: if no frame has a neighbour, or if a frame lacks one although the kind requires it.
        """

    @abstractmethod
    def read(self, frame: FrameT) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Returns a frame as (H, W, 3) uint8 RGB and its labels as (H, W) uint8."""

    @abstractmethod
    def labels(self, frame: FrameT) -> NDArray[np.uint8]:
        """Returns only the labels of a frame, (H, W) uint8."""

    @abstractmethod
    def neighbour(self, frame: FrameT, offset: int, image: NDArray[np.uint8]) -> RealNeighbour:
        """Returns the real neighbour at an offset of `choices`; `image` is the frame, (H, W, 3) uint8 RGB."""

    @abstractmethod
    def warmup_frames(self, frame: FrameT, most: int) -> list[NDArray[np.uint8]]:
        """Returns the raw frames right before a frame, in order, (H, W, 3) uint8 RGB: `most`, or fewer if some lack."""

    def release(self, frame: FrameT) -> None:
        """Frees intermediate results of reading `frame` and its neighbours. Called after each sample."""
