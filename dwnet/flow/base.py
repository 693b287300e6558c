"""Interface of all flow estimators: `estimator(frame, neighbour) -> flow_px`."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class FlowEstimator(nn.Module, ABC):
    """Estimates the flow between two frames. An estimator with parameters may be trained jointly."""

    @abstractmethod
    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:
        """Returns the flow from `frame` to `neighbour`.

        Args:
            frame: I_t, (B, 3, H, W) float, RGB, 0..1.
            neighbour: I_{t+k}, of the same shape.

        Returns:
            (B, 2, H, W) float32, (dx, dy) in pixels of the image.
        """
