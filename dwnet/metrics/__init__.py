"""How good a segmentation is, and how steady: mIoU, flicker along the flow, temporal consistency.

Functions judge one frame or one pair of frames; meters add up over a whole set and can be summed across processes.
Every rate is in percent, 0..100, and None where nothing could be counted (a class that never occurs, a clip of one
frame), so that a result can be written as JSON as it is.

Frame t is the current frame. Its flow points to the previous one (`dwnet`: from t to the frame that is warped), so
``previous(x + flow(x))`` is where pixel x was. What lies outside the previous frame is never counted; what was hidden
there is left out by the mask `visible`, which `occlusion_mask` computes.

A constant prediction is perfectly steady: no flicker rate means anything without the mIoU beside it.
"""

from dwnet.metrics.counting import NearestWarp, near_edge, occlusion_mask, warp_labels
from dwnet.metrics.flicker import (
    BOUNDARY_PX,
    FlickerMeter,
    FlickerResult,
    LogitJitterMeter,
    flicker_error,
    flip_map,
    flip_rate,
    logit_jitter,
    temporal_consistency,
    unchanged_truth,
)
from dwnet.metrics.published import (
    TCETCMeter,
    TCVSPWMeter,
    VideoConsistency,
    VideoConsistencyMeter,
    tc_etc,
    tc_vspw,
    video_consistency,
)
from dwnet.metrics.segmentation import SegmentationMeter, SegmentationResult, miou

__all__ = [
    "BOUNDARY_PX",
    "FlickerMeter",
    "FlickerResult",
    "LogitJitterMeter",
    "NearestWarp",
    "SegmentationMeter",
    "SegmentationResult",
    "TCETCMeter",
    "TCVSPWMeter",
    "VideoConsistency",
    "VideoConsistencyMeter",
    "flicker_error",
    "flip_map",
    "flip_rate",
    "logit_jitter",
    "miou",
    "near_edge",
    "occlusion_mask",
    "tc_etc",
    "tc_vspw",
    "temporal_consistency",
    "unchanged_truth",
    "video_consistency",
    "warp_labels",
]
