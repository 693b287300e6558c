from . import metrics as metrics
from .adapters import adapt as adapt
from .comparison.networks import load_networks as load_networks
from .comparison.stream import compare as compare
from .core.classes import IGNORE_LABEL as IGNORE_LABEL
from .core.classes import ClassSet as ClassSet
from .core.errors import DWNetError as DWNetError
from .deploy.hub import from_pretrained as from_pretrained
from .deploy.runtime import load as load
from .deploy.smoothing import SmoothedSegmenter as SmoothedSegmenter
from .flicker.api import measure_flicker as measure_flicker
from .flow.registry import build_flow as build_flow
from .flow.registry import flow_function as flow_function
from .method.dwnet import DWNet as DWNet
from .method.specs import BaselineSpec as BaselineSpec
from .method.specs import DWNetSpec as DWNetSpec
from .method.specs import KeyframeSpec as KeyframeSpec
from .method.specs import StaticWarpSpec as StaticWarpSpec
from .segmentation import NetworkSpec as NetworkSpec
from .video import open_video as open_video

__version__: str
