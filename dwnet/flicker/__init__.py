"""Measures the flicker of any predictions: `dwnet.measure_flicker`, and `dwnet flicker CLIP PREDICTIONS...`.

The input is a clip and one or more sets of predictions. The output is flips, temporal consistency and, with truth,
errors, as a table, JSON, a CSV row per frame and one HTML page. Memory use does not depend on the length of the clip.
"""

from dwnet.flicker.api import FlickerReport, SetFlicker, measure_flicker
from dwnet.flicker.corpus import CorpusClip, CorpusError, read_corpus
from dwnet.flicker.flows import FLOW_CHOICES, EstimatedFlow, ExactFlow, PairMotion, open_flow
from dwnet.flicker.label_maps import Prediction
from dwnet.flicker.matching import PredictionError
from dwnet.flicker.measure import ClipResult, measure_clip
from dwnet.flicker.predictions import PredictionSet, open_predictions
from dwnet.flicker.run import measure_corpus
from dwnet.flicker.settings import Settings
from dwnet.flicker.tally import SetTally

__all__ = [
    "FLOW_CHOICES",
    "ClipResult",
    "CorpusClip",
    "CorpusError",
    "EstimatedFlow",
    "ExactFlow",
    "FlickerReport",
    "PairMotion",
    "Prediction",
    "PredictionError",
    "PredictionSet",
    "SetFlicker",
    "SetTally",
    "Settings",
    "measure_clip",
    "measure_corpus",
    "measure_flicker",
    "open_flow",
    "open_predictions",
    "read_corpus",
]
