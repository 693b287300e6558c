"""Optical flow: `dis_flow` and `flow_function` on arrays, `build_flow` on tensors.

Importing this package imports no PyTorch.
"""

from dwnet.flow.dis import dis_flow
from dwnet.flow.registry import FLOW_NAMES, FlowFunction, build_flow, flow_function

__all__ = ["FLOW_NAMES", "FlowFunction", "build_flow", "dis_flow", "flow_function"]
