"""Optical flow: `dis_flow` on arrays here, and the estimators on tensors in `dwnet.flow.estimator`.

This file imports no PyTorch: what runs exported networks does without it.
"""

from dwnet.flow.dis import dis_flow

__all__ = ["dis_flow"]
