"""Single frames mixed into pairs. The single frames train the segmenter by cross-entropy alone."""

from typing import cast

from dwnet.core.errors import DWNetError
from dwnet.data.pair_dataset import PairDataset
from dwnet.data.pairs import EpochData, FrameSample, PairSample


class MixedIn(EpochData):
    """A data set of pairs, with single frames of another data set that are drawn again in each epoch.

    If `pairs` has neighbours, samples hold "paired", a bool. Where it is False, "neighbour" is the frame itself: it
    only completes the batch and must enter no loss.

    Args:
        pairs: the data set of pairs, or of frames without neighbours.
        singles: the data set of single frames: no neighbours, the same classes and crop size.
        ratio: number of single frames for each frame of `pairs`, above 0.
        seed: seed of the draw of single frames.

    Raises:
        DWNetError: for different classes, single frames with neighbours, or a ratio that gives no frame.
    """

    def __init__(self, pairs: PairDataset, singles: PairDataset, *, ratio: float, seed: int = 0) -> None:
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
        """Returns the number of samples in an epoch."""
        return len(self.pairs) + self._drawn

    def set_epoch(self, epoch: int) -> None:
        """Selects the random numbers of an epoch, here and in both data sets."""
        super().set_epoch(epoch)
        self.pairs.set_epoch(epoch)
        self.singles.set_epoch(epoch)

    def __getitem__(self, index: int) -> FrameSample | PairSample:
        """Returns a pair for the first `len(pairs)` indices, a single frame for the others."""
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
        # Only some samples have an exact flow, so a batch cannot hold it.
        pair.pop("flow", None)
        pair.pop("visible", None)
        pair["paired"] = paired
        return pair
