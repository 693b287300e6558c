"""The settings of a comparison."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dwnet.core.errors import DWNetError
from dwnet.flow.registry import FLOW_NAMES


@dataclass(frozen=True)
class ComparisonSettings:
    """What is compared of a clip, and how. Raises DWNetError for a value out of range."""

    flow: str = "dis"
    """Methods warp by it and flips are counted along it: one of `FLOW_NAMES`. All but dis import PyTorch."""
    flow_weights: str | Path = "published"
    """Weights of the flow: "published" or a file."""
    max_side: int = 480
    """The longer side of the frames is reduced to this, 64..4096 px."""
    every: int = 1
    """Takes every n-th frame of the clip, from 1."""
    limit: int | None = None
    """At most so many frames are compared, from 2; None takes all."""
    opacity: float = 0.6
    """Of the colours over the frame, 0..1."""

    def __post_init__(self) -> None:
        if self.flow not in FLOW_NAMES:
            raise DWNetError(f"unknown flow {self.flow!r}; allowed: {', '.join(FLOW_NAMES)}")
        if not 64 <= self.max_side <= 4096:
            raise DWNetError(f"max_side is 64 to 4096 px, found {self.max_side}")
        if self.every < 1:
            raise DWNetError(f"every is at least 1 (each frame), found {self.every}")
        if self.limit is not None and self.limit < 2:
            raise DWNetError(f"limit is at least 2 frames (flicker needs two), found {self.limit}")
        if not 0 <= self.opacity <= 1:
            raise DWNetError(f"opacity is 0 to 1, found {self.opacity}")

    def as_json(self) -> dict[str, Any]:
        """Returns the settings for the report; of the weights the name of the file."""
        return asdict(self) | {"flow_weights": Path(self.flow_weights).name}

    def stop_index(self) -> int | None:
        """Returns the index in the clip behind the last frame that is compared; None for the whole clip."""
        return None if self.limit is None else (self.limit - 1) * self.every + 1

    def expected_frames(self, frames: int | None) -> int | None:
        """Returns how many of a clip's `frames` are compared; None if that is not known."""
        if not frames:
            return self.limit
        expected = -(-frames // self.every)
        return expected if self.limit is None else min(expected, self.limit)

    def video_fps(self, clip_fps: float) -> float:
        """Returns the frame rate of the side-by-side video, for a clip of `clip_fps`."""
        # A file with a wrong rate must not give a video that browsers cannot play.
        return min(max(clip_fps / self.every, 0.5), 120.0)
