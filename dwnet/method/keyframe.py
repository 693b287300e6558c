"""Key-frame propagation (Deep Feature Flow, Zhu et al., CVPR 2017; Table 7's DFF): the network runs on key frames only.

Every other frame gets the features of the last key frame, warped by the flow from it to that key frame in one step:
flows are not chained, so their errors do not add up. Deviation: DFF's scale field, which its own flow network predicts
beside the flow, is left out; no other flow estimator has one.
"""

import torch
from torch import Tensor, nn

from dwnet.ops.resize import resize_flow
from dwnet.ops.warp import pixel_grid, sample
from dwnet.segmentation import Segmenter


def propagate(key_map: Tensor, flow_px: Tensor) -> Tensor:
    """A key frame's map, warped onto the current frame.

    Where the flow leaves the key frame, the nearest pixel of its border stands in: a label has to be given there too.

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
        """Logits (B, K, h, w) of a frame from the features (B, C, h, w) of its key frame and the flow to that."""
        return self.segmenter.classify(propagate(key_features, flow_px))

    def forward(self, key_frame: Tensor, flow_px: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Training: the key frame (B, 3, H, W) to the current frame's logits (B, K, h, w), and the auxiliary heads'."""
        features, auxiliary = self.segmenter.features_and_auxiliary(key_frame)
        return self.classify(features, flow_px), tuple(propagate(logits, flow_px) for logits in auxiliary)
