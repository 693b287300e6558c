"""Frames without neighbours mixed into frames with neighbours: they train the segmenter by cross-entropy alone."""

from typing import cast

from dwnet.core.errors import DWNetError
from dwnet.data.frames import LabelledFrames
from dwnet.data.pairs import EpochData, FrameSample, PairSample


class MixedIn(EpochData):
    """A data set of pairs with single frames of another one mixed in, drawn anew in each epoch.

    Samples hold "paired", a bool. Where it is False, "neighbour" is the frame itself and must enter no loss: a batch
    holds the same things for all its samples.

    Args:
        pairs: the data set proper.
        singles: where the others come from; without neighbours, with the same classes and the same size of crop.
        ratio: single frames for each frame of `pairs`, above 0.
        seed: of the draw.

    Raises:
        ValueError: other classes, neighbours where there should be none, or a ratio that gives no frame.
    """

    def __init__(self, pairs: LabelledFrames, singles: LabelledFrames, *, ratio: float, seed: int = 0) -> None:
        if singles.neighbours != "none":
            raise DWNetError(f"single frames: found neighbours {singles.neighbours!r}, allowed is 'none'")
        if pairs.classes != singles.classes:
            raise DWNetError(f"single frames: found classes {singles.classes.name}, allowed are {pairs.classes.name}")
        self._drawn = round(ratio * len(pairs))
        if self._drawn < 1:
            raise DWNetError(f"ratio of single frames: found {ratio}, which gives none for {len(pairs)} frames")
        super().__init__(seed)
        self.pairs, self.singles = pairs, singles
        self.classes, self.layout = pairs.classes, f"{pairs.layout}; {singles.layout} mixed in"

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""
        return len(self.pairs) + self._drawn

    def set_epoch(self, epoch: int) -> None:
        """As `EpochData`, for both data sets too."""
        super().set_epoch(epoch)
        self.pairs.set_epoch(epoch)
        self.singles.set_epoch(epoch)

    def __getitem__(self, index: int) -> FrameSample | PairSample:
        """Return a pair for the first indices, a single frame for those after them."""
        index, rng, _ = self._item(index)
        if index < len(self.pairs):
            sample = self.pairs[index]
            paired = self.pairs.neighbours != "none"
        else:
            sample = self.singles[int(rng.integers(len(self.singles)))]
            sample["index"] = index
            paired = False
        if self.pairs.neighbours == "none":
            return sample
        pair = PairSample(neighbour=sample["frame"], offset=0, **sample) if not paired else cast(PairSample, sample)
        # The exact flow of a synthetic neighbour is known for some samples only: a batch cannot hold it.
        pair.pop("flow", None)
        pair.pop("visible", None)
        pair["paired"] = paired
        return pair
