"""The settings of a comparison."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dwnet.core.errors import DWNetError
from dwnet.flow.registry import FLOW_NAMES
from dwnet.viewer import DEFAULT_MB


@dataclass(frozen=True)
class ComparisonSettings:
    """Settings of a comparison. Raises DWNetError for a value out of range."""

    flow: str = "dis"
    """Flow for the methods that warp and for counting flips: one of `FLOW_NAMES`. All except dis import PyTorch."""
    flow_weights: str | Path = "published"
    """Weights of the flow: "published" or a file."""
    max_side: int = 480
    """Longer side of the reduced frames, 64..4096 px. Smaller frames are not enlarged."""
    every: int = 1
    """Every n-th frame of the clip is compared; n is at least 1."""
    limit: int | None = None
    """Largest number of frames to compare, at least 2; None compares all."""
    opacity: float = 0.6
    """Opacity of the class colours over the frame, 0..1."""
    player_mb: int = DEFAULT_MB
    """Largest size of the stored frames of the player, in MB; longer clips get a lower rate. 0: no player."""
    worst: int = 10
    """Number of worst frames in the relabelling folder, 0..999; 0 writes no folder."""
    video: bool = False
    """Whether the side-by-side MP4 is written."""
    refined_flow: bool = False
    """Whether the player has the refined flow."""
    overlap: bool = True
    """Whether decoding, motion, networks, counting and writing run at the same time."""

    def __post_init__(self) -> None:
        if self.flow not in FLOW_NAMES:
            raise DWNetError(f"unknown flow {self.flow!r}; allowed: {', '.join(FLOW_NAMES)}")
        for name in ("max_side", "every", "limit", "player_mb", "worst"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, int):
                raise DWNetError(f"{name} is {value!r}; allowed are whole numbers")
        for name in ("video", "refined_flow", "overlap"):
            if not isinstance(getattr(self, name), bool):
                raise DWNetError(f"{name} is {getattr(self, name)!r}; allowed are True and False")
        if not 64 <= self.max_side <= 4096:
            raise DWNetError(f"max_side is 64 to 4096 px, found {self.max_side}")
        if self.every < 1:
            raise DWNetError(f"every is at least 1 (each frame), found {self.every}")
        if self.limit is not None and self.limit < 2:
            raise DWNetError(f"limit is at least 2 frames (flicker needs two), found {self.limit}")
        if not 0 <= self.opacity <= 1:
            raise DWNetError(f"opacity is 0 to 1, found {self.opacity}")
        if self.player_mb < 0:
            raise DWNetError(f"player_mb is 0 (no player) or more, found {self.player_mb}")
        if not 0 <= self.worst <= 999:
            raise DWNetError(f"worst is 0 to 999 frames, found {self.worst}")

    def as_json(self) -> dict[str, Any]:
        """Returns the settings for the report. A weights file is given by its name without the folder."""
        return asdict(self) | {"flow_weights": Path(self.flow_weights).name}

    def stop_index(self) -> int | None:
        """Returns one plus the clip index of the last frame to compare; None for the whole clip."""
        return None if self.limit is None else (self.limit - 1) * self.every + 1

    def expected_frames(self, frames: int | None) -> int | None:
        """Returns the number of frames to compare in a clip of `frames` frames; None if it is unknown."""
        if not frames:
            return self.limit
        expected = -(-frames // self.every)
        return expected if self.limit is None else min(expected, self.limit)

    def video_fps(self, clip_fps: float) -> float:
        """Returns the frame rate of the side-by-side video, for a clip of `clip_fps`."""
        # A clip with a wrong frame rate must still give a video that browsers play.
        return min(max(clip_fps / self.every, 0.5), 120.0)
