"""Data sets of frames and frame pairs, their classes, augmentation and neighbours.

Names are imported when they are used: who wants the classes alone does without PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dwnet.data.camera_motion import Appearance as Appearance
    from dwnet.data.camera_motion import CameraMotion as CameraMotion
    from dwnet.data.camera_motion import SynthesizedNeighbour as SynthesizedNeighbour
    from dwnet.data.camvid import CamVid as CamVid
    from dwnet.data.cityscapes import Cityscapes as Cityscapes
    from dwnet.data.classes import CAMVID_11 as CAMVID_11
    from dwnet.data.classes import CITYSCAPES_19 as CITYSCAPES_19
    from dwnet.data.classes import ClassSet as ClassSet
    from dwnet.data.frames import LabelledFrames as LabelledFrames
    from dwnet.data.mixed_in import MixedIn as MixedIn
    from dwnet.data.own import OwnData as OwnData
    from dwnet.data.pairs import DataError as DataError
    from dwnet.data.pairs import FrameSample as FrameSample
    from dwnet.data.pairs import PairSample as PairSample
    from dwnet.data.pairs import item_generators as item_generators
    from dwnet.data.pairs import make_sample as make_sample
    from dwnet.data.street_pairs import StreetPairs as StreetPairs
    from dwnet.data.transforms import Augmentation as Augmentation

_HOMES = {
    "camera_motion": ("Appearance", "CameraMotion", "SynthesizedNeighbour"),
    "camvid": ("CamVid",),
    "cityscapes": ("Cityscapes",),
    "classes": ("CAMVID_11", "CITYSCAPES_19", "ClassSet"),
    "frames": ("LabelledFrames",),
    "mixed_in": ("MixedIn",),
    "own": ("OwnData",),
    "pairs": ("DataError", "FrameSample", "PairSample", "item_generators", "make_sample"),
    "street_pairs": ("StreetPairs",),
    "transforms": ("Augmentation",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
