"""The settings of a flicker measurement."""

from dataclasses import dataclass

from dwnet.core.errors import DWNetError
from dwnet.viewer import DEFAULT_MB


@dataclass(frozen=True)
class Settings:
    """Settings of a flicker measurement. A clip whose record has other settings is measured again.

    Raises DWNetError for a `second_every` below 1.
    """

    flow: str = "dis"
    """A flow of `FLOW_CHOICES`, or a folder of exact flow."""
    flow_weights: str = "published"
    """Weights of a flow network: "published" or a file."""
    second_flow: str = "dis_fast"
    """Another flow, used on some pairs to show how much the result depends on the flow."""
    second_every: int = 30
    """The second flow is used on every n-th pair of frames; n is at least 1."""
    ignore: tuple[int, ...] = ()
    """Further ids for unknown pixels in label maps. 255 means unknown, unless a classes file gives it to a class."""
    threshold: float | None = None
    """Scores of one class above this value are label 1; None uses 0.5 for probabilities and 0 for logits."""
    max_side: int | None = None
    """Longer side of the reduced frames, in pixels; None keeps the size."""
    fps: float = 25.0
    """Frames per second of clips that are folders."""
    published: bool = False
    """Whether temporal consistency is also measured by the published definitions."""
    smooth: tuple[str, ...] = ()
    """Networks that are also measured with smoothed probabilities: ``NAME`` or ``NAME=KEEP`` (`open_predictions`)."""
    player_mb: int = DEFAULT_MB
    """Largest size of the stored frames of the player, in MB, of all clips together; 0: no player."""

    def __post_init__(self) -> None:
        if self.player_mb < 0:
            raise DWNetError(f"player_mb is {self.player_mb}; allowed are whole numbers from 0 (no player)")
        if self.second_every < 1:
            raise DWNetError(f"second_every is {self.second_every}; allowed are whole numbers from 1")

    @property
    def second_flow_weights(self) -> str:
        """Weights of the second flow: `flow_weights` if both flows are the same, else "published"."""
        return self.flow_weights if self.second_flow == self.flow else "published"


def default_second_flow(flow: str) -> str:
    """Returns the second flow for a first one: dis_fast, or dis if the first is dis_fast."""
    return "dis" if flow == "dis_fast" else "dis_fast"
