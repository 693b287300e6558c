"""RAFT (Teed and Deng, ECCV 2020) by torchvision."""

from pathlib import Path
from typing import Any, Literal, Self

from torch import Tensor, nn
from torchvision.models.optical_flow import (
    Raft_Large_Weights,
    Raft_Small_Weights,
    raft_large,
    raft_small,
)

from dwnet.core.errors import DWNetError, first_line
from dwnet.flow.network import NetworkFlow, load_flow_weights
from dwnet.flow.raft_names import torchvision_names

RAFTSize = Literal["small", "large"]

_BUILDERS = {"small": raft_small, "large": raft_large}
_PUBLISHED = {"small": Raft_Small_Weights.DEFAULT, "large": Raft_Large_Weights.DEFAULT}


class RAFTFlow(NetworkFlow):
    """torchvision's RAFT as a flow estimator, for images of any size. The flow is its last prediction.

    The statistics of its batch norm (RAFT-large's context encoder) stay fixed in joint training. RAFT's authors freeze
    them in fine-tuning too, and a segmentation batch has few pairs.

    Args:
        size: "small" (990,162 parameters) or "large" (5,257,536).
        weights: "published" (torchvision downloads its default ones), "none" (random), or a file with the tensor
            names of torchvision or of RAFT's authors (.pth or .safetensors).
        trainable: whether it is trained jointly.
        updates: iterations of the recurrent update.

    Raises:
        DWNetError: for an unknown size, less than one update, weights that cannot be fetched, or a file that is
            missing, unreadable or of another network.
    """

    multiple = 8
    min_side_px = 128

    def __init__(
        self,
        size: RAFTSize,
        *,
        weights: str | Path = "published",
        trainable: bool = False,
        updates: int = 12,
    ) -> None:
        if size not in _BUILDERS:
            raise DWNetError(f"unknown RAFT size {size!r}, allowed are {', '.join(_BUILDERS)}")
        if updates < 1:
            raise DWNetError(f"RAFT makes at least 1 update, found {updates}")
        network = _BUILDERS[size]()
        if str(weights) == "published":
            network.load_state_dict(_published(size))
        elif str(weights) != "none":
            load_flow_weights(network, weights, name=f"torchvision's RAFT-{size}", rename=torchvision_names)
        super().__init__(network, trainable=trainable)
        self.updates = updates

    def train(self, mode: bool = True) -> Self:  # noqa: D102
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def normalise(self, frame: Tensor, neighbour: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        return 2 * frame - 1, 2 * neighbour - 1

    def estimate(self, frame: Tensor, neighbour: Tensor) -> Tensor:  # noqa: D102
        flow = self.network(frame, neighbour, num_flow_updates=self.updates)[-1]
        # torchvision keeps the correlations of all pixel pairs: gigabytes, and they prevent copying the module.
        corr_block: Any = self.network.get_submodule("corr_block")
        corr_block.corr_pyramid = []
        return flow


def _published(size: RAFTSize) -> dict[str, Tensor]:
    weights = _PUBLISHED[size]
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:  # no network, or a download that broke off
        raise DWNetError(
            f"torchvision's weights of RAFT-{size} cannot be fetched ({first_line(error)}); allowed are also 'none' "
            f"or a weight file ({weights.url})"
        ) from error
