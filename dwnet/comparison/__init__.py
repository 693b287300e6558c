"""Compares exported networks on one clip: labels, flips and times (`dwnet compare` and the page)."""

from dwnet.comparison.comparator import Comparator
from dwnet.comparison.files import ComparisonFiles, ComparisonWriter
from dwnet.comparison.frame import ComparedFrame, MethodFrame
from dwnet.comparison.networks import BASELINE, Networks, baseline_of, load_networks
from dwnet.comparison.report import MethodSummary, relative_percent
from dwnet.comparison.settings import ComparisonSettings
from dwnet.comparison.stream import compare

__all__ = [
    "BASELINE",
    "Comparator",
    "ComparedFrame",
    "ComparisonFiles",
    "ComparisonSettings",
    "ComparisonWriter",
    "MethodFrame",
    "MethodSummary",
    "Networks",
    "baseline_of",
    "compare",
    "load_networks",
    "relative_percent",
]
