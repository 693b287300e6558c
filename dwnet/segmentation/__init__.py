"""Per-frame segmentation networks, split into features and classifier."""

from dwnet.segmentation.backbone import BACKBONES, Backbone
from dwnet.segmentation.danet import DANet
from dwnet.segmentation.deeplabv3plus import DeepLabV3Plus
from dwnet.segmentation.pspnet import PSPNet
from dwnet.segmentation.pspnet_decoder import PSPNetDecoder
from dwnet.segmentation.segmenter import Segmenter, pad_to_multiple
from dwnet.segmentation.specs import SEGMENTERS, NetworkSpec

__all__ = [
    "BACKBONES",
    "SEGMENTERS",
    "Backbone",
    "DANet",
    "DeepLabV3Plus",
    "NetworkSpec",
    "PSPNet",
    "PSPNetDecoder",
    "Segmenter",
    "pad_to_multiple",
]
