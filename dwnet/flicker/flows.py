"""Motion between two successive frames: flow, visible pixels, and warps along the flow."""

import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from dwnet.core.arrays import as_flow, as_mask
from dwnet.core.errors import DWNetError
from dwnet.core.files import listed, natural_order
from dwnet.core.truth_folder import TruthFolder
from dwnet.flow import FLOW_NAMES, FlowFunction, dis_flow, flow_function
from dwnet.flow.flow_files import read_flo
from dwnet.metrics.counting import NearestWarp, occlusion_mask
from dwnet.metrics.published import ETCWarp, VSPWWarp
from dwnet.video import is_scene_cut

FLOW_CHOICES = (*FLOW_NAMES, "dis_fast")
"""Names of the estimated flows. A folder of exact flow is also allowed."""

DESCRIPTIONS = {
    "dis": "DIS, OpenCV's medium preset, on frames as they are",
    "farneback": "Farneback's polynomial expansion, by OpenCV",
    "dis_fast": "DIS, OpenCV's fast preset: quicker than medium, less exact at edges",
}


@dataclass(frozen=True)
class PairMotion:
    """Motion of one pair of frames. It does not depend on the predictions and is computed once for all sets."""

    to_previous_px: NDArray[np.float32]
    """(2, H, W) in pixels, from the current frame to the previous one."""
    visible: NDArray[np.bool_]
    """(H, W), True for pixels of the current frame that are visible in the previous one."""
    warp: NearestWarp
    """Warps the previous labels to the current frame."""
    etc: ETCWarp | None
    """Warps the current labels to the previous frame as ETC does; None without finite flow in that direction."""
    vspw: VSPWWarp | None
    """Warps the current labels to the previous frame as VSPW does; None without finite flow in that direction."""

    @classmethod
    def of(
        cls,
        to_previous_px: NDArray[np.float32],
        from_previous_px: NDArray[np.float32] | None,
        visible: NDArray[np.bool_] | None = None,
        *,
        published: bool = True,
    ) -> "PairMotion":
        """Returns the motion of a pair of frames.

        Args:
            to_previous_px: (2, H, W) in pixels, from the current frame to the previous one.
            from_previous_px: (2, H, W) in pixels, from the previous frame to the current one; needed without `visible`.
            visible: (H, W); None computes it by the forward-backward check.
            published: also prepare the published definitions of temporal consistency.
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
    """A source of the flow of a clip."""

    name: str
    description: str
    """Description of the flow, for the reports."""

    @abstractmethod
    def pair(self, index: int, image: NDArray[np.uint8], previous: NDArray[np.uint8]) -> PairMotion | None:
        """Returns the motion between frame `index` (from 1) and the one before; None at a scene cut. Thread-safe."""

    def finish(self, frames: int) -> None:  # noqa: B027
        """Raises DWNetError if the flow does not match a clip of `frames` frames."""


class EstimatedFlow(FlowSource):
    """A flow estimated from the frames in both directions; None across a scene cut.

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
    """Flow from files, one for each frame but the first.

    Layouts, all in pixels:

    - a folder that `dwnet street --truth` wrote (`dwnet.core.truth_folder.TruthFolder`): flow and occlusion;
    - ``.npz`` files with ``to_previous`` (2, H, W), and ``visible`` (H, W) bool or ``from_previous`` (2, H, W) or both,
      in the order of their names;
    - two folders ``to_previous/`` and ``from_previous/`` of ``.flo`` or ``.npy`` files, in the order of their names.

    ``to_previous`` points from a frame to the previous frame, ``from_previous`` from the previous frame to the frame.

    Args:
        folder: the folder.
        published: also prepare the published definitions of temporal consistency.

    Raises:
        DWNetError: for a folder of another layout, or with missing files. When a pair is read: for a file that is
            damaged or does not have the size of the frames.
    """

    def __init__(self, folder: str | Path, *, published: bool = True) -> None:
        self.folder, self.published = Path(folder), published
        self.name = f"files in {self.folder.name}"
        self.description = "flow read from files, without detection of scene cuts"
        self._flows: _FlowFiles
        if TruthFolder(self.folder).has_flow:
            self._flows = _TruthFlows(TruthFolder(self.folder))
        elif (self.folder / "to_previous").is_dir():
            self._flows = _SplitFlows(self.folder)
        else:
            self._flows = _NpzFlows(self.folder)

    def pair(self, index: int, image: NDArray[np.uint8], previous: NDArray[np.uint8]) -> PairMotion | None:  # noqa: D102
        if index > len(self._flows):
            raise DWNetError(
                f"{self.folder}: holds {len(self._flows)} flows; allowed is one for each frame but the first"
            )
        to_previous, from_previous, visible = self._flows.read(index - 1, (image.shape[0], image.shape[1]))
        return PairMotion.of(to_previous, from_previous, visible, published=self.published)

    def finish(self, frames: int) -> None:  # noqa: D102
        if len(self._flows) != frames - 1:
            raise DWNetError(
                f"{self.folder}: holds {len(self._flows)} flows for a clip of {frames} frames; allowed is one for each "
                "frame but the first"
            )


_Motion = tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.bool_] | None]
"""to_previous (2, H, W); from_previous (2, H, W) and visible (H, W), of which one may be None."""


class _FlowFiles(ABC):
    """The flows of one layout, one for each frame but the first."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int, shape: tuple[int, int]) -> _Motion:
        """Returns flow `index`, from 0, of frames of `shape` = (H, W)."""


class _TruthFlows(_FlowFiles):
    """The flows of a folder that `dwnet street --truth` wrote. The backward flow of frame t points to frame t - 1."""

    def __init__(self, files: TruthFolder) -> None:
        self._files, self._frames = files, files.frames()
        needed = [path for t in self._frames[1:] for path in self._paths(t)]
        missing = [path for path in needed if not path.is_file()]
        if missing:
            raise DWNetError(
                f"{missing[0]}: missing ({len(missing)} of {len(needed)} files of flow and occlusion); allowed is a "
                "folder as `dwnet street --truth` writes it"
            )

    def _paths(self, t: int) -> tuple[Path, Path, Path]:
        """Returns the files of frames `t` and `t - 1`: to_previous, from_previous, and the occlusion of `t`."""
        files = self._files
        return files.flow(t, "backward"), files.flow(t - 1, "forward"), files.occluded(t, "backward")

    def __len__(self) -> int:
        return len(self._frames) - 1

    def read(self, index: int, shape: tuple[int, int]) -> _Motion:
        to_previous, from_previous, occluded = self._paths(self._frames[index + 1])
        return (
            as_flow(read_flo(to_previous), shape, str(to_previous)),
            as_flow(read_flo(from_previous), shape, str(from_previous)),
            as_mask(_read_occluded(occluded) == 0, shape, str(occluded)),
        )


class _SplitFlows(_FlowFiles):
    """Two folders of .flo or .npy files, to_previous/ and from_previous/."""

    def __init__(self, folder: Path) -> None:
        self._to = _flow_files(folder / "to_previous", (".flo", ".npy"))
        self._from = _flow_files(folder / "from_previous", (".flo", ".npy"))
        if len(self._from) != len(self._to):
            raise DWNetError(
                f"{folder}: holds {len(self._to)} flows to_previous and {len(self._from)} from_previous; "
                "allowed is one of each per pair of frames"
            )

    def __len__(self) -> int:
        return len(self._to)

    def read(self, index: int, shape: tuple[int, int]) -> _Motion:
        to_previous, from_previous = (
            as_flow(_read_flow(path), shape, str(path)) for path in (self._to[index], self._from[index])
        )
        return to_previous, from_previous, None


class _NpzFlows(_FlowFiles):
    """A folder of .npz files."""

    def __init__(self, folder: Path) -> None:
        self._files = _flow_files(folder, (".npz",))

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int, shape: tuple[int, int]) -> _Motion:
        path = self._files[index]
        try:
            with np.load(path) as arrays:
                found = {key: arrays[key] for key in ("to_previous", "from_previous", "visible") if key in arrays}
        except (ValueError, OSError, EOFError, BadZipFile, zlib.error) as error:
            raise DWNetError(f"{path}: is no .npz file that can be read ({error})") from error
        if "to_previous" not in found or len(found) < 2:
            raise DWNetError(
                f"{path}: holds {', '.join(found) or 'none of the arrays'}; needed are to_previous, and visible or "
                "from_previous, which are needed to find hidden pixels"
            )
        return (
            as_flow(found["to_previous"], shape, f"{path}: to_previous"),
            as_flow(found["from_previous"], shape, f"{path}: from_previous") if "from_previous" in found else None,
            as_mask(found["visible"], shape, f"{path}: visible") if "visible" in found else None,
        )


def open_flow(name: str, *, weights: str | Path = "published", published: bool = True) -> FlowSource:
    """Returns the flow with a name in `FLOW_CHOICES`, or the exact flow of a folder.

    Raises:
        DWNetError: for any other name.
    """
    if name not in FLOW_CHOICES and Path(name).is_dir():
        return ExactFlow(name, published=published)
    return EstimatedFlow(name, weights=weights, published=published)


def _flow_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    files = natural_order(file for file in listed(folder) if file.suffix in suffixes) if folder.is_dir() else []
    if not files:
        raise DWNetError(
            f"{folder}: holds no flow; allowed are .npz files, folders to_previous/ and from_previous/ of .flo or .npy "
            "files, or a folder that `dwnet street --truth` wrote"
        )
    return files


def _read_flow(path: Path) -> NDArray[np.float32]:
    """Returns the flow of a .flo or .npy file, (2, H, W)."""
    if path.suffix == ".flo":
        return read_flo(path)
    try:
        return np.load(path)
    except (ValueError, OSError, EOFError) as error:
        raise DWNetError(f"{path}: is no .npy file that can be read ({error})") from error


def _read_occluded(path: Path) -> NDArray[np.uint8]:
    """Returns an occlusion map, (H, W) uint8 of 0 and 255."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    occluded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if occluded is None:
        raise DWNetError(f"{path}: is no image that can be read ({data.size} bytes); allowed is an intact PNG")
    if occluded.ndim != 2 or occluded.dtype != np.uint8 or not np.isin(occluded, (0, 255)).all():
        raise DWNetError(
            f"{path}: is {occluded.dtype} of shape {occluded.shape}; allowed is one channel of 8 bits that holds 0 "
            "(visible) and 255 (hidden)"
        )
    return occluded.astype(np.uint8, copy=False)
