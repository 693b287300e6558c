"""Evaluates models on a labelled split: IoU per class, and flicker along the flow (`dwnet evaluate`).

The package also measures the error of optical flow against the exact flow of rendered streets (`dwnet judge-flow`), and
writes files for the test server of Cityscapes. It needs PyTorch.
"""

from dwnet.evaluation.flow_error import FlowError, FlowErrorMeter, flows_to_judge, judge_flow
from dwnet.evaluation.inference import WHOLE, Inference
from dwnet.evaluation.measure import Evaluation, EvaluationSettings, evaluate
from dwnet.evaluation.predictors import Predictor, load_predictor, method_predictor
from dwnet.evaluation.processes import joined
from dwnet.evaluation.report import RunFacts, document, markdown

__all__ = [
    "WHOLE",
    "Evaluation",
    "EvaluationSettings",
    "FlowError",
    "FlowErrorMeter",
    "Inference",
    "Predictor",
    "RunFacts",
    "document",
    "evaluate",
    "flows_to_judge",
    "joined",
    "judge_flow",
    "load_predictor",
    "markdown",
    "method_predictor",
]
