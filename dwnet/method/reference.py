"""Reference policy: which frames before a frame a method uses at inference. PyTorch and ONNX networks share it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReferencePolicy:
    """How long the features of a frame serve the frames after it.

    Attributes:
        span: number of frames after a reference that use its features; 0 for a network that sees each frame alone.
        periodic: True for key frames: the next reference follows after `span` frames. False: each frame becomes the
            reference of the next one.
    """

    span: int = 0
    periodic: bool = False

    def warmup_frames(self, index: int) -> int:
        """Returns how many raw frames to run before the `index`-th frame of a split, if it follows none of the split's.

        Key frames cycle through 0..span, so that frames fall at every distance from a key frame equally often.
        """
        return index % (self.span + 1) if self.periodic else self.span

    def memory(self, position: int) -> int:
        """Returns how many of the `position` frames since a reset to run again for the same labels of the next one."""
        return position % (self.span + 1) if self.periodic else min(position, self.span)


PER_FRAME = ReferencePolicy()
"""Each frame alone: baseline and dwnet."""

PREVIOUS_FRAME = ReferencePolicy(span=1)
"""The frame before: static_warp."""


def key_frames(interval: int) -> ReferencePolicy:
    """Returns the policy of key-frame propagation: every `interval`-th frame is a key frame."""
    return ReferencePolicy(span=interval - 1, periodic=True)
