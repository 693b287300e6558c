"""Operations on maps, flows and images that several packages share. All need PyTorch."""

from dwnet.ops.correlation import correlation
from dwnet.ops.normalise import IMAGENET_MEAN, IMAGENET_STD, ImageNetNormalise
from dwnet.ops.resize import resize, resize_flow
from dwnet.ops.warp import inside, pixel_grid, sample, warp

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ImageNetNormalise",
    "correlation",
    "inside",
    "pixel_grid",
    "resize",
    "resize_flow",
    "sample",
    "warp",
]
