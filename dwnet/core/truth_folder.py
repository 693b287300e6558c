"""Layout of a folder of exact truth, frame by frame, as `dwnet street --truth` writes and `dwnet flicker` reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dwnet.core.errors import DWNetError

Direction = Literal["forward", "backward"]
"""``forward``: from frame t to t + 1. ``backward``: from frame t to t - 1."""


@dataclass(frozen=True)
class TruthFolder:
    """The files of a folder of truth. Files are named by the frame's number t, six digits, without gaps.

    - ``image/000012.png``: (H, W, 3) 8-bit RGB, lossless
    - ``labels/000012.png``: (H, W) 8-bit class ids, 255 where there is none
    - ``instances/000012.png``: (H, W) 16-bit object numbers, the same in every frame; 0 is sky and ground
    - ``depth/000012.npz``: ``depth_m`` (H, W) float32, metres along the optical axis, inf in the sky
    - ``flow_forward/000012.flo``, ``flow_backward/000012.flo``: Middlebury, float32 (dx, dy) in pixels from frame t to
      t + 1 and to t - 1
    - ``occluded_forward/000012.png``, ``occluded_backward/000012.png``: (H, W) 8-bit; 255 where the pixel of frame t is
      hidden in that other frame or outside of it, 0 where it is visible
    """

    root: Path

    def image(self, t: int) -> Path:
        """Returns the file of the picture of frame `t`."""
        return self.root / "image" / f"{t:06d}.png"

    def labels(self, t: int) -> Path:
        """Returns the file of the labels of frame `t`."""
        return self.label_folder / f"{t:06d}.png"

    def instances(self, t: int) -> Path:
        """Returns the file of the object numbers of frame `t`."""
        return self.root / "instances" / f"{t:06d}.png"

    def depth(self, t: int) -> Path:
        """Returns the file of the depth of frame `t`."""
        return self.root / "depth" / f"{t:06d}.npz"

    def flow(self, t: int, direction: Direction) -> Path:
        """Returns the file of the flow of frame `t`."""
        return self.flow_folder(direction) / f"{t:06d}.flo"

    def occluded(self, t: int, direction: Direction) -> Path:
        """Returns the file of the occlusion of frame `t`."""
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
        """Returns the numbers of the frames, from the names of the label maps or, without these, of the pictures.

        Raises:
            DWNetError: if there are none, a name is no number, or a number is missing.
        """
        folder = self.label_folder if self.label_folder.is_dir() else self.root / "image"
        files = sorted(folder.glob("*.png"))
        strange = next((file for file in files if not (file.stem.isascii() and file.stem.isdigit())), None)
        if not files or strange is not None:
            found = "no PNGs" if strange is None else strange.name
            raise DWNetError(f"{folder}: found {found}; allowed are the frames by number, 000000.png, 000001.png, ...")
        numbers = sorted(int(file.stem) for file in files)
        frames = range(numbers[0], numbers[-1] + 1)
        if len(numbers) != len(frames):
            missing = next(t for t in frames if t not in set(numbers))
            raise DWNetError(f"{folder}: has no frame {missing}, though {numbers[0]} to {numbers[-1]} are around it")
        return frames
