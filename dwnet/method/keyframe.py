"""Key-frame propagation (Deep Feature Flow, Zhu et al., CVPR 2017; Table 7's DFF): the network runs on key frames only.

Every other frame gets the features of the last key frame, warped by the flow from the frame to that key frame. Flows
are not chained, so their errors do not add up. Deviation: DFF's scale field is left out. DFF's own flow network
predicts it beside the flow; other flow estimators do not.
"""

import torch
from torch import Tensor, nn

from dwnet.ops.resize import resize_flow
from dwnet.ops.warp import pixel_grid, sample
from dwnet.segmentation import Segmenter


def propagate(key_map: Tensor, flow_px: Tensor) -> Tensor:
    """Warps a key frame's map onto the current frame.

    Where the flow leaves the key frame, the nearest pixel of its border is used, because these pixels need a label too.

    Args:
        key_map: (B, C, h, w) float.
        flow_px: from the current frame to the key frame, (B, 2, H, W), in pixels of the image.

    Returns:
        (B, C, h, w).
    """
    height, width = key_map.shape[-2:]
    positions = pixel_grid(height, width, device=key_map.device) + resize_flow(flow_px, (height, width))
    x, y = positions[:, :1].clamp(0, width - 1), positions[:, 1:].clamp(0, height - 1)
    return sample(key_map, torch.cat((x, y), dim=1))


class KeyframeSegmenter(nn.Module):
    """A segmenter whose features are computed on key frames and propagated to the others.

    Args:
        segmenter: any `Segmenter`.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def classify(self, key_features: Tensor, flow_px: Tensor) -> Tensor:
        """Returns the logits (B, K, h, w) of a frame.

        Args:
            key_features: features of its key frame, (B, C, h, w).
            flow_px: from the frame to the key frame, (B, 2, H, W), in pixels of the image.
        """
        return self.segmenter.classify(propagate(key_features, flow_px))

    def forward(self, key_frame: Tensor, flow_px: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Returns the logits (B, K, h, w) of the current frame and those of the auxiliary heads, for training.

        Args:
            key_frame: (B, 3, H, W) float, RGB, 0..1.
            flow_px: from the current frame to the key frame, (B, 2, H, W), in pixels of the image.
        """
        features, auxiliary = self.segmenter.features_and_auxiliary(key_frame)
        return self.classify(features, flow_px), tuple(propagate(logits, flow_px) for logits in auxiliary)
