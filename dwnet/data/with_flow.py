"""Pairs with their coarse flow, estimated where the pair is read: in a loader's workers, all at once."""

from typing import cast

import torch

from dwnet.core.errors import DWNetError
from dwnet.data.mixed_in import MixedIn
from dwnet.data.open import FrameData
from dwnet.data.pairs import EpochData, FrameSample, PairSample
from dwnet.flow.base import FlowEstimator


class WithFlow(EpochData):
    """A data set whose pairs hold "coarse_flow" too: what `estimator` finds between their augmented frames.

    DIS runs on the CPU, where the workers share its work; a training process that estimated the flows of a batch one
    after another would keep a GPU waiting.

    Args:
        data: with neighbours.
        estimator: without parameters, such as `DISFlow`.

    Raises:
        ValueError: if the estimator has parameters: each worker would have its own copy of them.
    """

    def __init__(self, data: FrameData | MixedIn, estimator: FlowEstimator) -> None:
        if any(True for _ in estimator.parameters()):
            raise DWNetError(f"{type(estimator).__name__} has parameters; allowed here are flows without, such as DIS")
        super().__init__(seed=0)  # all randomness is the data's
        self.data, self.estimator = data, estimator
        self.classes, self.layout = data.classes, data.layout

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.data)

    def set_epoch(self, epoch: int) -> None:
        """As `EpochData`, for the data set inside."""
        self.data.set_epoch(epoch)

    def __getitem__(self, index: int) -> FrameSample | PairSample:
        """Return the pair with its flow."""
        pair = cast(PairSample, self.data[index])
        with torch.no_grad():
            pair["coarse_flow"] = self.estimator(pair["frame"][None], pair["neighbour"][None])[0]
        return pair
