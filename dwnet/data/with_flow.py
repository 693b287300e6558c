"""Pairs with their coarse flow, which the workers of the loader estimate."""

from typing import cast

import torch

from dwnet.core.errors import DWNetError
from dwnet.data.mixed_in import MixedIn
from dwnet.data.pair_dataset import PairDataset
from dwnet.data.pairs import EpochData, FrameSample, PairSample
from dwnet.flow.base import FlowEstimator


class WithFlow(EpochData):
    """A data set whose pairs also hold "coarse_flow": the flow that `estimator` finds between the augmented frames.

    DIS runs on the CPU, where the workers share its work. In the training process the GPU would wait for it.

    Args:
        data: a data set with neighbours.
        estimator: an estimator without parameters, such as `DISFlow`.

    Raises:
        DWNetError: if the estimator has parameters, because each worker would have a separate copy of them.
    """

    def __init__(self, data: PairDataset | MixedIn, estimator: FlowEstimator) -> None:
        if any(True for _ in estimator.parameters()):
            raise DWNetError(f"{type(estimator).__name__} has parameters; allowed here are flows without, such as DIS")
        super().__init__(seed=0)  # not used: `data` draws all random numbers
        self.data, self.estimator = data, estimator
        self.classes, self.layout = data.classes, data.layout

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.data)

    def set_epoch(self, epoch: int) -> None:
        """Selects the random numbers of an epoch."""
        self.data.set_epoch(epoch)

    def __getitem__(self, index: int) -> FrameSample | PairSample:
        """Returns the pair with its flow."""
        pair = cast(PairSample, self.data[index])
        with torch.no_grad():
            pair["coarse_flow"] = self.estimator(pair["frame"][None], pair["neighbour"][None])[0]
        return pair
