"""Mosaics: samples whose four quarters come from four frames, against overfitting on small data sets."""

import torch

from dwnet.core.errors import DWNetError
from dwnet.data.mixed_in import MixedIn
from dwnet.data.pair_dataset import PairDataset
from dwnet.data.pairs import EpochData, FrameSample, PairSample

_NEAREST = 0.25
"""Smallest distance of the seams from the border, as a share of the crop."""


class Mosaic(EpochData):
    """A data set of single frames, some of which are replaced by mosaics.

    A mosaic has the size of the crop. Each quarter shows the same place of another augmented sample, so scales and
    label positions stay those of the crops. The seams cross at a random point. The names in a batch are those of the
    upper left quarters.

    Args:
        data: single frames, cropped to one size.
        share: share of the samples that are mosaics, above 0 to 1.
        seed: seed of the draw.

    Raises:
        DWNetError: for pairs, because a flow does not cross the seams, or for a share that is not allowed.
    """

    def __init__(self, data: PairDataset | MixedIn, *, share: float, seed: int = 0) -> None:
        found = data.pairs.neighbours if isinstance(data, MixedIn) else data.neighbours
        if found != "none":
            raise DWNetError(f"mosaic: found neighbours {found!r}; allowed is 'none'")
        if not 0 < share <= 1:
            raise DWNetError(f"mosaic: found a share of {share}; allowed are numbers above 0, up to 1")
        super().__init__(seed)
        self.data, self._share = data, share
        self.classes, self.layout = data.classes, data.layout

    def __len__(self) -> int:
        """Returns the number of samples, that of `data`."""
        return len(self.data)

    def set_epoch(self, epoch: int) -> None:
        """Selects the random numbers of an epoch, here and in `data`."""
        super().set_epoch(epoch)
        self.data.set_epoch(epoch)

    def __getitem__(self, index: int) -> FrameSample | PairSample:
        """Returns a frame, or a mosaic of it and three others."""
        index, rng, _ = self._item(index)
        sample = self.data[index]
        if rng.random() >= self._share:
            return sample
        height, width = sample["labels"].shape
        row, column = (int(side * rng.uniform(_NEAREST, 1 - _NEAREST)) for side in (height, width))
        frame, labels = sample["frame"].clone(), sample["labels"].clone()
        upper, lower, left, right = slice(0, row), slice(row, None), slice(0, column), slice(column, None)
        for rows, columns in ((upper, right), (lower, left), (lower, right)):
            other = self.data[int(rng.integers(len(self.data)))]
            frame[:, rows, columns] = other["frame"][:, rows, columns]
            labels[rows, columns] = other["labels"][rows, columns]
        return FrameSample(frame=frame, labels=torch.as_tensor(labels), name=sample["name"], index=index)
