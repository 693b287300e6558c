"""The rendered street as a source: frames with exact labels, and neighbours with exact flow, rendered on request."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import CAMVID_11
from dwnet.core.data_kinds import SPLITS, Neighbours, Split
from dwnet.core.errors import DWNetError
from dwnet.data.sources import RealNeighbour, Source
from dwnet.street import StreetScene
from dwnet.street.cache import ArrayCache
from dwnet.street.packing import pack_frame, pack_motion, unpack_frame, unpack_motion
from dwnet.street.scene import MAX_SECONDS

_FIRST_SEED: dict[Split, int] = {"train": 10_000, "val": 20_000, "test": 30_000}
"""Seed of the first street of each split. The sample clips have smaller seeds."""
_MOST_STREETS = 10_000
_SCENES_KEPT = 48
_MARGIN = 10
"""Frames at both ends of a drive that are not sampled, so that neighbours exist."""


def first_seed(split: Split) -> int:
    """Returns the seed of a split's first street; the others follow it."""
    return _FIRST_SEED[split]


@dataclass(frozen=True)
class StreetPlace:
    """One labelled frame of a street."""

    sequence: str
    number: int
    seed: int
    """Seed of the street."""

    @property
    def name(self) -> str:
        """SEQUENCE_NUMBER, in the form of CamVid's names."""
        return f"{self.sequence}_{self.number:05d}"


class StreetSource(Source[StreetPlace]):
    """One split of the rendered street. Splits share no street; the textures are from the same four libraries.

    Each worker builds the streets that it needs and keeps the last 48. Building one takes 0.25 to 0.5 s.

    Training frames are spread evenly over each drive. Frames of val and test follow each other, 25 per second, so that
    flicker can be measured.

    Args:
        split: ``train``, ``val`` or ``test``.
        size: (height, width) of the frames in pixels.
        streets: number of streets; None: 32 for train, 4 for val, 8 for test.
        frames_per_street: number of frames of each street; None: 20 for train, 25 for val and test.
        cache: keeps rendered frames for later epochs and runs. None renders every time; the samples are the same.

    Raises:
        DWNetError: for an option that is not allowed.
    """

    rendered = True
    exact_flow = True

    def __init__(
        self,
        split: Split,
        *,
        size: tuple[int, int] = (360, 480),
        streets: int | None = None,
        frames_per_street: int | None = None,
        cache: ArrayCache | None = None,
    ) -> None:
        streets = {"train": 32, "val": 4, "test": 8}.get(split, 1) if streets is None else streets
        frames = (20 if split == "train" else 25) if frames_per_street is None else frames_per_street
        most = round(MAX_SECONDS * 25) - 2 * _MARGIN
        _require("split", split, split in SPLITS, ", ".join(SPLITS))
        _require("size", size, len(size) == 2 and min(size) >= 32, "(height, width) of at least 32")
        _require("streets", streets, 1 <= streets <= _MOST_STREETS, f"1 to {_MOST_STREETS}")
        _require("frames_per_street", frames, 1 <= frames <= most, f"1 to {most}")
        self.split, self.size, self.classes, self.cache = split, size, CAMVID_11, cache
        self.layout = f"rendered, {streets} streets, {size[1]} x {size[0]}"
        seeds = range(_FIRST_SEED[split], _FIRST_SEED[split] + streets)
        numbers: Sequence[int] = range(most // 2, most // 2 + frames)
        if split == "train":
            numbers = _spread(frames, most)
        elif frames > most // 2:
            numbers = range(_MARGIN, _MARGIN + frames)
        self.frames = tuple(StreetPlace(f"street{street}", int(n), street) for street in seeds for n in numbers)
        self._scenes: OrderedDict[int, StreetScene] = OrderedDict()

    def choices(
        self, neighbours: Neighbours, max_offset: int
    ) -> tuple[tuple[StreetPlace, ...], tuple[Sequence[int], ...]]:
        """Returns all frames, and for each the offsets of its real neighbours.

        ``video`` and ``mixed``: two neighbours, one before and one after. Their distances are drawn uniformly within
        `max_offset`, from the frame's seed and number. They are the same in each epoch and run, so that a cache soon
        holds all of them. ``previous`` and ``labelled``: the frame before.

        Raises:
            DWNetError: for a `max_offset` that is not 1 to 5 frames (the paper's 5, section 3.1).
        """
        _require("max_offset", max_offset, 1 <= max_offset <= 5, "1 to 5 frames")
        if neighbours in ("none", "camera_motion"):
            return self.frames, ()
        if neighbours in ("previous", "labelled"):
            return self.frames, ((-1,),) * len(self.frames)
        return self.frames, tuple(_two_offsets(place, max_offset) for place in self.frames)

    def read(self, frame: StreetPlace) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # noqa: D102
        return self._frame(frame.seed, frame.number)

    def labels(self, frame: StreetPlace) -> NDArray[np.uint8]:  # noqa: D102
        return self._frame(frame.seed, frame.number)[1]

    def neighbour(self, frame: StreetPlace, offset: int, image: NDArray[np.uint8]) -> RealNeighbour:  # noqa: D102
        neighbour, _ = self._frame(frame.seed, frame.number + offset)
        return RealNeighbour(neighbour, *self._flow(frame.seed, frame.number, offset))

    def warmup_frames(self, frame: StreetPlace, most: int) -> list[NDArray[np.uint8]]:
        """Returns the frames right before a frame, in order, (H, W, 3) uint8 RGB: `most`, or fewer near frame 0."""
        return [self._frame(frame.seed, t)[0] for t in range(max(0, frame.number - most), frame.number)]

    def release(self, frame: StreetPlace) -> None:
        """Frees the rasters of the last frames that the scene of a frame keeps."""
        if frame.seed in self._scenes:
            self._scenes[frame.seed].forget()

    def _frame(self, seed: int, t: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Returns RGB and labels of a frame of a street."""
        if self.cache is None:
            frame = self.scene(seed).render(t)
            return frame.image, frame.labels
        packed = self.cache.fetch(self._key(seed, t), lambda: pack_frame(self.scene(seed).render(t)))
        return unpack_frame(packed)

    def _flow(self, seed: int, t: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Returns flow and visibility from frame `t` to `t + k`."""
        if self.cache is None:
            return self.scene(seed).flow(t, k)
        key = f"{self._key(seed, t)}_flow{k:+d}"
        return unpack_motion(self.cache.fetch(key, lambda: pack_motion(self.scene(seed).motion(t, k))))

    def _key(self, seed: int, t: int) -> str:
        return f"street{seed}_{t:05d}_{self.size[1]}x{self.size[0]}"

    def scene(self, seed: int) -> StreetScene:
        """Returns the street of a seed, at this source's size."""
        if seed not in self._scenes:
            height, width = self.size
            self._scenes[seed] = StreetScene(seed, width=width, height=height)
            while len(self._scenes) > _SCENES_KEPT:
                self._scenes.popitem(last=False)
        self._scenes.move_to_end(seed)
        return self._scenes[seed]

    def __getstate__(self) -> dict[str, object]:
        """Returns everything but the streets: a worker that is not forked builds them again."""
        return {**self.__dict__, "_scenes": OrderedDict()}


def _two_offsets(place: StreetPlace, max_offset: int) -> tuple[int, int]:
    before, after = np.random.default_rng([place.seed, place.number]).integers(1, max_offset, 2, endpoint=True)
    return -int(before), int(after)


def _spread(count: int, most: int) -> list[int]:
    return [int(_MARGIN + (n + 0.5) * most / count) for n in range(count)]


def _require(name: str, found: object, fits: bool, allowed: str) -> None:
    if not fits:
        raise DWNetError(f"{name}: found {found!r}; allowed are {allowed}")
