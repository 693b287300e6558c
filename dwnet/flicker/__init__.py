"""Flicker of anybody's predictions: `dwnet flicker CLIP PREDICTIONS...`, and the same as functions.

A clip and one or several sets of predictions in; flips, temporal consistency and errors out, as a table, JSON, CSV and
one HTML page. Everything streams: memory does not depend on the clip's length.
"""

from dwnet.flicker.flows import FLOW_CHOICES, EstimatedFlow, ExactFlow, PairMotion, open_flow
from dwnet.flicker.measure import ClipResult, measure_clip
from dwnet.flicker.predictions import Prediction, PredictionSet, open_predictions
from dwnet.flicker.tally import SetTally

__all__ = [
    "FLOW_CHOICES",
    "ClipResult",
    "EstimatedFlow",
    "ExactFlow",
    "PairMotion",
    "Prediction",
    "PredictionSet",
    "SetTally",
    "measure_clip",
    "open_flow",
    "open_predictions",
]
