"""Metrics of segmentation on video: mIoU, flicker along the flow, temporal consistency.

Functions measure one frame or one pair of frames. Meters accumulate over a whole set. The sum of the states of several
processes, merged into a new meter, gives the result over all processes (`Meter.state`, `Meter.merge`).
Every rate is in percent, 0..100. A rate is None if nothing could be counted (a class that never occurs, a clip of one
frame), so that results can be written as JSON.

Frame t is the current frame. Its flow points to the previous frame: pixel x of frame t was at ``x + flow(x)``.
Pixels that lie outside the previous frame are never counted. The mask `visible`, which `occlusion_mask` computes,
excludes pixels that are hidden in the previous frame.

A constant prediction never flips. Therefore judge a flicker rate only together with the mIoU.
"""

from dwnet.metrics.consistency import VideoConsistency, VideoConsistencyMeter, video_consistency
from dwnet.metrics.counting import NearestWarp, near_edge, occlusion_mask, warp_labels
from dwnet.metrics.flicker import (
    BOUNDARY_PX,
    FlickerMeter,
    FlickerResult,
    flicker_error,
    flip_map,
    flip_rate,
    temporal_consistency,
    unchanged_truth,
)
from dwnet.metrics.jitter import LogitJitterMeter, logit_jitter
from dwnet.metrics.meter import Meter, State
from dwnet.metrics.published import TCETCMeter, TCVSPWMeter, tc_etc, tc_vspw
from dwnet.metrics.segmentation import SegmentationMeter, SegmentationResult, miou

__all__ = [
    "BOUNDARY_PX",
    "FlickerMeter",
    "FlickerResult",
    "LogitJitterMeter",
    "Meter",
    "NearestWarp",
    "SegmentationMeter",
    "SegmentationResult",
    "State",
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
