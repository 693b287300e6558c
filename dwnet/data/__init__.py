"""Data sets of frames and frame pairs, their classes, augmentation and neighbours."""

from dwnet.data.camera_motion import Appearance, CameraMotion, SynthesizedNeighbour
from dwnet.data.camvid import CamVid
from dwnet.data.cityscapes import Cityscapes
from dwnet.data.classes import CAMVID_11, CITYSCAPES_19, ClassSet
from dwnet.data.frames import LabelledFrames
from dwnet.data.mixed_in import MixedIn
from dwnet.data.own import OwnData
from dwnet.data.pairs import DataError, FrameSample, PairSample, item_generators, make_sample
from dwnet.data.transforms import Augmentation

__all__ = [
    "CAMVID_11",
    "CITYSCAPES_19",
    "Appearance",
    "Augmentation",
    "CamVid",
    "CameraMotion",
    "Cityscapes",
    "ClassSet",
    "DataError",
    "FrameSample",
    "LabelledFrames",
    "MixedIn",
    "OwnData",
    "PairSample",
    "SynthesizedNeighbour",
    "item_generators",
    "make_sample",
]
