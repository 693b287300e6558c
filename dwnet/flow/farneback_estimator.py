"""OpenCV's Farnebäck flow as an estimator on tensors."""

from torch import Tensor

from dwnet.flow.base import FlowEstimator
from dwnet.flow.dis_estimator import batched
from dwnet.flow.farneback import farneback_flow


class FarnebackFlow(FlowEstimator):
    """Polynomial expansion (Farnebäck, SCIA 2003) by OpenCV, on the CPU, without weights and without gradient."""

    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:  # noqa: D102
        return batched(frame, neighbour, farneback_flow)
