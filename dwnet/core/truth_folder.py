"""Layout of a folder of exact truth for each frame. `dwnet street --truth` writes it and `dwnet flicker` reads it."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dwnet.core.errors import DWNetError
from dwnet.core.files import listed

Direction = Literal["forward", "backward"]
"""``forward``: from frame t to t + 1. ``backward``: from frame t to t - 1."""


@dataclass(frozen=True)
class TruthFolder:
    """The files of a folder of truth. A file name is the six-digit number t of the frame, without gaps.

    - ``image/000012.png``: (H, W, 3) 8-bit RGB, lossless
    - ``labels/000012.png``: (H, W) 8-bit class ids, 255 for pixels without a class
    - ``instances/000012.png``: (H, W) 16-bit object numbers, constant over all frames; 0 is sky and ground
    - ``depth/000012.npz``: ``depth_m`` (H, W) float32, metres along the optical axis, inf in the sky
    - ``flow_forward/000012.flo``, ``flow_backward/000012.flo``: Middlebury, float32 (dx, dy) in pixels from frame t to
      t + 1 and to t - 1
    - ``occluded_forward/000012.png``, ``occluded_backward/000012.png``: (H, W) 8-bit; 255 if the pixel of frame t is
      hidden in the other frame or lies outside it, 0 if it is visible
    """

    root: Path

    def image(self, t: int) -> Path:
        """Returns the image file of frame `t`."""
        return self.root / "image" / f"{t:06d}.png"

    def labels(self, t: int) -> Path:
        """Returns the label file of frame `t`."""
        return self.label_folder / f"{t:06d}.png"

    def instances(self, t: int) -> Path:
        """Returns the file with the object numbers of frame `t`."""
        return self.root / "instances" / f"{t:06d}.png"

    def depth(self, t: int) -> Path:
        """Returns the depth file of frame `t`."""
        return self.root / "depth" / f"{t:06d}.npz"

    def flow(self, t: int, direction: Direction) -> Path:
        """Returns the flow file of frame `t`."""
        return self.flow_folder(direction) / f"{t:06d}.flo"

    def occluded(self, t: int, direction: Direction) -> Path:
        """Returns the occlusion file of frame `t`."""
        return self.root / f"occluded_{direction}" / f"{t:06d}.png"

    @property
    def label_folder(self) -> Path:
        """Folder of all label maps."""
        return self.root / "labels"

    def flow_folder(self, direction: Direction) -> Path:
        """Returns the folder of all flows of one direction."""
        return self.root / f"flow_{direction}"

    @property
    def has_flow(self) -> bool:
        """Whether the folder holds exact flow in this layout."""
        return any(self.flow_folder(direction).is_dir() for direction in ("forward", "backward"))

    def frames(self) -> range:
        """Returns the numbers of the frames, read from the names of the label maps, or of the images if there are none.

        Raises:
            DWNetError: if there are no files, a name is not a number, a number is missing, or two files share one.
        """
        folder = self.label_folder if self.label_folder.is_dir() else self.root / "image"
        files = listed(folder, (".png",)) if folder.is_dir() else []
        strange = next((file for file in files if not (file.stem.isascii() and file.stem.isdigit())), None)
        if not files or strange is not None:
            found = "no PNGs" if strange is None else strange.name
            raise DWNetError(f"{folder}: found {found}; allowed are the frames by number, 000000.png, 000001.png, ...")
        numbers = sorted(int(file.stem) for file in files)
        shared = next((before for before, after in itertools.pairwise(numbers) if before == after), None)
        if shared is not None:
            raise DWNetError(f"{folder}: has frame {shared} twice; allowed is one file for each frame")
        frames = range(numbers[0], numbers[-1] + 1)
        if len(numbers) != len(frames):
            missing = next(t for t in frames if t not in set(numbers))
            raise DWNetError(f"{folder}: has no frame {missing}; allowed are all of {numbers[0]} to {numbers[-1]}")
        return frames
