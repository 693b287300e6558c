"""No motion, as a flow estimator: the control of consistency without motion."""

import torch
from torch import Tensor

from dwnet.flow.base import FlowEstimator


class IdentityFlow(FlowEstimator):
    """A flow of zeros, (B, 2, H, W) in the dtype and on the device of the frames, without weights."""

    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:  # noqa: D102
        return torch.zeros_like(frame[:, :2])
