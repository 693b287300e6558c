"""What a pair of frames shares: its flow in both directions, what both frames show, and the warps along it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import as_flow, as_mask
from dwnet.core.errors import DWNetError
from dwnet.core.files import natural_order
from dwnet.flow import FLOW_NAMES, FlowFunction, dis_flow, flow_function
from dwnet.metrics.counting import NearestWarp, occlusion_mask
from dwnet.metrics.published import ETCWarp, VSPWWarp
from dwnet.video import is_scene_cut

FLOW_CHOICES = (*FLOW_NAMES, "dis_fast")
"""Every flow that can be named; a folder of exact flow is the other choice."""

DESCRIPTIONS = {
    "dis": "DIS, OpenCV's medium preset, on frames as they are",
    "dis_fast": "DIS, OpenCV's fast preset: quicker than medium, less exact at edges",
}
FLO_MAGIC = b"PIEH"


@dataclass(frozen=True)
class PairMotion:
    """One pair of frames: everything that does not depend on the predictions, found once for all sets."""

    to_previous_px: NDArray[np.float32]
    """(2, H, W), from the current frame to the previous one."""
    visible: NDArray[np.bool_]
    """(H, W), pixels of the current frame that the previous one shows."""
    warp: NearestWarp
    """Brings the previous labels to the current frame."""
    etc: ETCWarp | None
    """Brings the current labels to the previous frame, as ETC does; None without the flow in that direction."""
    vspw: VSPWWarp | None

    @classmethod
    def of(
        cls,
        to_previous_px: NDArray[np.float32],
        from_previous_px: NDArray[np.float32] | None,
        visible: NDArray[np.bool_] | None = None,
        *,
        published: bool = True,
    ) -> "PairMotion":
        """From the flows; without `visible` the forward-backward check finds it, and needs both.

        `published` False leaves out what only the published definitions of temporal consistency need.
        """
        if visible is None:
            assert from_previous_px is not None
            visible = occlusion_mask(to_previous_px, from_previous_px)
        backward = from_previous_px if published else None
        if backward is not None and not np.isfinite(backward).all():
            backward = None
        return cls(
            to_previous_px=to_previous_px,
            visible=visible,
            warp=NearestWarp(to_previous_px),
            etc=None if backward is None else ETCWarp(backward),
            vspw=None if backward is None else VSPWWarp(backward),
        )


class FlowSource(ABC):
    """Where the flow of a clip comes from."""

    name: str
    description: str
    """For people, in every output."""

    @abstractmethod
    def pair(self, index: int, image: NDArray[np.uint8], previous: NDArray[np.uint8]) -> PairMotion | None:
        """The motion between frame `index` (from 1) and the one before; None at a scene cut. Any thread may call."""

    def finish(self, frames: int) -> None:  # noqa: B027
        """Says how many frames the clip had; raises ValueError if the flow was made for another number."""


class EstimatedFlow(FlowSource):
    """A flow computed from the frames, in both directions; across a scene cut there is none.

    Args:
        name: one of `FLOW_CHOICES`.
        weights: for flow networks: ``published``, or a file (`dwnet.flow.flow_function`).
        published: also prepare the published definitions of temporal consistency.
    """

    def __init__(self, name: str, *, weights: str | Path = "published", published: bool = True) -> None:
        if name not in FLOW_CHOICES:
            raise DWNetError(f"unknown flow {name!r}; allowed are {', '.join(FLOW_CHOICES)}, or a folder of exact flow")
        self.name, self.published = name, published
        self.description = DESCRIPTIONS.get(name, f"{name}, weights: {weights}")
        self._flow: FlowFunction = _dis_fast if name == "dis_fast" else flow_function(name, weights=weights)

    def pair(self, index: int, image: NDArray[np.uint8], previous: NDArray[np.uint8]) -> PairMotion | None:  # noqa: D102
        if is_scene_cut(previous, image):
            return None
        forth, back = self._flow(previous, image), self._flow(image, previous)
        return PairMotion.of(back, forth, published=self.published)


def _dis_fast(frame: NDArray[np.uint8], neighbour: NDArray[np.uint8]) -> NDArray[np.float32]:
    return dis_flow(frame, neighbour, preset="fast")


class ExactFlow(FlowSource):
    """Flow from files, one for each frame but the first, in the order of their names.

    Either ``.npz`` files with ``to_previous`` (2, H, W), and ``visible`` (H, W) bool or ``from_previous`` (2, H, W), or
    both; or two folders ``to_previous/`` and ``from_previous/`` of ``.flo`` or ``.npy`` files. ``to_previous`` leads
    from a frame to the one before it, in pixels.

    Args:
        folder: holds them.
        published: also prepare the published definitions of temporal consistency.
    """

    def __init__(self, folder: str | Path, *, published: bool = True) -> None:
        self.folder, self.published = Path(folder), published
        self.name = f"files in {self.folder.name}"
        self.description = "flow read from files; no scene cut is looked for"
        split = self.folder / "to_previous"
        self._to = _flow_files(
            split if split.is_dir() else self.folder, (".flo", ".npy") if split.is_dir() else (".npz",)
        )
        self._from = _flow_files(self.folder / "from_previous", (".flo", ".npy")) if split.is_dir() else None
        if self._from is not None and len(self._from) != len(self._to):
            raise DWNetError(
                f"{self.folder}: holds {len(self._to)} flows to_previous and {len(self._from)} from_previous; "
                "allowed is one of each per pair of frames"
            )

    def pair(self, index: int, image: NDArray[np.uint8], previous: NDArray[np.uint8]) -> PairMotion | None:  # noqa: D102
        shape = (image.shape[0], image.shape[1])
        if index > len(self._to):
            raise DWNetError(f"{self.folder}: holds {len(self._to)} flows; allowed is one for each frame but the first")
        path = self._to[index - 1]
        if self._from is not None:
            back = as_flow(_read_flow(self._from[index - 1]), shape, str(self._from[index - 1]))
            return PairMotion.of(as_flow(_read_flow(path), shape, str(path)), back, published=self.published)
        try:
            with np.load(path) as arrays:
                found = {key: arrays[key] for key in ("to_previous", "from_previous", "visible") if key in arrays}
        except (ValueError, OSError, EOFError) as error:
            raise DWNetError(f"{path}: is no .npz file that can be read ({error})") from error
        if "to_previous" not in found or len(found) < 2:
            raise DWNetError(
                f"{path}: holds {', '.join(found) or 'none of the arrays'}; needed are to_previous, and visible or "
                "from_previous: without one of them nobody knows what is hidden"
            )
        back_px = as_flow(found["from_previous"], shape, f"{path}: from_previous") if "from_previous" in found else None
        visible = as_mask(found["visible"], shape, f"{path}: visible") if "visible" in found else None
        to_previous = as_flow(found["to_previous"], shape, f"{path}: to_previous")
        return PairMotion.of(to_previous, back_px, visible, published=self.published)

    def finish(self, frames: int) -> None:  # noqa: D102
        if len(self._to) != frames - 1:
            raise DWNetError(
                f"{self.folder}: holds {len(self._to)} flows for a clip of {frames} frames; allowed is one for each "
                "frame but the first"
            )


def open_flow(name: str, *, weights: str | Path = "published", published: bool = True) -> FlowSource:
    """A flow by its name in `FLOW_CHOICES`, or the folder that holds it; ValueError for anything else."""
    if name not in FLOW_CHOICES and Path(name).is_dir():
        return ExactFlow(name, published=published)
    return EstimatedFlow(name, weights=weights, published=published)


def _flow_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    files = natural_order(file for file in folder.iterdir() if file.suffix in suffixes) if folder.is_dir() else []
    if not files:
        raise DWNetError(
            f"{folder}: holds no flow; allowed are .npz files, or folders to_previous/ and from_previous/ of .flo or "
            ".npy files"
        )
    return files


def _read_flow(path: Path) -> NDArray[np.float32]:
    """A .flo file (Middlebury) or a .npy file as (2, H, W)."""
    if path.suffix == ".npy":
        try:
            return np.load(path)
        except (ValueError, OSError, EOFError) as error:
            raise DWNetError(f"{path}: is no .npy file that can be read ({error})") from error
    data = path.read_bytes()
    width, height = np.frombuffer(data, "<i4", 2, 4).tolist() if len(data) >= 12 else (0, 0)
    if data[:4] != FLO_MAGIC or len(data) != 12 + 8 * width * height:
        raise DWNetError(
            f"{path}: is no .flo file ({len(data)} bytes); allowed are the magic number, the size, and u, v"
        )
    return np.ascontiguousarray(np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).transpose(2, 0, 1))
