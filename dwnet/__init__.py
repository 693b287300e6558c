"""DWNet: Dynamic Warping Network for Semantic Video Segmentation (Li et al., 2021).

Conventions, for every module of this package:

- **image tensor**: (B, 3, H, W) float, RGB, 0..1 at every public boundary. Each network normalises for itself.
- **flow**: (B, 2, H, W) float; channel 0 = dx (right), 1 = dy (down), in pixels *of the map it lies on*.
  Resizing a flow therefore scales its vectors (`dwnet.warp.resize_flow`).
- **flow direction**: `flow[:, :, y, x]` points from pixel (x, y) of I_t to its match in the neighbour I_{t+k}
  (section 3.2), and `warp(map_tk, flow)(x) = map_tk(x + flow(x))`.
- **outside the image**: a warp returns the warped map and a validity mask; what lies outside is never counted in a
  loss or a metric.
- **labels**: (B, H, W) uint8 or int64; `IGNORE_LABEL` inside the library, whatever the data set's void label is.
- **geometry**: pixel (x, y) is the *centre* of its cell. Resizing is `align_corners=False`; a warp addresses pixels
  directly, so an integer flow moves a map by exactly that many pixels.
- **video frames**: (H, W, 3) uint8 RGB arrays with a timestamp in seconds.
"""

IGNORE_LABEL = 255

__version__ = "0.1.0"
