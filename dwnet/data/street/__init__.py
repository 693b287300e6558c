"""A street of our own: rendered driving scenes with exact labels, instances, depth, flow and occlusion."""

from dwnet.data.street.clip import write_clip
from dwnet.data.street.scene import LOOKS, StreetFrame, StreetLook, StreetScene

__all__ = ["LOOKS", "StreetFrame", "StreetLook", "StreetScene", "write_clip"]
