"""Optical flow: `dis_flow` and `flow_function` on arrays here, the estimators on tensors in `dwnet.flow.estimator`.

This package imports no PyTorch by itself: what runs exported networks does without it.
"""

from dwnet.flow.arrays import FLOW_NAMES, FlowFunction, flow_function
from dwnet.flow.dis import dis_flow

__all__ = ["FLOW_NAMES", "FlowFunction", "dis_flow", "flow_function"]
