"""DWNet: Dynamic Warping Network for Semantic Video Segmentation (Li et al., 2021).

`__all__` lists the public names. Each one is imported when it is first used. Only names that train, adapt or load
checkpoints need PyTorch.

Conventions of the whole package:

- **image tensor**: (B, 3, H, W) float, RGB, 0..1 at every public boundary. Each network normalises for itself.
- **flow**: (B, 2, H, W) float; channel 0 = dx (right), 1 = dy (down), in pixels *at the flow's own resolution*.
  Resizing a flow therefore scales its vectors (`dwnet.ops.resize.resize_flow`).
- **flow direction**: `flow[:, :, y, x]` points from pixel (x, y) of I_t to its match in the neighbour I_{t+k}
  (section 3.2), and `warp(map_tk, flow)(x) = map_tk(x + flow(x))`.
- **outside the image**: a warp returns the warped map and a validity mask. Losses and metrics leave
  out pixels from outside the image.
- **labels**: (B, H, W) uint8 or int64. Unlabelled pixels have `IGNORE_LABEL`, whatever void label the data set uses.
- **geometry**: pixel (x, y) is the *centre* of its cell. Resizing is `align_corners=False`. A warp addresses pixels
  directly, so an integer flow moves a map by exactly that many pixels.
- **video frames**: (H, W, 3) uint8 RGB arrays with a timestamp in seconds.
"""

import os
from typing import Any

import lazy_loader

# ONNX Runtime reads this when it is imported. Without it, it looks up its maker's telemetry host.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.2.0"

# __init__.pyi lists the names and their modules. Type checkers and editors read it too.
_lazy_getattr, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _lazy_getattr(name)
    except ModuleNotFoundError as error:
        from dwnet.core.extras import missing_extra

        missing = missing_extra(error)
        if missing is None:
            raise
        raise missing from None
