"""What every flow network needs around it: sizes, precision, and being frozen or trained jointly."""

from abc import abstractmethod
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwnet.core.errors import DWNetError
from dwnet.flow.base import FlowEstimator
from dwnet.ops.weights import read_weights, state_dict_mismatch


class NetworkFlow(FlowEstimator):
    """A flow network as an estimator for images of any size.

    Subclasses set `multiple` (the network's image sides come in multiples of it) and `min_side_px`, and define
    `normalise` and `estimate`. Images are padded by repeating the edge at the right and the bottom, and the flow is
    cropped. The network runs in float32 under autocast too: bf16 cannot tell a flow of 300 px from one of 301.

    Args:
        network: the network.
        trainable: False freezes it: no gradient, and evaluation mode whatever `train` says.
    """

    multiple: int
    min_side_px: int

    def __init__(self, network: nn.Module, *, trainable: bool) -> None:
        super().__init__()
        self.network = network.requires_grad_(trainable)
        self.trainable = trainable
        self.train()

    @abstractmethod
    def normalise(self, frame: Tensor, neighbour: Tensor) -> tuple[Tensor, Tensor]:
        """Both frames, (B, 3, H, W) of 0..1 at their own size, as the network wants them."""

    @abstractmethod
    def estimate(self, frame: Tensor, neighbour: Tensor) -> Tensor:
        """The flow (B, 2, H, W) in pixels from normalised frames of a size that the network takes."""

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but a frozen network stays in evaluation mode."""
        return super().train(mode and self.trainable)

    def forward(self, frame: Tensor, neighbour: Tensor) -> Tensor:  # noqa: D102
        if frame.ndim != 4 or frame.shape[1] != 3 or frame.shape != neighbour.shape:
            raise DWNetError(
                f"frames have shapes {tuple(frame.shape)} and {tuple(neighbour.shape)}, allowed is one (B, 3, H, W)"
            )
        height, width = frame.shape[-2:]
        bottom, right = (
            max(self.min_side_px, -(-side // self.multiple) * self.multiple) - side for side in (height, width)
        )
        gradient = self.trainable and torch.is_grad_enabled()
        with torch.set_grad_enabled(gradient), torch.autocast(frame.device.type, enabled=False):
            images = self.normalise(frame.float(), neighbour.float())
            padded = (F.pad(image, (0, right, 0, bottom), mode="replicate") for image in images)
            return self.estimate(*padded)[..., :height, :width]


def load_flow_weights(network: nn.Module, path: str | Path, *, name: str) -> None:
    """Makes a file's tensors the network's parameters and buffers, in their types (the network may be on "meta").

    Args:
        network: what they belong to.
        path: of the file (`dwnet.ops.weights.read_weights`).
        name: of the network, for the error.

    Raises:
        ValueError: if the file is missing, unreadable, or of another network.
    """
    state = read_weights(path, what="flow weights", names="'published', 'none'")
    own = network.state_dict()
    differences = state_dict_mismatch(own, state)
    if differences:
        raise DWNetError(f"flow weights {Path(path).name}: not {name}'s: {differences}")
    network.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()}, assign=True)
