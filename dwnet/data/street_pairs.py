"""The rendered street as a data set: frames with exact labels, and neighbours with exact flow, drawn when asked for."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dwnet.core.classes import CAMVID_11, ClassSet
from dwnet.core.errors import DWNetError
from dwnet.data.camera_motion import CameraMotion
from dwnet.data.frames import SPLITS, Split
from dwnet.data.pairs import EpochData, FrameSample, PairSample, make_sample
from dwnet.data.transforms import Augmentation
from dwnet.street import StreetScene
from dwnet.street.cache import ArrayCache
from dwnet.street.packing import pack_frame, pack_motion, unpack_frame, unpack_motion
from dwnet.street.scene import MAX_SECONDS

StreetNeighbours = Literal["none", "camera_motion", "rendered", "previous", "mixed"]
"""What a frame is paired with; the flow is exact in all of them.

- ``none``: nothing (`FrameSample`).
- ``camera_motion``: a neighbour made from the frame itself (`dwnet.data.camera_motion`).
- ``rendered``: a frame of the same drive. Each frame has two such neighbours, one before and one after it, at distances
  drawn uniformly within `max_offset`, once for all; which of them is drawn in each epoch. So few are soon in a cache.
- ``previous``: the frame before it.
- ``mixed``: ``camera_motion`` or ``rendered``, by the toss of a coin for each sample.
"""

_FIRST_SEED: dict[Split, int] = {"train": 10_000, "val": 20_000, "test": 30_000}
"""Streets of a split have the seeds from here on. The sample clips' are below all of them."""
_MOST_STREETS = 10_000
_SCENES_KEPT = 48
_MARGIN = 10
"""Frames at both ends of a drive that are nobody's sample: neighbours must exist."""


def first_seed(split: Split) -> int:
    """The seed of a split's first street; the others follow it."""
    return _FIRST_SEED[split]


@dataclass(frozen=True)
class StreetPlace:
    """One labelled frame: which street, and which frame of it."""

    sequence: str
    number: int
    seed: int

    @property
    def name(self) -> str:
        """SEQUENCE_NUMBER, as CamVid's frames are called."""
        return f"{self.sequence}_{self.number:05d}"


class StreetPairs(EpochData):
    """One split of the rendered street. Splits have no street in common; the textures are of the same four libraries.

    A sample depends on (split, size, seed, epoch, index) alone.
    Each worker builds the streets that it is asked for, a quarter to half a second each, and keeps them.

    Training frames are spread evenly over each drive. Those of val and test follow each other, 25 a second, so that
    flicker can be measured.

    Args:
        split: ``train``, ``val`` or ``test``.
        neighbours: what a frame is paired with.
        size: (height, width) of the frames before augmentation [pixels].
        streets: how many streets; None: 32 for train, 4 for val, 8 for test.
        frames_per_street: of them; None: 20 for train, 25 for val and test.
        max_offset: largest distance to the neighbour, 1 to 5 frames (the paper's 5, section 3.1).
        augment: random geometry and colour; None gives whole frames.
        seed: of the neighbours and of the augmentation, 0 or above. The streets are always the same.
        cache: keeps what was rendered, for later epochs and runs; samples are the same without. None renders each time.

    Raises:
        ValueError: for an option that is not allowed; the message names it.
    """

    classes: ClassSet = CAMVID_11

    def __init__(
        self,
        split: Split,
        *,
        neighbours: StreetNeighbours = "none",
        size: tuple[int, int] = (360, 480),
        streets: int | None = None,
        frames_per_street: int | None = None,
        max_offset: int = 5,
        augment: Augmentation | None = None,
        seed: int = 0,
        cache: ArrayCache | None = None,
    ) -> None:
        streets = {"train": 32, "val": 4, "test": 8}.get(split, 1) if streets is None else streets
        frames = (20 if split == "train" else 25) if frames_per_street is None else frames_per_street
        most = round(MAX_SECONDS * 25) - 2 * _MARGIN
        _require("split", split, split in SPLITS, ", ".join(SPLITS))
        _require(
            "neighbours", neighbours, neighbours in get_args(StreetNeighbours), ", ".join(get_args(StreetNeighbours))
        )
        _require("size", size, len(size) == 2 and min(size) >= 32, "(height, width) of at least 32")
        _require("streets", streets, 1 <= streets <= _MOST_STREETS, f"1 to {_MOST_STREETS}")
        _require("frames_per_street", frames, 1 <= frames <= most, f"1 to {most}")
        _require("max_offset", max_offset, 1 <= max_offset <= 5, "1 to 5 frames")
        _require("seed", seed, seed >= 0, "whole numbers of at least 0")
        self.split, self.neighbours, self.size, self.max_offset = split, neighbours, size, max_offset
        self.layout = f"rendered, {streets} streets, {size[1]} x {size[0]}"
        super().__init__(seed)
        self._augment, self._cache = augment, cache
        self._motion = CameraMotion(max_offset=max_offset)
        seeds = range(_FIRST_SEED[split], _FIRST_SEED[split] + streets)
        numbers = _spread(frames, most) if split == "train" else range(most // 2, most // 2 + frames)
        if split != "train" and frames > most // 2:
            numbers = range(_MARGIN, _MARGIN + frames)
        self.frames = tuple(StreetPlace(f"street{street}", int(n), street) for street in seeds for n in numbers)
        """What each sample is made of."""
        self.names = tuple(frame.name for frame in self.frames)
        self._scenes: OrderedDict[int, StreetScene] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frames)

    def __getitem__(self, index: int) -> FrameSample | PairSample:
        """Render, pair and augment one frame; raises IndexError beyond the last."""
        index, augmentation_rng, neighbour_rng = self._item(index)
        place = self.frames[index]
        frame, labels = self._frame(place.seed, place.number)
        neighbour, offset, flow_px, visible = None, 0, None, None
        if self._makes_neighbour(neighbour_rng):
            made = self._motion.sample(neighbour_rng, frame)
            neighbour, offset, flow_px, visible = made.image, made.offset, made.flow_px, made.visible
        elif self.neighbours != "none":
            offset = -1 if self.neighbours == "previous" else self._offset(place, neighbour_rng)
            neighbour, _ = self._frame(place.seed, place.number + offset)
            flow_px, visible = self._flow(place.seed, place.number, offset)
        if place.seed in self._scenes:
            self._scenes[place.seed].forget()
        return make_sample(
            name=place.name,
            index=index,
            frame=frame,
            labels=labels,
            neighbour=neighbour,
            offset=offset,
            flow_px=flow_px,
            visible=visible,
            augment=self._augment,
            rng=augmentation_rng,
        )

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Return the labels of one whole frame as (H,W) uint8."""
        place = self.frames[index]
        _, labels = self._frame(place.seed, place.number)
        if place.seed in self._scenes:
            self._scenes[place.seed].forget()
        return labels

    def warmup_frames(self, index: int, most: int) -> list[NDArray[np.uint8]]:
        """Return the frames right before one in their order, (H,W,3) uint8 RGB: up to `most`, not beyond frame 0."""
        place = self.frames[index]
        images = [self._frame(place.seed, t)[0] for t in range(max(0, place.number - most), place.number)]
        if place.seed in self._scenes:
            self._scenes[place.seed].forget()
        return images

    def _makes_neighbour(self, rng: np.random.Generator) -> bool:
        if self.neighbours == "mixed":
            return bool(rng.integers(2))
        return self.neighbours == "camera_motion"

    def _offset(self, place: StreetPlace, rng: np.random.Generator) -> int:
        distances = np.random.default_rng([place.seed, place.number]).integers(1, self.max_offset, 2, endpoint=True)
        after = int(rng.integers(2))
        return int(distances[after]) * (1 if after else -1)

    def _frame(self, seed: int, t: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """RGB and labels of a frame of a street."""
        if self._cache is None:
            frame = self.scene(seed).render(t)
            return frame.image, frame.labels
        packed = self._cache.fetch(self._key(seed, t), lambda: pack_frame(self.scene(seed).render(t)))
        return unpack_frame(packed)

    def _flow(self, seed: int, t: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Flow and visibility from frame `t` to `t + k`."""
        if self._cache is None:
            return self.scene(seed).flow(t, k)
        key = f"{self._key(seed, t)}_flow{k:+d}"
        return unpack_motion(self._cache.fetch(key, lambda: pack_motion(self.scene(seed).motion(t, k))))

    def _key(self, seed: int, t: int) -> str:
        return f"street{seed}_{t:05d}_{self.size[1]}x{self.size[0]}"

    def scene(self, seed: int) -> StreetScene:
        """The street of a seed, at this data set's size."""
        if seed not in self._scenes:
            height, width = self.size
            self._scenes[seed] = StreetScene(seed, width=width, height=height)
            while len(self._scenes) > _SCENES_KEPT:
                self._scenes.popitem(last=False)
        self._scenes.move_to_end(seed)
        return self._scenes[seed]

    def __getstate__(self) -> dict[str, object]:
        """What a worker that is not forked gets: everything but the streets, which it builds again."""
        return {**self.__dict__, "_scenes": OrderedDict()}


def _spread(count: int, most: int) -> list[int]:
    return [int(_MARGIN + (n + 0.5) * most / count) for n in range(count)]


def _require(name: str, found: object, fits: bool, allowed: str) -> None:
    if not fits:
        raise DWNetError(f"{name}: found {found!r}; allowed are {allowed}")
