"""Data sets of frames and frame pairs, their classes, augmentation and neighbours."""

from dwnet.data.camera_motion import Appearance, CameraMotion, SynthesizedNeighbour
from dwnet.data.camvid import CamVid
from dwnet.data.classes import CAMVID_11, ClassSet
from dwnet.data.pairs import DataError, FrameSample, PairSample, item_generators, make_sample
from dwnet.data.transforms import Augmentation

__all__ = [
    "CAMVID_11",
    "Appearance",
    "Augmentation",
    "CamVid",
    "CameraMotion",
    "ClassSet",
    "DataError",
    "FrameSample",
    "PairSample",
    "SynthesizedNeighbour",
    "item_generators",
    "make_sample",
]
