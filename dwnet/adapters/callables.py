"""Adapter for any other network, split by two functions."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from dwnet.adapters.adapter import Adapter
from dwnet.ops.normalise import IMAGENET_MEAN, IMAGENET_STD


class CallableAdapter(Adapter):
    """A network split by two functions, whose first argument is the network.

    Because of this argument, a copy of the adapter, such as a moving average of the weights, runs the copied network.

    Args:
        model: any network.
        features: (model, normalised image (B, 3, H, W)) to F_t (B, C, H / stride, W / stride), the map that enters the
            last convolution.
        classify: (model, F_t) to logits (B, K, h, w), at the size of F_t or finer.
        mean: as in `Adapter`.
        std: as in `Adapter`.
        multiple: as in `Adapter`.
        size: as in `Adapter`.
        dropout: as in `Adapter`.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        features: Callable[[Any, Tensor], Tensor],
        classify: Callable[[Any, Tensor], Tensor],
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        multiple: int | None = None,
        size: tuple[int, int] | None = None,
        dropout: bool = False,
    ) -> None:
        self._cut = (features, classify)  # set first, because `Adapter.__init__` runs them
        super().__init__(model, mean=mean, std=std, multiple=multiple, size=size, dropout=dropout)

    def encode(self, image: Tensor) -> Tensor:  # noqa: D102
        return self._cut[0](self.model, image)

    def decode(self, encoded: Tensor) -> Tensor:  # noqa: D102
        return encoded

    def classify(self, features: Tensor) -> Tensor:  # noqa: D102
        return self._cut[1](self.model, features)
