"""The data set: labelled frames of a source, alone or paired with a neighbour, augmented."""

from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from dwnet.core.data_kinds import Neighbours
from dwnet.core.errors import DWNetError
from dwnet.data.camera_motion import Appearance, CameraMotion
from dwnet.data.pairs import EpochData, FrameSample, PairSample, make_sample, photometric_generator
from dwnet.data.sources import RealNeighbour, Source
from dwnet.data.transforms import Augmentation


class PairDataset(EpochData):
    """Labelled frames of a source as samples. A sample depends on (source, seed, epoch, index) only.

    Args:
        source: the source of the frames.
        neighbours: what a frame is paired with. For real neighbours, the source must have been scanned with this kind.
        max_offset: largest distance to the neighbour, in raw frames (5 in the paper, section 3.1).
        augment: random geometry and colour; None gives whole frames.
        photometric: strength of random changes of exposure, white balance, sharpness, noise and compression
            (`Appearance`), 0 (off) to 2. Half of the frames are changed, and half of the real neighbours. Each image
            has its own change.
        neighbour_photometric: strength of the same changes of a synthetic neighbour, 0 (off) to 2. Each is changed.
        seed: seed of all random numbers, at least 0.

    Raises:
        DataError: if no frame has a neighbour. When an item is read: for a file that is no image, wrong labels, or a
            neighbour of another size. The message names the file.
        DWNetError: for an unknown `neighbours`, a `max_offset` below 1, a strength that is not allowed, or a negative
            `seed`.
    """

    def __init__(
        self,
        source: Source[Any],
        *,
        neighbours: Neighbours = "none",
        max_offset: int = 5,
        augment: Augmentation | None = None,
        photometric: float = 0.0,
        neighbour_photometric: float = 1.0,
        seed: int = 0,
    ) -> None:
        check_options(neighbours=neighbours, max_offset=max_offset, seed=seed)
        super().__init__(seed)
        self.source, self.neighbours, self.max_offset = source, neighbours, max_offset
        self.classes, self.layout = source.classes, source.layout
        self._augment = augment
        self._motion = CameraMotion(max_offset=max_offset, appearance=Appearance().scaled(neighbour_photometric))
        self._appearance = Appearance().scaled(photometric)
        self.frames, self._offsets = source.choices(neighbours, max_offset)
        """The frame of each sample."""
        self.names: tuple[str, ...] = tuple(frame.name for frame in self.frames)

    def __len__(self) -> int:
        """Returns the number of frames."""
        return len(self.frames)

    def __getitem__(self, index: int) -> FrameSample | PairSample:
        """Returns one frame, paired and augmented.

        Raises:
            DataError: for wrong files, as documented at the class.
            IndexError: for an index beyond the last.
        """
        index, augmentation_rng, neighbour_rng = self._item(index)
        frame, labels = self.source.read(self.frames[index])
        photometric_rng = photometric_generator(self._seed, int(self._epoch), index)
        changed = self._changed(frame, photometric_rng)
        # A synthetic neighbour is made from the unchanged frame. It has its own change.
        neighbour, offset = self._neighbour(index, frame, neighbour_rng, photometric_rng)
        self.source.release(self.frames[index])
        # All samples of a batch need the same keys. With mixed neighbours, either all samples have a flow or none.
        known = neighbour is not None and (self.neighbours != "mixed" or self.source.exact_flow)
        return make_sample(
            name=self.names[index],
            index=index,
            frame=changed,
            labels=labels,
            neighbour=None if neighbour is None else neighbour.image,
            offset=offset,
            flow_px=neighbour.flow_px if neighbour is not None and known else None,
            visible=neighbour.visible if neighbour is not None and known else None,
            augment=self._augment,
            rng=augmentation_rng,
        )

    def _changed(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Returns the image, with a photometric change in half of the calls if they are on."""
        return self._appearance.change(rng, image) if self._appearance and rng.random() < 0.5 else image

    def _neighbour(
        self,
        index: int,
        frame: NDArray[np.uint8],
        rng: np.random.Generator,
        photometric_rng: np.random.Generator,
    ) -> tuple[RealNeighbour | None, int]:
        """Returns the neighbour of a frame and its offset in raw frames; (None, 0) without neighbours."""
        made = bool(rng.integers(2)) if self.neighbours == "mixed" else self.neighbours == "camera_motion"
        if made:
            motion = self._motion.sample(rng, frame)
            return RealNeighbour(motion.image, motion.flow_px, motion.visible), motion.offset
        if not self._offsets:
            return None, 0
        offsets = self._offsets[index]
        offset = offsets[int(rng.integers(len(offsets)))]
        neighbour = self.source.neighbour(self.frames[index], offset, frame)
        return replace(neighbour, image=self._changed(neighbour.image, photometric_rng)), offset

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Returns the labels of one whole frame, (H, W) uint8; raises DataError for wrong files."""
        labels = self.source.labels(self.frames[index])
        self.source.release(self.frames[index])
        return labels

    def warmup_frames(self, index: int, most: int) -> list[NDArray[np.uint8]]:
        """Returns the raw frames right before a frame, in order, (H, W, 3) uint8 RGB: `most`, or fewer if some lack.

        Raises:
            DataError: for a file that is no image or has another size.
        """
        images = self.source.warmup_frames(self.frames[index], most)
        self.source.release(self.frames[index])
        return images


def check_options(*, neighbours: str, max_offset: int, seed: int = 0) -> None:
    """Raises DWNetError for an option of a data set that is not allowed."""
    if neighbours not in get_args(Neighbours):
        raise DWNetError(f"neighbours: found {neighbours!r}; allowed are {', '.join(get_args(Neighbours))}")
    if max_offset < 1:
        raise DWNetError(f"max_offset: found {max_offset}; allowed are whole raw frames of at least 1")
    if seed < 0:
        raise DWNetError(f"seed: found {seed}; allowed are whole numbers of at least 0")
