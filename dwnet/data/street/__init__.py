"""A street of our own: rendered driving scenes with exact labels, instances, depth, flow and occlusion."""

from dwnet.data.street.clip import write_clip
from dwnet.data.street.looks import LOOKS, StreetLook
from dwnet.data.street.scene import StreetFrame, StreetScene
from dwnet.data.street.truth import write_truth

__all__ = ["LOOKS", "StreetFrame", "StreetLook", "StreetScene", "write_clip", "write_truth"]
