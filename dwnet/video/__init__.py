"""Reading and writing clips: videos and folders of images.

with open_video("clip.mp4", max_side=480) as video:
    for frame in prefetch(video):
        show(frame.image, frame.pts_seconds)
"""

from dwnet.video._images import image_files
from dwnet.video._limits import ClipLimits, default_limits, set_default_limits
from dwnet.video._prefetch import prefetch
from dwnet.video._pyav import DecodedFrame, ExactVideo
from dwnet.video._reader import VideoReader, open_video, set_default_decoder
from dwnet.video._scene_cuts import is_scene_cut
from dwnet.video._types import Decoder, VideoError, VideoFrame, VideoInfo
from dwnet.video._writer import VideoWriter

__all__ = [
    "ClipLimits",
    "DecodedFrame",
    "Decoder",
    "ExactVideo",
    "VideoError",
    "VideoFrame",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "default_limits",
    "image_files",
    "is_scene_cut",
    "open_video",
    "prefetch",
    "set_default_decoder",
    "set_default_limits",
]
