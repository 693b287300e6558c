"""Data sets of frames and frame pairs, augmentation and neighbours."""

from dwnet.core.classes import CAMVID_11, CITYSCAPES_19, ClassSet
from dwnet.data.camera_motion import Appearance, CameraMotion, SynthesizedNeighbour
from dwnet.data.camvid import CamVid
from dwnet.data.cityscapes import Cityscapes
from dwnet.data.frames import LabelledFrames
from dwnet.data.mixed_in import MixedIn
from dwnet.data.open import FrameData, open_data
from dwnet.data.own import OwnData
from dwnet.data.pairs import DataError, FrameSample, PairSample, item_generators, make_sample
from dwnet.data.street_pairs import StreetPairs
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
    "FrameData",
    "FrameSample",
    "LabelledFrames",
    "MixedIn",
    "OwnData",
    "PairSample",
    "StreetPairs",
    "SynthesizedNeighbour",
    "item_generators",
    "make_sample",
    "open_data",
]
