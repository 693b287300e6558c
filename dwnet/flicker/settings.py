"""The settings of a flicker measurement."""

from dataclasses import dataclass

from dwnet.core.errors import DWNetError


@dataclass(frozen=True)
class Settings:
    """How flicker is measured. A record made with other settings is measured again.

    Raises DWNetError for a `second_every` below 1.
    """

    flow: str = "dis"
    """A flow of `FLOW_CHOICES`, or a folder of exact flow."""
    flow_weights: str = "published"
    """Weights of a flow network: "published" or a file."""
    second_flow: str = "dis_fast"
    """A second flow, measured on some pairs to see how far the result depends on the flow."""
    second_every: int = 30
    """The second flow is measured on every n-th pair of frames, from 1."""
    ignore: int | None = None
    """An id in label maps for unknown pixels; 255 always is one."""
    max_side: int | None = None
    """The longer side of the frames is reduced to this, in pixels; None keeps their size."""
    fps: float = 25.0
    """Frames per second of clips that are folders."""
    published: bool = False
    """Also measure the published definitions of temporal consistency."""

    def __post_init__(self) -> None:
        if self.second_every < 1:
            raise DWNetError(f"second_every is {self.second_every}; allowed are whole numbers from 1")

    @property
    def second_flow_weights(self) -> str:
        """Weights of the second flow: `flow_weights` belong to the first flow, or to both if they are the same."""
        return self.flow_weights if self.second_flow == self.flow else "published"


def default_second_flow(flow: str) -> str:
    """Returns the second flow for a first one: dis_fast, or dis if the first is dis_fast."""
    return "dis" if flow == "dis_fast" else "dis_fast"
