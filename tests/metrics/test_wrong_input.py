"""Wrong input of every metric is one clear error."""

import numpy as np
import pytest

from dwnet.metrics import (
    FlickerMeter,
    SegmentationMeter,
    VideoConsistencyMeter,
    flip_map,
    flip_rate,
    logit_jitter,
    near_edge,
    occlusion_mask,
    tc_etc,
    tc_vspw,
    video_consistency,
    warp_labels,
)
from tests.metrics.loops import H, W, constant_flow

LABELS = np.zeros((H, W), np.uint8)
FLOW = constant_flow(0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FlickerMeter(0), "num_classes is 0; allowed are 1..255"),
        (lambda: FlickerMeter(2).update(LABELS + 7, LABELS, FLOW), r"previous_labels holds the labels \[7\]; allowed"),
        (lambda: FlickerMeter(2).update(LABELS, LABELS + 3, FLOW), r"labels holds the labels \[3\]; allowed are 0..1"),
        (lambda: FlickerMeter(2).update(LABELS[1:], LABELS, FLOW), "allowed is one shape"),
        (lambda: flip_map(LABELS[1:], LABELS, FLOW), "allowed is one shape"),
        (lambda: flip_rate(LABELS, LABELS, FLOW[:, 1:]), r"flow_px has shape \(2, 23, 32\); a map of 24x32 needs"),
        (lambda: flip_rate(LABELS, LABELS, FLOW.astype(complex)), "flow_px has dtype complex128"),
        (lambda: flip_rate(LABELS, LABELS, FLOW, LABELS), "visible is uint8"),
        (lambda: warp_labels(LABELS.astype(float), FLOW), "dtype float64; allowed are integers"),
        (lambda: warp_labels(LABELS[0], FLOW), "allowed is a non-empty"),
        (lambda: warp_labels(LABELS.astype(int) - 1, FLOW), "holds the label -1; allowed are 0..255"),
        (lambda: warp_labels(LABELS.astype(int) + 256, FLOW), "holds the label 256; allowed are 0..255"),
        (lambda: near_edge(LABELS, distance_px=0), "distance_px is 0"),
        (lambda: occlusion_mask(FLOW, FLOW[:, 1:]), "flow_backward_px has shape"),
        (lambda: occlusion_mask(FLOW[0, 0], FLOW), "flow_forward_px has shape"),
        (lambda: occlusion_mask(FLOW, FLOW, beta=-1), "beta -1; allowed"),
        (lambda: SegmentationMeter(3).update(LABELS, LABELS[1:]), "allowed is one shape"),
        (
            lambda: SegmentationMeter(3).update(LABELS + 3, LABELS),
            r"prediction holds the labels \[3\]; allowed are 0..2 and",
        ),
        (
            lambda: SegmentationMeter(3).update(LABELS, LABELS + 4),
            r"target holds the labels \[4\]; allowed are 0..2 and",
        ),
        (lambda: VideoConsistencyMeter(1), "n is 1; allowed are whole numbers from 2"),
        (lambda: video_consistency([LABELS, LABELS[1:]], [LABELS, LABELS[1:]], n=2), "call end_video first"),
        (lambda: video_consistency([LABELS], [LABELS[1:]], n=2), "allowed is one shape"),
        (lambda: video_consistency([LABELS], [LABELS] * 2, n=2), "there are more targets than predictions"),
        (lambda: video_consistency([LABELS] * 2, [LABELS], n=2), "there are more predictions than targets"),
        (lambda: tc_etc([(LABELS, LABELS[1:], FLOW)], num_classes=2), "allowed is one shape"),
        (lambda: tc_etc([(LABELS, LABELS, FLOW * np.nan)], num_classes=2), "not finite"),
        (
            lambda: tc_vspw([(LABELS, LABELS + 255, FLOW)], num_classes=2),
            r"holds the labels \[255\]; allowed are 0..1$",
        ),
        (lambda: logit_jitter(LABELS, LABELS, FLOW), "allowed is a non-empty float"),
        (lambda: logit_jitter(FLOW, FLOW[:1], FLOW), "allowed is one shape"),
        (lambda: logit_jitter(FLOW, FLOW * np.inf, FLOW), "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_wrong_input_is_one_clear_error(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_refused_update_counts_nothing() -> None:
    meter = FlickerMeter(2)
    with pytest.raises(ValueError, match="holds the labels"):
        meter.update(LABELS, LABELS + 2, FLOW)
    assert meter.frames == 0
    assert meter.transitions.sum() == 0
