"""Data sets of labelled frames and frame pairs. `open_data` returns one split of a data set by its name."""

from dwnet.core.classes import CAMVID_11, CITYSCAPES_19, ClassSet
from dwnet.data.camera_motion import Appearance, CameraMotion, SynthesizedNeighbour
from dwnet.data.frames import FileSource, LabelledFrame
from dwnet.data.mixed_in import MixedIn
from dwnet.data.mosaic import Mosaic
from dwnet.data.open import FrameData, open_data
from dwnet.data.pair_dataset import PairDataset
from dwnet.data.pairs import DataError, FrameSample, PairSample, item_generators, make_sample
from dwnet.data.sources import Source
from dwnet.data.street_source import StreetSource
from dwnet.data.transforms import Augmentation

__all__ = [
    "CAMVID_11",
    "CITYSCAPES_19",
    "Appearance",
    "Augmentation",
    "CameraMotion",
    "ClassSet",
    "DataError",
    "FileSource",
    "FrameData",
    "FrameSample",
    "LabelledFrame",
    "MixedIn",
    "Mosaic",
    "PairDataset",
    "PairSample",
    "Source",
    "StreetSource",
    "SynthesizedNeighbour",
    "item_generators",
    "make_sample",
    "open_data",
]
