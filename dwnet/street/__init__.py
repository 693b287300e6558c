"""The rendered street: driving scenes with exact labels, instances, depth, flow and occlusion."""

from dwnet.street.clip import write_clip
from dwnet.street.looks import LOOKS, StreetLook
from dwnet.street.scene import StreetFrame, StreetScene
from dwnet.street.truth import write_truth

__all__ = ["LOOKS", "StreetFrame", "StreetLook", "StreetScene", "write_clip", "write_truth"]
