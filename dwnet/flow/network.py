"""Base class of flow networks: padding to valid sizes, float32, frozen or trained jointly."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
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

    Subclasses set `multiple` (the network's image sides are multiples of it) and `min_side_px`, and define `normalise`
    and `estimate`. Images are padded at the right and bottom by repeating the edge; the flow is cropped. The network
    runs in float32 under autocast too, because bf16 cannot represent a flow of 301 px.

    Args:
        network: the network.
        trainable: False freezes it: no gradient, and evaluation mode even under `train()`.
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
        """Returns the network's inputs for two frames (B, 3, H, W) of 0..1 at their own size."""

    @abstractmethod
    def estimate(self, frame: Tensor, neighbour: Tensor) -> Tensor:
        """Returns the flow (B, 2, H, W) in pixels for normalised frames of a valid size."""

    def train(self, mode: bool = True) -> Self:
        """Sets the mode as `nn.Module.train`; a frozen network stays in evaluation mode."""
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


def load_flow_weights(
    network: nn.Module,
    path: str | Path,
    *,
    name: str,
    words: str = "'published', 'none'",
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict,
) -> None:
    """Assigns a file's tensors to the network, in the network's dtypes. The network may be on the "meta" device.

    Args:
        network: the flow network.
        path: the weight file, as `dwnet.ops.weights.read_weights` takes it.
        name: name of the network, for the error message.
        words: values allowed in place of a file, for the error message.
        rename: returns the file's tensors under the names of the network.

    Raises:
        DWNetError: if the file is missing, unreadable, or of another network.
    """
    state = rename(read_weights(path, what="flow weights", names=words))
    own = network.state_dict()
    differences = state_dict_mismatch(own, state)
    if differences:
        raise DWNetError(f"flow weights {Path(path).name}: not {name}'s: {differences}")
    network.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()}, assign=True)
