"""Visualisation: class overlays, flow on the colour wheel, captions, grids, legends.

Pictures are (H, W, 3) uint8 RGB. Label maps are (H, W) integers with `IGNORE_LABEL`. Flows are (2, H, W) in pixels.
"""

from dwnet.viz.flow_colours import flow_legend, flow_to_rgb
from dwnet.viz.images import Colour, Image
from dwnet.viz.layout import caption, grid
from dwnet.viz.overlays import colour_labels, overlay

__all__ = [
    "Colour",
    "Image",
    "caption",
    "colour_labels",
    "flow_legend",
    "flow_to_rgb",
    "grid",
    "overlay",
]
